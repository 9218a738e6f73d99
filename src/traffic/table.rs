//! Cells for any number of keys in fixed memory: all but exact while half of it is free, and never under-counting.
//!
//! A key has a place in one of two lines of four cells, each a cache line. It takes a free one or one that is out of
//! date; if all eight are in use, it takes over the cell that counted least, with what that had counted (the idea of
//! SpaceSaving by Metwally, Agrawal and El Abbadi, 2005). So an abuser cannot be displaced by a crowd, and whoever
//! is over-counted is so by what the rarest of eight keys has. Keys are told apart by 64 bits of a keyed hash. Two
//! threads that meet in a cell at the moment of taking over may miscount one event; nothing worse happens.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::cell::{Cell, Moment};
use super::kept::Count;
use super::secret::Hashing;
use super::settings::Shape;
use super::subject::Key;

/// Counts of keys.
pub(super) struct Table {
    lines: Box<[Line]>,
    hashing: Hashing,
    /// The next line to sweep.
    swept: AtomicUsize,
    /// Where keys would go if there was no line for them, which cannot be.
    stray: Cell,
}

#[derive(Default)]
#[repr(align(64))]
struct Line([Slot; Shape::WAYS]);

#[derive(Default)]
struct Slot {
    /// The hash of the key; 0 if there was none yet.
    owner: AtomicU64,
    cell: Cell,
}

/// The hash of a key under one table's secret.
#[derive(Clone, Copy)]
pub(super) struct Place(u64);

impl Place {
    /// The hash, above 0.
    pub(super) const fn hash(self) -> u64 {
        self.0
    }
}

/// After how many intervals every line has been swept once; well below the 254 that a cell allows.
const SWEEP: u64 = 64;

impl Table {
    pub(super) fn new(shape: Shape, hashing: Hashing) -> Self {
        let lines = (0..shape.lines()).map(|_| Line::default()).collect();
        Self { lines, hashing, swept: AtomicUsize::new(0), stray: Cell::default() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }

    /// Where this key belongs.
    pub(super) fn place(&self, key: Key) -> Place {
        Place(self.hashing.hash(&key).max(1))
    }

    /// The cell of a key that was counted lately.
    pub(super) fn find(&self, place: Place) -> Option<&Cell> {
        let slots = || self.candidates(place).flat_map(|line| &line.0);
        slots().find(|slot| slot.owner.load(Ordering::Relaxed) == place.0).map(|slot| &slot.cell)
    }

    /// The cell of a key that is to be counted.
    pub(super) fn claim(&self, place: Place, moment: Moment) -> &Cell {
        self.find(place).unwrap_or_else(|| self.settle(place, moment))
    }

    /// Zeroes some of what is out of date. To be called a few times in each interval.
    pub(super) fn sweep(&self, moment: Moment) {
        let done =
            (moment.epoch % SWEEP) as f64 + 1.0 - moment.remaining as f64 / moment.interval.nanos() as f64;
        let until = (done / SWEEP as f64 * self.lines.len() as f64) as usize;
        let from = self.swept.swap(until, Ordering::Relaxed);
        let (head, tail) =
            if from <= until { (from..until, 0..0) } else { (from..self.lines.len(), 0..until) };
        let lines = head.chain(tail).filter_map(|at| self.lines.get(at));
        lines.flat_map(|line| &line.0).for_each(|slot| slot.cell.sweep(moment.epoch));
    }

    /// What still counts, by the hash of its key.
    pub(super) fn counts(&self, epoch: u64) -> impl Iterator<Item = Count> {
        let slots = self.lines.iter().flat_map(|line| &line.0);
        slots.filter_map(move |slot| {
            let (previous, current) = slot.cell.counts(epoch);
            let key = slot.owner.load(Ordering::Relaxed);
            (previous + current > 0).then_some(Count { key, previous, current })
        })
    }

    /// Counts once more what was counted, under the same secret.
    pub(super) fn recall(&self, count: Count, moment: Moment) {
        self.claim(Place(count.key.max(1)), moment).recall(count.previous, count.current, moment);
    }

    /// Finds a cell for a key that has none.
    #[cold]
    fn settle(&self, place: Place, moment: Moment) -> &Cell {
        // Each try fails only because another key has moved in, so that a few are plenty.
        for _ in 0..Shape::WAYS {
            let rarest = self.candidates(place).filter_map(|line| line.rarest(moment.epoch));
            let Some((.., slot)) = rarest.min_by_key(|(weight, used, _)| (*weight, *used)) else { break };
            let owner = slot.owner.load(Ordering::Relaxed);
            let taken = slot.owner.compare_exchange(owner, place.0, Ordering::Relaxed, Ordering::Relaxed);
            if taken.is_ok() {
                return &slot.cell;
            }
            if let Some(found) = self.find(place) {
                return found;
            }
        }
        self.candidates(place).find_map(|line| line.0.first()).map_or(&self.stray, |slot| &slot.cell)
    }

    fn candidates(&self, place: Place) -> impl Iterator<Item = &Line> {
        let scaled = |half: u64| ((half * self.lines.len() as u64) >> 32) as usize;
        let places = [scaled(place.0 & 0xffff_ffff), scaled(place.0 >> 32)];
        places.into_iter().filter_map(|at| self.lines.get(at))
    }
}

impl Line {
    /// The slot that counted least, with what it counted and how many slots are in use: of two lines with room, the
    /// emptier one is taken, which fills a table evenly.
    fn rarest(&self, epoch: u64) -> Option<(u64, usize, &Slot)> {
        let weighed = || self.0.iter().map(|slot| (slot.cell.weight(epoch), slot));
        let used = weighed().filter(|(weight, _)| *weight > 0).count();
        weighed().min_by_key(|(weight, _)| *weight).map(|(weight, slot)| (weight, used, slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::time::Tick;
    use crate::traffic::secret::Secret;
    use crate::traffic::settings::Interval;
    use std::time::Duration;

    fn moment(seconds: u64) -> Moment {
        Moment::at(Interval::TEN_SECONDS, Tick::from_elapsed(Duration::from_secs(seconds)))
    }

    fn table(shape: Shape) -> Table {
        Table::new(shape, Secret::known().hashing("test"))
    }

    fn key(n: u64) -> Key {
        Key::numbered(n)
    }

    fn add(table: &Table, n: u64, events: u64, seconds: u64) {
        table.claim(table.place(key(n)), moment(seconds)).add(events, moment(seconds));
    }

    fn count(table: &Table, n: u64, seconds: u64) -> u64 {
        table.find(table.place(key(n))).map_or(0, |cell| cell.weight(moment(seconds).epoch))
    }

    #[test]
    fn hardly_a_key_is_miscounted_up_to_half_of_the_slots_and_few_up_to_three_quarters() {
        // Where a key goes is chance: at one half, the eight cells of one key in some 10,000 are all in use.
        for (part, tolerated) in [(0.25, 0.0), (0.5, 0.002), (0.75, 0.02)] {
            let shape = Shape::new(16_384).unwrap();
            let (table, keys) = (table(shape), (shape.slots() as f64 * part) as u64);
            (0..keys).for_each(|n| add(&table, n, 1 + n % 7, 5));
            let wrong = (0..keys).filter(|n| count(&table, *n, 5) != 1 + n % 7).count();
            assert!(wrong as f64 <= keys as f64 * tolerated, "{wrong} of {keys}");
        }
    }

    #[test]
    fn a_crowd_cannot_make_an_abuser_forgotten_and_nobody_is_undercounted_at_the_end() {
        let table = table(Shape::new(1_024).unwrap());
        add(&table, 0, 500, 5);
        for n in 1..50_000 {
            add(&table, n, 1, 5);
            assert!(count(&table, n, 5) >= 1);
        }
        assert_eq!(count(&table, 0, 5), 500);
        // 49,999 in 1,024 cells: the rarest of eight has counted about 49.
        assert!(count(&table, 49_999, 5) < 60, "{}", count(&table, 49_999, 5));
    }

    #[test]
    fn what_is_out_of_date_makes_room() {
        let table = table(Shape::new(1_024).unwrap());
        (0..900).for_each(|n| add(&table, n, 9, 5));
        (1_000..1_300).for_each(|n| add(&table, n, 1, 25));
        (1_000..1_300).for_each(|n| assert_eq!(count(&table, n, 25), 1));
    }

    #[test]
    fn a_whole_sweep_leaves_nothing_that_could_come_around() {
        let table = table(Shape::new(1_024).unwrap());
        (0..500).for_each(|n| add(&table, n, 9, 5));
        (0..=SWEEP * 20).for_each(|half| table.sweep(moment(30 + half / 2)));
        (0..500).for_each(|n| assert_eq!(count(&table, n, 5 + 2_560), 0));
    }
}
