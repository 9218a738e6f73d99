//! The writer: the far end of the log, where lines go to disk.
//!
//! [`Writer::step`] takes all that waits from the workers to the disk and knows no thread and no clock, so every
//! test drives it by hand; [`Writer::start`] puts it on a thread of its own. Trouble with the disk costs
//! records, which are counted and warned about once, and never stops the shards from being emptied.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;
use std::{io, mem};

use super::Settings;
use super::batch::Batch;
use super::log::Log;
use super::log_file::AppendError;
use super::recorder::Shared;
use crate::facts::time::{Now, Tick};

/// An overflow is over when the queue had room for this long.
const CALM: Duration = Duration::from_secs(10);
/// How long a writer that is merely dropped may take to finish.
const PATIENCE: Duration = Duration::from_secs(5);

/// Empties the shards into the log.
pub struct Writer {
    shared: Arc<Shared>,
    log: Log,
    flush_interval: Duration,
    outage: Outage,
    overflow: Overflow,
}

/// A writer on its thread. Dropping it closes it, with five seconds of patience.
#[must_use = "dropping it closes the decision log"]
pub struct Running {
    shared: Arc<Shared>,
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

/// Watches the overflow, to say when it is over.
#[derive(Default)]
struct Overflow {
    seen: u64,
    reported: u64,
    last: Tick,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, settings: Settings) -> Self {
        Self {
            shared,
            // A thread that never sleeps would take a core from the requests.
            flush_interval: settings.flush_interval.max(Duration::from_millis(1)),
            log: Log::new(settings),
            outage: Outage::None,
            overflow: Overflow::default(),
        }
    }

    /// Runs the writer on a thread of its own. Call it after the process has forked, if it does.
    pub fn start(self, clock: impl Fn() -> Now + Send + 'static) -> io::Result<Running> {
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

    /// Takes all that waits to the log, batch by batch, and looks after the files.
    pub fn step(&mut self, now: Now) {
        self.shared.nudged.store(false, Relaxed);
        let batches = self.shared.take();
        let count = batches.len();
        if batches.is_empty() {
            self.append(&Batch::default(), now);
        }
        let mut later: usize = batches.iter().map(Batch::len).sum();
        for batch in batches {
            later -= batch.len();
            self.shared.recent.extend(batch.records(), batch.len(), later);
            self.append(&batch, now);
            self.shared.room.give_back(batch);
        }
        self.shared.room.shrink(count);
        self.watch_overflow(now.tick);
    }

    fn run(mut self, clock: impl Fn() -> Now) {
        loop {
            // Asked before the shards are emptied, so that nothing recorded before the end is left behind.
            let closed = self.shared.closed.load(SeqCst);
            let now = clock();
            // Somebody gave up on this writer and counted what waits as lost.
            if self.shared.finished.load(SeqCst) {
                return;
            }
            self.step(now);
            if closed {
                break;
            }
            thread::park_timeout(self.flush_interval);
        }
        if let Err(error) = self.log.sync() {
            tracing::warn!(%error, "the end of the decision log may not be on disk yet");
        }
    }

    /// Writes a batch; one without lines looks after the files.
    fn append(&mut self, batch: &Batch, now: Now) {
        let lines = batch.len();
        let done = self.log.append(batch.bytes(), now);
        let (written, bytes) = match &done {
            Ok(()) => (lines, batch.bytes().len()),
            Err(failed) => (batch.lines_within(failed.written), failed.written),
        };
        let lost = (lines - written) as u64;
        self.shared.written.fetch_add(written as u64, Relaxed);
        self.shared.bytes.fetch_add(bytes as u64, Relaxed);
        self.shared.lost.fetch_add(lost, Relaxed);
        self.shared.in_hand.fetch_sub(lines, Relaxed);
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

/// Whoever ends the writer, the recorder must know: nobody will take what waits.
impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.closed.store(true, SeqCst);
        self.shared.finished.store(true, SeqCst);
    }
}

impl Running {
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
                Err(CloseError { deadline, left: self.shared.waiting() })
            }
        }
    }
}

impl Drop for Running {
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
