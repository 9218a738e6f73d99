//! When a burst of events is over: pure arithmetic on the moments that it is told.
//!
//! An editor's one save is several events, and a copied folder is hundreds. A burst ends when nothing happened for
//! a while, but at the latest after a few such whiles, so a file that is written all the time cannot hold up the
//! others. Apart from bursts, the poll is due at its interval.

use std::time::Duration;

use tokio::time::Instant;

use super::Cause;

/// A burst is cut off after this many quiet times.
const LONGEST_BURST: u32 = 5;

/// How long to wait for quiet, and how often to look without being told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    quiet: Duration,
    poll: Duration,
}

/// Gathers events until the burst that they belong to is over.
#[derive(Debug)]
pub(super) struct Debounce {
    pace: Pace,
    burst: Option<Burst>,
    poll_at: Option<Instant>,
}

/// What to do at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Look at the files now.
    Due(Cause),
    /// Ask again then, or after the next event.
    Wait(Instant),
}

#[derive(Clone, Copy, Debug)]
struct Burst {
    first: Instant,
    last: Instant,
}

impl Pace {
    /// Wakes after `quiet` without an event, and every `poll` (at least a second) without any.
    pub fn new(quiet: Duration, poll: Duration) -> Self {
        Self { quiet, poll: poll.max(Duration::from_secs(1)) }
    }
}

/// A quarter of a second, and half a minute.
impl Default for Pace {
    fn default() -> Self {
        Self::new(Duration::from_millis(250), Duration::from_secs(30))
    }
}

impl Debounce {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, burst: None, poll_at: None }
    }

    /// Something happened.
    pub(super) fn event(&mut self, now: Instant) {
        self.burst.get_or_insert(Burst { first: now, last: now }).last = now;
    }

    /// What to do. The poll's interval begins with the first call after a reset.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        let poll_at = *self.poll_at.get_or_insert(now + self.pace.poll);
        // A poll in the middle of a burst would look at half-written files.
        let (at, cause) = match self.burst {
            Some(Burst { first, last }) => {
                let cut_off = first + self.pace.quiet * LONGEST_BURST;
                ((last + self.pace.quiet).min(cut_off), Cause::Files)
            }
            None => (poll_at, Cause::Poll),
        };
        if at <= now { Step::Due(cause) } else { Step::Wait(at) }
    }

    /// The files are about to be looked at, so whatever happened so far is dealt with.
    pub(super) fn reset(&mut self) {
        self.burst = None;
        self.poll_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn debounce() -> (Debounce, Instant) {
        let mut debounce = Debounce::new(Pace::new(100 * MS, 30_000 * MS));
        let start = Instant::now();
        assert_eq!(debounce.step(start), Step::Wait(start + 30_000 * MS));
        (debounce, start)
    }

    #[test]
    fn a_burst_is_over_when_it_was_quiet() {
        let (mut debounce, start) = debounce();
        debounce.event(start);
        assert_eq!(debounce.step(start), Step::Wait(start + 100 * MS));
        debounce.event(start + 60 * MS);
        assert_eq!(debounce.step(start + 100 * MS), Step::Wait(start + 160 * MS));
        assert_eq!(debounce.step(start + 160 * MS), Step::Due(Cause::Files));
    }

    #[test]
    fn a_constant_stream_is_cut_off() {
        let (mut debounce, start) = debounce();
        for at in (0..490).step_by(10) {
            debounce.event(start + at * MS);
            assert!(matches!(debounce.step(start + at * MS), Step::Wait(_)), "{at} ms");
        }
        assert_eq!(debounce.step(start + 499 * MS), Step::Wait(start + 500 * MS));
        assert_eq!(debounce.step(start + 500 * MS), Step::Due(Cause::Files));
    }

    #[test]
    fn without_events_the_poll_is_due() {
        let (mut debounce, start) = debounce();
        assert_eq!(debounce.step(start + 29_999 * MS), Step::Wait(start + 30_000 * MS));
        assert_eq!(debounce.step(start + 30_000 * MS), Step::Due(Cause::Poll));
    }

    #[test]
    fn a_poll_waits_for_the_end_of_a_burst() {
        let (mut debounce, start) = debounce();
        debounce.event(start + 29_990 * MS);
        assert_eq!(debounce.step(start + 30_000 * MS), Step::Wait(start + 30_090 * MS));
        assert_eq!(debounce.step(start + 30_090 * MS), Step::Due(Cause::Files));
    }

    #[test]
    fn after_a_reset_both_waits_begin_anew() {
        let (mut debounce, start) = debounce();
        debounce.event(start);
        debounce.reset();
        let later = start + 100 * MS;
        assert_eq!(debounce.step(later), Step::Wait(later + 30_000 * MS));
    }

    #[test]
    fn a_poll_interval_of_zero_does_not_spin() {
        let mut debounce = Debounce::new(Pace::new(Duration::ZERO, Duration::ZERO));
        let start = Instant::now();
        assert_eq!(debounce.step(start), Step::Wait(start + Duration::from_secs(1)));
    }
}
