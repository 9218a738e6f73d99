//! Described requests: what policy tests, `explain` and the admin API judge instead of live ones.
//!
//! A description gives a request, a clock, rates and counters; nothing is looked up but the place of an address. A
//! [`Case`] adds what is expected. Cases live beside the scripts and are run before a policy is published, so
//! they are as pure as judgement itself: same file, same result, everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::decision::{Action, Level};
use crate::facts::client::{Client, Prefix, Pseudonym, Truncation};
use crate::facts::place::{Asn, CountryCode, Place};
use crate::facts::problem::{Problem, nearest};
use crate::facts::request::{RequestHead, Scheme};
use crate::facts::time::Wall;
use crate::pipeline::{Judgement, judge};
use crate::signals::{Facts, Readings, RequestContext, Secrets};
use crate::snapshot::Snapshot;

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
    /// `http` or `https`; `http` if left out.
    pub scheme: Option<String>,
    /// The HTTP version, `1.0`, `1.1` or `2`; `1.1` if left out.
    pub version: Option<String>,
    /// Headers by name.
    pub headers: BTreeMap<String, String>,
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
    /// The country's points, instead of the configured ones.
    pub weight: Option<u8>,
    /// Events by counter.
    pub counts: BTreeMap<String, i64>,
    /// Lists that the client is on, besides those that hold the whole truncated address.
    pub listed: Vec<String>,
    /// The moment, RFC 3339; 1970-01-01T00:00:00Z if left out.
    pub time: Option<String>,
}

/// A request and what should become of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    name: String,
    line: usize,
    request: Described,
    expect: Expect,
}

/// What should become of a request; what is left out may be anything.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// `allow tag throttle challenge block`
    pub action: Option<String>,
    /// `low medium high critical`
    pub level: Option<String>,
    /// 0 to 100.
    pub score: Option<u8>,
    /// Exactly these reasons, in any order.
    pub reasons: Option<Vec<String>>,
    /// Exactly these tags.
    pub tags: Option<BTreeMap<String, String>>,
    /// Exactly these counters are counted, in any order.
    pub counts: Option<Vec<String>>,
}

/// One way in which a judgement is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs: `action`, `score`, ...
    pub what: &'static str,
    /// What the case expects.
    pub expected: String,
    /// What came out.
    pub found: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    defaults: Described,
    #[serde(default)]
    case: Vec<Spanned<Written>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(default)]
    request: Described,
    expect: Expect,
}

/// What is needed to judge a description besides the snapshot.
#[derive(Clone)]
pub struct Setting {
    /// How addresses are truncated.
    pub truncation: Truncation,
    /// Which values are secret.
    pub secrets: Secrets,
}

impl Case {
    /// Reads a file of cases.
    pub fn parse(path: &Path, text: &str) -> Result<Vec<Self>, Vec<Problem>> {
        let File { defaults, case } = toml::from_str(text).map_err(|error| {
            let problem = Problem::error(path, error.message().to_owned());
            vec![match error.span() {
                Some(span) => {
                    let (line, column) = place_of(text, span.start);
                    problem.at(line, column).spanning(span.len())
                }
                None => problem,
            }]
        })?;
        let cases = case.into_iter().map(|written| {
            let (line, _) = place_of(text, written.span().start);
            let Written { name, request, expect } = written.into_inner();
            Self { name, line, request: request.over(&defaults), expect }
        });
        let cases: Vec<Self> = cases.collect();
        let problems: Vec<Problem> = cases.iter().filter_map(|case| case.misspelt(path)).collect();
        if problems.is_empty() { Ok(cases) } else { Err(problems) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The line where it is written.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The request.
    pub fn request(&self) -> &Described {
        &self.request
    }

    /// Judges the request and compares. The error is about the description, such as an unknown counter.
    pub fn run(
        &self,
        snapshot: &Snapshot,
        setting: &Setting,
    ) -> Result<(Judgement, Vec<Difference>), String> {
        let judgement = judge(snapshot, &self.request.context(snapshot, setting)?);
        let differences = self.expect.differences(&judgement);
        Ok((judgement, differences))
    }

    fn misspelt(&self, path: &Path) -> Option<Problem> {
        let Expect { action, level, .. } = &self.expect;
        let unknown = |text: &str, what: &str, known: &[&'static str]| {
            let problem =
                Problem::error(path, format!("case `{}` expects unknown {what} `{text}`", self.name));
            let problem = problem.at(self.line, 1);
            match nearest(text, known.iter().copied()) {
                Some(meant) => problem.hint(format!("did you mean `{meant}`?")),
                None => problem.hint(format!("one of `{}`", known.join("`, `"))),
            }
        };
        let action = action.as_deref().filter(|text| Action::parse(text).is_none());
        let level = level.as_deref().filter(|text| Level::parse(text).is_none());
        action
            .map(|text| unknown(text, "action", &Action::ALL.map(Action::as_str)))
            .or_else(|| level.map(|text| unknown(text, "level", &Level::ALL.map(Level::as_str))))
    }
}

impl Expect {
    fn differences(&self, judgement: &Judgement) -> Vec<Difference> {
        let decision = &judgement.decision;
        let mut differences = Vec::new();
        let mut compare = |what, expected: Option<String>, found: String| {
            if let Some(expected) = expected.filter(|expected| *expected != found) {
                differences.push(Difference { what, expected, found });
            }
        };
        compare("action", self.action.clone(), decision.action().as_str().to_owned());
        compare("level", self.level.clone(), decision.level().as_str().to_owned());
        compare("score", self.score.map(|score| score.to_string()), decision.score().to_string());
        let reasons = decision.reasons().iter().map(|reason| reason.reason.to_string());
        compare("reasons", self.reasons.as_ref().map(|wanted| set(wanted.iter().cloned())), set(reasons));
        let tags =
            |tags: &mut dyn Iterator<Item = (String, String)>| set(tags.map(|(n, v)| format!("{n}={v}")));
        let wanted = self.tags.clone().map(|wanted| tags(&mut wanted.into_iter()));
        let given = decision.tags().iter().map(|(name, value)| (name.to_string(), value.to_string()));
        compare("tags", wanted, tags(&mut given.into_iter()));
        let counts = decision.counts().iter().map(ToString::to_string);
        compare("counts", self.counts.as_ref().map(|wanted| set(wanted.iter().cloned())), set(counts));
        let errors: Vec<String> = judgement
            .evaluation
            .errors()
            .map(|(outcome, error)| format!("{}:{error}", outcome.rule))
            .collect();
        compare(
            "script errors",
            Some("none".to_owned()),
            if errors.is_empty() { "none".into() } else { errors.join("; ") },
        );
        differences
    }
}

impl Described {
    /// Everything that a judgement of this request needs.
    pub fn context(&self, snapshot: &Snapshot, setting: &Setting) -> Result<RequestContext, String> {
        self.names_exist(snapshot)?;
        let prefix = self.ip.map_or(Prefix::UNKNOWN, |ip| Prefix::of_described(ip, setting.truncation));
        let place = self.place(snapshot, &prefix)?;
        let client = Client::new(prefix, Pseudonym::parse("0000000000000000").ok_or("no pseudonym")?);
        let parts = self.parts()?;
        let head = RequestHead::read(&parts, self.scheme()?);
        let readings = Given { described: self, snapshot, prefix: &prefix, place };
        let facts = Facts {
            head: &head,
            client: &client,
            place,
            wall: self.wall()?,
            secrets: &setting.secrets,
            readings: &readings,
            response: None,
        };
        Ok(snapshot.policy().needs().read(&facts))
    }

    /// This description, with `defaults` for what it leaves out.
    fn over(self, defaults: &Self) -> Self {
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
            headers,
            size: self.size.or(defaults.size),
            ip: self.ip.or(defaults.ip),
            country: self.country.or_else(|| defaults.country.clone()),
            asn: self.asn.or(defaults.asn),
            client_rate: nonzero(self.client_rate, defaults.client_rate),
            country_rate: nonzero(self.country_rate, defaults.country_rate),
            country_usual: nonzero(self.country_usual, defaults.country_usual),
            country_surge: self.country_surge.or(defaults.country_surge),
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

    fn scheme(&self) -> Result<Scheme, String> {
        match self.scheme.as_deref() {
            None | Some("http") => Ok(Scheme::Http),
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

    fn country_rate(&self) -> f64 {
        self.described.country_rate
    }

    fn country_usual(&self) -> f64 {
        self.described.country_usual
    }

    fn country_surge(&self) -> f64 {
        self.described.country_surge.unwrap_or(1.0)
    }

    fn country_weight(&self) -> i64 {
        i64::from(self.described.weight.unwrap_or_else(|| self.snapshot.weight(self.place.country)))
    }

    fn count(&self, counter: &str) -> i64 {
        self.described.counts.get(counter).copied().unwrap_or(0)
    }

    fn listed(&self, list: &str) -> bool {
        let mut lists = self.snapshot.lists().iter();
        self.described.listed.iter().any(|given| given == list)
            || lists.any(|known| known.name == list && known.addresses.contains_prefix(self.prefix))
    }
}

/// A set of texts as one text, for comparing and showing.
fn set(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}

fn place_of(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    (line, before.chars().rev().take_while(|letter| *letter != '\n').count() + 1)
}

#[cfg(test)]
mod tests;
