//! What scripts read: the signals.
//!
//! A signal is a named, typed fact about a request (`req.geo.country`, `req.header("user-agent")`) or about the
//! response (`res.status`). Each family has a file of its own; [`Vocabulary::standard`] is the one table. A
//! policy declares by naming them which signals it [`Needs`]; those, and only those, are read once per request
//! into a [`RequestContext`], which is all that a judgement depends on, and what the record keeps.

mod agent;
mod body;
mod client;
pub mod context;
mod count;
mod credential;
pub mod domain;
mod geo;
pub mod name;
mod request;
mod response;
mod route;
pub mod secrets;
mod time;
mod tls;
pub mod value;

pub use context::{Key, Needs, RequestContext};
pub use credential::Credential;
pub use domain::Domain;
pub use name::Name;
pub use secrets::Secrets;
pub use value::{Kind, Text, Value};

use crate::facts::client::Client;
use crate::facts::ja4::Ja4;
use crate::facts::place::Place;
use crate::facts::request::RequestHead;
use crate::facts::time::Wall;
use crate::facts::tls::TlsSession;
use crate::traffic::Pulse;

/// Everything that is known about a request when its signals are read.
pub struct Facts<'a> {
    /// The head as parsed.
    pub head: &'a RequestHead<'a>,
    /// Who is calling.
    pub client: &'a Client,
    /// Where the truncated address belongs.
    pub place: Place,
    /// The moment of judgement.
    pub wall: Wall,
    /// Which values are shown to scripts as pseudonyms only.
    pub secrets: &'a Secrets,
    /// The TLS session that the request came by, if any.
    pub tls: Option<&'a TlsSession>,
    /// What is measured: rates, counters, lists, weights.
    pub readings: &'a dyn Readings,
    /// The response, once there is one.
    pub response: Option<&'a Response<'a>>,
}

/// Measurements around a request. The gate reads live ones; a policy case describes them.
pub trait Readings {
    /// Requests/s of this client just before this request.
    fn client_rate(&self) -> f64;
    /// How busy this country is, just before this request.
    fn country(&self) -> Pulse;
    /// How busy this route is, just before this request.
    fn route(&self) -> Pulse;
    /// The weight in points that configuration gives this country; 0 if none.
    fn country_weight(&self) -> i64;
    /// Events of the named counter for this request's key; 0 for a counter nobody declared.
    fn count(&self, counter: &str) -> i64;
    /// What clients with this fingerprint are called; empty if nothing.
    fn class(&self, ja4: &Ja4) -> &str;
    /// Whether the full address is on the named list; `false` for a list nobody declared.
    fn listed(&self, list: &str) -> bool;
}

/// What came back, for `observe`.
pub struct Response<'a> {
    /// The status sent to the client.
    pub status: u16,
    /// Body bytes sent to the client.
    pub size: u64,
    /// Seconds from the parsed head to the end of the response.
    pub seconds: f64,
    /// Whether the origin answered, rather than the gate.
    pub from_origin: bool,
    /// The headers sent to the client, if a response head was sent.
    pub headers: Option<&'a http::HeaderMap>,
}

/// Which object a signal hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// `req`
    Request,
    /// `res`
    Response,
}

/// What the one argument of a signal with an argument names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A header, in any case.
    Header,
    /// A cookie.
    Cookie,
    /// A query parameter.
    Parameter,
    /// A list that the configuration declares.
    List,
    /// A counter that the configuration declares.
    Counter,
    /// A value of a body, by JSON pointer.
    Pointer,
}

/// How a signal is read: from the facts and what its argument names.
pub type Read = for<'a> fn(&Facts<'a>, &Name) -> Value<'a>;

/// One signal: its name, type and meaning, and how it is read.
#[derive(Clone, Copy)]
pub struct Signal {
    /// What it hangs on.
    pub root: Root,
    /// The dotted path below the root: `geo.country`.
    pub name: &'static str,
    /// What its argument names; `None` for a plain property.
    pub argument: Option<Argument>,
    /// Its type.
    pub kind: Kind,
    /// The values that it can have.
    pub domain: Domain,
    /// What it means, with units. One line for the language reference.
    pub doc: &'static str,
    /// Reads it.
    pub read: Read,
    /// Reads what is kept and shown of it, if that is less than what scripts read.
    pub recorded: Option<Read>,
}

/// Every signal that scripts may read. A Rust user who embeds the gate may add own ones.
#[derive(Clone)]
pub struct Vocabulary {
    signals: Vec<Signal>,
}

impl Root {
    /// The name that documents use for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "req",
            Self::Response => "res",
        }
    }
}

impl Signal {
    /// A plain property: `req.method`.
    pub const fn property(root: Root, name: &'static str, kind: Kind, doc: &'static str, read: Read) -> Self {
        Self { root, name, argument: None, kind, domain: Domain::Any, doc, read, recorded: None }
    }

    /// A method with one argument that names something: `req.header("accept")`.
    pub const fn method(
        root: Root,
        name: &'static str,
        argument: Argument,
        kind: Kind,
        doc: &'static str,
        read: Read,
    ) -> Self {
        Self { root, name, argument: Some(argument), kind, domain: Domain::Any, doc, read, recorded: None }
    }

    /// The same signal, which has only these values.
    #[must_use]
    pub const fn within(self, domain: Domain) -> Self {
        Self { domain, ..self }
    }

    /// The same signal, of which nothing but this leaves a judgement: for values that must not be kept.
    #[must_use]
    pub const fn recorded_as(self, recorded: Read) -> Self {
        Self { recorded: Some(recorded), ..self }
    }

    /// The object between root and property: `geo` of `geo.country`, empty if there is none.
    pub fn group(&self) -> &'static str {
        self.name.rsplit_once('.').map_or("", |(group, _)| group)
    }

    /// The property or method itself: `country` of `geo.country`.
    pub fn leaf(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(_, leaf)| leaf)
    }
}

impl Vocabulary {
    /// The signals of this version.
    pub fn standard() -> Self {
        let families: [&[Signal]; 10] = [
            request::SIGNALS,
            body::SIGNALS,
            client::SIGNALS,
            agent::SIGNALS,
            geo::SIGNALS,
            route::SIGNALS,
            tls::SIGNALS,
            count::SIGNALS,
            time::SIGNALS,
            response::SIGNALS,
        ];
        Self { signals: families.concat() }
    }

    /// Adds a signal. One of the same root and name is replaced.
    #[must_use]
    pub fn with(mut self, signal: Signal) -> Self {
        self.signals.retain(|known| known.root != signal.root || known.name != signal.name);
        self.signals.push(signal);
        self
    }

    /// All signals; a signal's position is its identity within this vocabulary.
    pub fn signals(&self) -> &[Signal] {
        &self.signals
    }

    /// The signal `name` of `root`, and its position.
    pub fn find(&self, root: Root, name: &str) -> Option<(usize, &Signal)> {
        self.signals.iter().enumerate().find(|(_, signal)| signal.root == root && signal.name == name)
    }

    /// Whether `group` is an object of `root`, such as `geo`; the root itself is the empty group.
    pub fn has_group(&self, root: Root, group: &str) -> bool {
        self.signals.iter().any(|signal| signal.root == root && signal.group() == group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_signal_has_one_name_and_a_meaning() {
        let vocabulary = Vocabulary::standard();
        let names: HashSet<_> = vocabulary.signals().iter().map(|s| (s.root, s.name)).collect();
        assert_eq!(names.len(), vocabulary.signals().len());
        for signal in vocabulary.signals() {
            assert!(!signal.doc.is_empty() && !signal.doc.ends_with('.'), "{}", signal.name);
            assert!(signal.name.matches('.').count() <= 1, "{}", signal.name);
        }
    }

    #[test]
    fn the_vocabulary_of_the_design_is_there() {
        let vocabulary = Vocabulary::standard();
        for name in "method scheme host path query version size header has_header cookie param client.id \
                     client.prefix client.rate client.listed geo.country geo.continent geo.asn geo.weight \
                     geo.rate geo.usual geo.surge geo.anomaly route.rate route.usual route.surge route.anomaly tls.version tls.alpn tls.sni tls.ja4 tls.class tls.client count time.hour \
                     time.weekday"
            .split_whitespace()
        {
            assert!(vocabulary.find(Root::Request, name).is_some(), "{name}");
        }
    }
}
