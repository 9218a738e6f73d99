//! Exact totals of a fixed set of keys, and from them the rate of each over the last ten seconds.
//!
//! Counting is one addition. The rotating task puts the totals aside every second; a rate is what was added since
//! those of ten seconds ago, divided by the time since then. No key counts for another.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::facts::time::Tick;

/// Over how long rates are.
const SPAN: Duration = Duration::from_secs(10);
/// How often totals are put aside.
const STEP: Duration = Duration::from_secs(1);
/// Totals put aside at one time: those of 0 to 10 s ago, and the ones before.
const ASIDE: usize = 12;

/// Totals of `len` keys, by index.
pub(super) struct Tally {
    totals: Box<[AtomicU64]>,
    /// The totals at `since`.
    earlier: Box<[AtomicU64]>,
    /// Nanoseconds of a tick. A reader between the two stores of [`Tally::step`] sees a rate that is a tenth off.
    since: AtomicU64,
    aside: Mutex<VecDeque<(Tick, Box<[u64]>)>>,
}

impl Tally {
    pub(super) fn new(len: usize, now: Tick) -> Self {
        let zeros = || (0..len).map(|_| AtomicU64::new(0)).collect();
        let aside = Mutex::new(VecDeque::from([(now, vec![0; len].into_boxed_slice())]));
        Self { totals: zeros(), earlier: zeros(), since: AtomicU64::new(now.as_nanos()), aside }
    }

    pub(super) fn len(&self) -> usize {
        self.totals.len()
    }

    /// Counts one. A key that is not there is not counted.
    pub(super) fn count(&self, index: usize) {
        if let Some(total) = self.totals.get(index) {
            total.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All that was ever counted.
    pub(super) fn total(&self, index: usize) -> u64 {
        self.totals.get(index).map_or(0, |total| total.load(Ordering::Relaxed))
    }

    /// Requests/s in the last ten seconds; in the first ten, of ten.
    pub(super) fn rate(&self, index: usize, now: Tick) -> f64 {
        let earlier = self.earlier.get(index).map_or(0, |earlier| earlier.load(Ordering::Relaxed));
        let nanos = now.as_nanos().saturating_sub(self.since.load(Ordering::Relaxed));
        let seconds = Duration::from_nanos(nanos).max(SPAN).as_secs_f64();
        self.total(index).saturating_sub(earlier) as f64 / seconds
    }

    /// Puts the totals aside if that is due. A clock that went back says nothing about when they were put aside before:
    /// they are forgotten. Not for the request path.
    pub(super) fn step(&self, now: Tick) {
        let mut aside = self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |then: Tick| now.elapsed().saturating_sub(then.elapsed());
        if aside.back().is_some_and(|(last, _)| now >= *last && since(*last) < STEP) {
            return;
        }
        if aside.back().is_some_and(|(last, _)| now < *last) {
            aside.clear();
        }
        let mut outdated = None;
        while aside.get(1).is_some_and(|(second, _)| since(*second) >= SPAN) || aside.len() == ASIDE {
            outdated = aside.pop_front();
        }
        let mut totals =
            outdated.map_or_else(|| vec![0; self.len()].into_boxed_slice(), |(_, totals)| totals);
        totals.iter_mut().enumerate().for_each(|(index, kept)| *kept = self.total(index));
        aside.push_back((now, totals));
        if let Some((since, totals)) = aside.front() {
            self.since.store(since.as_nanos(), Ordering::Relaxed);
            for (earlier, total) in self.earlier.iter().zip(totals) {
                earlier.store(*total, Ordering::Relaxed);
            }
        }
    }

    /// Bytes, whatever is counted.
    pub(super) fn bytes(&self) -> usize {
        self.len() * (2 + ASIDE) * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Tick {
        Tick::from_elapsed(Duration::from_secs_f64(seconds))
    }

    /// Counts `per_step` in every quarter of a second.
    fn run(tally: &Tally, from: f64, seconds: f64, per_step: u64) {
        for step in 0..(seconds * 4.0) as u64 {
            (0..per_step).for_each(|_| tally.count(0));
            tally.step(at(from + (step + 1) as f64 / 4.0));
        }
    }

    #[test]
    fn a_rate_is_that_of_the_last_ten_seconds() {
        let tally = Tally::new(2, at(3.0));
        (0..5).for_each(|_| tally.count(0));
        assert_eq!(tally.rate(0, at(4.0)), 0.5);
        run(&tally, 3.0, 60.0, 10);
        assert!((tally.rate(0, at(63.0)) - 40.0).abs() < 1e-9);
        run(&tally, 63.0, 5.0, 0);
        assert!((tally.rate(0, at(68.0)) - 20.0).abs() < 3.0);
        run(&tally, 68.0, 7.0, 0);
        assert_eq!(tally.rate(0, at(75.0)), 0.0);
        assert_eq!((tally.rate(1, at(75.0)), tally.rate(9, at(75.0))), (0.0, 0.0));
    }

    #[test]
    fn a_late_task_makes_a_rate_coarser_but_not_wrong() {
        let tally = Tally::new(1, at(0.0));
        run(&tally, 0.0, 20.0, 10);
        (0..2_000).for_each(|_| tally.count(0));
        assert!((tally.rate(0, at(70.0)) - 40.0).abs() < 1.0, "{}", tally.rate(0, at(70.0)));
        tally.step(at(70.0));
        tally.step(at(85.0));
        assert_eq!(tally.rate(0, at(85.0)), 0.0);
    }

    #[test]
    fn memory_does_not_grow() {
        let tally = Tally::new(1, at(0.0));
        run(&tally, 0.0, 100.0, 1);
        assert!(tally.aside.lock().unwrap().len() <= ASIDE);
        // A task that is called at odd moments changes nothing about that.
        (0..1_000).for_each(|step| tally.step(at(100.0 + step as f64 * 0.37)));
        assert!(tally.aside.lock().unwrap().len() <= ASIDE);
    }
}
