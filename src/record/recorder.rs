//! The recorder: the near end of the queue, held by whoever has something to record.
//!
//! [`Recorder::record`] is on the path of every request, so it takes one queue slot and nothing else: no
//! lock, no allocation, and no system call except for a rare nudge when the writer falls behind. It must
//! never wait.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use crossbeam_queue::ArrayQueue;

use super::{Entry, Recent, Settings, Writer};

/// Hands records to the background writer. Cheap to clone.
pub struct Recorder<T> {
    shared: Arc<Shared<T>>,
}

/// What became of the records so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records that are lost: no room in the queue, not writable, not valid, or too late.
    pub dropped: u64,
    /// Records that were written to the log.
    pub written: u64,
    /// Bytes that were written to the log.
    pub bytes: u64,
    /// Records that wait for the writer now.
    pub queued: usize,
}

/// What both ends of the queue see.
pub(super) struct Shared<T> {
    pub(super) queue: ArrayQueue<T>,
    /// Above this many waiting records the writer is woken early.
    high_water: usize,
    pub(super) recent: Recent,
    pub(super) written: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Records that the writer had to give up.
    pub(super) lost: AtomicU64,
    /// Records that found the queue full.
    pub(super) overflowed: AtomicU64,
    /// Whether the present overflow was warned about.
    pub(super) overflowing: AtomicBool,
    /// Records that came after the end.
    late: AtomicU64,
    /// No more records are taken.
    pub(super) closed: AtomicBool,
    /// Nobody empties the queue any more.
    pub(super) finished: AtomicBool,
    /// Whether the writer was told to hurry and has not looked yet.
    pub(super) nudged: AtomicBool,
    /// The writer's thread, once it runs.
    pub(super) thread: OnceLock<Thread>,
}

impl<T: Entry> Recorder<T> {
    /// A recorder and the writer that serves it. Nothing touches the disk before the writer steps.
    pub fn new(settings: Settings) -> (Self, Writer<T>) {
        let shared = Arc::new(Shared {
            queue: ArrayQueue::new(settings.queue.get()),
            high_water: settings.queue.get() / 2,
            recent: Recent::new(settings.recent, settings.recent_bytes),
            written: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            overflowed: AtomicU64::new(0),
            overflowing: AtomicBool::new(false),
            late: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            nudged: AtomicBool::new(false),
            thread: OnceLock::new(),
        });
        (Self { shared: shared.clone() }, Writer::new(shared, settings))
    }

    /// Hands over a record. Never waits: if the queue is full or closed, the record is dropped and counted.
    pub fn record(&self, entry: T) {
        let shared = &*self.shared;
        if shared.closed.load(Relaxed) {
            shared.late.fetch_add(1, Relaxed);
        } else if shared.queue.push(entry).is_err() {
            shared.overflow();
        } else if shared.queue.len() > shared.high_water {
            shared.nudge();
        }
    }
}

impl<T> Recorder<T> {
    /// How many records are lost so far, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.stats().dropped
    }

    /// What became of the records so far.
    pub fn stats(&self) -> Stats {
        let shared = &*self.shared;
        let queued = shared.queue.len();
        // A record may slip in while the writer takes its last look; nobody will ever write it.
        let stranded = if shared.finished.load(SeqCst) { queued as u64 } else { 0 };
        let dropped = [&shared.lost, &shared.overflowed, &shared.late];
        Stats {
            dropped: dropped.iter().map(|count| count.load(Relaxed)).sum::<u64>() + stranded,
            written: shared.written.load(Relaxed),
            bytes: shared.bytes.load(Relaxed),
            queued,
        }
    }

    /// The last records, as the writer saw them.
    pub fn recent(&self) -> &Recent {
        &self.shared.recent
    }
}

impl<T> Clone for Recorder<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T> Shared<T> {
    #[cold]
    fn overflow(&self) {
        self.overflowed.fetch_add(1, Relaxed);
        if !self.overflowing.swap(true, Relaxed) {
            let capacity = self.queue.capacity();
            tracing::warn!(capacity, "the decision queue is full; requests go on, records are dropped");
        }
        self.nudge();
    }

    #[cold]
    fn nudge(&self) {
        if !self.nudged.load(Relaxed)
            && !self.nudged.swap(true, Relaxed)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts_and_warns_once() {
        let folder = tempfile::tempdir().unwrap();
        let (recorder, _writer) = Recorder::new(small_queue(&folder, 3));
        let warnings = warnings_of(|| (0..10).for_each(|n| recorder.record(Note::numbered(n))));
        assert_eq!(recorder.stats(), Stats { dropped: 7, queued: 3, ..Stats::default() });
        assert_eq!(warnings, ["the decision queue is full; requests go on, records are dropped"]);
    }

    #[test]
    fn without_a_writer_every_record_counts_as_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let (recorder, writer) = Recorder::new(small_queue(&folder, 3));
        recorder.record(Note::numbered(1));
        drop(writer);
        recorder.record(Note::numbered(2));
        assert_eq!(recorder.dropped(), 2);
    }

    #[test]
    fn eight_threads_that_overfill_the_queue_are_counted_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let (recorder, mut writer) = Recorder::new(small_queue(&folder, 1000));
        from_threads(8, 10_000, &recorder);
        assert_eq!(recorder.dropped(), 79_000);
        drain(&mut writer, moment(0));
        assert_eq!(recorder.stats().written, 1000);
        assert_eq!(whole_lines(&folder.path().join("d.jsonl")), 1000);
    }

    #[test]
    fn eight_threads_with_room_enough_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (recorder, writer) = Recorder::new(small_queue(&folder, 80_000));
        let running = writer.start(|| moment(0)).unwrap();
        from_threads(8, 10_000, &recorder);
        running.close(std::time::Duration::from_secs(60)).unwrap();
        let stats = recorder.stats();
        assert_eq!((stats.written, stats.dropped, stats.queued), (80_000, 0, 0));
        assert_eq!(whole_lines(&folder.path().join("d.jsonl")), 80_000);
    }
}
