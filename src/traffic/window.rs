//! A sliding window over sketches: how often was this key counted in the interval before now?
//!
//! Three generations take turns: *current* counts, *previous* holds the last whole interval, *spare* is already
//! zero. When an interval is over, whoever notices first swaps one word (the [`Phase`]) and the roles move on: no
//! lock, no zeroing and no half-state on the request path. Zeroing the generation that retired is left to
//! [`Window::rotate`], called by a background task. Should that task be late by a whole interval, nothing moves
//! and everything since counts in full (too strict, never too lax); should it have skipped intervals, both
//! generations are zeroed. A thread that sleeps for an interval between two instructions may count one request in
//! a wrong generation; nothing worse happens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use pingora_limits::estimator::Estimator;

use super::exact;
use super::phase::{Phase, Spare, Turn};
use super::reading::Reading;
use super::settings::{Interval, Shape};
use super::subject::Key;
use crate::facts::time::Tick;

/// Counts keys over a sliding interval. Shared by all threads.
pub(super) struct Window {
    interval: Interval,
    phase: AtomicU64,
    generations: [Estimator; 3],
    rotating: Mutex<()>,
    bytes: usize,
}

struct Roles<'a> {
    current: &'a Estimator,
    previous: &'a Estimator,
    spare: &'a Estimator,
}

/// A key that was looked at and is not counted yet.
pub(super) struct Glance<'a> {
    /// What was counted before.
    pub(super) reading: Reading,
    generation: &'a Estimator,
    key: Key,
}

impl Window {
    /// A window for any number of keys, counted about right in fixed memory.
    pub(super) fn of_keys(interval: Interval, shape: Shape, now: Tick) -> Self {
        let generation = || Estimator::new(shape.hashes(), shape.slots());
        let generations = [generation(), generation(), generation()];
        Self::new(interval, generations, shape.window_bytes(), now)
    }

    /// A window for countries, counted exactly.
    pub(super) fn of_countries(interval: Interval, now: Tick) -> Self {
        let generations = [exact::countries(), exact::countries(), exact::countries()];
        Self::new(interval, generations, exact::SHAPE.window_bytes(), now)
    }

    fn new(interval: Interval, generations: [Estimator; 3], bytes: usize, now: Tick) -> Self {
        let epoch = now.as_nanos() / interval.nanos();
        let phase = AtomicU64::new(Phase::starting(epoch).encode());
        Self { interval, phase, generations, rotating: Mutex::new(()), bytes }
    }

    /// Bytes of counters, however many keys there are.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts one.
    pub(super) fn count(&self, key: Key, now: Tick) {
        let (phase, _) = self.phase_at(now);
        self.roles(phase).current.incr(key, 1);
    }

    /// What was counted for this key.
    pub(super) fn read(&self, key: Key, now: Tick) -> Reading {
        self.glance(key, now).reading
    }

    /// Looks at a key with the option to count it where it was looked at.
    pub(super) fn glance(&self, key: Key, now: Tick) -> Glance<'_> {
        let (phase, remaining) = self.phase_at(now);
        let roles = self.roles(phase);
        let (previous, current) = (whole(roles.previous.get(key)), whole(roles.current.get(key)));
        let reading = Reading { previous, current, remaining, interval: self.interval };
        Glance { reading, generation: roles.current, key }
    }

    /// Zeroes what retired and moves on to the interval that `now` lies in. Not for the request path. A `now` that
    /// is a little behind changes nothing; one that is more than an interval away, ahead or behind, starts afresh.
    pub(super) fn rotate(&self, now: Tick) {
        let _turn = self.rotating.lock().unwrap_or_else(PoisonError::into_inner);
        let target = now.as_nanos() / self.interval.nanos();
        loop {
            let phase = self.phase();
            if phase.spare == Spare::Used {
                self.roles(phase).spare.reset();
                // Only this function, under its lock, leaves a phase with a used spare.
                self.phase.store(phase.zeroed().encode(), Ordering::Release);
            } else if let Some(epoch) = phase.next_epoch(target) {
                self.swap(phase, phase.next(epoch));
            } else {
                return;
            }
        }
    }

    /// The phase to use at `now` and the nanoseconds that remain of it, at most one interval.
    fn phase_at(&self, now: Tick) -> (Phase, u64) {
        let mut phase = self.phase();
        let mut end = self.end_of(phase);
        if now.as_nanos() >= end {
            phase = self.move_on(phase, now.as_nanos() - end);
            end = self.end_of(phase);
        }
        (phase, end.saturating_sub(now.as_nanos()).min(self.interval.nanos()))
    }

    /// The interval of `phase` has been over for `late` nanoseconds: moves on if that is safe without zeroing.
    #[cold]
    fn move_on(&self, phase: Phase, late: u64) -> Phase {
        match phase.spare {
            Spare::Zero if late < self.interval.nanos() => self.swap(phase, phase.next(phase.epoch + 1)),
            Spare::Zero | Spare::Used => phase,
        }
    }

    /// Replaces the phase unless somebody else did; answers the phase that holds now.
    fn swap(&self, old: Phase, new: Phase) -> Phase {
        let (old, encoded) = (old.encode(), new.encode());
        match self.phase.compare_exchange(old, encoded, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => new,
            Err(other) => Phase::decode(other),
        }
    }

    fn phase(&self) -> Phase {
        Phase::decode(self.phase.load(Ordering::Acquire))
    }

    fn end_of(&self, phase: Phase) -> u64 {
        (phase.epoch + 1).saturating_mul(self.interval.nanos())
    }

    fn roles(&self, phase: Phase) -> Roles<'_> {
        let [a, b, c] = &self.generations;
        match phase.turn {
            Turn::First => Roles { current: a, previous: c, spare: b },
            Turn::Second => Roles { current: b, previous: a, spare: c },
            Turn::Third => Roles { current: c, previous: b, spare: a },
        }
    }
}

impl Glance<'_> {
    /// Counts one if it still fits into `quota`; otherwise nothing stays counted, and what was read is the error.
    /// Of threads that race for the last place, at most one gets it.
    pub(super) fn take(&self, quota: u64) -> Result<(), Reading> {
        let current = whole(self.generation.incr(self.key, 1).saturating_sub(1));
        let before = Reading { current, ..self.reading };
        if before.admits(quota) {
            return Ok(());
        }
        self.give_back();
        Err(before)
    }

    /// Uncounts what was taken, in the generation in which it was counted.
    pub(super) fn give_back(&self) {
        self.generation.incr(self.key, -1);
    }
}

/// Below zero only where a hold was given back after its generation had retired.
fn whole(count: isize) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::place::CountryCode;
    use std::time::Duration;

    fn at(millis: u64) -> Tick {
        Tick::from_elapsed(Duration::from_millis(millis))
    }

    fn key() -> Key {
        Key::of_country(CountryCode::UNKNOWN, 0)
    }

    /// A window of 10 s in which 100 were counted at 15 s.
    fn window() -> Window {
        let window = Window::of_countries(Interval::TEN_SECONDS, at(12_000));
        (0..100).for_each(|_| window.count(key(), at(15_000)));
        window
    }

    fn estimate(window: &Window, millis: u64) -> f64 {
        window.read(key(), at(millis)).estimate()
    }

    #[test]
    fn what_was_counted_fades_in_the_interval_after() {
        let window = window();
        for (millis, expected) in [(15_000, 100.0), (19_999, 100.0), (22_500, 75.0), (29_000, 10.0)] {
            window.rotate(at(millis));
            assert_eq!(estimate(&window, millis), expected, "{millis}");
        }
        window.rotate(at(30_000));
        assert_eq!(estimate(&window, 30_000), 0.0);
    }

    #[test]
    fn the_first_request_of_an_interval_moves_on_by_itself() {
        let window = window();
        assert_eq!(estimate(&window, 25_000), 50.0);
        window.count(key(), at(25_000));
        assert_eq!(estimate(&window, 25_000), 51.0);
        // The rotation that follows zeroes what retired and loses nothing.
        window.rotate(at(25_100));
        assert_eq!(estimate(&window, 25_000), 51.0);
        assert_eq!(estimate(&window, 35_000), 0.5);
    }

    #[test]
    fn without_rotation_nothing_is_forgotten_and_nothing_is_zeroed_by_requests() {
        let window = window();
        window.count(key(), at(25_000));
        // The generation that retired at 20 s was not zeroed yet, so all since then counts in full.
        assert_eq!(estimate(&window, 31_000), 1.0);
        window.count(key(), at(95_000));
        assert_eq!(estimate(&window, 95_000), 2.0);
        window.rotate(at(95_000));
        assert_eq!(estimate(&window, 95_000), 0.0);
    }

    #[test]
    fn skipped_intervals_leave_nothing_behind() {
        for skipped in 2..9 {
            let window = window();
            let later = 15_000 + skipped * 10_000;
            window.rotate(at(later));
            assert_eq!(estimate(&window, later), 0.0);
            window.count(key(), at(later));
            assert_eq!(estimate(&window, later), 1.0);
            assert_eq!(estimate(&window, later + 10_000), 0.5);
        }
    }

    #[test]
    fn a_clock_that_steps_back_a_little_changes_nothing() {
        let window = window();
        window.rotate(at(21_000));
        window.count(key(), at(19_000));
        window.rotate(at(19_000));
        // At 19 s the interval that began at 20 s has not begun to fade the one before.
        assert_eq!(estimate(&window, 19_000), 101.0);
        assert_eq!(estimate(&window, 25_000), 51.0);
    }

    #[test]
    fn a_clock_that_jumps_starts_afresh() {
        for jump in [3_600_000, 30_000, 0] {
            let window = Window::of_countries(Interval::TEN_SECONDS, at(600_000));
            window.count(key(), at(600_000));
            window.rotate(at(jump));
            window.rotate(at(jump + 10_000));
            window.rotate(at(jump + 20_000));
            assert_eq!(estimate(&window, jump + 20_000), 0.0);
            window.count(key(), at(jump + 20_000));
            assert_eq!(estimate(&window, jump + 35_000), 0.5);
        }
    }

    #[test]
    fn what_was_taken_is_given_back_where_it_was_counted() {
        let window = window();
        let glance = window.glance(key(), at(19_999));
        assert_eq!(glance.take(101), Ok(()));
        window.rotate(at(20_000));
        assert_eq!(estimate(&window, 20_000), 101.0);
        glance.give_back();
        assert_eq!(estimate(&window, 20_000), 100.0);
    }

    #[test]
    fn what_does_not_fit_any_more_is_not_counted() {
        let window = window();
        let (first, second) = (window.glance(key(), at(16_000)), window.glance(key(), at(16_000)));
        assert_eq!(first.take(101), Ok(()));
        assert_eq!(second.take(101).map_err(|before| before.current), Err(101));
        assert_eq!(estimate(&window, 16_000), 101.0);
    }
}
