//! What was offered: how much each client, country and route asks for, whatever becomes of it.
//!
//! Statistics only. Limits count what they admitted themselves; a limit on what is offered would admit nothing at
//! all once it is overloaded. Countries and routes are few, so they are counted exactly, and it is learned what is
//! usual for each.

use std::sync::Arc;

use super::Part;
use super::baseline::memory::{Memory, MemoryError};
use super::baseline::{Absent, Baseline, Pulse, Surging};
use super::kept::{Kept, Lapse};
use super::secret::Secret;
use super::settings::{Interval, Shape};
use super::subject::{Key, Per, RouteKey, Subject};
use super::surge::{Source, Surge};
use super::window::Window;
use crate::facts::client::Prefix;
use crate::facts::place::CountryCode;
use crate::facts::time::{Now, Tick, Wall};

/// Offered requests over 10 s, and what is usual.
pub(super) struct Offered {
    clients: Window,
    countries: Baseline,
    routes: Routes,
}

/// The configured routes, in order of their keys.
struct Routes {
    names: Vec<(RouteKey, Arc<str>)>,
    baseline: Baseline,
}

/// What the rates of clients are kept as.
const CLIENTS: &str = "client rates";

impl Offered {
    /// Routes that are not among `routes` are not counted.
    pub(super) fn new<'n>(
        clients: Shape,
        secret: &Secret,
        routes: impl Iterator<Item = &'n str>,
        now: Tick,
    ) -> Self {
        Self {
            clients: Window::of_keys(Interval::TEN_SECONDS, clients, secret.hashing(CLIENTS), now),
            countries: Baseline::new(CountryCode::COUNT, now),
            routes: Routes::new(routes, now),
        }
    }

    pub(super) fn count(&self, subject: &Subject, now: Tick) {
        self.clients.count(subject.key(Per::Client, 0), now);
        self.countries.count(subject.country.index());
        if let Some(index) = self.routes.index(subject.route) {
            self.routes.baseline.count(index);
        }
    }

    pub(super) fn client_rate(&self, client: &Prefix, now: Tick) -> f64 {
        self.clients.read(Key::of_client(client, 0), now).per_second()
    }

    pub(super) fn country(&self, country: CountryCode, now: Tick) -> Pulse {
        self.countries.pulse(country.index(), now)
    }

    pub(super) fn route(&self, route: RouteKey, now: Tick) -> Pulse {
        self.routes.index(route).map_or(Pulse::NONE, |index| self.routes.baseline.pulse(index, now))
    }

    pub(super) fn rotate(&self, now: Tick) {
        self.clients.rotate(now);
        self.countries.rotate(now);
        self.routes.baseline.rotate(now);
    }

    pub(super) fn learn(&self, now: Now) -> Vec<Surge> {
        self.told(self.countries.learn(now), self.routes.baseline.learn(now), now.tick)
    }

    pub(super) fn surges(&self, now: Tick) -> Vec<Surge> {
        self.told(self.countries.surging(), self.routes.baseline.surging(), now)
    }

    pub(super) fn memory(&self, wall: Wall) -> Memory {
        Memory {
            saved: wall.as_millis(),
            countries: self.countries.kept(country_name, Absent::Silent),
            routes: self.routes.baseline.kept(|index| self.routes.name(index).to_string(), Absent::New),
        }
    }

    pub(super) fn recall(&self, memory: &Memory, wall: Wall) -> Result<(), MemoryError> {
        // A file from the future was written before the clock was set back: it is as good as new.
        let age = wall.as_millis().saturating_sub(memory.saved);
        let (countries, routes) = memory.families()?;
        let countries = self.countries.recalled(countries, country_name, Absent::Silent, age)?;
        let name = |index| self.routes.name(index).to_string();
        let routes = self.routes.baseline.recalled(routes, name, Absent::New, age)?;
        self.countries.recall(countries, wall);
        self.routes.baseline.recall(routes, wall);
        Ok(())
    }

    /// Hands on what clients asked for lately.
    pub(super) fn keep<E>(&self, now: Tick, sink: &mut dyn FnMut(&Kept) -> Result<(), E>) -> Result<(), E> {
        self.clients.keep(CLIENTS, now, sink)
    }

    /// Counts that once more; how many clients that is.
    pub(super) fn recall_clients(&self, kept: &Kept, lapse: Lapse) -> usize {
        if kept.of == CLIENTS { self.clients.recall(&kept.rows, lapse) } else { 0 }
    }

    pub(super) fn parts(&self) -> Vec<Part> {
        let part = |what: &str, bytes| Part { what: what.to_owned(), bytes };
        let routes = &self.routes.baseline;
        let parts = [
            part("client rates", self.clients.bytes()),
            part("country rates", self.countries.tally_bytes()),
            part("usual country rates", self.countries.study_bytes()),
            part("route rates", routes.tally_bytes()),
            part("usual route rates", routes.study_bytes()),
        ];
        parts.into_iter().filter(|part| part.bytes > 0).collect()
    }

    fn told(&self, countries: Vec<Surging>, routes: Vec<Surging>, now: Tick) -> Vec<Surge> {
        let of_country = |Surging { index, turn }| {
            let country = CountryCode::all().nth(index).unwrap_or_default();
            Surge::new(Source::Country(country), turn, self.country(country, now))
        };
        let of_route = |Surging { index, turn }| {
            let source = Source::Route(self.routes.name(index));
            Surge::new(source, turn, self.routes.baseline.pulse(index, now))
        };
        countries.into_iter().map(of_country).chain(routes.into_iter().map(of_route)).collect()
    }
}

fn country_name(index: usize) -> String {
    CountryCode::all().nth(index).unwrap_or_default().as_str().to_owned()
}

impl Routes {
    fn new<'n>(names: impl Iterator<Item = &'n str>, now: Tick) -> Self {
        let mut names: Vec<(RouteKey, Arc<str>)> =
            names.map(|name| (RouteKey::named(name), Arc::from(name))).collect();
        names.sort_unstable_by_key(|(key, _)| *key);
        names.dedup_by_key(|(key, _)| *key);
        Self { baseline: Baseline::new(names.len(), now), names }
    }

    fn index(&self, route: RouteKey) -> Option<usize> {
        self.names.binary_search_by_key(&route, |(key, _)| *key).ok()
    }

    fn name(&self, index: usize) -> Arc<str> {
        self.names.get(index).map_or_else(|| Arc::from(""), |(_, name)| Arc::clone(name))
    }
}
