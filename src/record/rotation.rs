//! Rotated files: what they are called, which there are, and which are kept.
//!
//! `decisions.jsonl` becomes `decisions-20261123T175630Z.jsonl` (UTC), or `...Z-1.jsonl` if that is taken.
//! Age is read from the name, so copying or touching a file changes nothing. Only a regular file whose name
//! has exactly this form is ever deleted.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::torn::torn_path;
use crate::facts::time::Wall;

const STAMP: &str = "%Y%m%dT%H%M%SZ";
const STAMP_LENGTH: usize = 16;

/// A log file and the rotated files that belong to it.
pub(super) struct Family {
    folder: PathBuf,
    stem: String,
    /// With its dot; empty if the log's name has none.
    extension: String,
    torn: PathBuf,
}

/// A rotated file. Ordered by age, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rotated {
    /// When it was rotated, to the second: nothing in it is younger.
    pub(super) at: Wall,
    /// Tells apart what was rotated within one second.
    number: u32,
    pub(super) path: PathBuf,
    size: u64,
}

/// How much may stay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    pub(super) files: usize,
    pub(super) bytes: u64,
    pub(super) age: Duration,
}

impl Family {
    /// The family of the log at `path`, which may be a symbolic link to it.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let part = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_str().map(str::to_owned));
        let (Some(Some(stem)), extension) = (part(path.file_stem()), part(path.extension())) else {
            return Err(io::Error::new(ErrorKind::InvalidInput, "the decision log needs a UTF-8 file name"));
        };
        let extension = extension.flatten().map(|extension| format!(".{extension}")).unwrap_or_default();
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        Ok(Self { folder, stem, extension, torn: torn_path(&path) })
    }

    /// The rotated files, oldest first. A folder that does not exist has none.
    pub(super) fn rotated(&self) -> io::Result<Vec<Rotated>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Some((at, number)) = entry.file_name().to_str().and_then(|name| self.parse(name)) else {
                continue;
            };
            match entry.metadata() {
                Ok(data) if data.is_file() => {
                    found.push(Rotated { at, number, path: entry.path(), size: data.len() });
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        found.sort();
        Ok(found)
    }

    /// The path under which the log is put away now: younger than every other of this second.
    pub(super) fn next(&self, now: Wall) -> io::Result<PathBuf> {
        let stamp = stamp(now);
        let this_second = |rotated: &&Rotated| self::stamp(rotated.at) == stamp;
        let last = self.rotated()?.iter().filter(this_second).map(|rotated| rotated.number).max();
        let number = last.map_or(0, |last| last.saturating_add(1));
        let path = self.folder.join(self.name(&stamp, number));
        // A folder or a link of that name is not in the list above; never rename over it.
        match path.symlink_metadata() {
            Ok(_) => {
                Err(io::Error::new(ErrorKind::AlreadyExists, format!("`{}` is in the way", path.display())))
            }
            Err(_) => Ok(path),
        }
    }

    /// Deletes the oldest rotated files until the others fit `keep`, and a torn tail that is too old.
    pub(super) fn prune(&self, keep: Keep, now: Wall) -> io::Result<()> {
        let (mut files, mut bytes) = (0_usize, 0_u64);
        for rotated in self.rotated()?.iter().rev() {
            files += 1;
            bytes = bytes.saturating_add(rotated.size);
            let age = Duration::from_millis(now.as_millis().saturating_sub(rotated.at.as_millis()));
            if files > keep.files || bytes > keep.bytes || age >= keep.age {
                remove(&rotated.path)?;
            }
        }
        let torn_at = fs::symlink_metadata(&self.torn).ok().filter(fs::Metadata::is_file).and_then(modified);
        match torn_at {
            Some(at) if now.as_millis().saturating_sub(at.as_millis()) as u128 >= keep.age.as_millis() => {
                remove(&self.torn)
            }
            _ => Ok(()),
        }
    }

    fn name(&self, stamp: &str, number: u32) -> String {
        let Self { stem, extension, .. } = self;
        match number {
            0 => format!("{stem}-{stamp}{extension}"),
            number => format!("{stem}-{stamp}-{number}{extension}"),
        }
    }

    /// The second and the number in a file's name, if the name is exactly one that we would give.
    fn parse(&self, name: &str) -> Option<(Wall, u32)> {
        let middle = name.strip_prefix(&self.stem)?.strip_prefix('-')?.strip_suffix(&self.extension)?;
        let (text, rest) = middle.split_at_checked(STAMP_LENGTH)?;
        let at = DateTime::strptime(STAMP, text).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
        let at = Wall::from_millis(u64::try_from(at.as_millisecond()).ok()?);
        let number = if rest.is_empty() { 0 } else { rest.strip_prefix('-')?.parse().ok()? };
        (self.name(&stamp(at), number) == name).then_some((at, number))
    }
}

/// When a file was last written.
pub(super) fn modified(data: fs::Metadata) -> Option<Wall> {
    let since = data.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Wall::from_millis(since.as_millis() as u64))
}

fn stamp(at: Wall) -> String {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX).strftime(STAMP).to_string()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    const NOW: Wall = Wall::from_millis(1_795_456_590_000);
    const ALL: Keep = Keep { files: usize::MAX, bytes: u64::MAX, age: Duration::MAX };

    fn family_with(names: &[&str]) -> (tempfile::TempDir, Family) {
        let folder = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| fs::write(folder.path().join(name), "0123456789").unwrap());
        let family = Family::of(&folder.path().join("d.jsonl")).unwrap();
        (folder, family)
    }

    #[test]
    fn names_are_utc_and_never_taken_twice() {
        let (folder, family) = family_with(&[]);
        for expected in
            ["d-20261123T175630Z.jsonl", "d-20261123T175630Z-1.jsonl", "d-20261123T175630Z-2.jsonl"]
        {
            let path = family.next(NOW).unwrap();
            assert_eq!(path.file_name().unwrap(), expected);
            fs::write(path, "").unwrap();
        }
        // Even if the first of the second is gone, the next one is still the youngest.
        fs::remove_file(folder.path().join("d-20261123T175630Z.jsonl")).unwrap();
        assert!(family.next(NOW).unwrap().ends_with("d-20261123T175630Z-3.jsonl"));
    }

    #[test]
    fn rotated_files_are_ordered_by_age_not_by_spelling() {
        let names = ["d-20261123T175630Z-10.jsonl", "d-20261123T175630Z-9.jsonl", "d-20261123T175629Z.jsonl"];
        let (_folder, family) = family_with(&names);
        let numbers: Vec<u32> = family.rotated().unwrap().iter().map(|rotated| rotated.number).collect();
        assert_eq!(numbers, [0, 9, 10]);
    }

    #[test]
    fn only_our_own_names_are_ever_deleted() {
        let foreign = [
            "d.jsonl",
            "d.jsonl.1",
            "d-old.jsonl",
            "d-20261123T175630.jsonl",
            "d-20261123T175630Z.json",
            "d-20261123T175630Z.jsonl.gz",
            "d-20261123T175630Z-0.jsonl",
            "d-20261123T175630Z-01.jsonl",
            "d-20261123T175630Z-+1.jsonl",
            "d-20261123T175630Z-.jsonl",
            "d-20261323T175630Z.jsonl",
            "d-20261123T 75630Z.jsonl",
            "e-20261123T175630Z.jsonl",
            "xd-20261123T175630Z.jsonl",
        ];
        let (folder, family) = family_with(&foreign);
        fs::create_dir(folder.path().join("d-20261123T175631Z.jsonl")).unwrap();
        let ours = folder.path().join("d-20261123T175629Z.jsonl");
        fs::write(&ours, "").unwrap();
        family.prune(Keep { files: 0, ..ALL }, NOW).unwrap();
        assert!(!ours.exists());
        assert_eq!(names(folder.path()).len(), foreign.len() + 1);
    }

    #[test]
    fn the_oldest_go_first_by_count_by_bytes_and_by_age() {
        let all = ["d-20261120T000000Z.jsonl", "d-20261122T000000Z.jsonl", "d-20261123T000000Z.jsonl"];
        let keeps = [
            (Keep { files: 2, ..ALL }, 2),
            (Keep { bytes: 29, ..ALL }, 2),
            (Keep { bytes: 9, ..ALL }, 0),
            (Keep { age: Duration::from_secs(24 * 3600), ..ALL }, 1),
            (ALL, 3),
        ];
        for (keep, left) in keeps {
            let (folder, family) = family_with(&all);
            family.prune(keep, NOW).unwrap();
            assert_eq!(names(folder.path()), all[all.len() - left..], "{keep:?}");
        }
    }

    #[test]
    fn a_torn_tail_is_not_kept_for_ever() {
        let (folder, family) = family_with(&["d.jsonl.torn"]);
        family.prune(ALL, NOW).unwrap();
        assert_eq!(names(folder.path()), ["d.jsonl.torn"]);
        family.prune(Keep { age: Duration::ZERO, ..ALL }, NOW).unwrap();
        assert_eq!(names(folder.path()), [""; 0]);
    }
}
