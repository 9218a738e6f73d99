//! What comes in of a body while it is sent on: how much of it, and how fast.
//!
//! A client may take `grace` and a second for each `rate` bytes. What counts is time that the gate waited for the
//! client: over HTTP/1.1 a read ends when that is used up, so that a longer pause cannot have been the client's. Once
//! the origin answers, the two talk to each other, and only the size is looked at.

use std::sync::Arc;
use std::time::Duration;

use super::bounds::BodyBounds;
use super::unserved::Unserved;
use crate::facts::time::Tick;

/// The body of one request, as far as it came.
#[derive(Debug)]
pub(super) struct Intake {
    bounds: Arc<BodyBounds>,
    reads: Reads,
    /// Between two reads, at most.
    longest: Duration,
    read: u64,
    waited: Duration,
    last: Tick,
    talk: Talk,
    /// Whether the origin is waited for, and not the client.
    paused: bool,
}

/// Whether a read ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// After [`Intake::patience`].
    Timed,
    /// Not by itself, so that every pause counts.
    Untimed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talk {
    /// The client speaks.
    Monologue,
    /// The origin answers meanwhile.
    Dialogue,
}

/// A read is given this long at least: a client that has used up its time gets another chance to catch up.
const SHORTEST: Duration = Duration::from_secs(1);

impl Intake {
    /// A body of which nothing was read yet.
    pub(super) fn new(bounds: Arc<BodyBounds>, reads: Reads, longest: Duration, now: Tick) -> Self {
        let (waited, talk) = (Duration::ZERO, Talk::Monologue);
        Self { bounds, reads, longest, read: 0, waited, last: now, talk, paused: false }
    }

    /// Begins anew: what was read so far is sent on from the start.
    pub(super) fn begin(&mut self, now: Tick) {
        (self.read, self.waited, self.last, self.talk) = (0, Duration::ZERO, now, Talk::Monologue);
        self.paused = false;
    }

    /// Notes that the origin is to take what was read, and nothing more is read until it has.
    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    /// Notes that the origin has taken that.
    pub(super) fn resume(&mut self, now: Tick) {
        (self.paused, self.last) = (false, now);
    }

    /// Notes that the origin answers.
    pub(super) fn answered(&mut self) {
        self.talk = Talk::Dialogue;
    }

    /// Counts a piece of the body.
    pub(super) fn hear(&mut self, bytes: usize, is_end: bool, now: Tick) -> Result<(), Unserved> {
        let pause = now.elapsed().saturating_sub(self.last.elapsed());
        if self.reads == Reads::Untimed || pause <= self.patience() {
            self.waited += pause;
        }
        self.last = now;
        self.read = self.read.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.read > self.bounds.max {
            return Err(Unserved::LargeBody);
        }
        let late = self.left().is_some_and(|left| left.is_none());
        if late && !is_end { Err(Unserved::SlowBody) } else { Ok(()) }
    }

    /// How long the next read may take.
    pub(super) fn patience(&self) -> Duration {
        let left = self.left().map(Option::unwrap_or_default);
        left.map_or(self.longest, |left| left.max(SHORTEST).min(self.longest))
    }

    /// Whether the client has used up its time.
    pub(super) fn is_late(&self, now: Tick) -> bool {
        let pause = now.elapsed().saturating_sub(self.last.elapsed());
        !self.paused && self.left().is_some_and(|left| left.is_none_or(|left| left < pause))
    }

    /// What is left of the client's time: `Some(None)` if it is used up, `None` if there is no bound.
    fn left(&self) -> Option<Option<Duration>> {
        if self.bounds.rate == 0 || self.talk == Talk::Dialogue {
            return None;
        }
        let earned = self.read.saturating_mul(1000) / self.bounds.rate;
        let allowed = self.bounds.grace.saturating_add(Duration::from_millis(earned));
        Some(allowed.checked_sub(self.waited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Tick {
        Tick::from_elapsed(Duration::from_millis(millis))
    }

    fn intake(max: u64, rate: u64, reads: Reads) -> Intake {
        let bounds =
            BodyBounds { max, rate, grace: Duration::from_secs(5), types: Vec::new(), inspect: None };
        Intake::new(Arc::new(bounds), reads, Duration::from_secs(60), at(0))
    }

    #[test]
    fn a_body_may_be_as_large_as_the_bound_and_not_a_byte_more() {
        let mut intake = intake(10, 0, Reads::Timed);
        assert_eq!(intake.hear(4, false, at(1)), Ok(()));
        assert_eq!(intake.hear(6, false, at(2)), Ok(()));
        assert_eq!(intake.hear(1, true, at(3)), Err(Unserved::LargeBody));
        intake.begin(at(4));
        assert_eq!(intake.hear(10, true, at(5)), Ok(()), "sent on from the start");
    }

    #[test]
    fn a_steady_client_earns_its_time() {
        let mut intake = intake(u64::MAX, 100, Reads::Timed);
        for second in 1..=1000 {
            assert_eq!(intake.hear(100, false, at(second * 1000)), Ok(()), "{second}");
        }
        assert_eq!(intake.patience(), Duration::from_secs(5));
    }

    #[test]
    fn a_client_that_drips_has_used_up_its_time_soon() {
        let mut intake = intake(u64::MAX, 100, Reads::Timed);
        let late = (1..).find(|n| intake.hear(1, false, at(n * 500)).is_err());
        // Five seconds, and one for a hundred bytes.
        assert_eq!(late, Some(11));
        assert_eq!(intake.hear(1, true, at(5501)), Ok(()), "what is complete is complete");
    }

    #[test]
    fn a_silent_client_is_waited_for_as_long_as_it_has_time() {
        let mut intake = intake(u64::MAX, 100, Reads::Timed);
        assert_eq!(intake.patience(), Duration::from_secs(5));
        assert_eq!(intake.hear(1000, false, at(4000)), Ok(()));
        assert_eq!(intake.patience(), Duration::from_secs(11));
        assert!(!intake.is_late(at(15_000)) && intake.is_late(at(15_001)));
        assert_eq!(intake.hear(0, false, at(14_900)), Ok(()));
        assert_eq!(intake.patience(), SHORTEST, "never less than it takes to catch up");
    }

    #[test]
    fn a_pause_that_a_read_would_have_ended_is_not_the_clients() {
        let mut timed = intake(u64::MAX, 100, Reads::Timed);
        assert_eq!(timed.hear(1, false, at(3_600_000)), Ok(()));
        let mut untimed = intake(u64::MAX, 100, Reads::Untimed);
        assert_eq!(untimed.hear(1, false, at(3_600_000)), Err(Unserved::SlowBody));
    }

    #[test]
    fn whoever_talks_with_the_origin_may_be_silent() {
        let mut intake = intake(10, 100, Reads::Untimed);
        intake.answered();
        assert_eq!(intake.hear(1, false, at(3_600_000)), Ok(()));
        assert!(!intake.is_late(at(7_200_000)));
        assert_eq!(intake.patience(), Duration::from_secs(60));
        assert_eq!(intake.hear(10, false, at(3_600_001)), Err(Unserved::LargeBody), "but not for ever");
    }

    #[test]
    fn a_pause_in_which_the_origin_takes_its_time_is_not_the_clients() {
        let mut intake = intake(u64::MAX, 100, Reads::Untimed);
        assert_eq!(intake.hear(1, false, at(1000)), Ok(()));
        intake.pause();
        assert!(!intake.is_late(at(60_000)));
        intake.resume(at(60_000));
        assert_eq!(intake.hear(1, false, at(61_000)), Ok(()));
        assert!(intake.is_late(at(80_000)));
        assert_eq!(intake.hear(1, false, at(80_000)), Err(Unserved::SlowBody));
    }
}
