//! Time as the rest of the house sees it: handed in, never read.
//!
//! A request carries one [`Now`]. Its wall part says what the calendar says (for records and scripts), its
//! monotonic part says how much time went by (for windows and limits) and never jumps. Only the edge reads
//! clocks.

use std::time::Duration;

/// One moment: the wall clock and the monotonic clock, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// What the calendar says.
    pub wall: Wall,
    /// How much time went by.
    pub tick: Tick,
}

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Wall(u64);

/// Monotonic time in nanoseconds, since a moment that is the same for every process, give or take what their clocks were set by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tick(u64);

const MILLIS_PER_HOUR: u64 = 3_600_000;
const MILLIS_PER_DAY: u64 = 24 * MILLIS_PER_HOUR;

impl Wall {
    /// A wall time from milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Hour of the day in UTC, 0 to 23.
    pub const fn hour(self) -> u8 {
        (self.0 % MILLIS_PER_DAY / MILLIS_PER_HOUR) as u8
    }

    /// Day of the week in UTC as in ISO 8601: 1 is Monday, 7 is Sunday.
    pub const fn weekday(self) -> u8 {
        // 1970-01-01 was a Thursday (4).
        ((self.0 / MILLIS_PER_DAY + 3) % 7 + 1) as u8
    }
}

impl Tick {
    /// A tick from the time that went by.
    pub const fn from_elapsed(elapsed: Duration) -> Self {
        Self(elapsed.as_nanos() as u64)
    }

    /// A tick from nanoseconds since the first one.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Time since the first tick.
    pub const fn elapsed(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Nanoseconds since the first tick.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_is_utc_and_iso() {
        // 2026-11-23T17:56:30Z, a Monday.
        let wall = Wall::from_millis(1_795_456_590_000);
        assert_eq!((wall.weekday(), wall.hour()), (1, 17));
        // 1970-01-01T00:00:00Z, a Thursday.
        assert_eq!((Wall::from_millis(0).weekday(), Wall::from_millis(0).hour()), (4, 0));
        // 1970-01-04T23:59:59.999Z, a Sunday.
        let sunday = Wall::from_millis(4 * MILLIS_PER_DAY - 1);
        assert_eq!((sunday.weekday(), sunday.hour()), (7, 23));
    }
}
