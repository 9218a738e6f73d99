//! Which folders must be watched for a set of files, and which events in them matter.
//!
//! Only folders are watched: a watch on a file is silent after the first rename over it. Every symbolic link on
//! the way to a file makes the folder that holds the link matter, since that is where a swap happens; and whatever
//! does not exist makes the folder matter in which it would appear. Reading never counts, or we would wake ourselves.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{self, Component, Path, PathBuf};

use notify::event::{AccessKind, AccessMode, Event, EventKind};

use crate::reload::sources::{CASES, SourcePaths};

/// How many symbolic links are followed on the way to one file, as in Linux.
const MAX_LINKS: usize = 40;
/// How many linked scripts are followed out of their folder.
const MAX_ENTRIES: usize = 4096;

/// What to listen for. All paths are absolute and free of links, except for their last name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interest {
    /// Single names: files, links and folders on the way, and what is missing.
    names: BTreeSet<PathBuf>,
    /// Folders in which every name matters.
    folders: BTreeSet<PathBuf>,
    /// The folders to watch.
    watched: BTreeSet<PathBuf>,
}

impl Interest {
    /// What matters for these files as the file system is now.
    pub(super) fn of(paths: &SourcePaths) -> Self {
        let mut interest = Self::default();
        for path in paths.config.iter().chain(paths.files.iter().map(|file| &file.path)) {
            interest.trace(path);
        }
        for folder in [paths.scripts.clone(), paths.scripts.join(CASES)] {
            interest.add_folder(&folder);
        }
        let folders_of_names = interest.names.iter().filter_map(|name| name.parent());
        interest.watched = folders_of_names
            .chain(interest.folders.iter().map(PathBuf::as_path))
            .map(Path::to_path_buf)
            .collect();
        interest
    }

    /// The folders to watch, as absolute paths without links.
    pub(super) fn watched(&self) -> &BTreeSet<PathBuf> {
        &self.watched
    }

    /// Whether files that matter may have changed.
    pub(super) fn concerns(&self, event: &Event) -> bool {
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
            EventKind::Access(_) => return false,
            EventKind::Any
            | EventKind::Create(_)
            | EventKind::Modify(_)
            | EventKind::Remove(_)
            | EventKind::Other => {}
        }
        // Events were lost, or nobody knows where it happened.
        if event.need_rescan() || event.paths.is_empty() {
            return true;
        }
        event.paths.iter().any(|path| {
            self.names.contains(path)
                || self.watched.contains(path)
                || path.parent().is_some_and(|parent| self.folders.contains(parent))
        })
    }

    fn add_folder(&mut self, folder: &Path) {
        let Some(folder) = self.trace(folder) else { return };
        // Links inside lead to names elsewhere.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten().take(MAX_ENTRIES) {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                self.trace(&entry.path());
            }
        }
        self.folders.insert(folder);
    }

    /// Goes the way to `path` name by name, noting what matters; returns its end without links if it exists.
    fn trace(&mut self, path: &Path) -> Option<PathBuf> {
        let path = path::absolute(path).ok()?;
        let mut ahead = names_backwards(&path);
        let mut here = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == *OsStr::new("..") {
                here.pop();
                continue;
            }
            let next = here.join(name);
            let Ok(metadata) = fs::symlink_metadata(&next) else {
                self.names.insert(next);
                return None;
            };
            if !metadata.is_symlink() {
                here = next;
                continue;
            }
            links += 1;
            let target = fs::read_link(&next).ok().filter(|_| links <= MAX_LINKS);
            self.names.insert(next);
            let target = target?;
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            ahead.extend(names_backwards(&target));
        }
        // Its folder too may be renamed away and replaced.
        self.names.extend(here.parent().map(Path::to_path_buf));
        self.names.insert(here.clone());
        Some(here)
    }
}

/// A path's names with the first one last, ready to be popped.
fn names_backwards(path: &Path) -> Vec<OsString> {
    let name = |component| match component {
        Component::Normal(name) => Some(name.to_os_string()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().rev().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use notify::event::{CreateKind, DataChange, Flag, ModifyKind};
    use tempfile::TempDir;

    use super::*;
    use crate::reload::sources::{DataKind, DataPath};

    fn house() -> (TempDir, PathBuf, SourcePaths) {
        let guard = TempDir::new().unwrap();
        let root = guard.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("scripts/cases")).unwrap();
        fs::create_dir_all(root.join("lists")).unwrap();
        fs::write(root.join("lists/block.txt"), "").unwrap();
        fs::write(root.join("riskgate.toml"), "").unwrap();
        let list =
            DataPath { role: "block".into(), kind: DataKind::List, path: root.join("lists/block.txt") };
        let paths = SourcePaths {
            config: Some(root.join("riskgate.toml")),
            scripts: root.join("scripts"),
            files: vec![list],
        };
        (guard, root, paths)
    }

    fn event(kind: EventKind, path: &Path) -> Event {
        Event::new(kind).add_path(path.to_path_buf())
    }

    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));

    #[test]
    fn folders_are_watched_and_their_parents_but_no_file() {
        let (_guard, root, paths) = house();
        let interest = Interest::of(&paths);
        for folder in ["", "scripts", "scripts/cases", "lists"] {
            assert!(interest.watched().contains(root.join(folder).components().as_path()), "{folder}");
        }
        assert!(interest.watched().contains(root.parent().unwrap()));
        assert!(interest.watched().iter().all(|folder| folder.is_dir()));
    }

    #[test]
    fn a_write_matters_where_we_read_and_nowhere_else() {
        let (_guard, root, paths) = house();
        let interest = Interest::of(&paths);
        for name in ["riskgate.toml", "scripts/new.rhai", "scripts/cases/x.toml", "lists/block.txt", "lists"]
        {
            assert!(interest.concerns(&event(WRITTEN, &root.join(name))), "{name}");
        }
        for name in ["decisions.jsonl", "lists/other.txt", "data"] {
            assert!(!interest.concerns(&event(WRITTEN, &root.join(name))), "{name}");
        }
    }

    #[test]
    fn reading_never_wakes_us_and_the_end_of_writing_does() {
        let (_guard, root, paths) = house();
        let interest = Interest::of(&paths);
        let access = |kind| interest.concerns(&event(EventKind::Access(kind), &root.join("riskgate.toml")));
        assert!(!access(AccessKind::Open(AccessMode::Any)));
        assert!(!access(AccessKind::Read));
        assert!(!access(AccessKind::Close(AccessMode::Read)));
        assert!(access(AccessKind::Close(AccessMode::Write)));
    }

    #[test]
    fn lost_events_may_have_been_about_anything() {
        let (_guard, _root, paths) = house();
        let interest = Interest::of(&paths);
        assert!(interest.concerns(&Event::new(EventKind::Other).set_flag(Flag::Rescan)));
    }

    #[test]
    fn every_link_on_the_way_matters() {
        let (_guard, root, mut paths) = house();
        fs::create_dir_all(root.join("mount/..1")).unwrap();
        fs::write(root.join("mount/..1/block.txt"), "").unwrap();
        symlink("..1", root.join("mount/..data")).unwrap();
        symlink("..data/block.txt", root.join("mount/block.txt")).unwrap();
        paths.files[0].path = root.join("lists/../mount/block.txt");
        let interest = Interest::of(&paths);
        for name in ["mount/block.txt", "mount/..data", "mount/..1/block.txt"] {
            assert!(interest.concerns(&event(WRITTEN, &root.join(name))), "{name}");
        }
        assert!(!interest.concerns(&event(WRITTEN, &root.join("mount/..data_tmp"))));
    }

    #[test]
    fn a_linked_script_matters_where_it_really_is() {
        let (_guard, root, paths) = house();
        fs::create_dir(root.join("shared")).unwrap();
        fs::write(root.join("shared/a.rhai"), "").unwrap();
        symlink("../shared/a.rhai", root.join("scripts/a.rhai")).unwrap();
        assert!(Interest::of(&paths).concerns(&event(WRITTEN, &root.join("shared/a.rhai"))));
    }

    #[test]
    fn what_is_missing_is_waited_for_where_it_would_appear() {
        let (_guard, root, mut paths) = house();
        paths.scripts = root.join("srv/policies/scripts");
        let interest = Interest::of(&paths);
        assert!(interest.watched().contains(&root));
        assert!(interest.concerns(&event(EventKind::Create(CreateKind::Folder), &root.join("srv"))));
    }

    #[test]
    fn links_in_a_circle_come_to_an_end() {
        let (_guard, root, mut paths) = house();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        paths.files[0].path = root.join("a/list.txt");
        let interest = Interest::of(&paths);
        assert!(interest.concerns(&event(WRITTEN, &root.join("a"))));
    }
}
