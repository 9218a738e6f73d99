//! What was offered: how much each client and each country asks for, whatever becomes of it.
//!
//! Statistics only. Limits count what they admitted themselves; a limit on what is offered would admit nothing at
//! all once it is overloaded.

use super::Part;
use super::settings::{Interval, Shape};
use super::subject::{Key, Per, Subject};
use super::usual::Usual;
use super::window::Window;
use crate::facts::client::Prefix;
use crate::facts::place::CountryCode;
use crate::facts::time::Tick;

/// Offered requests over 10 s, and what is usual.
pub(super) struct Offered {
    clients: Window,
    countries: Window,
    usual: Usual,
}

impl Offered {
    pub(super) fn new(clients: Shape, now: Tick) -> Self {
        let countries = Window::of_countries(Interval::TEN_SECONDS, now);
        let usual = Usual::new(&countries);
        Self { clients: Window::of_keys(Interval::TEN_SECONDS, clients, now), countries, usual }
    }

    pub(super) fn count(&self, subject: &Subject, now: Tick) {
        self.clients.count(subject.key(Per::Client, 0), now);
        self.countries.count(subject.key(Per::Country, 0), now);
    }

    pub(super) fn client_rate(&self, client: &Prefix, now: Tick) -> f64 {
        self.clients.read(Key::of_client(client, 0), now).per_second()
    }

    pub(super) fn country_rate(&self, country: CountryCode, now: Tick) -> f64 {
        self.countries.read(Key::of_country(country, 0), now).per_second()
    }

    pub(super) fn country_usual(&self, country: CountryCode, now: Tick) -> f64 {
        self.usual.rate(country, self.country_rate(country, now))
    }

    pub(super) fn country_surge(&self, country: CountryCode, now: Tick) -> f64 {
        self.usual.surge(country, self.country_rate(country, now))
    }

    pub(super) fn rotate(&self, now: Tick) {
        self.clients.rotate(now);
        self.countries.rotate(now);
        self.usual.learn(&self.countries);
    }

    pub(super) fn memory(&self) -> Vec<Part> {
        let part = |what: &str, bytes| Part { what: what.to_owned(), bytes };
        vec![
            part("client rates", self.clients.bytes()),
            part("country rates", self.countries.bytes()),
            part("usual country rates", self.usual.bytes()),
        ]
    }
}
