//! The tables that a worker counts into: one row for each country, route, reason and limit, and the busiest clients.
//!
//! A row is found by a number; the numbers of reasons and limits follow from the policy, and are looked up by name in
//! what is [`Known`] of it. A name that is not known is not counted: all of them are, but for the second after a reload.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::Event;
use super::busiest::Busiest;
use crate::decision::Outcome;
use crate::facts::place::CountryCode;
use crate::snapshot::Snapshot;
use crate::traffic::Per;

/// How many requests came to each end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes([u32; Outcome::ALL.len()]);

/// What the policy in use can say, numbered. Names are the operator's, so that hashing needs no secret.
#[derive(Default)]
pub(super) struct Known {
    reasons: Numbers,
    limits: Numbers,
}

#[derive(Default)]
struct Numbers {
    numbers: HashMap<Arc<str>, usize, FixedState>,
    names: Vec<Arc<str>>,
}

/// The tables of one worker.
pub(super) struct Counts {
    /// By [`CountryCode::index`].
    countries: Box<[Outcomes]>,
    /// By number; the last one is for requests without a route.
    routes: Box<[Outcomes]>,
    reasons: Vec<Outcomes>,
    /// By number of the name, and what is told apart.
    limits: Vec<[Outcomes; Per::ALL.len()]>,
    pub(super) clients: Busiest,
}

impl Outcomes {
    /// So many requests of this outcome.
    pub fn of(&self, outcome: Outcome) -> u32 {
        self.0.get(outcome as usize).copied().unwrap_or(0)
    }

    /// All requests.
    pub fn offered(&self) -> u64 {
        self.0.iter().map(|count| u64::from(*count)).sum()
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count = count.saturating_add(more));
    }

    pub(super) fn count(&mut self, outcome: Outcome) {
        if let Some(count) = self.0.get_mut(outcome as usize) {
            *count = count.wrapping_add(1);
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0 == [0; Outcome::ALL.len()]
    }
}

impl Known {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let mut known = Self::default();
        let rule_sets = snapshot.policy().rule_sets().iter();
        rule_sets.flat_map(|rule_set| rule_set.reasons()).for_each(|reason| known.reasons.add(reason));
        snapshot.hard_lists().for_each(|list| known.reasons.add(&format!("list.{list}")));
        known.reasons.add("script.error");
        snapshot.limits().for_each(|limit| known.limits.add(&limit.spec().name));
        known
    }
}

impl Numbers {
    fn add(&mut self, name: &str) {
        if !self.numbers.contains_key(name) {
            let name: Arc<str> = name.into();
            self.numbers.insert(Arc::clone(&name), self.names.len());
            self.names.push(name);
        }
    }
}

impl Counts {
    pub(super) fn new(routes: usize, known: &Known) -> Self {
        let mut empty = Self {
            countries: vec![Outcomes::default(); CountryCode::COUNT].into(),
            routes: vec![Outcomes::default(); routes + 1].into(),
            reasons: Vec::new(),
            limits: Vec::new(),
            clients: Busiest::default(),
        };
        empty.fit(known);
        empty
    }

    /// Makes room for what is known. To be called on empty tables only.
    pub(super) fn fit(&mut self, known: &Known) {
        self.reasons.resize(known.reasons.names.len(), Outcomes::default());
        self.limits.resize(known.limits.names.len(), Default::default());
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.countries.fill(Outcomes::default());
        self.routes.fill(Outcomes::default());
        self.reasons.fill(Outcomes::default());
        self.limits.fill(Default::default());
        self.clients.clear();
    }

    pub(super) fn count(&mut self, event: &Event<'_>, known: &Known) {
        let Event { country, route, client, decision, outcome, refused_by } = *event;
        if let Some(row) = self.countries.get_mut(country.index()) {
            row.count(outcome);
        }
        let nowhere = self.routes.len() - 1;
        if let Some(row) = self.routes.get_mut(route.unwrap_or(nowhere)) {
            row.count(outcome);
        }
        self.clients.count(client, country, outcome);
        for reason in decision.reasons().iter().filter(|reason| !reason.observed) {
            let number = known.reasons.numbers.get(reason.reason.as_str());
            if let Some(row) = number.and_then(|number| self.reasons.get_mut(*number)) {
                row.count(outcome);
            }
        }
        for demand in decision.demands() {
            // Of a request that was turned away, only the limit that did so is known to have been asked.
            let asked = match outcome {
                Outcome::Allowed => true,
                Outcome::Throttled => refused_by == Some(demand.limit.as_str()),
                Outcome::Challenged | Outcome::Blocked => false,
            };
            let number = known.limits.numbers.get(demand.limit.as_str()).filter(|_| asked);
            let row = number.and_then(|number| self.limits.get_mut(*number)?.get_mut(demand.per as usize));
            if let Some(row) = row {
                row.count(outcome);
            }
        }
    }

    /// The countries that sent something.
    pub(super) fn countries(&self) -> impl Iterator<Item = (CountryCode, &Outcomes)> {
        CountryCode::all().zip(&self.countries).filter(|(_, row)| !row.is_zero())
    }

    /// The routes that served something, and `None` for what no route serves.
    pub(super) fn routes(&self) -> impl Iterator<Item = (Option<usize>, &Outcomes)> {
        let nowhere = self.routes.len() - 1;
        let named = self.routes.iter().enumerate();
        named
            .map(move |(number, row)| ((number != nowhere).then_some(number), row))
            .filter(|(_, row)| !row.is_zero())
    }

    /// The reasons that were given.
    pub(super) fn reasons<'a>(&'a self, known: &'a Known) -> impl Iterator<Item = (Arc<str>, &'a Outcomes)> {
        let named = known.reasons.names.iter().cloned().zip(&self.reasons);
        named.filter(|(_, row)| !row.is_zero())
    }

    /// The limits that were asked.
    pub(super) fn limits<'a>(
        &'a self,
        known: &'a Known,
    ) -> impl Iterator<Item = ((Arc<str>, Per), &'a Outcomes)> {
        let named = known.limits.names.iter().zip(&self.limits);
        let each = named.flat_map(|(name, rows)| {
            Per::ALL.into_iter().zip(rows).map(move |(per, row)| ((Arc::clone(name), per), row))
        });
        each.filter(|(_, row)| !row.is_zero())
    }
}
