//! Reading one file or listing one folder, within bounds.
//!
//! Symbolic links are followed; pipes, devices and folders are refused before anything could block on them.
//! A [`Stamp`] says whether a file can have changed since it was read, and is only trusted when the file had been
//! quiet for a while by then: within one tick of a file system's clock two contents look the same.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::facts::problem::Problem;
use crate::facts::time::Wall;

/// How long a file must have been quiet when it was read for its stamp to be trusted.
const QUIET_MILLIS: i64 = 2000;
const MIB: u64 = 1024 * 1024;

/// How many bytes a file may have, and what kind of file says so.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    pub(super) bytes: u64,
    pub(super) what: &'static str,
}

/// What a file system says about a file's content without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    facts: StampFacts,
    trusted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StampFacts {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of a file that was opened after `read_at`.
    pub(super) fn of(metadata: &Metadata, read_at: Wall) -> Self {
        let facts = StampFacts::of(metadata);
        let newest = millis(facts.modified).max(millis(facts.changed));
        let read_at = i64::try_from(read_at.as_millis()).unwrap_or(i64::MAX);
        Self { facts, trusted: newest.saturating_add(QUIET_MILLIS) <= read_at }
    }

    /// Whether the file at `path` surely has the content that it had when the stamp was taken.
    pub(super) fn still_stands(&self, path: &Path) -> bool {
        self.trusted && fs::metadata(path).is_ok_and(|now| StampFacts::of(&now) == self.facts)
    }
}

impl StampFacts {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Reads a whole file, and what the file system said about it before.
pub(super) fn read(path: &Path, bound: Bound) -> Result<(Vec<u8>, Metadata), Problem> {
    let unreadable = |error| unreadable(path, &error, "file");
    let too_big = || {
        let message = format!("larger than {} MiB, the most that {} may have", bound.bytes / MIB, bound.what);
        Problem::error(path, message).hint("is it the right file?")
    };
    // Looked at before it is opened: opening a pipe waits for a writer.
    let kind = fs::metadata(path).map_err(unreadable)?;
    if kind.is_dir() {
        return Err(Problem::error(path, "a folder where a file is expected").hint("name a file"));
    }
    if !kind.is_file() {
        return Err(Problem::error(path, "a pipe, socket or device where a file is expected")
            .hint("name a regular file"));
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.len() > bound.bytes {
        return Err(too_big());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    file.take(bound.bytes + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > bound.bytes {
        return Err(too_big());
    }
    Ok((bytes, metadata))
}

/// Bytes as text, without a byte order mark.
pub(super) fn text<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let good = String::from_utf8_lossy(good);
        let line = good.matches('\n').count() + 1;
        let column = good.chars().rev().take_while(|&c| c != '\n').count() + 1;
        Problem::error(path, "not UTF-8 text").at(line, column).hint("save the file with the encoding UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The files of a folder with an extension, sorted by name; hidden ones and editors' leftovers are passed over.
pub(super) fn list(folder: &Path, extension: &str, most: usize) -> Result<Vec<PathBuf>, Vec<Problem>> {
    let unreadable = |error| vec![unreadable(folder, &error, "folder")];
    let mut paths = Vec::new();
    let mut problems = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        if !is_wanted(&name, extension) {
            continue;
        }
        if paths.len() == most {
            let problem = Problem::error(folder, format!("holds more than {most} files `*.{extension}`"));
            return Err(vec![problem.hint("is it the right folder? otherwise join some of them")]);
        }
        if name.to_str().is_none() {
            let problem = Problem::error(folder.join(&name), "the file's name is not UTF-8");
            problems.push(problem.hint("rename it"));
        }
        paths.push(folder.join(name));
    }
    paths.sort();
    if problems.is_empty() { Ok(paths) } else { Err(problems) }
}

/// `x.rhai`, but not `.x.rhai` (hidden, or `.#x.rhai` of Emacs), `x.rhai~`, `#x.rhai#`, `.x.rhai.swp` or `4913` (Vim).
fn is_wanted(name: &OsStr, extension: &str) -> bool {
    let hidden = name.as_encoded_bytes().starts_with(b".");
    !hidden && Path::new(name).extension() == Some(OsStr::new(extension))
}

/// A failure to read, in words that say what to do.
fn unreadable(path: &Path, error: &io::Error, expected: &str) -> Problem {
    match (error.kind(), fs::read_link(path)) {
        (ErrorKind::NotFound, Ok(target)) => {
            let message = format!("a symbolic link to `{}`, which does not exist", target.display());
            Problem::error(path, message).hint("mend or remove the link")
        }
        (ErrorKind::NotFound, Err(_)) => Problem::error(path, format!("the {expected} does not exist"))
            .hint("create it, or correct the path in the configuration"),
        (ErrorKind::PermissionDenied, _) => Problem::error(path, "permission to read it is denied")
            .hint("let the user that riskgate runs as read it, and enter the folders above it"),
        (ErrorKind::NotADirectory, _) => Problem::error(path, "a file where a folder is expected")
            .hint("name a folder, or correct the path in the configuration"),
        _ => Problem::error(path, format!("cannot be read: {error}"))
            .hint("correct the path in the configuration, or look at the disk"),
    }
}

fn millis((seconds, nanos): (i64, i64)) -> i64 {
    seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_visible_files_with_the_extension_are_wanted() {
        for name in ["10-a.rhai", "a b.rhai", "a.b.rhai"] {
            assert!(is_wanted(OsStr::new(name), "rhai"), "{name}");
        }
        let leftovers = [
            ".#a.rhai",
            "#a.rhai#",
            "a.rhai~",
            ".a.rhai.swp",
            ".a.rhai",
            "4913",
            "a.rhai.bak",
            ".rhai",
            "rhai",
            "cases",
        ];
        for name in leftovers {
            assert!(!is_wanted(OsStr::new(name), "rhai"), "{name}");
        }
    }

    #[test]
    fn the_place_of_a_bad_byte_is_counted_in_characters() {
        let problem = text(Path::new("a.rhai"), b"let a;\n\xc3\xa9\xc3\xa9\xff").unwrap_err();
        assert_eq!(problem.to_string(), "a.rhai:2:3: not UTF-8 text; save the file with the encoding UTF-8");
        assert_eq!(text(Path::new("a.rhai"), b"\xef\xbb\xbflet a;"), Ok("let a;"));
    }

    #[test]
    fn a_denied_file_says_who_must_be_let_in() {
        let problem = unreadable(Path::new("a.rhai"), &ErrorKind::PermissionDenied.into(), "file");
        assert!(problem.to_string().starts_with("a.rhai: permission to read it is denied; let the user"));
    }

    #[test]
    fn a_stamp_is_trusted_only_after_two_quiet_seconds() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let metadata = file.as_file().metadata().unwrap();
        let written = u64::try_from(millis((metadata.mtime(), metadata.mtime_nsec()))).unwrap();
        let read_after =
            |millis| Stamp::of(&metadata, Wall::from_millis(written + millis)).still_stands(file.path());
        assert!(!read_after(0) && !read_after(1999));
        assert!(read_after(2000));
        let before_it_was_written = Stamp::of(&metadata, Wall::from_millis(written - 5000));
        assert!(!before_it_was_written.still_stands(file.path()));
    }
}
