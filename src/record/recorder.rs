//! The recorder: the near end of the log, held by whoever has something to record.
//!
//! [`Recorder::record`] is on the path of every request, so it writes one line into the worker's own buffer and
//! does nothing else: no allocation but for a fresh buffer now and then, a lock that nobody else wants but the
//! writer for the time of a swap, and no system call except for a rare nudge when the writer falls behind.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;

use uuid::Uuid;

use super::batch::{Batch, UnfitError};
use super::shard::{Refused, Room, Shard};
use super::{Entry, Recent, Settings, Writer};
use crate::workers::PerWorker;

/// Takes records for the background writer. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
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
    /// Records that wait for the writer now, or are in its hands.
    pub queued: usize,
}

/// What both ends see.
pub(super) struct Shared {
    shards: PerWorker<Mutex<Shard>>,
    pub(super) room: Room,
    /// Records that the writer has taken and not written yet.
    pub(super) in_hand: AtomicUsize,
    pub(super) recent: Recent,
    pub(super) written: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Records that the writer had to give up, and those that cannot be a line.
    pub(super) lost: AtomicU64,
    /// Records that found no room.
    pub(super) overflowed: AtomicU64,
    /// Whether the present overflow was warned about.
    pub(super) overflowing: AtomicBool,
    /// Whether an unfit record was warned about.
    unfit: AtomicBool,
    /// Records that came after the end.
    late: AtomicU64,
    /// No more records are taken.
    pub(super) closed: AtomicBool,
    /// Nobody takes what waits any more.
    pub(super) finished: AtomicBool,
    /// Whether the writer was told to hurry and has not looked yet.
    pub(super) nudged: AtomicBool,
    /// The writer's thread, once it runs.
    pub(super) thread: OnceLock<Thread>,
}

impl Recorder {
    /// A recorder and the writer that serves it. Nothing touches the disk before the writer steps.
    pub fn new(settings: Settings) -> (Self, Writer) {
        let shards = PerWorker::new(settings.workers, Mutex::default);
        let shared = Arc::new(Shared {
            room: Room::new(settings.queue.get(), shards.len(), settings.enough()),
            shards,
            in_hand: AtomicUsize::new(0),
            recent: Recent::new(settings.recent, settings.recent_bytes),
            written: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            overflowed: AtomicU64::new(0),
            overflowing: AtomicBool::new(false),
            unfit: AtomicBool::new(false),
            late: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            nudged: AtomicBool::new(false),
            thread: OnceLock::new(),
        });
        (Self { shared: shared.clone() }, Writer::new(shared, settings))
    }

    /// Takes a record. Never waits for the disk: if there is no room, or the log is closed, the record is dropped
    /// and counted.
    pub fn record(&self, entry: &impl Entry) {
        let shared = &*self.shared;
        if shared.closed.load(Relaxed) {
            shared.late.fetch_add(1, Relaxed);
            return;
        }
        // Nothing is told or woken while the shard is locked.
        let added = lock(shared.shards.own()).add(entry, &shared.room);
        match added {
            Ok(()) if shared.room.is_low() => shared.nudge(),
            Ok(()) => {}
            Err(Refused::Full) => shared.overflow(),
            Err(Refused::Unfit(error)) => shared.unfit(entry.id(), error),
        }
    }

    /// How many records are lost so far, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.stats().dropped
    }

    /// What became of the records so far.
    pub fn stats(&self) -> Stats {
        let shared = &*self.shared;
        let queued = shared.waiting();
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

impl Shared {
    /// Everything that waits, worker by worker.
    pub(super) fn take(&self) -> Vec<Batch> {
        let take = |shard: &Mutex<Shard>| {
            let mut shard = lock(shard);
            // At no moment is a record neither here nor there.
            self.in_hand.fetch_add(shard.len(), Relaxed);
            shard.take(&self.room)
        };
        self.shards.iter().flat_map(take).collect()
    }

    /// How many records are not written yet.
    pub(super) fn waiting(&self) -> usize {
        let in_shards: usize = self.shards.iter().map(|shard| lock(shard).len()).sum();
        in_shards + self.in_hand.load(Relaxed)
    }

    #[cold]
    fn overflow(&self) {
        self.overflowed.fetch_add(1, Relaxed);
        if !self.overflowing.swap(true, Relaxed) {
            let capacity = self.room.shares();
            tracing::warn!(capacity, "the decision queue is full; requests go on, records are dropped");
        }
        self.nudge();
    }

    #[cold]
    fn unfit(&self, id: Uuid, error: UnfitError) {
        self.lost.fetch_add(1, Relaxed);
        if !self.unfit.swap(true, Relaxed) {
            tracing::warn!(%id, %error, "a decision cannot be logged and is dropped, like others to come");
        }
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

/// A panic while a line is written is caught before it gets here, so that a shard is whole whenever it is unlocked.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts_and_warns_once() {
        let folder = tempfile::tempdir().unwrap();
        let (recorder, _writer) = Recorder::new(small_queue(&folder, 3));
        let warnings = warnings_of(|| (0..10).for_each(|n| recorder.record(&Note::numbered(n))));
        assert_eq!(recorder.stats(), Stats { dropped: 7, queued: 3, ..Stats::default() });
        assert_eq!(warnings, ["the decision queue is full; requests go on, records are dropped"]);
    }

    #[test]
    fn without_a_writer_every_record_counts_as_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let (recorder, writer) = Recorder::new(small_queue(&folder, 3));
        recorder.record(&Note::numbered(1));
        drop(writer);
        recorder.record(&Note::numbered(2));
        assert_eq!(recorder.dropped(), 2);
    }

    #[test]
    fn eight_threads_that_overfill_the_queue_are_counted_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let (recorder, mut writer) = Recorder::new(small_queue(&folder, 1000));
        from_threads(8, 10_000, &recorder);
        assert_eq!(recorder.dropped(), 79_000);
        writer.step(moment(0));
        assert_eq!(recorder.stats().written, 1000);
        assert_eq!(whole_lines(&folder.path().join("d.jsonl")), 1000);
    }

    #[test]
    fn eight_threads_with_room_enough_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        // Shards of their own, or shared by all: it is the same to them.
        for workers in [1, 3, 8] {
            let path = folder.path().join(format!("{workers}.jsonl"));
            let workers = workers.try_into().unwrap();
            // What one shard has drawn, the others cannot use.
            let (recorder, writer) =
                Recorder::new(Settings { path: path.clone(), workers, ..small_queue(&folder, 81_000) });
            let running = writer.start(|| moment(0)).unwrap();
            from_threads(8, 10_000, &recorder);
            running.close(std::time::Duration::from_secs(60)).unwrap();
            let stats = recorder.stats();
            assert_eq!((stats.written, stats.dropped, stats.queued), (80_000, 0, 0));
            assert_eq!(whole_lines(&path), 80_000);
        }
    }
}
