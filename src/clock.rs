//! The clock: the one place that reads it. All else is handed a [`Now`].

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::facts::time::{Now, Tick, Wall};

/// The clocks of this process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock whose ticks begin now.
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// The moment, on both clocks. A wall clock before 1970 reads as 1970.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = Wall::from_millis(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
        Now { wall, tick: self.tick() }
    }

    /// The moment, for what only passes.
    pub fn tick(&self) -> Tick {
        Tick::from_elapsed(self.started.elapsed())
    }
}
