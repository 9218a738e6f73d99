//! The writer: the far end of the queue, where records become lines.
//!
//! [`Writer::step`] takes one batch from the queue to the disk and knows no thread and no clock, so every
//! test drives it by hand; [`Writer::start`] puts it on a thread of its own. Trouble with the disk costs
//! records, which are counted and warned about once, and never stops the queue from being emptied.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;
use std::{io, mem};

use super::batch::Batch;
use super::log::Log;
use super::log_file::AppendError;
use super::recorder::Shared;
use super::{Entry, Settings};
use crate::facts::time::{Now, Tick};

/// A batch is written when it has this many bytes, or when the queue is empty.
const BATCH: usize = 256 * 1024;
/// An overflow is over when the queue had room for this long.
const CALM: Duration = Duration::from_secs(10);
/// How long a writer that is merely dropped may take to finish.
const PATIENCE: Duration = Duration::from_secs(5);

/// Empties the queue into the log.
pub struct Writer<T: Entry> {
    shared: Arc<Shared<T>>,
    log: Log,
    batch: Batch,
    /// The size at which a batch is full.
    enough: usize,
    flush_interval: Duration,
    outage: Outage,
    overflow: Overflow,
    /// Whether an unfit record was warned about.
    unfit: bool,
}

/// Whether the queue has more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The queue was emptied.
    Idle,
    /// The batch was full before the queue was empty.
    More,
}

/// A writer on its thread. Dropping it closes it, with five seconds of patience.
#[must_use = "dropping it closes the decision log"]
pub struct Running<T: Entry> {
    shared: Arc<Shared<T>>,
    /// Breaks off when the writer is done.
    done: Receiver<()>,
}

/// The decision log was not written to its end in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the decision log was not finished within {deadline:?}; {left} records are lost")]
pub struct CloseError {
    deadline: Duration,
    left: usize,
}

/// A time in which the log cannot be written.
#[derive(Default)]
enum Outage {
    #[default]
    None,
    Since {
        lost: u64,
    },
}

/// Watches the queue's overflow, to say when it is over.
#[derive(Default)]
struct Overflow {
    seen: u64,
    reported: u64,
    last: Tick,
}

impl<T: Entry> Writer<T> {
    pub(super) fn new(shared: Arc<Shared<T>>, settings: Settings) -> Self {
        Self {
            shared,
            batch: Batch::default(),
            enough: BATCH.min(usize::try_from(settings.max_size).unwrap_or(BATCH)).max(1),
            // A thread that never sleeps would take a core from the requests.
            flush_interval: settings.flush_interval.max(Duration::from_millis(1)),
            log: Log::new(settings),
            outage: Outage::None,
            overflow: Overflow::default(),
            unfit: false,
        }
    }

    /// Runs the writer on a thread of its own. Call it after the process has forked, if it does.
    pub fn start(self, clock: impl Fn() -> Now + Send + 'static) -> io::Result<Running<T>> {
        let shared = self.shared.clone();
        let (alive, done) = sync_channel(1);
        let worker = thread::Builder::new().name("decision-log".into()).spawn(move || {
            self.run(clock);
            drop(alive);
        })?;
        // Set once: a writer starts once.
        let _ = shared.thread.set(worker.thread().clone());
        Ok(Running { shared, done })
    }

    /// Takes one batch from the queue to the log, and looks after the files.
    pub fn step(&mut self, now: Now) -> Progress {
        self.shared.nudged.store(false, Relaxed);
        let progress = self.fill();
        self.shared.recent.extend(self.batch.records());
        self.append(now);
        self.watch_overflow(now.tick);
        progress
    }

    fn run(mut self, clock: impl Fn() -> Now) {
        loop {
            // Asked before the queue is emptied, so that nothing recorded before the end is left behind.
            let closed = self.shared.closed.load(SeqCst);
            let now = clock();
            // Somebody gave up on this writer and counted what waits as lost.
            if self.shared.finished.load(SeqCst) {
                return;
            }
            match self.step(now) {
                Progress::More => {}
                Progress::Idle if closed => break,
                Progress::Idle => thread::park_timeout(self.flush_interval),
            }
        }
        if let Err(error) = self.log.sync() {
            tracing::warn!(%error, "the end of the decision log may not be on disk yet");
        }
    }

    /// Fills the batch from the queue.
    fn fill(&mut self) -> Progress {
        self.batch.clear();
        while self.batch.bytes().len() < self.enough {
            let Some(entry) = self.shared.queue.pop() else { return Progress::Idle };
            if let Err(error) = self.batch.add(&entry) {
                self.shared.lost.fetch_add(1, Relaxed);
                if !mem::replace(&mut self.unfit, true) {
                    let id = entry.id();
                    tracing::warn!(%id, %error, "a decision cannot be logged and is dropped, like others to come");
                }
            }
        }
        Progress::More
    }

    /// Writes the batch; also called without one, to look after the files.
    fn append(&mut self, now: Now) {
        let lines = self.batch.len();
        let done = self.log.append(self.batch.bytes(), now);
        let (written, bytes) = match &done {
            Ok(()) => (lines, self.batch.bytes().len()),
            Err(failed) => (self.batch.lines_within(failed.written), failed.written),
        };
        let lost = (lines - written) as u64;
        self.shared.written.fetch_add(written as u64, Relaxed);
        self.shared.bytes.fetch_add(bytes as u64, Relaxed);
        self.shared.lost.fetch_add(lost, Relaxed);
        match done {
            Ok(()) if lines > 0 => self.outage.end(),
            Ok(()) => {}
            Err(failed) => self.outage.go_on(&failed, lost),
        }
    }

    fn watch_overflow(&mut self, now: Tick) {
        let overflowed = self.shared.overflowed.load(Relaxed);
        if overflowed != self.overflow.seen {
            self.overflow.seen = overflowed;
            self.overflow.last = now;
        } else if overflowed != self.overflow.reported
            && now.elapsed().saturating_sub(self.overflow.last.elapsed()) >= CALM
        {
            let lost = overflowed - mem::replace(&mut self.overflow.reported, overflowed);
            self.shared.overflowing.store(false, Relaxed);
            tracing::info!(lost, "the decision queue has room again");
        }
    }
}

/// Whoever ends the writer, the recorder must know: nobody will empty the queue.
impl<T: Entry> Drop for Writer<T> {
    fn drop(&mut self) {
        self.shared.closed.store(true, SeqCst);
        self.shared.finished.store(true, SeqCst);
    }
}

impl<T: Entry> Running<T> {
    /// Takes no more records, writes those that wait, and waits until they are on disk; at most so long.
    pub fn close(self, deadline: Duration) -> Result<(), CloseError> {
        self.finish(deadline)
    }

    fn finish(&self, deadline: Duration) -> Result<(), CloseError> {
        self.shared.closed.store(true, SeqCst);
        if let Some(thread) = self.shared.thread.get() {
            thread.unpark();
        }
        match self.done.recv_timeout(deadline) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                self.shared.finished.store(true, SeqCst);
                Err(CloseError { deadline, left: self.shared.queue.len() })
            }
        }
    }
}

impl<T: Entry> Drop for Running<T> {
    fn drop(&mut self) {
        if !self.shared.finished.load(SeqCst)
            && let Err(error) = self.finish(PATIENCE)
        {
            tracing::warn!("{error}");
        }
    }
}

impl Outage {
    fn go_on(&mut self, failed: &AppendError, more: u64) {
        match self {
            Self::Since { lost } => *lost += more,
            Self::None => {
                let error = &failed.error;
                tracing::warn!(%error, "the decision log cannot be written; requests go on, records are dropped");
                *self = Self::Since { lost: more };
            }
        }
    }

    fn end(&mut self) {
        if let Self::Since { lost } = mem::take(self) {
            tracing::info!(lost, "the decision log is written again");
        }
    }
}
