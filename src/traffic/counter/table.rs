//! A table of keys with a few words each, shared by all threads without locks.
//!
//! A key has two buckets of sixteen places and takes one in the emptier. Only 32 bits of its hash are kept, as a tag.
//! As long as there is room, every key has its words for itself. When both of its buckets are full, the key with the
//! least in a few places looked at is forgotten and begins at zero when it comes again: a key may read too little,
//! never what others did. Places that hold nothing are freed by [`Table::clear`], in the background. Who counts looks
//! again afterwards whether the place is still its own, and else takes it back.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::steps::Lanes;
use crate::traffic::kept::WordRow;

/// What the words of a key hold.
pub(super) trait Content {
    /// One thing to write down.
    type Mark: Copy;

    /// Writes it down.
    fn write(words: &[AtomicU32], mark: Self::Mark);
    /// Undoes that, as far as it can be.
    fn unwrite(words: &[AtomicU32], mark: Self::Mark);
    /// Empties lanes.
    fn clear(words: &[AtomicU32], lanes: Lanes);
    /// How much is in it; 0 if nothing.
    fn weight(words: &[AtomicU32]) -> u64;
}

/// Where a key is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// At its own place.
    Own(usize),
    /// Wherever its hash leads.
    Hashed(u64),
}

/// Keys and their words.
pub(super) struct Table {
    tags: Box<[Bucket]>,
    words: Box<[AtomicU32]>,
    stride: usize,
    forgotten: AtomicU64,
}

/// The tags of sixteen places, in one cache line.
#[repr(align(64))]
struct Bucket([AtomicU32; WAYS]);

const WAYS: usize = 16;
/// A place that is nobody's.
const FREE: u32 = 0;
/// A place that changes hands.
const MOVING: u32 = 1;
/// How often to try again when places change hands under our feet.
const TRIES: usize = 4;
/// How many places are looked at for the key to forget.
const CANDIDATES: usize = 8;

impl Table {
    /// A place for each of the first `places` numbers, with `stride` words each.
    pub(super) fn own(places: usize, stride: usize) -> Self {
        Self { tags: Box::default(), words: zeroed(places * stride), stride, forgotten: AtomicU64::new(0) }
    }

    /// About `places` places for any number of keys, with `stride` words each.
    pub(super) fn hashed(places: usize, stride: usize) -> Self {
        let buckets = places.div_ceil(WAYS).max(2);
        let tags = (0..buckets).map(|_| Bucket(Default::default())).collect();
        let words = zeroed(buckets * WAYS * stride);
        Self { tags, words, stride, forgotten: AtomicU64::new(0) }
    }

    /// What it takes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.tags) + size_of_val(&*self.words)
    }

    /// How many keys there is room for.
    pub(super) fn places(&self) -> usize {
        self.tags.len() * WAYS
    }

    /// The words of each key.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// How many keys were forgotten for want of room.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// Looks at the words of a key. There may be more than one place, since two threads may have met a new key at the
    /// same moment.
    pub(super) fn read(&self, at: Address, mut look: impl FnMut(&[AtomicU32])) {
        let hash = match at {
            Address::Own(place) => return look(self.words(place)),
            Address::Hashed(hash) => hash,
        };
        let tag = tag(hash);
        for bucket in self.buckets(hash) {
            for (way, known) in self.tags_of(bucket).iter().enumerate() {
                if known.load(Ordering::Acquire) == tag {
                    look(self.words(bucket * WAYS + way));
                }
            }
        }
    }

    /// Writes a mark into the words of a key, which gets a place if it has none.
    pub(super) fn write<C: Content>(&self, at: Address, mark: C::Mark) {
        let hash = match at {
            Address::Own(place) => return C::write(self.words(place), mark),
            Address::Hashed(hash) => hash,
        };
        let tag = tag(hash);
        for _ in 0..TRIES {
            let Some(place) = self.place::<C>(hash) else { continue };
            let words = self.words(place);
            C::write(words, mark);
            if self.slot(place).is_some_and(|slot| slot.load(Ordering::SeqCst) == tag) {
                return;
            }
            C::unwrite(words, mark);
        }
    }

    /// Empties lanes of every key, and frees the places that hold nothing any more. Not for the request path.
    pub(super) fn clear<C: Content>(&self, lanes: Lanes) {
        if self.tags.is_empty() {
            return self.words.chunks_exact(self.stride).for_each(|words| C::clear(words, lanes));
        }
        for place in 0..self.tags.len() * WAYS {
            let (Some(slot), words) = (self.slot(place), self.words(place)) else { continue };
            let tag = slot.load(Ordering::Acquire);
            if tag == FREE || tag == MOVING {
                continue;
            }
            C::clear(words, lanes);
            let is_ours = C::weight(words) == 0
                && slot.compare_exchange(tag, MOVING, Ordering::SeqCst, Ordering::Relaxed).is_ok();
            if is_ours {
                // Somebody may have counted just before; who counts from here on sees that the place is not its own.
                let next = if C::weight(words) == 0 { FREE } else { tag };
                slot.store(next, Ordering::SeqCst);
            }
        }
    }

    /// Every place that is somebody's, as it is.
    pub(super) fn rows(&self) -> impl Iterator<Item = WordRow> {
        let places = self.words.len() / self.stride.max(1);
        (0..places).filter_map(|place| {
            let tag = self.slot(place).map_or(FREE, |slot| slot.load(Ordering::Acquire));
            let is_used = self.tags.is_empty() || (tag != FREE && tag != MOVING);
            let words = || self.words(place).iter().map(|word| word.load(Ordering::Relaxed));
            let row = |place| WordRow { place, tag, words: words().collect() };
            (is_used && words().any(|word| word != 0)).then(|| u32::try_from(place).ok().map(row))?
        })
    }

    /// Puts a row back into its place, in a table of the same size; false if that is somebody else's.
    pub(super) fn recall(&self, row: &WordRow) -> bool {
        let place = row.place as usize;
        let words = self.words(place);
        if words.is_empty() || words.len() != row.words.len() {
            return false;
        }
        if let Some(slot) = self.slot(place) {
            let taken = slot.compare_exchange(FREE, row.tag, Ordering::SeqCst, Ordering::Relaxed);
            if row.tag == FREE || row.tag == MOVING || taken.is_err() {
                return false;
            }
        }
        words.iter().zip(&row.words).for_each(|(word, kept)| word.store(*kept, Ordering::SeqCst));
        true
    }

    /// The place of a key: its own, a free one, or that of a key with little in it. `None` if somebody else was faster.
    fn place<C: Content>(&self, hash: u64) -> Option<usize> {
        let tag = tag(hash);
        let mut free: Option<(usize, usize)> = None;
        for bucket in self.buckets(hash) {
            let (mut used, mut first) = (0, None);
            for (way, known) in self.tags_of(bucket).iter().enumerate() {
                match known.load(Ordering::Acquire) {
                    known if known == tag => return Some(bucket * WAYS + way),
                    FREE => first = first.or(Some(bucket * WAYS + way)),
                    _ => used += 1,
                }
            }
            if let Some(place) = first
                && free.is_none_or(|(least, _)| used < least)
            {
                free = Some((used, place));
            }
        }
        match free {
            Some((_, place)) => self.take(place, FREE, tag),
            None => self.forget::<C>(hash),
        }
    }

    #[cold]
    fn forget<C: Content>(&self, hash: u64) -> Option<usize> {
        let forgotten = self.forgotten.fetch_add(1, Ordering::Relaxed);
        let [first, second] = self.buckets(hash);
        let mut turn = (hash ^ forgotten).wrapping_mul(ODD);
        let candidates = (0..CANDIDATES).map(|at| {
            turn = turn.rotate_left(7).wrapping_mul(ODD);
            let bucket = if at % 2 == 0 { first } else { second };
            bucket * WAYS + (turn >> 60) as usize
        });
        let (_, place) = candidates.map(|place| (C::weight(self.words(place)), place)).min()?;
        let slot = self.slot(place)?;
        let before = slot.load(Ordering::Acquire);
        if before == FREE || before == MOVING {
            return None;
        }
        self.take(place, before, MOVING)?;
        self.words(place).iter().for_each(|word| word.store(0, Ordering::SeqCst));
        slot.store(tag(hash), Ordering::SeqCst);
        Some(place)
    }

    fn take(&self, place: usize, from: u32, to: u32) -> Option<usize> {
        match self.slot(place)?.compare_exchange(from, to, Ordering::SeqCst, Ordering::Acquire) {
            Ok(_) => Some(place),
            // Another thread brought the same key here.
            Err(known) => (known == to && to != MOVING).then_some(place),
        }
    }

    /// The two buckets of a key.
    fn buckets(&self, hash: u64) -> [usize; 2] {
        let within = |bits: u64, count: usize| (((bits >> 32) * count as u64) >> 32) as usize;
        let count = self.tags.len();
        let first = within(hash, count);
        let second = first + 1 + within(hash.wrapping_mul(ODD).rotate_left(29).wrapping_mul(ODD), count - 1);
        [first, if second < count { second } else { second - count }]
    }

    fn tags_of(&self, bucket: usize) -> &[AtomicU32] {
        self.tags.get(bucket).map_or(&[], |bucket| &bucket.0)
    }

    fn slot(&self, place: usize) -> Option<&AtomicU32> {
        self.tags_of(place / WAYS).get(place % WAYS)
    }

    fn words(&self, place: usize) -> &[AtomicU32] {
        self.words.get(place * self.stride..(place + 1) * self.stride).unwrap_or(&[])
    }
}

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

fn tag(hash: u64) -> u32 {
    let low = hash as u32;
    if low > MOVING { low } else { low + 2 }
}

fn zeroed(words: usize) -> Box<[AtomicU32]> {
    (0..words).map(|_| AtomicU32::new(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::events::Events;
    use super::*;
    use std::thread;

    fn total(table: &Table, hash: u64) -> u64 {
        let mut total = 0;
        table.read(Address::Hashed(hash), |words| total += Events::weight(words));
        total
    }

    fn hash(key: u64) -> u64 {
        (key + 1).wrapping_mul(ODD).rotate_left(31).wrapping_mul(ODD) ^ key
    }

    fn count(table: &Table, key: u64) {
        table.write::<Events>(Address::Hashed(hash(key)), 0);
    }

    fn lane(lane: usize) -> Lanes {
        Lanes::NONE.with(lane)
    }

    #[test]
    fn every_key_has_its_words_for_itself_while_there_is_room() {
        let table = Table::hashed(4_096, 14);
        for key in 0..3_700 {
            (0..=key % 3).for_each(|_| count(&table, key));
        }
        assert_eq!(table.forgotten(), 0);
        assert!((0..3_700).all(|key| total(&table, hash(key)) == key % 3 + 1));
        assert_eq!(total(&table, hash(9_999)), 0);
        assert_eq!(table.bytes(), 4_096 * 60);
    }

    #[test]
    fn without_room_the_keys_with_the_least_are_forgotten_and_nobody_reads_too_much() {
        let table = Table::hashed(1_024, 14);
        (0..100).for_each(|_| (0..200).for_each(|key| count(&table, key)));
        (1_000..101_000).for_each(|key| count(&table, key));
        assert!((0..200).all(|key| total(&table, hash(key)) == 100), "who has much is kept");
        assert!((1_000..101_000).all(|key| total(&table, hash(key)) <= 1));
        assert!(table.forgotten() > 90_000);
    }

    #[test]
    fn places_that_hold_nothing_are_freed() {
        let table = Table::hashed(1_024, 14);
        for round in 0..10 {
            (0..900).for_each(|key| count(&table, 1_000 * round + key));
            table.clear::<Events>(lane(1));
            assert!((0..900).all(|key| total(&table, hash(1_000 * round + key)) == 1));
            table.clear::<Events>(lane(0));
        }
        assert_eq!(table.forgotten(), 0);
    }

    #[test]
    fn threads_lose_nothing() {
        let table = Table::hashed(1_024, 14);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..40_000).for_each(|n| count(&table, n % 40)));
            }
            scope.spawn(|| (0..200).for_each(|_| table.clear::<Events>(lane(5))));
        });
        assert!((0..40).all(|key| total(&table, hash(key)) == 4_000));
    }
}
