//! What a window says about one key at one moment, and what follows from it.
//!
//! The estimate is `previous * (1 - fraction) + current`: what was counted in the last whole interval, weighted by
//! how much of it still lies within one interval before now, plus what was counted since. One more request is
//! admitted while the estimate, rounded to the nearest whole request, is below the quota; under constant overload
//! that is exactly one quota per interval, evenly spread. Decisions are integer arithmetic, so that the moment in
//! [`Reading::wait`] is exact to the nanosecond.

use std::time::Duration;

use super::settings::Interval;

/// Counts of one key in the last whole interval and in the one that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) previous: u64,
    pub(super) current: u64,
    /// Nanoseconds until the running interval is over; 0 if it should be over already.
    pub(super) remaining: u64,
    pub(super) interval: Interval,
}

impl Reading {
    /// Events in the interval before now.
    pub(super) fn estimate(&self) -> f64 {
        let weight = self.remaining as f64 / self.interval.nanos() as f64;
        self.previous as f64 * weight + self.current as f64
    }

    /// The estimate after so many more windows, up to one, if nothing is counted until then.
    pub(super) fn after(&self, windows: f32) -> f32 {
        let left = self.remaining as f32 / self.interval.nanos() as f32 - windows;
        if left > 0.0 {
            self.previous as f32 * left + self.current as f32
        } else {
            self.current as f32 * (1.0 + left)
        }
    }

    /// Events per second over the interval before now.
    pub(super) fn per_second(&self) -> f64 {
        self.estimate() / self.interval.seconds()
    }

    /// Whether one more fits into `quota`: `previous * (1 - fraction) + current + 1/2 <= quota`.
    pub(super) fn admits(&self, quota: u64) -> bool {
        let interval = u128::from(self.interval.nanos());
        let used = 2 * u128::from(self.previous) * u128::from(self.remaining)
            + (2 * u128::from(self.current) + 1) * interval;
        used <= 2 * u128::from(quota) * interval
    }

    /// How many more fit into `quota` at once.
    pub(super) fn room(&self, quota: u64) -> u64 {
        (quota as f64 + 0.5 - self.estimate()).max(0.0) as u64
    }

    /// How long until one more fits into `quota` if nothing else is counted: at least 1 ns, at most two intervals.
    pub(super) fn wait(&self, quota: u64) -> Duration {
        let interval = u128::from(self.interval.nanos());
        let remaining = u128::from(self.remaining);
        // What may remain of an interval for the count before it to have faded to `room` half requests.
        let faded = |count: u64, room: u64| {
            (u128::from(room) * interval)
                .checked_div(2 * u128::from(count))
                .map_or(interval, |r| r.min(interval))
        };
        let nanos = if self.current < quota {
            remaining.saturating_sub(faded(self.previous, 2 * (quota - self.current) - 1))
        } else {
            // Not in this interval: in the next one, what is current now is what fades.
            remaining + (interval - faded(self.current, (2 * quota).saturating_sub(1)))
        };
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reading(previous: u64, current: u64, remaining: u64) -> Reading {
        Reading { previous, current, remaining, interval: Interval::TEN_SECONDS }
    }

    #[test]
    fn the_last_interval_fades_as_this_one_goes_by() {
        assert_eq!(reading(100, 10, 10_000_000_000).estimate(), 110.0);
        assert_eq!(reading(100, 10, 2_500_000_000).estimate(), 35.0);
        assert_eq!(reading(100, 10, 0).per_second(), 1.0);
    }

    #[test]
    fn a_quota_of_one_is_one() {
        assert!(reading(0, 0, 5).admits(1));
        assert!(!reading(0, 1, 5).admits(1));
        assert!(!reading(1, 0, 5_000_000_001).admits(1));
        assert!(reading(1, 0, 5_000_000_000).admits(1));
    }

    proptest! {
        #[test]
        fn as_many_fit_as_there_is_room(
            previous in 0u64..50_000, current in 0u64..50_000, quota in 1u64..50_000, remaining in 0u64..=10_000_000_000,
        ) {
            let room = reading(previous, current, remaining).room(quota);
            // Room is estimated with floats, admission is exact: one may differ on the edge.
            prop_assert!(!reading(previous, current + room + 1, remaining).admits(quota));
            prop_assert!(room < 2 || reading(previous, current + room - 2, remaining).admits(quota));
        }

        #[test]
        fn waiting_is_exactly_long_enough(
            previous in 0u64..50_000, current in 0u64..50_000, quota in 1u64..50_000, remaining in 0u64..=10_000_000_000,
        ) {
            let now = reading(previous, current, remaining);
            prop_assume!(!now.admits(quota));
            let later = |nanos: u64| match remaining.checked_sub(nanos) {
                Some(rest) if rest > 0 => reading(previous, current, rest),
                _ => reading(current, 0, 10_000_000_000 - (nanos - remaining)),
            };
            let wait = now.wait(quota).as_nanos() as u64;
            prop_assert!(later(wait).admits(quota));
            prop_assert!(wait == 1 || !later(wait - 1).admits(quota));
        }
    }
}
