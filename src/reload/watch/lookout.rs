//! Keeps one watch on every folder that matters, whatever happens to the folders.
//!
//! A watch belongs to a folder, not to its path: when the folder is deleted, replaced or moved, the path's watch
//! is gone or tells about something else. So [`Lookout::renew`] compares and establishes all of them again, as
//! often as it is called; a folder that is still watched loses no event by it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::interest::Interest;
use crate::reload::sources::SourcePaths;

/// How often folders may change while they are being watched before that is left to the next call.
const ROUNDS: usize = 4;

/// Watches folders, and rings when something in them matters.
pub(super) struct Lookout {
    paths: SourcePaths,
    interest: Arc<RwLock<Interest>>,
    ring: Arc<dyn Fn() + Send + Sync>,
    watcher: Option<RecommendedWatcher>,
    /// Watched folders, with the inode that was watched.
    watched: BTreeMap<PathBuf, Inode>,
    warned: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
}

impl Lookout {
    /// Watches what matters for `paths`; `ring` is called from another thread and must not block.
    pub(super) fn new(paths: SourcePaths, ring: impl Fn() + Send + Sync + 'static) -> Self {
        let mut lookout = Self {
            paths,
            interest: Arc::default(),
            ring: Arc::new(ring),
            watcher: None,
            watched: BTreeMap::new(),
            warned: false,
        };
        lookout.renew();
        lookout
    }

    /// Watches other files from now on.
    pub(super) fn follow(&mut self, paths: SourcePaths) {
        self.paths = paths;
        self.renew();
    }

    /// Establishes every watch again that died or belongs to another folder by now.
    pub(super) fn renew(&mut self) {
        if self.watcher.is_none() {
            self.watcher = self.new_watcher().map_err(|error| self.warn(&error)).ok();
        }
        let mut interest = Interest::of(&self.paths);
        for _ in 0..ROUNDS {
            *self.interest.write().unwrap_or_else(PoisonError::into_inner) = interest.clone();
            self.watch(&interest);
            // A folder may have appeared before its parent was watched.
            let now = Interest::of(&self.paths);
            if now == interest {
                return;
            }
            interest = now;
        }
    }

    fn new_watcher(&self) -> notify::Result<RecommendedWatcher> {
        let interest = Arc::clone(&self.interest);
        let ring = Arc::clone(&self.ring);
        notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let interest = interest.read().unwrap_or_else(PoisonError::into_inner);
            // An error means that events were lost.
            if event.is_ok_and(|event| !interest.concerns(&event)) {
                return;
            }
            ring();
        })
    }

    fn watch(&mut self, interest: &Interest) {
        let Some(watcher) = &mut self.watcher else { return };
        let mut failed = None;
        self.watched.retain(|folder, inode| {
            let stays = interest.watched().contains(folder) && Inode::of(folder) == Some(*inode);
            if !stays {
                // It fails if the watch died with its folder, which is as well.
                let _ = watcher.unwatch(folder);
            }
            stays
        });
        for folder in interest.watched() {
            // Asked before: if the folder is replaced in between, the next call sees another inode.
            let Some(inode) = Inode::of(folder) else { continue };
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(folder.clone(), inode)),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed.filter(|error| !is_gone(error)) {
            self.warn(&error);
        }
    }

    /// Says once that watching fails; the poll goes on, and so do the attempts.
    fn warn(&mut self, error: &notify::Error) {
        if !self.warned {
            self.warned = true;
            let hint = "raise `fs.inotify.max_user_watches` and `fs.inotify.max_user_instances`, or let riskgate read the folders";
            tracing::warn!(%error, hint, "cannot watch files, changes are found by polling");
        }
    }
}

impl fmt::Debug for Lookout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookout").field("watched", &self.watched.keys()).finish_non_exhaustive()
    }
}

impl Inode {
    fn of(folder: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(folder).ok().filter(fs::Metadata::is_dir)?;
        Some(Self { device: metadata.dev(), number: metadata.ino() })
    }
}

/// The folder vanished between looking and watching.
fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound | ErrorKind::WatchNotFound => true,
        ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        ErrorKind::Generic(_) | ErrorKind::InvalidConfig(_) | ErrorKind::MaxFilesWatch => false,
    }
}
