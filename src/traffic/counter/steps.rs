//! A window in steps: a twelfth of it each, at least a second, kept in lanes that take turns.
//!
//! The steps since one window before now are summed up, the oldest in part, so that an estimate is wrong by at most
//! what was counted in that one step: five minutes of an hour. The lane for the next step is zeroed ahead of time by
//! [`Steps::rotate`], in the background. Should that be late, nothing moves and everything since counts in full.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::facts::time::Tick;
use crate::traffic::settings::Interval;

/// The most lanes that there are: twelve whole steps, the running one, and one that is zero.
pub(super) const LANES: usize = MOST_STEPS as usize + 2;
const MOST_STEPS: u64 = 12;
const SHORTEST_STEP: u64 = 1_000_000_000;

/// Which step it is.
pub(super) struct Steps {
    /// Nanoseconds of a step.
    step: u64,
    /// Steps of a window.
    whole: u64,
    /// The last step whose lane may be used.
    ready: AtomicU64,
    rotating: Mutex<()>,
}

/// A set of lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lanes(u16);

/// Which lanes to use at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Where to count.
    pub(super) current: usize,
    /// What lies in the window as a whole, the current lane included.
    pub(super) fresh: Lanes,
    /// What lies in it in part.
    pub(super) oldest: usize,
    /// How much of the oldest lies in it, 0 to 1.
    pub(super) weight: f64,
}

impl Lanes {
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn has(self, lane: usize) -> bool {
        self.0 >> lane & 1 == 1
    }

    pub(super) const fn with(self, lane: usize) -> Self {
        Self(self.0 | 1 << lane)
    }
}

impl Steps {
    pub(super) fn new(window: Interval, now: Tick) -> Self {
        let whole = (window.nanos() / SHORTEST_STEP).clamp(1, MOST_STEPS);
        let step = window.nanos().div_ceil(whole);
        let steps = Self { step, whole, ready: AtomicU64::new(0), rotating: Mutex::new(()) };
        steps.ready.store(steps.number(now) + 1, Ordering::Release);
        steps
    }

    /// How long a step is.
    pub(super) const fn step(&self) -> Duration {
        Duration::from_nanos(self.step)
    }

    /// Which lanes to use at `now`.
    pub(super) fn at(&self, now: Tick) -> Moment {
        let ready = self.ready.load(Ordering::Acquire);
        // A thread whose clock was read before the others moved on counts where they do.
        let number = self.number(now).clamp(ready - 1, ready);
        let elapsed = now.as_nanos().saturating_sub((number - Self::FIRST) * self.step).min(self.step);
        let fresh = (0..self.whole).fold(Lanes::NONE, |lanes, ago| lanes.with(self.lane(number - ago)));
        Moment {
            current: self.lane(number),
            fresh,
            oldest: self.lane(number - self.whole),
            weight: 1.0 - elapsed as f64 / self.step as f64,
        }
    }

    /// Moves on to the step that `now` lies in, and makes the lane after it ready with `clear`. A `now` that is a little
    /// behind changes nothing; one that is a step or more behind, or a window ahead, clears everything.
    pub(super) fn rotate(&self, now: Tick, clear: impl FnOnce(Lanes)) {
        let _turn = self.rotating.lock().unwrap_or_else(PoisonError::into_inner);
        let (ready, target) = (self.ready.load(Ordering::Acquire), self.number(now) + 1);
        let behind = ready.saturating_sub(target);
        if ready == target || behind == 1 {
            return;
        }
        let ahead = if behind > 0 { self.lanes() } else { (target - ready).min(self.lanes()) };
        clear((0..ahead).fold(Lanes::NONE, |lanes, ago| lanes.with(self.lane(target - ago))));
        self.ready.store(target, Ordering::Release);
    }

    /// The step that is counted in now.
    pub(super) fn running(&self) -> u64 {
        self.ready.load(Ordering::Acquire) - 1
    }

    /// Of lanes that were kept in step `running`, those that have to be empty now; `None` if nothing of them is left, or
    /// if they come from later than now.
    pub(super) fn outdated(&self, running: u64) -> Option<Lanes> {
        let ready = self.ready.load(Ordering::Acquire);
        let steps = ready.checked_sub(running).filter(|steps| *steps < self.lanes())?;
        Some((0..steps).fold(Lanes::NONE, |lanes, ago| lanes.with(self.lane(ready - ago))))
    }

    /// Numbers begin here, so that there is a window before the first.
    const FIRST: u64 = LANES as u64;

    fn number(&self, now: Tick) -> u64 {
        now.as_nanos() / self.step + Self::FIRST
    }

    const fn lanes(&self) -> u64 {
        self.whole + 2
    }

    const fn lane(&self, number: u64) -> usize {
        (number % self.lanes()) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::simulation::{at, interval};

    #[test]
    fn a_window_has_twelve_steps_of_a_second_or_more() {
        for (seconds, step) in [(1, 1.0), (10, 1.0), (12, 1.0), (60, 5.0), (600, 50.0), (86_400, 7_200.0)] {
            assert_eq!(Steps::new(interval(seconds), at(0.0)).step().as_secs_f64(), step);
        }
    }

    #[test]
    fn the_oldest_step_fades_as_the_running_one_goes_by() {
        let steps = Steps::new(interval(60), at(0.0));
        for (seconds, weight) in [(0.0, 1.0), (1.25, 0.75), (4.0, 0.2)] {
            let moment = steps.at(at(seconds));
            assert!((moment.weight - weight).abs() < 1e-9, "{seconds}");
            assert!(moment.fresh.has(moment.current) && !moment.fresh.has(moment.oldest));
        }
    }

    #[test]
    fn a_lane_is_cleared_before_it_is_used_again() {
        let steps = Steps::new(interval(60), at(0.0));
        let mut dirty = Lanes::NONE;
        for second in 0..600 {
            steps.rotate(at(f64::from(second)), |lanes| dirty = Lanes(dirty.0 & !lanes.0));
            let moment = steps.at(at(f64::from(second)));
            if second % 5 == 0 {
                assert!(!dirty.has(moment.current), "{second}");
            }
            dirty = dirty.with(moment.current);
        }
    }

    #[test]
    fn lanes_that_were_kept_are_good_for_as_long_as_the_window_sees_them() {
        let steps = Steps::new(interval(60), at(3_600.0));
        let kept = |ago: u64| steps.outdated(steps.running() - ago).map(|lanes| lanes.0.count_ones());
        assert_eq!([0, 1, 12].map(kept), [Some(1), Some(2), Some(13)]);
        assert_eq!(kept(13), None);
        assert!(steps.outdated(steps.running()).unwrap().has(steps.lane(steps.running() + 1)));
        assert_eq!(steps.outdated(steps.running() + 1), Some(Lanes::NONE));
        assert_eq!(steps.outdated(steps.running() + 2), None);
    }

    #[test]
    fn a_late_rotation_moves_nothing() {
        let steps = Steps::new(interval(60), at(0.0));
        let next = steps.at(at(5.0)).current;
        assert_eq!(steps.at(at(500.0)).current, next);
        let mut cleared = Lanes::NONE;
        steps.rotate(at(500.0), |lanes| cleared = lanes);
        assert_eq!(cleared.0.count_ones(), LANES as u32);
    }

    #[test]
    fn a_clock_that_jumps_back_starts_afresh_and_one_that_lags_does_not() {
        let steps = Steps::new(interval(60), at(3_600.0));
        steps.rotate(at(3_599.0), |_| panic!("a little behind"));
        let mut cleared = Lanes::NONE;
        steps.rotate(at(10.0), |lanes| cleared = lanes);
        assert_eq!(cleared.0.count_ones(), LANES as u32);
        assert_eq!(steps.at(at(10.0)).current, steps.at(at(14.0)).current);
        assert_ne!(steps.at(at(10.0)).current, steps.at(at(15.0)).current);
    }
}
