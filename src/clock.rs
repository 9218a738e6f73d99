//! The clock: the one place that reads it. All else is handed a [`Now`].

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::facts::time::{Now, Tick, Wall};

/// The clocks of this process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    /// Where ticks began.
    first: Duration,
}

/// 2026-01-01T00:00:00Z, in seconds since 1970: the tick 0. So ticks of two processes are of one kind, as long as nobody
/// sets the clock.
const ORIGIN: Duration = Duration::from_secs(1_767_225_600);

impl Clock {
    /// A clock whose ticks begin with the time of day, and do not follow when that is set.
    pub fn start() -> Self {
        let first = since_1970().saturating_sub(ORIGIN);
        Self { started: Instant::now(), first }
    }

    /// How long it has been running.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// The moment, on both clocks. A wall clock before 1970 reads as 1970.
    pub fn now(&self) -> Now {
        let wall = Wall::from_millis(u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX));
        Now { wall, tick: self.tick() }
    }

    /// The moment, for what only passes.
    pub fn tick(&self) -> Tick {
        Tick::from_elapsed(self.first + self.started.elapsed())
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
