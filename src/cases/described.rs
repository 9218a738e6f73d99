//! A request, and perhaps the response to it, as somebody describes it in a case, a flag or JSON.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::Setting;
use crate::decision::Evaluation;
use crate::facts::body::{Document, Shape};
use crate::facts::client::{Client, Prefix, Pseudonym};
use crate::facts::ja4::Ja4;
use crate::facts::place::{Asn, CountryCode, Place};
use crate::facts::request::{RequestHead, Scheme};
use crate::facts::time::Wall;
use crate::facts::tls::TlsSession;
use crate::signals::{Facts, Readings, RequestContext, Response};
use crate::snapshot::Snapshot;
use crate::traffic::Pulse;

/// What a described body may hold: all that a route could let in.
const WHOLE: Shape = Shape { depth: 100, items: 65_536 };

/// A request as somebody describes it. What is left out is unknown, zero or absent.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Described {
    /// The method; `GET` if left out.
    pub method: Option<String>,
    /// Path and query; `/` if left out.
    pub path: Option<String>,
    /// The host; `localhost` if left out.
    pub host: Option<String>,
    /// `http` or `https`; `http` if left out, unless there is a TLS session.
    pub scheme: Option<String>,
    /// The HTTP version, `1.0`, `1.1` or `2`; `1.1` if left out.
    pub version: Option<String>,
    /// The TLS session that it came by: `version`, `alpn`, `sni`, `ja4` and `client`, as signals have them.
    pub tls: Option<TlsSession>,
    /// Headers by name.
    pub headers: BTreeMap<String, String>,
    /// The fingerprint of its header lines, instead of that of `headers` in alphabetical order.
    pub order: Option<String>,
    /// The body, as JSON, for a route that reads bodies.
    pub body: Option<String>,
    /// Declared body bytes.
    pub size: Option<u64>,
    /// The client's address; it is truncated before anything else happens.
    pub ip: Option<IpAddr>,
    /// The country, instead of the one that the address belongs to.
    pub country: Option<String>,
    /// The network, instead of the one that the address belongs to.
    pub asn: Option<u32>,
    /// Requests/s of the client.
    pub client_rate: f64,
    /// Requests/s of the country.
    pub country_rate: f64,
    /// The country's usual requests/s.
    pub country_usual: f64,
    /// The country's surge; 1 if left out.
    pub country_surge: Option<f64>,
    /// The country's anomaly.
    pub country_anomaly: f64,
    /// Requests/s of the route.
    pub route_rate: f64,
    /// The route's usual requests/s.
    pub route_usual: f64,
    /// The route's surge; 1 if left out.
    pub route_surge: Option<f64>,
    /// The route's anomaly.
    pub route_anomaly: f64,
    /// The country's points, instead of the configured ones.
    pub weight: Option<u8>,
    /// Events by counter.
    pub counts: BTreeMap<String, i64>,
    /// Lists that the client is on, besides those that hold the whole truncated address.
    pub listed: Vec<String>,
    /// The moment, RFC 3339; 1970-01-01T00:00:00Z if left out.
    pub time: Option<String>,
}

/// The response to a described request, for scripts that observe.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// Body bytes.
    #[serde(default)]
    pub size: u64,
    /// Seconds that it took.
    #[serde(default)]
    pub duration: f64,
    /// Whether the origin answered; `true` if left out.
    pub from_origin: Option<bool>,
    /// Headers by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

impl Answered {
    fn headers(&self) -> Result<HeaderMap, String> {
        let header = |(name, value): (&String, &String)| {
            let header = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
            header.ok_or_else(|| format!("`{name}: {value}` is no header"))
        };
        self.headers.iter().map(header).collect()
    }
}

impl Described {
    /// Everything that a judgement of this request needs.
    pub fn context(&self, snapshot: &Snapshot, setting: &Setting) -> Result<RequestContext<'static>, String> {
        self.with_facts(snapshot, setting, None, |facts| snapshot.policy().needs().read(facts).to_owned())
    }

    /// What scripts say when they see this response to the request.
    pub(super) fn observed(
        &self,
        snapshot: &Snapshot,
        setting: &Setting,
        context: &RequestContext<'_>,
        answered: &Answered,
    ) -> Result<Evaluation, String> {
        let headers = answered.headers()?;
        let response = Response {
            status: answered.status,
            size: answered.size,
            seconds: answered.duration,
            from_origin: answered.from_origin.unwrap_or(true),
            headers: Some(&headers),
        };
        let observe = |facts: &Facts<'_>| snapshot.policy().observe(context, facts);
        self.with_facts(snapshot, setting, Some(&response), observe)
    }

    fn with_facts<T>(
        &self,
        snapshot: &Snapshot,
        setting: &Setting,
        response: Option<&Response<'_>>,
        then: impl FnOnce(&Facts<'_>) -> T,
    ) -> Result<T, String> {
        self.names_exist(snapshot)?;
        let prefix = self.ip.map_or(Prefix::UNKNOWN, |ip| Prefix::of_described(ip, setting.truncation));
        let place = self.place(snapshot, &prefix)?;
        let client = Client::new(prefix, Pseudonym::parse("0000000000000000").ok_or("no pseudonym")?);
        let parts = self.parts()?;
        let head = RequestHead::read(&parts, self.scheme()?).with_order(self.order.as_deref());
        let body = self.body()?;
        let head = head.with_body(body.as_ref());
        let (wall, secrets) = (self.wall()?, &setting.secrets);
        let readings = Given { described: self, snapshot, prefix: &prefix, place };
        let (head, client, tls) = (&head, &client, self.tls.as_ref());
        Ok(then(&Facts { head, client, place, wall, secrets, tls, readings: &readings, response }))
    }

    /// This description, with `defaults` for what it leaves out.
    pub(super) fn over(self, defaults: &Self) -> Self {
        let nonzero = |own: f64, default: f64| if own == 0.0 { default } else { own };
        let mut headers = defaults.headers.clone();
        headers.extend(self.headers);
        headers.retain(|_, value| !value.is_empty());
        let mut counts = defaults.counts.clone();
        counts.extend(self.counts);
        Self {
            method: self.method.or_else(|| defaults.method.clone()),
            path: self.path.or_else(|| defaults.path.clone()),
            host: self.host.or_else(|| defaults.host.clone()),
            scheme: self.scheme.or_else(|| defaults.scheme.clone()),
            version: self.version.or_else(|| defaults.version.clone()),
            tls: self.tls.or_else(|| defaults.tls.clone()),
            headers,
            order: self.order.or_else(|| defaults.order.clone()),
            body: self.body.or_else(|| defaults.body.clone()),
            size: self.size.or(defaults.size),
            ip: self.ip.or(defaults.ip),
            country: self.country.or_else(|| defaults.country.clone()),
            asn: self.asn.or(defaults.asn),
            client_rate: nonzero(self.client_rate, defaults.client_rate),
            country_rate: nonzero(self.country_rate, defaults.country_rate),
            country_usual: nonzero(self.country_usual, defaults.country_usual),
            country_surge: self.country_surge.or(defaults.country_surge),
            country_anomaly: nonzero(self.country_anomaly, defaults.country_anomaly),
            route_rate: nonzero(self.route_rate, defaults.route_rate),
            route_usual: nonzero(self.route_usual, defaults.route_usual),
            route_surge: self.route_surge.or(defaults.route_surge),
            route_anomaly: nonzero(self.route_anomaly, defaults.route_anomaly),
            weight: self.weight.or(defaults.weight),
            counts,
            listed: if self.listed.is_empty() { defaults.listed.clone() } else { self.listed },
            time: self.time.or_else(|| defaults.time.clone()),
        }
    }

    fn names_exist(&self, snapshot: &Snapshot) -> Result<(), String> {
        let unknown = self.counts.keys().find(|name| snapshot.counter(name).is_none());
        if let Some(name) = unknown {
            return Err(format!("unknown counter `{name}`: declare it in `[counters]`"));
        }
        let unknown =
            self.listed.iter().find(|name| !snapshot.lists().iter().any(|list| list.name == **name));
        unknown.map_or(Ok(()), |name| Err(format!("unknown list `{name}`: declare it in `[lists]`")))
    }

    fn place(&self, snapshot: &Snapshot, prefix: &Prefix) -> Result<Place, String> {
        let found = snapshot.place(prefix);
        let country = match &self.country {
            Some(code) => CountryCode::parse(code)
                .ok_or_else(|| format!("`{code}` is no country: write two letters"))?,
            None => found.country,
        };
        Ok(Place { country, asn: self.asn.map_or(found.asn, Asn::new) })
    }

    fn parts(&self) -> Result<http::request::Parts, String> {
        let path = self.path.as_deref().unwrap_or("/");
        let mut request = http::Request::builder().method(self.method.as_deref().unwrap_or("GET")).uri(path);
        request =
            request.version(self.version()?).header("host", self.host.as_deref().unwrap_or("localhost"));
        if let Some(size) = self.size {
            request = request.header("content-length", size);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(()).map_err(|error| format!("this is no request: {error}"))?;
        Ok(request.into_parts().0)
    }

    fn body(&self) -> Result<Option<Document>, String> {
        let parse = |text: &String| {
            Document::parse(text.as_bytes(), WHOLE).map_err(|_| "the body is no JSON, or too deep".to_owned())
        };
        self.body.as_ref().map(parse).transpose()
    }

    fn scheme(&self) -> Result<Scheme, String> {
        match self.scheme.as_deref() {
            None => Ok(if self.tls.is_some() { Scheme::Https } else { Scheme::Http }),
            Some("http") => Ok(Scheme::Http),
            Some("https") => Ok(Scheme::Https),
            Some(other) => Err(format!("unknown scheme `{other}`: write `http` or `https`")),
        }
    }

    fn version(&self) -> Result<http::Version, String> {
        let Some(text) = self.version.as_deref() else { return Ok(http::Version::HTTP_11) };
        let known =
            [("1.0", http::Version::HTTP_10), ("1.1", http::Version::HTTP_11), ("2", http::Version::HTTP_2)];
        let found = known.into_iter().find(|(name, _)| *name == text).map(|(_, version)| version);
        found.ok_or_else(|| format!("unknown version `{text}`: write `1.0`, `1.1` or `2`"))
    }

    fn wall(&self) -> Result<Wall, String> {
        let Some(text) = &self.time else { return Ok(Wall::default()) };
        let moment: jiff::Timestamp =
            text.parse().map_err(|_| format!("`{text}` is no moment: write `2026-01-31T12:00:00Z`"))?;
        Ok(Wall::from_millis(u64::try_from(moment.as_millisecond()).unwrap_or(0)))
    }
}

struct Given<'a> {
    described: &'a Described,
    snapshot: &'a Snapshot,
    prefix: &'a Prefix,
    place: Place,
}

impl Readings for Given<'_> {
    fn client_rate(&self) -> f64 {
        self.described.client_rate
    }

    fn country(&self) -> Pulse {
        let Described { country_rate, country_usual, country_surge, country_anomaly, .. } = *self.described;
        let surge = country_surge.unwrap_or(1.0);
        Pulse { rate: country_rate, usual: country_usual, surge, anomaly: country_anomaly }
    }

    fn route(&self) -> Pulse {
        let Described { route_rate, route_usual, route_surge, route_anomaly, .. } = *self.described;
        let surge = route_surge.unwrap_or(1.0);
        Pulse { rate: route_rate, usual: route_usual, surge, anomaly: route_anomaly }
    }

    fn country_weight(&self) -> i64 {
        i64::from(self.described.weight.unwrap_or_else(|| self.snapshot.weight(self.place.country)))
    }

    fn count(&self, counter: &str) -> i64 {
        self.described.counts.get(counter).copied().unwrap_or(0)
    }

    fn class(&self, ja4: &Ja4) -> &str {
        self.snapshot.fingerprints().class(ja4)
    }

    fn listed(&self, list: &str) -> bool {
        let mut lists = self.snapshot.lists().iter();
        self.described.listed.iter().any(|given| given == list)
            || lists.any(|known| known.name == list && known.addresses.contains_prefix(self.prefix))
    }
}
