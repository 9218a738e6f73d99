//! Records: what is kept of every decision, as JSON lines on disk and as a short memory of the last ones.
//!
//! A request gives its record to a [`Recorder`], which writes it as a line into a buffer of the worker's own: no
//! allocation, no waiting, and a record that finds no room is counted. One background [`Writer`] takes whole
//! buffers, puts their lines in order, remembers the last ones ([`Recent`]) and writes; it rotates, prunes and
//! repairs the files. Nothing here may ever fail or slow down a request.

mod batch;
mod decision;
mod find;
mod json;
mod log;
mod log_file;
mod merge;
mod recent;
mod recorder;
mod rotation;
mod shard;
mod torn;
mod writer;

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

use self::batch::{Batch, SHARE};
pub use self::decision::{DecisionRecord, rfc3339};
pub use self::find::find_in_files;
pub use self::recent::Recent;
pub use self::recorder::{Recorder, Stats};
pub use self::writer::{CloseError, Running, Writer};
use crate::facts::time::{Tick, Wall};
use crate::workers;

/// The longest line that is written or read back, in bytes with its newline. A longer record is dropped.
pub const MAX_LINE: usize = 1024 * 1024;

/// Something that can be kept: it has an id and becomes one line of JSON.
pub trait Entry {
    /// The id under which the record is found again. A UUIDv7 lets a search skip files.
    fn id(&self) -> Uuid;

    /// When it was made. Lines of several workers that are written together are put in this order.
    fn made(&self) -> Tick;

    /// Appends one JSON object on one line, without a newline at its end. Its member `id` is [`Entry::id`] in
    /// the usual hyphenated lower-case form. An object that breaks this is dropped and counted.
    fn write_json(&self, out: &mut Vec<u8>);
}

/// Where records go and how many of them are kept: `[decisions]` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file that is written now. Rotated ones lie beside it.
    pub path: PathBuf,
    /// How many records of up to 1 KiB may wait for the writer; one more is dropped. A longer one counts for several.
    pub queue: NonZeroUsize,
    /// How many threads record at the same time. More than that share buffers, and may wait for each other.
    pub workers: NonZeroUsize,
    /// How long a record waits at most before it is on disk, if the disk keeps up.
    pub flush_interval: Duration,
    /// A file that would grow beyond this many bytes is rotated.
    pub max_size: u64,
    /// A file whose first record is this old is rotated.
    pub max_age: Duration,
    /// How many rotated files are kept; with 0, a full file is deleted.
    pub keep_files: usize,
    /// How long a rotated file is kept.
    pub keep_for: Duration,
    /// How many records [`Recent`] remembers.
    pub recent: usize,
    /// How many bytes [`Recent`] remembers at most.
    pub recent_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        const QUEUE: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();
        Self {
            path: PathBuf::from("data/decisions.jsonl"),
            queue: QUEUE,
            workers: workers::usual(),
            flush_interval: Duration::from_millis(100),
            max_size: 256 * 1024 * 1024,
            max_age: 24 * HOUR,
            keep_files: 14,
            keep_for: 30 * 24 * HOUR,
            recent: 1024,
            recent_bytes: 4 * 1024 * 1024,
        }
    }
}

impl Settings {
    /// The most bytes that the files can take on disk: the current one, the rotated ones, and a torn tail.
    pub fn max_bytes(&self) -> u64 {
        let files = u64::try_from(self.keep_files).unwrap_or(u64::MAX).saturating_add(1);
        self.max_file().saturating_mul(files).saturating_add(MAX_LINE as u64)
    }

    /// The most bytes of memory that waiting and recent records take, and the buffers between them.
    pub fn memory_bytes(&self) -> usize {
        // A buffer has room for one line more than it needs, and an index of its lines, of which another puts them in
        // order. Each worker fills a buffer, of each one may be with the writer, which has one of its own.
        let share = SHARE + SHARE / 16 + 3 * Batch::INDEX;
        let buffers = self.workers.get().saturating_mul(2).saturating_add(1);
        let buffers = buffers.saturating_mul(Batch::capacity(self.enough()));
        let waiting = self.queue.get().saturating_mul(share).saturating_add(buffers);
        let recent = self.recent.saturating_mul(Recent::OVERHEAD).saturating_add(self.recent_bytes);
        waiting.saturating_add(recent)
    }

    /// A batch is written when it has this many bytes, or when its time has come.
    fn enough(&self) -> usize {
        const BATCH: usize = 256 * 1024;
        BATCH.min(usize::try_from(self.max_size).unwrap_or(BATCH)).max(1)
    }

    /// The most bytes in one file: a batch is cut after the line that fills it.
    fn max_file(&self) -> u64 {
        self.max_size.saturating_add(MAX_LINE as u64)
    }
}

/// Whether this process can write a log at `path`; creates it and its folder if need be. Without this, a log that cannot be
/// written costs records, and stops nothing.
pub fn check(path: &Path) -> io::Result<()> {
    log_file::LogFile::open(path).map(drop)
}

/// The moment inside a UUIDv7; `None` for other ids.
fn id_time(id: Uuid) -> Option<Wall> {
    let millis = (id.as_u128() >> 80) as u64;
    (id.get_version_num() == 7).then(|| Wall::from_millis(millis))
}

#[cfg(test)]
mod testing;
#[cfg(all(test, unix))]
mod tests;
