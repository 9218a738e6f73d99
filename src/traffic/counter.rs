//! Counters: events of one kind that a script declares and counts, such as failed logins per client, or the distinct
//! values of something, such as paths per client.
//!
//! Each counter has a window and a table of its own, with a place for each country if it is per country. It outlives
//! reloads by its identity. It never decides anything; a script compares what it reads.

mod combination;
mod distinct;
mod events;
mod shelf;
#[cfg(test)]
mod simulation;
mod steps;
mod table;

use std::fmt;
use std::sync::Arc;

pub use combination::{Combination, Dimension, Token};
pub use distinct::Precision;
pub(super) use shelf::Shelf;

use self::combination::Hashing;
use self::distinct::Distinct;
use self::events::Events;
use self::steps::{Lanes, Steps};
use self::table::{Address, Table};
use super::kept::{Kept, Lapse, Rows, hand_on};
use super::settings::Interval;
use super::subject::Subject;
use crate::facts::place::CountryCode;
use crate::facts::time::Tick;

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Events.
    Events,
    /// Distinct values that a script names.
    Distinct,
}

/// A counter's identity: counters that are equal in all of it are one counter, before and after a reload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CounterSpec {
    /// The name that scripts use.
    pub name: String,
    /// What it tells apart.
    pub per: Combination,
    /// What it counts.
    pub kind: Counted,
    /// The interval that it slides over.
    pub window: Interval,
}

/// A counter that counts. Made by [`Traffic::counters`](super::Traffic::counters); counts live while anybody holds
/// it.
pub struct Counter {
    spec: CounterSpec,
    hashing: Arc<Hashing>,
    steps: Steps,
    table: Table,
}

/// The most keys that a counter has room for which tells neither clients nor credentials apart.
const FEW_KEYS: usize = 4_096;

impl Counted {
    /// `events` or `distinct`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Distinct => "distinct",
        }
    }
}

impl Counter {
    fn new(spec: CounterSpec, hashing: Arc<Hashing>, slots: usize, now: Tick) -> Self {
        let words = match (spec.kind, spec.per.has_many_keys()) {
            (Counted::Events, _) => Events::WORDS,
            (Counted::Distinct, true) => Distinct::WORDS,
            (Counted::Distinct, false) => Distinct::WORDS_OF_FEW,
        };
        let table = if spec.per.is_country() {
            Table::own(CountryCode::COUNT, words)
        } else if spec.per.has_many_keys() {
            Table::hashed(slots, words)
        } else {
            Table::hashed(slots.min(FEW_KEYS), words)
        };
        Self { steps: Steps::new(spec.window, now), spec, hashing, table }
    }

    /// Its identity.
    pub fn spec(&self) -> &CounterSpec {
        &self.spec
    }

    /// Counts one event. Nothing, if it counts distinct values, or per credential and there is none.
    pub fn count(&self, subject: &Subject, now: Tick) {
        if let (Counted::Events, Some(at)) = (self.spec.kind, self.address(subject)) {
            self.table.write::<Events>(at, self.steps.at(now).current);
        }
    }

    /// Counts a value, once however often it comes. Nothing, if it counts events, or per credential and there is none.
    pub fn count_value(&self, subject: &Subject, value: &str, now: Tick) {
        if let (Counted::Distinct, Some(at)) = (self.spec.kind, self.address(subject)) {
            let (hash, lane) = (self.hashing.value(value.as_bytes()), self.steps.at(now).current);
            self.table.write::<Distinct>(at, Distinct::met(hash, self.table.stride(), lane));
        }
    }

    /// Events, or distinct values, in the window before now: a sliding estimate, rounded to the nearest whole number.
    pub fn value(&self, subject: &Subject, now: Tick) -> u64 {
        let Some(at) = self.address(subject) else { return 0 };
        let moment = self.steps.at(now);
        let mut estimate = 0.0_f64;
        self.table.read(at, |words| match self.spec.kind {
            Counted::Events => estimate += Events::estimate(words, &moment),
            Counted::Distinct => estimate = estimate.max(Distinct::estimate(words, &moment)),
        });
        // An estimate is never negative, and far below 2^53.
        estimate.round() as u64
    }

    /// The steps in which it slides; what was counted in the oldest of them is the most that a value can be wrong by.
    pub fn step(&self) -> Interval {
        Interval::new(self.steps.step()).unwrap_or(self.spec.window)
    }

    /// How many keys it has a place for; `None` if every key has its own.
    pub fn places(&self) -> Option<usize> {
        (!self.spec.per.is_country()).then(|| self.table.places())
    }

    /// How well it tells values apart, if it counts distinct ones.
    pub fn precision(&self) -> Option<Precision> {
        match self.spec.kind {
            Counted::Events => None,
            Counted::Distinct => Some(Precision::of(self.table.stride())),
        }
    }

    /// Hands on what it has counted.
    fn keep<E>(&self, sink: &mut dyn FnMut(&Kept) -> Result<(), E>) -> Result<(), E> {
        let (step, places) = (self.steps.running(), self.table.places() as u64);
        let wrap = |rows| Rows::Words { step, places, rows };
        hand_on(&self.spec.to_string(), self.table.rows(), wrap, sink)
    }

    /// Counts once more what was kept; how many keys that is. None, if it has another number of places now.
    fn recall(&self, rows: &Rows, lapse: Lapse) -> usize {
        let Rows::Words { step, places, rows } = rows else { return 0 };
        self.rotate(lapse.now);
        match self.steps.outdated(*step) {
            Some(outdated) if *places == self.table.places() as u64 => {
                let count = rows.iter().filter(|row| self.table.recall(row)).count();
                self.clear(outdated);
                count
            }
            Some(_) | None => 0,
        }
    }

    /// How many keys were forgotten for want of room, since it was made.
    pub fn forgotten(&self) -> u64 {
        self.table.forgotten()
    }

    /// What it takes of memory, which does not change with traffic.
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Moves on, and empties what is out of date. Not for the request path.
    fn rotate(&self, now: Tick) {
        self.steps.rotate(now, |lanes| self.clear(lanes));
    }

    fn clear(&self, lanes: Lanes) {
        match self.spec.kind {
            Counted::Events => self.table.clear::<Events>(lanes),
            Counted::Distinct => self.table.clear::<Distinct>(lanes),
        }
    }

    fn address(&self, subject: &Subject) -> Option<Address> {
        if self.spec.per.is_country() {
            return Some(Address::Own(subject.country.index()));
        }
        self.spec.per.hash(subject, &self.hashing).map(Address::Hashed)
    }
}

/// `counter login_failed of events per client and route over 1h`
impl fmt::Display for CounterSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, per, kind, window } = self;
        write!(f, "counter {name} of {} per {per} over {window}", kind.as_str())
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").field("spec", &self.spec).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Traffic;
    use super::super::simulation::{at, interval, subject, traffic};
    use super::*;

    fn spec(name: &str, per: Dimension, kind: Counted) -> CounterSpec {
        CounterSpec { name: name.to_owned(), per: per.into(), kind, window: interval(600) }
    }

    fn events(name: &str, per: Dimension) -> CounterSpec {
        spec(name, per, Counted::Events)
    }

    fn only(traffic: &Traffic, spec: CounterSpec) -> Arc<Counter> {
        traffic.counters(&[spec], at(0.0)).remove(0)
    }

    #[test]
    fn counters_are_separate_by_name_and_by_key() {
        let traffic = traffic();
        let specs = [
            events("login_failed", Dimension::Client),
            events("not_found", Dimension::Client),
            events("paid", Dimension::Country),
        ];
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
    fn a_value_slides_in_steps_of_a_twelfth_and_is_rounded_to_nearest() {
        let traffic = traffic();
        let counter = only(&traffic, events("login_failed", Dimension::Asn));
        assert_eq!(counter.step(), interval(50));
        let who = subject("DE", 1);
        traffic.rotate(at(590.0));
        (0..5).for_each(|_| counter.count(&who, at(599.0)));
        for (seconds, value) in
            [(599.9, 5), (1_149.0, 5), (1_154.0, 5), (1_156.0, 4), (1_194.0, 1), (1_196.0, 0)]
        {
            traffic.rotate(at(seconds));
            assert_eq!(counter.value(&who, at(seconds)), value, "{seconds}");
        }
    }

    #[test]
    fn a_credential_is_counted_wherever_it_comes_from_and_nobody_without_one() {
        let traffic = traffic();
        let counter = only(&traffic, events("login_failed", Dimension::Token));
        let with =
            |name: &str, n| Subject { token: Some(traffic.token(name.as_bytes())), ..subject("DE", n) };
        (0..9).for_each(|n| counter.count(&with("alice", n), at(1.0)));
        (0..9).for_each(|n| counter.count(&subject("DE", n), at(1.0)));
        assert_eq!(counter.value(&with("alice", 77), at(2.0)), 9);
        assert_eq!(counter.value(&with("bob", 1), at(2.0)), 0);
        assert_eq!(counter.value(&subject("DE", 1), at(2.0)), 0);
    }

    #[test]
    fn a_value_is_counted_once_and_forgotten_after_its_window() {
        let traffic = traffic();
        let counter = only(&traffic, spec("paths", Dimension::Client, Counted::Distinct));
        let who = subject("DE", 1);
        for _ in 0..100 {
            ["/a", "/b", "/c"].iter().for_each(|path| counter.count_value(&who, path, at(10.0)));
        }
        assert_eq!((counter.value(&who, at(11.0)), counter.value(&subject("DE", 2), at(11.0))), (3, 0));
        traffic.rotate(at(500.0));
        counter.count_value(&who, "/c", at(500.0));
        for second in (500..661).step_by(20) {
            traffic.rotate(at(f64::from(second)));
        }
        assert_eq!(counter.value(&who, at(660.0)), 1, "one of them was met again");
    }

    #[test]
    fn what_is_counted_in_the_wrong_way_is_not_counted() {
        let traffic = traffic();
        let (plain, paths) = (
            only(&traffic, events("hits", Dimension::Client)),
            only(&traffic, spec("paths", Dimension::Client, Counted::Distinct)),
        );
        let who = subject("DE", 1);
        plain.count_value(&who, "/a", at(1.0));
        paths.count(&who, at(1.0));
        assert_eq!((plain.value(&who, at(1.0)), paths.value(&who, at(1.0))), (0, 0));
    }

    #[test]
    fn a_counter_keeps_its_counts_over_a_reload_and_goes_with_its_last_holder() {
        let traffic = traffic();
        let empty = traffic.memory_bytes();
        let specs = [events("a", Dimension::Client), events("b", Dimension::Country)];
        let before = traffic.counters(&specs, at(0.0));
        before.iter().for_each(|counter| counter.count(&subject("DE", 1), at(0.0)));
        let reordered = [specs[1].clone(), specs[0].clone(), events("a", Dimension::Route)];
        let after = traffic.counters(&reordered, at(0.0));
        drop(before);
        let values = after.iter().map(|counter| counter.value(&subject("DE", 1), at(0.0)));
        assert_eq!(values.collect::<Vec<_>>(), [1, 1, 0]);
        let bytes = after.iter().map(|counter| counter.bytes()).sum::<usize>();
        assert_eq!(traffic.memory_bytes(), empty + bytes);
        drop(after);
        assert_eq!(traffic.memory_bytes(), empty);
    }
}
