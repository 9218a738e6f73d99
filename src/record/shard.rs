//! A shard: the records of one worker that wait for the writer.
//!
//! The worker writes its records here itself, as lines; the writer takes them away batch by batch. Whatever the
//! number of workers, no more may wait than there is [`Room`] for. A worker draws on it for some records at
//! once, so that workers do not meet there either.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;

use super::Entry;
use super::batch::{Batch, SHARE, UnfitError};

/// The lines of one worker.
#[derive(Default)]
pub(super) struct Shard {
    /// Takes the next line.
    open: Batch,
    /// Full batches, oldest first.
    full: Vec<Batch>,
    /// Shares that were drawn and are not used yet.
    drawn: usize,
}

/// What all shards share: how much may wait, and emptied buffers.
pub(super) struct Room {
    /// Shares that nobody has drawn.
    free: CachePadded<AtomicUsize>,
    shares: usize,
    /// How many shares a worker draws at once.
    draft: usize,
    /// The size at which a batch is full.
    enough: usize,
    spare: ArrayQueue<Batch>,
}

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// As many wait as may.
    Full,
    /// It cannot be a line.
    Unfit(UnfitError),
}

/// The most shares that are drawn at once.
const DRAFT: usize = 64;

impl Shard {
    /// Adds a record as a line, or nothing.
    pub(super) fn add(&mut self, entry: &impl Entry, room: &Room) -> Result<(), Refused> {
        if self.drawn == 0 && room.free() == 0 {
            return Err(Refused::Full);
        }
        if self.open.len() == 0 {
            self.open = std::mem::take(&mut self.open).open(room.enough);
        }
        let before = self.open.shares();
        let added = self.open.add(entry).map_err(Refused::Unfit);
        let added = added.and_then(|()| self.pay(self.open.shares() - before, room));
        if self.open.bytes().len() >= room.enough || added.is_err() {
            self.open.fit_snugly(room.enough);
        }
        if self.open.bytes().len() >= room.enough {
            self.full.push(std::mem::replace(&mut self.open, room.spare()));
        }
        added
    }

    /// Hands over all batches, oldest first.
    pub(super) fn take(&mut self, room: &Room) -> Vec<Batch> {
        let mut taken = std::mem::take(&mut self.full);
        if self.open.len() > 0 {
            taken.push(std::mem::replace(&mut self.open, room.spare()));
        }
        taken
    }

    /// How many records wait here.
    pub(super) fn len(&self) -> usize {
        self.full.iter().chain([&self.open]).map(Batch::len).sum()
    }

    /// Pays for the last line, or takes it away again.
    fn pay(&mut self, shares: usize, room: &Room) -> Result<(), Refused> {
        if shares > self.drawn {
            self.drawn += room.draw(shares - self.drawn);
        }
        match self.drawn.checked_sub(shares) {
            Some(left) => {
                self.drawn = left;
                Ok(())
            }
            None => {
                self.open.undo();
                Err(Refused::Full)
            }
        }
    }
}

impl Room {
    /// Room for so many records in so many shards, in batches that are full at `enough` bytes.
    pub(super) fn new(records: usize, shards: usize, enough: usize) -> Self {
        // What one shard has drawn and does not use, others lack: an eighth of all at most.
        let draft = (records / (8 * shards)).clamp(1, DRAFT);
        let batches = records.saturating_mul(SHARE) / enough + 2 * shards;
        Self {
            free: CachePadded::new(AtomicUsize::new(records)),
            shares: records,
            draft,
            enough,
            spare: ArrayQueue::new(batches.min(records + 2 * shards)),
        }
    }

    /// How many records of usual length may wait.
    pub(super) fn shares(&self) -> usize {
        self.shares
    }

    /// Whether less than half of it is left.
    pub(super) fn is_low(&self) -> bool {
        self.free() < self.shares - self.shares / 2
    }

    /// Makes room again for what was in a batch, and keeps its buffer for another.
    pub(super) fn give_back(&self, batch: Batch) {
        self.free.fetch_add(batch.shares(), Relaxed);
        // If there are enough of them, this one is not kept.
        let _ = self.spare.push(batch.cleared(self.enough));
    }

    /// Gives a buffer back to the system if there are more than `wanted`.
    pub(super) fn shrink(&self, wanted: usize) {
        if self.spare.len() > wanted {
            drop(self.spare.pop());
        }
    }

    fn free(&self) -> usize {
        self.free.load(Relaxed)
    }

    fn spare(&self) -> Batch {
        self.spare.pop().unwrap_or_default()
    }

    /// Draws at least so many shares, or none.
    fn draw(&self, least: usize) -> usize {
        let take = |free: usize| free.min(self.draft.max(least));
        let enough = |free: usize| (take(free) >= least).then(|| free - take(free));
        self.free.fetch_update(Relaxed, Relaxed, enough).map_or(0, take)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn fill(shard: &mut Shard, room: &Room, notes: usize) -> usize {
        (0..notes).filter(|number| shard.add(&Note::numbered(*number), room).is_ok()).count()
    }

    #[test]
    fn two_shards_share_one_room_and_leave_little_of_it_unused() {
        let room = Room::new(64, 2, 1024);
        let (mut one, mut other) = (Shard::default(), Shard::default());
        assert_eq!(fill(&mut one, &room, 1), 1);
        let more = fill(&mut other, &room, 100);
        assert_eq!((room.draft, more), (4, 60));
        assert_eq!(fill(&mut one, &room, 100), 3);
        one.take(&room).into_iter().for_each(|batch| room.give_back(batch));
        assert_eq!(fill(&mut other, &room, 100), 4);
    }

    #[test]
    fn a_long_record_counts_for_several() {
        let room = Room::new(8, 1, 100_000);
        let mut shard = Shard::default();
        let long = Note::saying(&format!("{{\"a\":\"{}\"}}", "x".repeat(3 * SHARE)));
        let added: Vec<bool> = (0..4).map(|_| shard.add(&long, &room).is_ok()).collect();
        assert_eq!((added.as_slice(), shard.len()), ([true, true, false, false].as_slice(), 2));
        assert_eq!(fill(&mut shard, &room, 1), 1);
    }

    #[test]
    fn batches_are_full_at_their_size_and_their_buffers_come_back() {
        let line = Note::numbered(1).line().len();
        let room = Room::new(1000, 1, 2 * line);
        let mut shard = Shard::default();
        assert_eq!(fill(&mut shard, &room, 5), 5);
        let taken = shard.take(&room);
        assert_eq!(taken.iter().map(Batch::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(shard.len(), 0);
        taken.into_iter().for_each(|batch| room.give_back(batch));
        assert_eq!((room.spare.len(), room.free() + shard.drawn), (3, 1000));
        (0..9).for_each(|_| room.shrink(1));
        assert_eq!(room.spare.len(), 1);
    }
}
