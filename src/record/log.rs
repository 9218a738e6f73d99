//! The log: the file that is written now, opened, rotated and pruned as need be.
//!
//! Either a file is open, or the log waits for a moment and tries again. Any failure closes the file, so
//! there is one way back: open, mend, go on. Growth is bounded by the order of things: before a file is put
//! away, room is made for it, and a file that cannot be put away takes no more lines.

use std::io;
use std::time::Duration;

use super::Settings;
use super::log_file::{AppendError, Hold, LogFile};
use super::rotation::{Family, Keep};
use crate::facts::time::{Now, Tick, Wall};

/// How long a broken log is left alone.
const RETRY: Duration = Duration::from_secs(1);
/// How often old files are looked for while nothing is rotated.
const PRUNE: Duration = Duration::from_secs(3600);

/// Takes batches of whole lines.
pub(super) struct Log {
    settings: Settings,
    state: State,
    prune_at: Tick,
    /// A torn line was left where only its owner may mend it.
    torn: bool,
}

enum State {
    Open(LogFile),
    Closed { retry_at: Tick },
}

impl Log {
    pub(super) fn new(settings: Settings) -> Self {
        let now = Tick::default();
        Self { settings, state: State::Closed { retry_at: now }, prune_at: now, torn: false }
    }

    /// Appends whole lines, or looks after the files if there are none.
    pub(super) fn append(&mut self, lines: &[u8], now: Now) -> Result<(), AppendError> {
        let nothing = |error| AppendError { written: 0, torn: false, error };
        let file = self.take(now).map_err(nothing)?;
        let mut file = self.rotate_if_due(file, lines.len() as u64, now.wall).map_err(nothing)?;
        if self.torn && !lines.is_empty() {
            if file.hold() != Hold::Owned {
                file.append(b"\n", now.wall)?;
            }
            self.torn = false;
        }
        let done = file.append(lines, now.wall);
        match &done {
            Ok(()) => self.state = State::Open(file),
            Err(failed) => self.torn |= failed.torn,
        }
        done
    }

    /// Waits until what was appended is on the disk itself.
    pub(super) fn sync(&self) -> io::Result<()> {
        match &self.state {
            State::Open(file) => file.sync(),
            State::Closed { .. } => Ok(()),
        }
    }

    /// The file at the configured path; opened anew if need be. Unless it is put back, the log is closed.
    fn take(&mut self, now: Now) -> io::Result<LogFile> {
        let after = |wait: Duration| Tick::from_elapsed(now.tick.elapsed().saturating_add(wait));
        let known = match std::mem::replace(&mut self.state, State::Closed { retry_at: after(RETRY) }) {
            State::Closed { retry_at } if now.tick < retry_at => {
                self.state = State::Closed { retry_at };
                return Err(io::Error::new(io::ErrorKind::WouldBlock, "the log is closed for a moment"));
            }
            State::Closed { .. } => None,
            State::Open(mut file) => file.in_place()?.then_some(file),
        };
        let file = match known {
            Some(file) if now.tick < self.prune_at => return Ok(file),
            Some(file) => file,
            None => LogFile::open(&self.settings.path)?,
        };
        self.prune_at = after(PRUNE);
        self.prune(&file, now.wall);
        Ok(file)
    }

    fn rotate_if_due(&self, file: LogFile, incoming: u64, now: Wall) -> io::Result<LogFile> {
        let empty = file.size() == 0;
        let full = !empty && incoming > 0 && file.size().saturating_add(incoming) > self.settings.max_size;
        let old = !empty && file.age(now) >= self.settings.max_age;
        match file.hold() {
            Hold::Owned if full || old => self.rotate(file, now),
            Hold::Shared if full => Err(io::Error::other("it is full, and another process owns it")),
            Hold::Owned | Hold::Shared | Hold::Stream => Ok(file),
        }
    }

    /// Puts `file` away and opens a new one.
    fn rotate(&self, file: LogFile, now: Wall) -> io::Result<LogFile> {
        let path = &self.settings.path;
        let family = Family::of(path)?;
        family.prune(self.keep(self.settings.keep_files.saturating_sub(1)), now)?;
        let home = std::fs::canonicalize(path)?;
        match self.settings.keep_files {
            0 => std::fs::remove_file(home)?,
            _ => std::fs::rename(home, family.next(now)?)?,
        }
        drop(file);
        LogFile::open(path)
    }

    /// Deletes what is too old or too much. A failure costs nothing yet: before the next rotation it counts.
    fn prune(&self, file: &LogFile, now: Wall) {
        if file.hold() != Hold::Owned {
            return;
        }
        let keep = self.keep(self.settings.keep_files);
        if let Err(error) = Family::of(&self.settings.path).and_then(|family| family.prune(keep, now)) {
            tracing::warn!(%error, "old decision logs cannot be deleted; look at their folder's permissions");
        }
    }

    fn keep(&self, files: usize) -> Keep {
        let bytes = self.settings.max_file().saturating_mul(files as u64);
        Keep { files, bytes, age: self.settings.keep_for }
    }
}
