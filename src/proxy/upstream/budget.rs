//! How many requests may be repeated, so that an upstream in trouble does not get more of them than before.
//!
//! In each window of ten seconds, a few may be, and as many in a hundred of the requests that came since. Only a retry
//! looks here; requests are counted anyway.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::facts::time::Tick;

/// The retries of one upstream.
#[derive(Debug, Default)]
pub(super) struct Budget(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    since: Tick,
    /// How many requests had come when it began.
    asked: usize,
    spent: usize,
}

const WINDOW: Duration = Duration::from_secs(10);
/// Retries in a window that an upstream always has.
const FLOOR: usize = 10;

impl Budget {
    /// Whether one more request may be repeated; it then counts. `asked` is how many requests ever came.
    pub(super) fn spend(&self, percent: usize, asked: usize, now: Tick) -> bool {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.elapsed().saturating_sub(window.since.elapsed()) >= WINDOW {
            *window = Window { since: now, asked, spent: 0 };
        }
        // The count runs over after years.
        let came = asked.wrapping_sub(window.asked);
        let may = window.spent < FLOOR + came.saturating_mul(percent) / 100;
        window.spent += usize::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick::from_elapsed(Duration::from_secs(seconds))
    }

    #[test]
    fn an_outage_is_amplified_by_the_budget_and_no_more() {
        let budget = Budget::default();
        // Every request fails, and would be repeated as often as it may.
        let spent = (0..1_000).flat_map(|asked| [asked; 3]).filter(|asked| budget.spend(20, *asked, at(20)));
        assert_eq!(spent.count(), FLOOR + 200 - 1);
    }

    #[test]
    fn a_few_are_always_left_in_the_next_window() {
        let budget = Budget::default();
        let spend = |now| (0..50).filter(|_| budget.spend(20, 7, at(now))).count();
        assert_eq!([spend(20), spend(29), spend(30)], [FLOOR, 0, FLOOR]);
    }
}
