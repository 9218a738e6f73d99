//! One open log file, and the promise that it holds whole lines only.
//!
//! Two processes may meet on one file, when one gate takes over from another: the file's lock says who owns
//! it. Only the owner mends, cuts or rotates; the other one appends whole lines and takes over when it can. A
//! device or a pipe is a stream: written to, and otherwise left alone.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::find::line_id;
use super::rotation::modified;
use super::{MAX_LINE, id_time, torn};
use crate::facts::time::Wall;

/// A log file that is open for appending.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    /// When its first record was made; unknown while it is empty.
    started: Option<Wall>,
    hold: Hold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// A regular file whose lock is ours.
    Owned,
    /// A regular file that another process owns.
    Shared,
    /// Not a regular file.
    Stream,
}

/// A batch that did not get through.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(super) struct AppendError {
    /// How many bytes of the batch are in the log: whole lines.
    pub(super) written: usize,
    /// Whether a torn line stays behind them.
    pub(super) torn: bool,
    pub(super) error: io::Error,
}

impl LogFile {
    /// Opens the log, creates it and its folder if need be, and mends its end.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        create_folder(path)?;
        let file = private().read(true).append(true).create(true).open(path)?;
        let hold = if file.metadata()?.is_file() { Hold::Shared } else { Hold::Stream };
        let mut log = Self { path: path.to_path_buf(), file, size: 0, started: None, hold };
        log.claim()?;
        if log.hold != Hold::Stream {
            log.size = log.file.metadata()?.len();
            log.started = log.first_moment()?;
        }
        Ok(log)
    }

    /// Whether the file still lies at its path: it may have been deleted or moved away. Also notices a change
    /// of its size, and an owner who went.
    pub(super) fn in_place(&mut self) -> io::Result<bool> {
        if self.hold == Hold::Stream {
            return Ok(true);
        }
        let there = match fs::metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            there => there?,
        };
        if !same_file(&there, &self.file.metadata()?) {
            return Ok(false);
        }
        self.claim()?;
        self.size = self.file.metadata()?.len();
        Ok(true)
    }

    /// Appends whole lines with one write call. If that fails half-way, the torn line is cut off again.
    pub(super) fn append(&mut self, lines: &[u8], now: Wall) -> Result<(), AppendError> {
        let mut done = 0;
        while let Some(rest) = lines.get(done..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(0) => return Err(self.cut(lines, done, ErrorKind::WriteZero.into())),
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.cut(lines, done, error)),
            }
        }
        self.size += done as u64;
        self.started.get_or_insert(now);
        Ok(())
    }

    pub(super) fn hold(&self) -> Hold {
        self.hold
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// How long ago its first record was made; zero if it has none.
    pub(super) fn age(&self, now: Wall) -> Duration {
        let started = self.started.filter(|_| self.size > 0).unwrap_or(now);
        Duration::from_millis(now.as_millis().saturating_sub(started.as_millis()))
    }

    /// Waits until everything is on the disk itself. A stream has no disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        match self.hold {
            Hold::Owned | Hold::Shared => self.file.sync_data(),
            Hold::Stream => Ok(()),
        }
    }

    /// Becomes the owner of a file that nobody owns.
    fn claim(&mut self) -> io::Result<()> {
        if self.hold != Hold::Shared || matches!(self.file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Ok(());
        }
        // A file system that knows no locks knows no second owner either.
        self.hold = Hold::Owned;
        torn::mend(&mut self.file, &self.path)
    }

    /// After a write that broke off: leaves the whole lines among the first `done` bytes.
    fn cut(&mut self, lines: &[u8], done: usize, error: io::Error) -> AppendError {
        let whole = lines.get(..done).and_then(|done| memchr::memrchr(b'\n', done)).map_or(0, |at| at + 1);
        let excess = (done - whole) as u64;
        let torn = excess > 0 && (self.hold != Hold::Owned || self.shorten(excess).is_err());
        AppendError { written: whole, torn, error }
    }

    fn shorten(&mut self, excess: u64) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        self.file.set_len(length.saturating_sub(excess))
    }

    /// The moment in the id of the first record, or else when the file was last written.
    fn first_moment(&mut self) -> io::Result<Option<Wall>> {
        if self.size == 0 {
            return Ok(None);
        }
        self.file.rewind()?;
        let mut line = Vec::new();
        BufReader::new((&self.file).take(MAX_LINE as u64)).read_until(b'\n', &mut line)?;
        Ok(line_id(&line).and_then(id_time).or(modified(self.file.metadata()?)))
    }
}

/// Options that create files for their owner's eyes only, where the system can say so.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn create_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(unix)]
fn same_file(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Elsewhere a file has no number that std can tell: its creation time has to do.
#[cfg(not(unix))]
fn same_file(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    one.created().ok() == other.created().ok()
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    const NOW: Wall = Wall::from_millis(1_795_456_590_000);

    #[cfg(unix)]
    #[test]
    fn folder_and_file_are_for_the_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/d.jsonl");
        LogFile::open(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn a_write_that_broke_off_leaves_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.jsonl");
        let mut log = LogFile::open(&path).unwrap();
        let lines = b"{\"n\":1}\n{\"n\":2}\n";
        // What a full disk does: it takes the first 11 bytes, then it fails.
        log.append(b"{}\n", NOW).unwrap();
        log.file.write_all(&lines[..11]).unwrap();
        let failed = log.cut(lines, 11, ErrorKind::StorageFull.into());
        assert_eq!((failed.written, failed.torn), (8, false));
        assert_eq!(fs::read(&path).unwrap(), b"{}\n{\"n\":1}\n");
    }

    #[test]
    fn a_second_process_appends_but_does_not_mend_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.jsonl");
        let mut first = LogFile::open(&path).unwrap();
        first.append(b"{}\n", NOW).unwrap();
        first.file.write_all(b"{\"half").unwrap();
        let mut second = LogFile::open(&path).unwrap();
        assert_eq!((first.hold(), second.hold()), (Hold::Owned, Hold::Shared));
        assert_eq!(fs::read(&path).unwrap(), b"{}\n{\"half");
        drop(first);
        assert!(second.in_place().unwrap());
        assert_eq!((second.hold(), second.size()), (Hold::Owned, 3));
        assert_eq!(fs::read(&path).unwrap(), b"{}\n");
    }

    #[test]
    fn the_age_of_a_file_is_that_of_its_first_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.jsonl");
        fs::write(&path, [Note::at(NOW, 1).line(), Note::at(moment(50).wall, 2).line()].concat()).unwrap();
        let later = Wall::from_millis(NOW.as_millis() + 60_000);
        assert_eq!(LogFile::open(&path).unwrap().age(later), Duration::from_secs(60));
        fs::write(&path, "").unwrap();
        assert_eq!(LogFile::open(&path).unwrap().age(later), Duration::ZERO);
    }
}
