//! Traffic: all that the gate counts over time.
//!
//! One [`Traffic`] lives beside the snapshot and outlives every reload. It knows what was *offered* (request rates,
//! what is usual, surges: statistics that scripts read), what was *admitted* (by limit, which is what limits are
//! about) and what was *counted* (events that scripts declare). All of it is tables of sliding windows, shared by
//! all threads without locks; memory follows from configuration, never from traffic. Time is handed in. Nothing
//! here knows a rule or decides what to do with a rejection.

#[cfg(test)]
mod accuracy;
mod admission;
mod baseline;
mod cell;
mod counter;
mod delay;
mod fair;
mod inflight;
#[cfg(test)]
mod jumps;
mod kept;
mod lease;
mod limit;
mod line;
mod offered;
mod promise;
mod reading;
mod registry;
#[cfg(test)]
mod restarts;
mod secret;
mod settings;
#[cfg(test)]
mod simulation;
mod subject;
mod surge;
mod table;
mod trail;
mod window;

use std::sync::Arc;
use std::time::Duration;

pub use admission::{Admission, Check, Left, Rejection};
pub use baseline::Pulse;
pub use baseline::memory::{Memory, MemoryError};
pub use counter::{Combination, Counted, Counter, CounterSpec, Dimension, Precision, Token};
pub use delay::{Delay, Lane};
pub use inflight::{Cap, CapSpec, Claim, Full, Held, Most};
pub use kept::{Kept, Lapse, Range};
pub use limit::{Limit, LimitSpec, Rate, Sharing};
pub use registry::MAX_INTERVALS;
pub use secret::Secret;
pub use settings::{Interval, Settings, Shape, TrafficError};
pub use subject::{Per, RouteKey, Subject, Weight, Whose};
pub use surge::{Source, Stage, Surge};

use self::counter::Shelf;
use self::inflight::Caps;
use self::lease::Leases;
use self::offered::Offered;
use self::registry::Registry;
use crate::facts::client::Prefix;
use crate::facts::place::CountryCode;
use crate::facts::time::{Now, Tick, Wall};
use crate::workers::PerThread;

/// Everything that is counted. Made once, shared by all threads and all snapshots.
pub struct Traffic {
    settings: Settings,
    secret: Secret,
    offered: Offered,
    registry: Registry,
    counters: Shelf,
    caps: Caps,
    leases: PerThread<Leases>,
}

/// A key of a fair limit that turned requests away within its window: it is over its limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Crowded {
    /// The limit's name.
    pub limit: String,
    /// Whose clients share it.
    pub whose: Whose,
    /// Requests/s that it may admit.
    pub rate: f64,
    /// Requests/s that it admits.
    pub admitted: f64,
    /// Requests/s that it turns away.
    pub throttled: f64,
    /// Requests/s that each client may have, per share of its weight; those who ask for less get it all.
    pub fair_share: f64,
}

/// A part of the memory that counting takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is for, to be shown.
    pub what: String,
    /// Its size, which does not change with traffic.
    pub bytes: usize,
}

impl Traffic {
    /// Nothing was counted yet, there are no routes, and anybody may know under which secret keys are hashed.
    pub fn new(settings: Settings, now: Tick) -> Self {
        Self::with_routes(settings, Secret::known(), std::iter::empty(), now)
    }

    /// Nothing was counted yet. Of routes, those with these names are observed.
    pub fn with_routes<'n>(
        settings: Settings,
        secret: Secret,
        routes: impl Iterator<Item = &'n str>,
        now: Tick,
    ) -> Self {
        Self {
            settings,
            offered: Offered::new(settings.keys, &secret, routes, now),
            registry: Registry::default(),
            counters: Shelf::new(&secret, settings.counter_slots),
            caps: Caps::default(),
            leases: PerThread::new(settings.workers),
            secret,
        }
    }

    /// The secret under which keys are hashed.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// A name for a credential, to count it by.
    pub fn token(&self, credential: &[u8]) -> Token {
        self.counters.token(credential)
    }

    /// Whether it matters to fair limits that a request carries a credential.
    pub fn weighs_credentials(&self) -> bool {
        self.settings.credential_weight != Weight::default()
    }

    /// The weight of a client in fair limits, by whether its request carries a credential.
    pub fn weight(&self, has_credential: bool) -> Weight {
        if has_credential { self.settings.credential_weight } else { Weight::default() }
    }

    /// What the operator chose.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Counts a request that arrived, whatever becomes of it. Signals are read before, so that a rate is that of
    /// the requests before this one.
    pub fn offer(&self, subject: &Subject, now: Tick) {
        self.offered.count(subject, now);
    }

    /// Requests/s that this client sent in the last 10 s.
    pub fn client_rate(&self, client: &Prefix, now: Tick) -> f64 {
        self.offered.client_rate(client, now)
    }

    /// How busy this country is. Exact, no country counts for another.
    pub fn country(&self, country: CountryCode, now: Tick) -> Pulse {
        self.offered.country(country, now)
    }

    /// How busy this route is; [`Pulse::NONE`] for one that is not observed.
    pub fn route(&self, route: RouteKey, now: Tick) -> Pulse {
        self.offered.route(route, now)
    }

    /// The surges that there are.
    pub fn surges(&self, now: Tick) -> Vec<Surge> {
        self.offered.surges(now)
    }

    /// Looks for surges, and learns what is usual from every ten seconds. To be called after [`Self::rotate`]. Answers
    /// every surge that began or ended, and every ten seconds those that last.
    pub fn learn(&self, now: Now) -> Vec<Surge> {
        self.offered.learn(now)
    }

    /// What was learned, to be kept over a restart.
    pub fn memory_of_usual(&self, wall: Wall) -> Memory {
        self.offered.memory(wall)
    }

    /// Goes on with what was learned before a restart; the longer ago, the less it counts.
    ///
    /// # Errors
    /// [`MemoryError`] if that is nothing that was ever learned. Nothing is changed then.
    pub fn recall(&self, memory: &Memory, wall: Wall) -> Result<(), MemoryError> {
        self.offered.recall(memory, wall)
    }

    /// Hands `sink` piece by piece what was counted, to be kept over a restart, as long as it does not fail. Requests in
    /// flight and places that were promised are not kept.
    ///
    /// # Errors
    /// The first of `sink`.
    pub fn keep<E>(
        &self,
        range: Range,
        now: Tick,
        sink: &mut dyn FnMut(&Kept) -> Result<(), E>,
    ) -> Result<(), E> {
        self.offered.keep(now, sink)?;
        self.registry.keep(now, sink)?;
        self.counters.keep(range, sink)
    }

    /// Counts once more a piece of what was kept under the same secret; answers for how many keys. To be called when
    /// there are limits and counters, and before there are requests. What is of none of them is dropped.
    pub fn recall_counts(&self, kept: &Kept, lapse: Lapse) -> usize {
        self.offered.recall_clients(kept, lapse)
            + self.registry.recall(kept, lapse)
            + self.counters.recall(kept, lapse)
    }

    /// What is kept takes at most so many bytes. A number takes up to a quarter more than in memory, and each key some.
    pub fn kept_bytes(&self) -> usize {
        self.memory_bytes() / 2 * 3
    }

    /// A handle for each limit, in order, for a snapshot to hold. Those that exist keep their counts; those that
    /// nobody holds any more are forgotten. Called at load.
    ///
    /// # Errors
    /// [`TrafficError::Intervals`] if limits that are not per country use more than [`MAX_INTERVALS`] windows.
    pub fn limits(&self, specs: &[LimitSpec], now: Tick) -> Result<Vec<Arc<Limit>>, TrafficError> {
        self.registry.limits(specs, &self.settings, &self.secret, now)
    }

    /// A handle for each counter, in order, for a snapshot to hold; like [`Self::limits`].
    pub fn counters(&self, specs: &[CounterSpec], now: Tick) -> Vec<Arc<Counter>> {
        self.counters.counters(specs, now)
    }

    /// Passes a request through all of `checks` and counts it in each, or in none if one of them refuses.
    /// Without any it passes. Everything in the gate that limits a rate ends here.
    pub fn admit(&self, subject: &Subject, checks: &[Check<'_>], now: Tick) -> Admission {
        if checks.is_empty() {
            return Admission::Admit;
        }
        let leases = self.leases.own(|| Leases::new(self.settings.workers.get()));
        admission::admit(subject, checks, now, leases)
    }

    /// What `checks` would still let through for this subject; `None` without checks. Nothing is counted.
    pub fn left(&self, subject: &Subject, checks: &[Check<'_>], now: Tick) -> Option<Left> {
        admission::left(subject, checks, now)
    }

    /// Every key of a fair limit that is over it, in no order. For display: it looks at every key there is.
    pub fn crowded(&self, now: Tick) -> Vec<Crowded> {
        let limits = self.registry.limits_in_use();
        limits.iter().flat_map(|limit| limit.crowded(now)).collect()
    }

    /// A handle for each limit of requests in flight, in order, for a snapshot to hold; like [`Self::limits`].
    pub fn caps(&self, specs: &[CapSpec]) -> Vec<Arc<Cap>> {
        self.caps.caps(specs)
    }

    /// Takes a place among the requests in flight under each of `claims`, or under none if one of them is full.
    ///
    /// # Errors
    /// [`Full`] says which.
    pub fn hold(&self, subject: &Subject, claims: &[Claim<'_>], now: Tick) -> Result<Held, Full> {
        Held::take(subject, claims, now)
    }

    /// Sweeps up what is out of date. To be called every
    /// [`Self::rotate_every`] by a background task; takes less than a millisecond for each window.
    pub fn rotate(&self, now: Tick) {
        self.offered.rotate(now);
        self.registry.rotate(now);
        self.counters.rotate(now);
    }

    /// How often to call [`Self::rotate`]: four times in the shortest interval that there can be.
    pub const fn rotate_every(&self) -> Duration {
        Duration::from_nanos(Interval::SHORTEST.nanos() / 4)
    }

    /// What counting takes, part by part, with the limits and counters in use now.
    pub fn memory(&self) -> Vec<Part> {
        let mut parts = self.offered.parts();
        parts.extend(self.registry.memory());
        parts.extend(self.counters.memory());
        parts.extend(self.caps.memory());
        let bytes = self.settings.workers.get() * Leases::bytes();
        parts.push(Part { what: "what threads count in advance".to_owned(), bytes });
        parts
    }

    /// What counting takes in total.
    pub fn memory_bytes(&self) -> usize {
        self.memory().iter().map(|part| part.bytes).sum()
    }
}
