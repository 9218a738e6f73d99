//! One word that counts one key over a sliding interval: 8 bits of the interval's number, 28 bits counted in the
//! interval before, 28 bits counted in this one.
//!
//! Whoever touches a word in a new interval moves it on with the same instruction that counts, so that nothing has
//! to be zeroed on a schedule and no thread sees half a step. Must be swept once in 254 intervals, or a word that
//! nobody touched for exactly 256 would look fresh.

use std::sync::atomic::{AtomicU64, Ordering};

use super::reading::Reading;
use super::settings::Interval;
use crate::facts::time::Tick;

/// Counts of one key. 0 is a word that counted nothing.
#[derive(Default)]
pub(super) struct Cell(AtomicU64);

/// Where a tick lies among the intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// The number of the running interval.
    pub(super) epoch: u64,
    /// Nanoseconds until it is over, above 0.
    pub(super) remaining: u64,
    pub(super) interval: Interval,
}

/// The most that is counted of one key in one interval; beyond it, counting stands still.
pub(super) const MOST: u64 = (1 << BITS) - 1;

const BITS: u32 = 28;
/// Room for threads that count at once where counting stands still.
const FULL: u64 = MOST - (1 << 16);

/// A word, taken apart and moved on to an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts {
    tag: u8,
    previous: u64,
    current: u64,
    /// The word is already in the interval after the one asked for: a thread or a clock that is a little behind.
    ahead: bool,
}

impl Moment {
    pub(super) fn at(interval: Interval, now: Tick) -> Self {
        let (now, length) = (now.as_nanos(), interval.nanos());
        let epoch = now / length;
        Self { epoch, remaining: length - (now - epoch * length), interval }
    }

    /// So many intervals later, up to one.
    pub(super) fn after(self, intervals: f32) -> Self {
        let length = self.interval.nanos();
        let later = (length as f64 * f64::from(intervals)) as u64;
        match self.remaining.checked_sub(later) {
            Some(remaining) if remaining > 0 => Self { remaining, ..self },
            _ => Self {
                epoch: self.epoch + 1,
                remaining: length - (later - self.remaining).min(length - 1),
                ..self
            },
        }
    }
}

impl Cell {
    /// What was counted until now.
    pub(super) fn read(&self, moment: Moment) -> Reading {
        Parts::of(self.0.load(Ordering::Relaxed), moment.epoch).reading(moment)
    }

    /// Counts `events` more; answers how many were counted in this interval before.
    pub(super) fn add(&self, events: u64, moment: Moment) -> u64 {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let parts = Parts::of(word, moment.epoch);
            if parts.current >= FULL {
                return parts.current;
            }
            if Parts::tag_of(word) == parts.tag {
                // If others move the word on in between, the event counts in the interval that has just begun.
                return Parts::current_of(self.0.fetch_add(events.min(1 << 12), Ordering::Relaxed));
            }
            let next = Parts { current: parts.current + events.min(1 << 12), ..parts }.word();
            match self.0.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return parts.current,
                Err(other) => word = other,
            }
        }
    }

    /// Counts one if it still fits into `quota` and answers how many were counted in this interval before; otherwise
    /// nothing stays counted, and what was read is the error. Of threads that race for the last place, at most one
    /// gets it.
    pub(super) fn take(&self, quota: u64, moment: Moment) -> Result<u64, Reading> {
        self.take_some(1, quota, moment)
    }

    /// The same for several at once, which all fit or none.
    pub(super) fn take_some(&self, events: u64, quota: u64, moment: Moment) -> Result<u64, Reading> {
        let others = events.saturating_sub(1);
        let seen = self.read(moment);
        if !seen.admits(quota.saturating_sub(others)) {
            return Err(seen);
        }
        let before = Reading { current: self.add(events, moment), ..seen };
        if before.admits(quota.saturating_sub(others)) {
            return Ok(before.current);
        }
        self.give_back(events, moment.epoch);
        Err(before)
    }

    /// Uncounts so many that were counted in interval `epoch`, as far as they still count.
    pub(super) fn give_back(&self, events: u64, epoch: u64) {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let (tag, previous, current) =
                (Parts::tag_of(word), word >> BITS & MOST, Parts::current_of(word));
            let (previous, current) = match tag.wrapping_sub(epoch as u8) {
                0 => (previous, current.saturating_sub(events)),
                1 => (previous.saturating_sub(events), current),
                _ => return,
            };
            let next = Parts { tag, previous, current, ahead: false }.word();
            match self.0.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => word = other,
            }
        }
    }

    /// What still counts, this interval and the one before together; 0 for a word that may be used anew.
    pub(super) fn weight(&self, epoch: u64) -> u64 {
        let parts = Parts::of(self.0.load(Ordering::Relaxed), epoch);
        parts.previous + parts.current
    }

    /// What was counted in the interval before, and in this one.
    pub(super) fn counts(&self, epoch: u64) -> (u64, u64) {
        let parts = Parts::of(self.0.load(Ordering::Relaxed), epoch);
        (parts.previous, parts.current)
    }

    /// Counts so many more in the interval before, and in this one.
    pub(super) fn recall(&self, previous: u64, current: u64, moment: Moment) {
        let more = |word| {
            let parts = Parts::of(word, moment.epoch);
            let sum = |counted: u64, more: u64| counted.saturating_add(more).min(FULL);
            let (previous, current) = (sum(parts.previous, previous), sum(parts.current, current));
            Some(Parts { previous, current, ..parts }.word())
        };
        // It never refuses.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// What was counted in the last interval that is over.
    pub(super) fn completed(&self, epoch: u64) -> u64 {
        Parts::of(self.0.load(Ordering::Relaxed), epoch).previous
    }

    /// Zeroes a word that is out of date, so that its interval's number may come around again.
    pub(super) fn sweep(&self, epoch: u64) {
        let word = self.0.load(Ordering::Relaxed);
        if word != 0 && self.weight(epoch) == 0 {
            let _ = self.0.compare_exchange(word, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

impl Parts {
    fn of(word: u64, epoch: u64) -> Self {
        let (tag, previous, current) = (Self::tag_of(word), word >> BITS & MOST, Self::current_of(word));
        let now = epoch as u8;
        match now.wrapping_sub(tag) {
            0 => Self { tag, previous, current, ahead: false },
            1 => Self { tag: now, previous: current, current: 0, ahead: false },
            u8::MAX => Self { tag, previous, current, ahead: true },
            _ => Self { tag: now, previous: 0, current: 0, ahead: false },
        }
    }

    const fn tag_of(word: u64) -> u8 {
        (word >> (2 * BITS)) as u8
    }

    const fn current_of(word: u64) -> u64 {
        word & MOST
    }

    const fn word(self) -> u64 {
        (self.tag as u64) << (2 * BITS) | self.previous << BITS | self.current
    }

    fn reading(self, moment: Moment) -> Reading {
        let interval = moment.interval;
        // The interval of a word that is ahead has not begun to fade the one before.
        let remaining = if self.ahead { interval.nanos() } else { moment.remaining };
        Reading { previous: self.previous, current: self.current, remaining, interval }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn moment(millis: u64) -> Moment {
        Moment::at(Interval::TEN_SECONDS, Tick::from_elapsed(Duration::from_millis(millis)))
    }

    /// A cell in which 100 were counted at 15 s.
    fn cell() -> Cell {
        let cell = Cell::default();
        (0..100).for_each(|n| assert_eq!(cell.add(1, moment(15_000)), n));
        cell
    }

    fn estimate(cell: &Cell, millis: u64) -> f64 {
        cell.read(moment(millis)).estimate()
    }

    #[test]
    fn what_was_counted_fades_in_the_interval_after() {
        let cell = cell();
        for (millis, expected) in
            [(15_000, 100.0), (19_999, 100.0), (20_000, 100.0), (22_500, 75.0), (29_000, 10.0), (30_000, 0.0)]
        {
            assert_eq!(estimate(&cell, millis), expected, "{millis}");
        }
    }

    #[test]
    fn the_first_event_of_an_interval_moves_the_word_on() {
        let cell = cell();
        assert_eq!(cell.add(1, moment(25_000)), 0);
        assert_eq!((estimate(&cell, 25_000), cell.completed(2)), (51.0, 100));
        assert_eq!(estimate(&cell, 35_000), 0.5);
        cell.add(1, moment(95_000));
        assert_eq!((estimate(&cell, 95_000), cell.completed(9)), (1.0, 0));
    }

    #[test]
    fn a_clock_that_steps_back_a_little_changes_nothing() {
        let cell = cell();
        cell.add(1, moment(21_000));
        cell.add(1, moment(19_000));
        // At 19 s the interval that began at 20 s has not begun to fade the one before.
        assert_eq!(estimate(&cell, 19_000), 102.0);
        assert_eq!(estimate(&cell, 25_000), 52.0);
    }

    #[test]
    fn a_clock_that_jumps_starts_afresh() {
        for jump in [3_600_000, 600_000 - 30_000, 0] {
            let cell = Cell::default();
            cell.add(9, moment(600_000));
            assert_eq!(estimate(&cell, jump), 0.0);
            cell.add(1, moment(jump));
            assert_eq!(estimate(&cell, jump + 15_000), 0.5);
        }
    }

    #[test]
    fn what_was_taken_is_given_back_where_it_was_counted() {
        let cell = cell();
        assert_eq!(cell.take(101, moment(19_999)), Ok(100));
        assert_eq!(cell.take(101, moment(19_999)).map_err(|before| before.current), Err(101));
        cell.add(1, moment(20_000));
        cell.give_back(1, moment(19_999).epoch);
        assert_eq!(estimate(&cell, 20_000), 101.0);
        cell.give_back(1, moment(59_999).epoch);
        assert_eq!(estimate(&cell, 20_000), 101.0);
    }

    #[test]
    fn a_word_that_is_swept_cannot_come_around_again() {
        let (late, kept) = (moment(15_000 + 256 * 10_000), cell());
        assert_eq!(kept.read(late).current, 100);
        let swept = cell();
        swept.sweep(2);
        assert_eq!(swept.weight(2), 100);
        swept.sweep(3);
        assert_eq!(swept.read(late).current, 0);
    }

    #[test]
    fn counting_stands_still_rather_than_to_overflow() {
        let cell = Cell::default();
        (0..1 << 17).for_each(|_| {
            cell.add(1 << 12, moment(0));
        });
        let reading = cell.read(moment(0));
        assert!((FULL..MOST).contains(&reading.current) && reading.previous == 0);
        assert!(cell.take(u64::MAX, moment(0)).is_ok());
    }
}
