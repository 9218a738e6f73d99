//! The last ten slices of time, each about a second, and their sum.
//!
//! Slices say how long they took, so that a rate is right when a turn came late. Tables hold only what was counted;
//! names instead of numbers, so that they outlive the policy that numbered them.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;

use super::busiest::KEPT;
use super::counts::{Counts, Known, Outcomes};
use crate::decision::Outcome;
use crate::facts::client::Pseudonym;
use crate::facts::place::CountryCode;
use crate::facts::time::Tick;
use crate::traffic::Per;

/// Counts by whatever they are about.
pub type Table<K, V = Outcomes> = HashMap<K, V, FixedState>;

/// A client's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy {
    /// Where it was last seen.
    pub country: CountryCode,
    /// What became of its requests.
    pub outcomes: Outcomes,
}

/// What became of the requests of a while.
#[derive(Clone, Debug, Default)]
pub struct Standings {
    /// How long that while is; zero before the first slice is over.
    pub took: Duration,
    /// By country; every request is in it once.
    pub countries: Table<CountryCode>,
    /// By number of the route; `None` for what no route serves.
    pub routes: Table<Option<usize>>,
    /// By reason; a request has any number of them.
    pub reasons: Table<Arc<str>>,
    /// By limit: what it let pass, and what it turned away itself.
    pub limits: Table<(Arc<str>, Per)>,
    /// The busiest clients of each second.
    pub clients: Table<Pseudonym, Busy>,
    /// All requests since the start, in order of [`Outcome::ALL`], up to the last turn.
    pub since_start: [u64; Outcome::ALL.len()],
}

/// How many slices are kept.
const SLICES: usize = 10;

pub(super) struct History {
    slices: VecDeque<Standings>,
    running: Standings,
    turned: Tick,
    since_start: [u64; Outcome::ALL.len()],
}

impl Standings {
    /// All requests.
    pub fn total(&self) -> Outcomes {
        let mut total = Outcomes::default();
        self.countries.values().for_each(|outcomes| total.add(outcomes));
        total
    }

    fn merge(&mut self, slice: &Self) {
        self.took += slice.took;
        merge(&mut self.countries, slice.countries.iter().map(|(key, row)| (*key, row)));
        merge(&mut self.routes, slice.routes.iter().map(|(key, row)| (*key, row)));
        merge(&mut self.reasons, slice.reasons.iter().map(|(key, row)| (Arc::clone(key), row)));
        merge(&mut self.limits, slice.limits.iter().map(|(key, row)| (key.clone(), row)));
        slice.clients.iter().for_each(|(client, busy)| self.seen(*client, busy.country, &busy.outcomes));
    }

    fn seen(&mut self, client: Pseudonym, country: CountryCode, outcomes: &Outcomes) {
        let nothing = Busy { country, outcomes: Outcomes::default() };
        let busy = self.clients.entry(client).or_insert(nothing);
        busy.country = country;
        busy.outcomes.add(outcomes);
    }

    /// Drops all but the busiest clients.
    fn keep_busiest(&mut self) {
        if self.clients.len() > KEPT {
            let mut clients: Vec<_> = self.clients.drain().collect();
            clients.select_nth_unstable_by_key(KEPT, |(_, busy)| std::cmp::Reverse(busy.outcomes.offered()));
            clients.truncate(KEPT);
            self.clients.extend(clients);
        }
    }
}

impl History {
    pub(super) fn new(now: Tick) -> Self {
        let since_start = Default::default();
        Self { slices: VecDeque::new(), running: Standings::default(), turned: now, since_start }
    }

    /// Adds what one worker counted to the slice that runs.
    pub(super) fn add(&mut self, counts: &Counts, known: &Known) {
        let running = &mut self.running;
        merge(&mut running.countries, counts.countries());
        merge(&mut running.routes, counts.routes());
        merge(&mut running.reasons, counts.reasons(known));
        merge(&mut running.limits, counts.limits(known));
        counts.clients.iter().for_each(|(client, country, row)| running.seen(client, country, row));
    }

    /// Ends the slice that runs.
    pub(super) fn turn(&mut self, now: Tick) {
        let mut slice = std::mem::take(&mut self.running);
        slice.took = now.elapsed().saturating_sub(self.turned.elapsed());
        slice.keep_busiest();
        let total = slice.total();
        for (sum, outcome) in self.since_start.iter_mut().zip(Outcome::ALL) {
            *sum += u64::from(total.of(outcome));
        }
        self.turned = now;
        self.slices.push_back(slice);
        if self.slices.len() > SLICES {
            self.slices.pop_front();
        }
    }

    pub(super) fn standings(&self) -> Standings {
        let mut sum = Standings { since_start: self.since_start, ..Standings::default() };
        self.slices.iter().for_each(|slice| sum.merge(slice));
        sum
    }
}

fn merge<'a, K: Eq + Hash>(table: &mut Table<K>, rows: impl Iterator<Item = (K, &'a Outcomes)>) {
    rows.for_each(|(key, row)| table.entry(key).or_default().add(row));
}
