//! Counters: events of one kind that a script declares and counts, such as failed logins per client.
//!
//! Each counter has a window of its own, exact if it is per country. It outlives reloads by its identity. It never
//! decides anything; a script compares what it reads.

use std::fmt;
use std::sync::Arc;

use super::settings::Interval;
use super::subject::{Per, Subject};
use super::window::Window;
use crate::facts::time::Tick;

/// A counter's identity: counters that are equal in all of it are one counter, before and after a reload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CounterSpec {
    /// The name that scripts use.
    pub name: String,
    /// What it tells apart.
    pub per: Per,
    /// The interval that it slides over.
    pub window: Interval,
}

/// A counter that counts. Made by [`Traffic::counters`](super::Traffic::counters); counts live while anybody holds
/// it.
pub struct Counter {
    spec: CounterSpec,
    window: Arc<Window>,
}

impl Counter {
    pub(super) fn new(spec: CounterSpec, window: Arc<Window>) -> Self {
        Self { spec, window }
    }

    /// Its identity.
    pub fn spec(&self) -> &CounterSpec {
        &self.spec
    }

    /// Counts one event.
    pub fn count(&self, subject: &Subject, now: Tick) {
        self.window.count(subject.key(self.spec.per, 0), now);
    }

    /// Events in the window before now: a sliding estimate, rounded to the nearest whole event.
    pub fn value(&self, subject: &Subject, now: Tick) -> u64 {
        // An estimate is never negative, and far below 2^53.
        self.window.read(subject.key(self.spec.per, 0), now).estimate().round() as u64
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").field("spec", &self.spec).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::{at, interval, subject, traffic};
    use super::*;

    fn spec(name: &str, per: Per) -> CounterSpec {
        CounterSpec { name: name.to_owned(), per, window: interval(600) }
    }

    #[test]
    fn counters_are_separate_by_name_and_by_key() {
        let traffic = traffic();
        let specs =
            [spec("login_failed", Per::Client), spec("not_found", Per::Client), spec("paid", Per::Country)];
        let counters = traffic.counters(&specs, at(0.0));
        let (first, second) = (subject("DE", 1), subject("DE", 2));
        for _ in 0..7 {
            counters[0].count(&first, at(1.0));
            counters[2].count(&first, at(1.0));
        }
        let values =
            |who: &Subject| counters.iter().map(|counter| counter.value(who, at(2.0))).collect::<Vec<_>>();
        assert_eq!(values(&first), [7, 0, 7]);
        assert_eq!(values(&second), [0, 0, 7]);
    }

    #[test]
    fn a_value_slides_and_is_rounded_to_nearest() {
        let traffic = traffic();
        let counters = traffic.counters(&[spec("login_failed", Per::Asn)], at(0.0));
        let who = subject("DE", 1);
        (0..5).for_each(|_| counters[0].count(&who, at(599.0)));
        for (seconds, value) in [(599.9, 5), (600.0, 5), (659.0, 5), (661.0, 4), (1_139.0, 1), (1_141.0, 0)] {
            traffic.rotate(at(seconds));
            assert_eq!(counters[0].value(&who, at(seconds)), value, "{seconds}");
        }
    }
}
