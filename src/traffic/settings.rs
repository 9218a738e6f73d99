//! How much memory traffic may take and over which times it counts.
//!
//! All numbers are parsed into types that carry their bounds, so that nothing further down has to ask again
//! whether an interval is zero. Memory follows from configuration alone, never from how many clients there are.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::subject::Weight;
use crate::workers;

/// What is wrong with a number or a set of limits that an operator asked for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TrafficError {
    /// An interval outside of [`Interval::SHORTEST`] to [`Interval::LONGEST`].
    #[error("a window of `{0:?}` cannot be counted, choose one from `1s` to `24h`")]
    Interval(Duration),
    /// A rate outside of [`Rate`](super::Rate)'s bounds.
    #[error("a rate of `{0}` requests/s is no limit, choose one above 0 and up to 1000000000, or block")]
    Rate(f64),
    /// A table outside of [`Shape`]'s bounds.
    #[error("a table of `{0}` slots cannot be built, choose from 1024 to 16777216")]
    Shape(usize),
    /// A number of places outside of [`Most`](super::Most)'s bounds.
    #[error("`{0}` requests at once is no limit, choose 1 to 1000000, or block")]
    Most(u32),
    /// More distinct windows than [`MAX_INTERVALS`](super::MAX_INTERVALS) in one set of limits.
    #[error("limits use `{0}` different windows, at most {max} are possible, let some share one", max = super::MAX_INTERVALS)]
    Intervals(usize),
}

/// How long a window is: 1 s to 24 h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interval(u64);

/// The size of a table that counts keys, in slots of 16 bytes.
///
/// A key that was counted in this interval or the one before takes a slot. Up to half of the slots are
/// counted all but exactly; beyond that a key is over-counted by about as much as the rarest others have, at most one for
/// each event per slot. It is never under-counted from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    slots: usize,
}

/// What an operator may choose about counting. Takes effect at start; limits and counters may come and go later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Tables that tell clients, networks and routes apart: one for statistics, and for each interval of limits one
    /// that all limits share and one for the members of fair ones.
    pub keys: Shape,
    /// Places of each counter that is not per country: about that many keys are kept apart.
    pub counter_slots: usize,
    /// The interval of limits that do not choose their own.
    pub window: Interval,
    /// The weight of a client in fair limits while its requests carry a credential.
    pub credential_weight: Weight,
    /// How many threads admit requests at a time. More would be slower, not wrong.
    pub workers: NonZeroUsize,
}

impl Interval {
    /// 1 s: what is shorter is mostly noise and rotation.
    pub const SHORTEST: Self = Self(1_000_000_000);
    /// 24 h: what is longer does not survive a restart often enough to mean anything.
    pub const LONGEST: Self = Self(24 * 3_600 * 1_000_000_000);
    /// 10 s: the interval of all statistics, and of limits by default.
    pub const TEN_SECONDS: Self = Self(10 * 1_000_000_000);

    /// An interval from [`Self::SHORTEST`] to [`Self::LONGEST`].
    pub fn new(duration: Duration) -> Result<Self, TrafficError> {
        u64::try_from(duration.as_nanos())
            .ok()
            .map(Self)
            .filter(|interval| (Self::SHORTEST..=Self::LONGEST).contains(interval))
            .ok_or(TrafficError::Interval(duration))
    }

    /// The interval as a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// So many of these intervals, but at least an hour and at most [`Self::LONGEST`].
    pub(super) fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count).clamp(Self::LONGEST.0 / 24, Self::LONGEST.0))
    }

    /// Nanoseconds, never 0.
    pub(super) const fn nanos(self) -> u64 {
        self.0
    }

    /// Seconds, never 0.
    pub(super) const fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

/// `10s`, `10m`, `24h`: the largest unit that needs no fraction, as configuration writes it.
impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
        let millis = self.0 / 1_000_000;
        let exact = UNITS.iter().find(|(_, unit)| millis.is_multiple_of(*unit));
        exact.map_or(Ok(()), |(name, unit)| write!(f, "{}{name}", millis / unit))
    }
}

impl Shape {
    /// Slots that share a cache line.
    pub(super) const WAYS: usize = 4;
    const SLOT_BYTES: usize = 16;
    const MANY_TRAILS: usize = 1 << 16;

    /// 1,024 to 16,777,216 slots, rounded up to a multiple of 4.
    pub fn new(slots: usize) -> Result<Self, TrafficError> {
        if (1 << 10..=1 << 24).contains(&slots) {
            Ok(Self { slots: slots.next_multiple_of(Self::WAYS) })
        } else {
            Err(TrafficError::Shape(slots))
        }
    }

    /// How many keys have a slot at a time.
    pub const fn slots(self) -> usize {
        self.slots
    }

    pub(super) const fn lines(self) -> usize {
        self.slots / Self::WAYS
    }

    /// Bytes that the window of limits of this shape takes: a slot for each key, and trails of 128 bytes.
    pub const fn window_bytes(self) -> usize {
        self.slots * Self::SLOT_BYTES + self.trails() * 128
    }

    /// How many keys may be near their limit at a time: one in four, and of more than 65,536 one in sixteen.
    pub(super) const fn trails(self) -> usize {
        let (few, many) = (self.slots / 16, self.slots / 4);
        if few > Self::MANY_TRAILS {
            few
        } else if many < Self::MANY_TRAILS {
            many
        } else {
            Self::MANY_TRAILS
        }
    }
}

impl Default for Shape {
    fn default() -> Self {
        Self { slots: 1 << 18 }
    }
}

impl Settings {
    /// 15 MiB for each counter.
    pub const COUNTER_SLOTS: usize = 262_144;
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keys: Shape::default(),
            counter_slots: Self::COUNTER_SLOTS,
            window: Interval::TEN_SECONDS,
            credential_weight: Weight::default(),
            workers: workers::usual(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_from_a_second_to_a_day() {
        for good in [Duration::from_secs(1), Duration::from_millis(1_500), Duration::from_secs(86_400)] {
            assert_eq!(Interval::new(good).unwrap().duration(), good);
        }
        for bad in [Duration::ZERO, Duration::from_millis(999), Duration::from_secs(86_401), Duration::MAX] {
            assert_eq!(Interval::new(bad), Err(TrafficError::Interval(bad)));
        }
        assert_eq!(
            Interval::new(Duration::from_millis(10)).unwrap_err().to_string(),
            "a window of `10ms` cannot be counted, choose one from `1s` to `24h`"
        );
    }

    #[test]
    fn a_table_has_sane_dimensions() {
        assert_eq!(Shape::new(1 << 18), Ok(Shape::default()));
        assert_eq!(Shape::new(1_025).unwrap().slots(), 1_028);
        for slots in [0, 1_023, (1 << 24) + 1, usize::MAX] {
            assert_eq!(Shape::new(slots), Err(TrafficError::Shape(slots)));
        }
    }

    #[test]
    fn a_default_window_takes_twelve_mebibytes() {
        assert_eq!(Shape::default().window_bytes(), 12 << 20);
        assert_eq!(Shape::new(1_400_000).unwrap().trails(), 87_500);
        assert_eq!(Shape::new(1_024).unwrap().trails(), 256);
    }
}
