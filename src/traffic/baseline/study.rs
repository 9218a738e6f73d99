//! One country or route under observation: its week, what came in the last minute, and whether it surges.
//!
//! What came is compared twice, over ten seconds and over a minute. The running interval is looked at long before it
//! is over, as if nothing more came in it: that can only be too calm, so a flood is seen within seconds and looking
//! often makes no false alarm. A surge begins at once, ends after a quiet minute, and is taken for the new usual if
//! it lasts for three days.

use super::odds::anomaly;
use super::week::{Expected, GRAIN, Lesson, SAMPLE_SECONDS, Week};
use crate::facts::time::Wall;

/// The anomaly with which a surge begins: 1 in 10^8.
pub(super) const BEGINS: f64 = 8.0;
/// The anomaly below which it is quiet again.
const QUIET: f64 = 3.0;
/// Quiet intervals that end a surge: a minute.
const QUIET_INTERVALS: u32 = 6;
/// Intervals after which a surge is no surge any more: three days.
pub(super) const LASTING_INTERVALS: u32 = 3 * 24 * 360;
/// Whole intervals that make up a minute with the running one.
const MINUTE: usize = 5;

/// What is known about one key.
#[derive(Clone)]
pub(super) struct Study {
    week: Week,
    expected: Option<Expected>,
    /// All that had come when the running interval began.
    before: u64,
    /// What came in the intervals before, in turn.
    minute: [u64; MINUTE],
    /// The anomaly of the last whole interval, and that of now.
    settled: f64,
    anomaly: f64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Calm,
    Surging {
        /// How many intervals it has lasted.
        intervals: u32,
        /// How many of them, to the last, were quiet.
        quiet: u32,
    },
}

/// A change of a surge, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::traffic) enum Turn {
    Began,
    Lasts { intervals: u32 },
    Ended { intervals: u32 },
    Accepted { intervals: u32 },
}

impl Study {
    pub(super) fn new() -> Self {
        let state = State::Calm;
        Self {
            week: Week::new(),
            expected: None,
            before: 0,
            minute: [0; MINUTE],
            settled: 0.0,
            anomaly: 0.0,
            state,
        }
    }

    pub(super) fn week(&self) -> &Week {
        &self.week
    }

    /// Goes on with what was known before a restart.
    pub(super) fn recall(&mut self, week: Week, wall: Wall) {
        self.expected = week.expected(wall);
        self.week = week;
    }

    /// Requests/s that are usual now; `None` until there is evidence.
    pub(super) fn usual(&self) -> Option<f64> {
        self.expected.map(|expected| expected.rate)
    }

    /// How improbable the last ten seconds or the last minute are.
    pub(super) fn anomaly(&self) -> f64 {
        self.anomaly
    }

    /// The surge that there is, if there is one.
    pub(super) fn surging(&self) -> Option<Turn> {
        match self.state {
            State::Calm => None,
            State::Surging { intervals, .. } => Some(Turn::Lasts { intervals }),
        }
    }

    /// Looks at the running interval, by the end of which there will be at least `total`.
    pub(super) fn look(&mut self, total: u64) -> Option<Turn> {
        self.judge(total.saturating_sub(self.before), SAMPLE_SECONDS as f64);
        match self.state {
            State::Calm if self.anomaly >= BEGINS => {
                self.state = State::Surging { intervals: 0, quiet: 0 };
                Some(Turn::Began)
            }
            State::Calm | State::Surging { .. } => None,
        }
    }

    /// The running interval is over, after so many seconds: judges it, learns from it, and begins the next one.
    pub(super) fn complete(&mut self, total: u64, seconds: f64, wall: Wall) -> Option<Turn> {
        let began = self.look(total);
        let count = total.saturating_sub(self.before);
        let now = self.judge(count, seconds);
        let lesson = match self.state {
            State::Calm => Lesson::Bounded,
            State::Surging { .. } => Lesson::NotUp,
        };
        self.week.learn(count as f64 / seconds, wall, lesson);
        self.expected = self.week.expected(wall);
        self.begin(total);
        self.minute.rotate_left(1);
        let [.., last] = &mut self.minute;
        *last = count;
        self.settled = now;
        began.or_else(|| self.step())
    }

    /// Begins an interval without a word about the time before, of which too little is known.
    pub(super) fn skip(&mut self, total: u64) {
        self.begin(total);
        self.minute = [0; MINUTE];
        (self.settled, self.anomaly) = (0.0, 0.0);
    }

    fn begin(&mut self, total: u64) {
        self.before = total;
    }

    /// Sets the anomaly when `count` came in `seconds`; answers that without what was before.
    fn judge(&mut self, count: u64, seconds: f64) -> f64 {
        let Some(Expected { rate, shape }) = self.expected else {
            self.anomaly = 0.0;
            return 0.0;
        };
        let mean = |seconds: f64| (rate + GRAIN) * seconds;
        let now = anomaly(count, mean(seconds), shape);
        let minute = count + self.minute.iter().sum::<u64>();
        let seconds = seconds + (MINUTE as u64 * SAMPLE_SECONDS) as f64;
        self.anomaly = now.max(self.settled).max(anomaly(minute, mean(seconds), shape));
        now
    }

    /// A surge grows older by an interval.
    fn step(&mut self) -> Option<Turn> {
        let State::Surging { intervals, quiet } = self.state else { return None };
        let intervals = intervals + 1;
        let quiet = if self.anomaly < QUIET { quiet + 1 } else { 0 };
        if quiet >= QUIET_INTERVALS {
            self.state = State::Calm;
            return Some(Turn::Ended { intervals });
        }
        if intervals >= LASTING_INTERVALS {
            *self = Self { before: self.before, ..Self::new() };
            return Some(Turn::Accepted { intervals });
        }
        self.state = State::Surging { intervals, quiet };
        Some(Turn::Lasts { intervals })
    }
}
