//! Traffic: all that the gate counts over time.
//!
//! One [`Traffic`] lives beside the snapshot and outlives every reload. It knows what was *offered* (request rates,
//! what is usual, surges: statistics that scripts read), what was *admitted* (by limit, which is what limits are
//! about) and what was *counted* (events that scripts declare). All of it is sketches in sliding windows, shared by
//! all threads without locks; memory follows from configuration, never from traffic. Time is handed in. Nothing
//! here knows a rule or decides what to do with a rejection.

mod admission;
mod counter;
mod exact;
mod limit;
mod offered;
mod phase;
mod reading;
mod registry;
mod settings;
#[cfg(test)]
mod simulation;
mod subject;
mod usual;
mod window;

use std::sync::Arc;
use std::time::Duration;

pub use admission::{Admission, Check, Rejection};
pub use counter::{Combination, Counted, Counter, CounterSpec, Dimension, Precision, Token};
pub use limit::{Limit, LimitSpec, Rate};
pub use registry::MAX_INTERVALS;
pub use settings::{Interval, Settings, Shape, TrafficError};
pub use subject::{Per, RouteKey, Subject};

use zeroize::Zeroizing;

use self::counter::Shelf;
use self::offered::Offered;
use self::registry::Registry;
use crate::facts::client::Prefix;
use crate::facts::place::CountryCode;
use crate::facts::time::Tick;

/// Everything that is counted. Made once, shared by all threads and all snapshots.
pub struct Traffic {
    settings: Settings,
    offered: Offered,
    registry: Registry,
    counters: Shelf,
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
    /// Nothing was counted yet.
    pub fn new(settings: Settings, now: Tick) -> Self {
        let counters = Shelf::new(&Zeroizing::new([0; 32]), settings.counter_slots);
        Self { settings, offered: Offered::new(settings.keys, now), registry: Registry::default(), counters }
    }

    /// Hashes what is counted under keys that nobody else has: 32 random bytes, which should be forgotten afterwards.
    /// To be called before there are counters.
    #[must_use]
    pub fn keyed(self, entropy: &Zeroizing<[u8; 32]>) -> Self {
        Self { counters: Shelf::new(entropy, self.settings.counter_slots), ..self }
    }

    /// A name for a credential, to count it by.
    pub fn token(&self, credential: &[u8]) -> Token {
        self.counters.token(credential)
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

    /// Requests/s that came from this country in the last 10 s. Exact in each interval, no country counts for
    /// another.
    pub fn country_rate(&self, country: CountryCode, now: Tick) -> f64 {
        self.offered.country_rate(country, now)
    }

    /// Requests/s that usually come from this country; the rate now, until there was half an hour to learn from.
    pub fn country_usual(&self, country: CountryCode, now: Tick) -> f64 {
        self.offered.country_usual(country, now)
    }

    /// How many times the usual rate the rate is now, with one request/s added to both, so that 3 requests instead
    /// of 1 are no surge. 1 until it is known what is usual.
    pub fn country_surge(&self, country: CountryCode, now: Tick) -> f64 {
        self.offered.country_surge(country, now)
    }

    /// A handle for each limit, in order, for a snapshot to hold. Those that exist keep their counts; those that
    /// nobody holds any more are forgotten. Called at load.
    ///
    /// # Errors
    /// [`TrafficError::Intervals`] if limits that are not per country use more than [`MAX_INTERVALS`] windows.
    pub fn limits(&self, specs: &[LimitSpec], now: Tick) -> Result<Vec<Arc<Limit>>, TrafficError> {
        self.registry.limits(specs, &self.settings, now)
    }

    /// A handle for each counter, in order, for a snapshot to hold; like [`Self::limits`].
    pub fn counters(&self, specs: &[CounterSpec], now: Tick) -> Vec<Arc<Counter>> {
        self.counters.counters(specs, now)
    }

    /// Passes a request through all of `checks` and counts it in each, or in none if one of them refuses.
    /// Everything in the gate that limits a rate ends here.
    pub fn admit(&self, subject: &Subject, checks: &[Check<'_>], now: Tick) -> Admission {
        admission::admit(subject, checks, now)
    }

    /// Moves windows on, zeroes what is out of date and learns what is usual. To be called every
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
        let mut parts = self.offered.memory();
        parts.extend(self.registry.memory());
        parts.extend(self.counters.memory());
        parts
    }

    /// What counting takes in total.
    pub fn memory_bytes(&self) -> usize {
        self.memory().iter().map(|part| part.bytes).sum()
    }
}
