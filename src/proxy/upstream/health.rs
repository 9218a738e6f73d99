//! Whether a server is fit to be asked: what checks say, and what became of the last requests.
//!
//! A server is down while checks fail, and ejected for a while after some failures in a row, for longer each time it
//! happens again; an answer with one of some statuses is a failure, too. Both are only this server's state: whether anybody else is left to be asked is decided where servers
//! are chosen. Counts are kept without locks; two threads that meet may lose one of them, never more.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::settings::Ejection;
use crate::facts::time::Tick;

/// Whether a server is fit to be asked.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Whether checks say that it is down.
    down: AtomicBool,
    /// Checks in a row that said otherwise.
    contrary: AtomicU32,
    /// Requests that failed in a row.
    failures: AtomicU32,
    /// How often it was ejected in a row.
    times: AtomicU32,
    /// Until when it is ejected, in milliseconds since the process started.
    until: AtomicU64,
}

/// What is to be said of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// It is asked.
    Up,
    /// Checks fail.
    Down,
    /// Requests failed; it is left alone for so long.
    Ejected(Duration),
}

impl Health {
    /// Whether it is fit to be asked.
    pub(super) fn is_up(&self, now: Tick) -> bool {
        !self.down.load(Relaxed) && self.until.load(Relaxed) <= millis(now)
    }

    /// What is to be said of it.
    pub(super) fn fitness(&self, now: Tick) -> Fitness {
        let left = self.until.load(Relaxed).saturating_sub(millis(now));
        if self.down.load(Relaxed) {
            Fitness::Down
        } else if left > 0 {
            Fitness::Ejected(Duration::from_millis(left))
        } else {
            Fitness::Up
        }
    }

    /// Notes an answer. Earlier ejections are forgotten once it has answered for as long as the last one took.
    pub(super) fn succeeded(&self, ejection: &Ejection, now: Tick) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        let times = self.times.load(Relaxed);
        if times != 0 {
            let span = u64::try_from(ejection.span(times - 1).as_millis()).unwrap_or(u64::MAX);
            if millis(now) >= self.until.load(Relaxed).saturating_add(span) {
                self.times.store(0, Relaxed);
            }
        }
    }

    /// Notes a failure; for how long it is ejected, if that is one too many. Once it is back, one more is enough.
    pub(super) fn failed(&self, ejection: &Ejection, now: Tick) -> Option<Duration> {
        if ejection.failures == 0 || self.until.load(Relaxed) > millis(now) {
            return None;
        }
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        if failures < ejection.failures {
            return None;
        }
        let span = ejection.span(self.times.fetch_add(1, Relaxed));
        let until = now.elapsed().saturating_add(span).as_millis();
        self.until.store(u64::try_from(until).unwrap_or(u64::MAX), Relaxed);
        self.failures.store(ejection.failures - 1, Relaxed);
        Some(span)
    }

    /// Takes it for up, since nobody checks it any more.
    pub(super) fn trust(&self) {
        self.down.store(false, Relaxed);
    }

    /// Notes a check; whether it is up now, if that changed. `enough` checks in a row are believed.
    pub(super) fn checked(&self, passed: bool, enough: u32) -> Option<bool> {
        if self.down.load(Relaxed) != passed {
            self.contrary.store(0, Relaxed);
            return None;
        }
        if self.contrary.fetch_add(1, Relaxed).saturating_add(1) < enough {
            return None;
        }
        self.contrary.store(0, Relaxed);
        self.down.store(!passed, Relaxed);
        Some(passed)
    }
}

fn millis(now: Tick) -> u64 {
    u64::try_from(now.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ejection() -> Ejection {
        Ejection {
            failures: 3,
            time: Duration::from_secs(10),
            longest: Duration::from_secs(25),
            ..Ejection::default()
        }
    }

    fn at(seconds: u64) -> Tick {
        Tick::from_elapsed(Duration::from_secs(seconds))
    }

    fn seconds(span: Option<Duration>) -> Option<u64> {
        span.map(|span| span.as_secs())
    }

    #[test]
    fn failures_in_a_row_eject_and_an_answer_between_them_does_not_let_it_come_to_that() {
        let health = Health::default();
        for _ in 0..5 {
            assert_eq!(health.failed(&ejection(), at(1)), None);
            assert_eq!(health.failed(&ejection(), at(1)), None);
            health.succeeded(&ejection(), at(1));
        }
        assert!(health.is_up(at(1)));
        let spans = [1, 1, 1].map(|now| seconds(health.failed(&ejection(), at(now))));
        assert_eq!(spans, [None, None, Some(10)]);
        assert_eq!(health.fitness(at(2)), Fitness::Ejected(Duration::from_secs(9)));
        assert!(!health.is_up(at(10)) && health.is_up(at(11)));
    }

    #[test]
    fn one_failure_ejects_it_again_for_longer_up_to_the_longest_time() {
        let health = Health::default();
        (0..2).for_each(|_| _ = health.failed(&ejection(), at(0)));
        let spans = [0, 10, 30, 55].map(|now| seconds(health.failed(&ejection(), at(now))));
        assert_eq!(spans, [Some(10), Some(20), Some(25), Some(25)]);
        assert_eq!(health.failed(&ejection(), at(60)), None, "it is ejected already");
    }

    #[test]
    fn ejections_are_forgotten_once_it_has_answered_for_as_long() {
        let health = Health::default();
        (0..3).for_each(|_| _ = health.failed(&ejection(), at(0)));
        health.succeeded(&ejection(), at(19));
        (0..2).for_each(|_| _ = health.failed(&ejection(), at(19)));
        assert_eq!(seconds(health.failed(&ejection(), at(19))), Some(20), "the first one still counts");
        health.succeeded(&ejection(), at(59));
        (0..2).for_each(|_| _ = health.failed(&ejection(), at(60)));
        assert_eq!(seconds(health.failed(&ejection(), at(60))), Some(10));
    }

    #[test]
    fn with_ejection_off_no_number_of_failures_does_anything() {
        let (health, off) = (Health::default(), Ejection { failures: 0, ..ejection() });
        (0..100).for_each(|_| assert_eq!(health.failed(&off, at(0)), None));
        assert!(health.is_up(at(0)));
    }

    #[test]
    fn checks_are_believed_when_enough_of_them_in_a_row_say_the_same() {
        let health = Health::default();
        let said = [false, true, false, false, false].map(|passed| health.checked(passed, 2));
        assert_eq!(said, [None, None, None, Some(false), None]);
        assert_eq!((health.is_up(at(0)), health.fitness(at(0))), (false, Fitness::Down));
        assert_eq!([true, true].map(|passed| health.checked(passed, 2)), [None, Some(true)]);
        assert!(health.is_up(at(0)));
    }
}
