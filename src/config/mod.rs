//! Configuration: one TOML file, parsed once into plain typed data that can be trusted.
//!
//! Each section is a file here, with its type, its keys and their defaults together. One pass reports every
//! problem with its place and what to do about it; a [`Config`] exists only if there was none. What the
//! configuration names (scripts, lists, databases) is not opened here, save the admin token.

mod acme;
mod admin;
mod buffers;
mod certificates;
mod client;
mod concurrency;
mod counters;
mod countries;
mod decisions;
mod delays;
mod fingerprints;
mod geoip;
mod inspection;
mod kinds;
mod levels;
mod limits;
mod listener;
mod listening;
mod lists;
mod log;
mod policy;
mod privacy;
mod reader;
mod reference;
mod reload;
mod request;
mod route;
mod server;
mod source;
mod traffic;
pub(crate) mod units;
mod upstream;

#[cfg(test)]
mod docs;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use toml::de::DeTable;

use crate::facts::place::CountryCode;
use crate::facts::problem::Problem;

pub use self::acme::Acme;
pub use self::admin::{Admin, Token};
pub use self::certificates::{Certificate, KeyPair};
pub use self::client::Client;
pub use self::concurrency::Concurrency;
pub use self::counters::Counter;
pub use self::countries::Country;
pub use self::decisions::Decisions;
pub use self::fingerprints::Fingerprints;
pub use self::geoip::Geoip;
pub use self::inspection::Inspection;
pub use self::kinds::Written;
pub use self::levels::{Level, LevelAction, Levels};
pub use self::limits::{Limit, Per, Sharing};
pub use self::listener::{ClientCertificates, Listener, ListenerTls, Needed};
pub use self::listening::{Address, ProxyProtocol};
pub use self::lists::List;
pub use self::log::{Log, LogFormat, LogLevel};
pub use self::policy::{Bounds, OnError, Policy};
pub use self::privacy::Privacy;
pub use self::reference::reference_markdown;
pub use self::reload::Reload;
pub use self::request::Request;
pub use self::route::{Host, Route};
pub use self::server::Server;
pub use self::traffic::Traffic;
pub use self::upstream::{Origin, Upstream, UpstreamTls};
pub use crate::traffic::Delay;

use self::admin::Surroundings;
use self::reader::Document;
use self::source::Source;

/// Everything that the operator decided. Only a file without errors makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// Every `[[listener]]`; at least one.
    pub listeners: Vec<Listener>,
    /// Every `[certificates.NAME]`, by name.
    pub certificates: BTreeMap<String, Certificate>,
    /// `[acme]`.
    pub acme: Acme,
    /// `[admin]`; `None` if it is switched off.
    pub admin: Option<Admin>,
    /// `[client]`.
    pub client: Client,
    /// `[privacy]`.
    pub privacy: Privacy,
    /// `[geoip]`.
    pub geoip: Geoip,
    /// `[lists]`, by name.
    pub lists: BTreeMap<String, List>,
    /// `[fingerprints]`.
    pub fingerprints: Fingerprints,
    /// `[policy]`.
    pub policy: Policy,
    /// Every `[counters.NAME]`, by name.
    pub counters: BTreeMap<String, Counter>,
    /// Every `[concurrency.NAME]`, by name.
    pub concurrency: BTreeMap<String, Concurrency>,
    /// Every `[limits."NAME"]`, by name, and where it is. Whether there is such a limit is not known here.
    pub limits: BTreeMap<String, Written<Delay>>,
    /// `[levels]`.
    pub levels: Levels,
    /// `[countries]`.
    pub countries: BTreeMap<CountryCode, Country>,
    /// `[decisions]`.
    pub decisions: Decisions,
    /// `[reload]`.
    pub reload: Reload,
    /// `[traffic]`.
    pub traffic: Traffic,
    /// `[request]`.
    pub request: Request,
    /// Every `[[route]]`, in the order of the file; at least one.
    pub routes: Vec<Route>,
    /// Every `[upstream.NAME]`, by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// `[log]`.
    pub log: Log,
    /// What is allowed, but worth a look.
    pub warnings: Vec<Problem>,
}

/// Why a configuration is refused: every error, and the warnings among them, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

/// A text that is no TOML is reported at this many places at most.
const MAX_SYNTAX_PROBLEMS: usize = 20;

impl Config {
    /// Reads and parses a file.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) => {
                let problem = Problem::error(path, format!("the configuration cannot be read: {error}"));
                Err(Problems(vec![problem.hint("name the file with `--config`, or start where it is")]))
            }
        }
    }

    /// Parses a text that came from `path`. Reads the admin token, if it is in a file or in the environment.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Problems> {
        let around = Surroundings {
            file: &|path| std::fs::read_to_string(path),
            variable: &|name| std::env::var(name).ok(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        };
        Self::parse_in(&around, path, text)
    }

    /// The shipped configuration, with every key and its default.
    pub const fn default_text() -> &'static str {
        include_str!("../../conf/riskgate.toml")
    }

    fn parse_in(around: &Surroundings<'_>, path: &Path, text: &str) -> Result<Self, Problems> {
        let source = Source::new(path, text);
        let (root, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            report_syntax(&source, text, &errors);
            return Err(Problems(source.into_problems()));
        }
        let config = Self::read(around, &Document::open(&source, root.get_ref(), &reference::LAYOUTS));
        let problems = source.into_problems();
        match config {
            Some(config) if !problems.iter().any(Problem::is_error) => {
                Ok(Self { warnings: problems, ..config })
            }
            Some(_) | None => Err(Problems(problems)),
        }
    }

    /// Reads every section before giving up on any, so that all problems are found.
    fn read(around: &Surroundings<'_>, document: &Document<'_>) -> Option<Self> {
        let section = |layout| document.section(layout);
        let server = section(&server::LAYOUT).and_then(|it| server::read(&it, around.cores));
        let (listeners, routes) = (read_listeners(document), read_routes(document));
        let acme = section(&acme::LAYOUT).and_then(|it| acme::read(&it));
        let certificates = certificates::read(document, acme.as_ref().map(|acme| acme.terms_agreed));
        let admin = section(&admin::LAYOUT).and_then(|it| admin::read(&it, around));
        let client = section(&client::LAYOUT).and_then(|it| client::read(&it));
        let privacy = section(&privacy::LAYOUT).and_then(|it| privacy::read(&it));
        let geoip = section(&geoip::LAYOUT).and_then(|it| geoip::read(&it));
        let (lists, upstreams) = (lists::read(document), upstream::read(document));
        let fingerprints = section(&fingerprints::LAYOUT).and_then(|it| fingerprints::read(&it));
        let policy = section(&policy::LAYOUT).and_then(|it| policy::read(&it));
        let (counters, levels) = (counters::read(document), levels::read(document));
        let (concurrency, limits) = (concurrency::read(document), delays::read(document));
        let (countries, request) = (countries::read(document), request::read(document));
        let decisions = section(&decisions::LAYOUT).and_then(|it| decisions::read(&it));
        let reload = section(&reload::LAYOUT).and_then(|it| reload::read(&it));
        let traffic = section(&traffic::LAYOUT).and_then(|it| traffic::read(&it));
        let log = section(&log::LAYOUT).and_then(|it| log::read(&it));
        let config = Self {
            server: server?,
            listeners: listeners?,
            certificates: certificates?,
            acme: acme?,
            admin: admin?,
            client: client?,
            privacy: privacy?,
            geoip: geoip?,
            lists: lists?,
            fingerprints: fingerprints?,
            policy: policy?,
            counters: counters?,
            concurrency: concurrency?,
            limits: limits?,
            levels: levels?,
            countries: countries?,
            decisions: decisions?,
            reload: reload?,
            traffic: traffic?,
            request: request?,
            routes: routes?,
            upstreams: upstreams?,
            log: log?,
            warnings: Vec::new(),
        };
        config.report_contradictions(document);
        Some(config)
    }

    /// Reports what only shows when sections are seen together.
    fn report_contradictions(&self, document: &Document<'_>) {
        let admin = self.admin.as_ref().filter(|admin| admin.address.port() != 0);
        if let Some(admin) = admin
            && self.listeners.iter().any(|listener| listener.address == Address::Tcp(admin.address))
        {
            let message = format!("clients and operators cannot share `{}`", admin.address);
            let hint = "give `[admin]` an address of its own".to_owned();
            document.source.error(document.span(&admin::LAYOUT), message, Some(hint));
        }
        certificates::report_unreachable(document, self);
        let used: BTreeSet<_> = self.routes.iter().map(|route| route.upstream.as_str()).collect();
        for name in document.names(&upstream::LAYOUT).unwrap_or_default() {
            if !used.contains(name.text) {
                let hint = format!("add a `[[route]]` with `upstream = \"{}\"`, or remove it", name.text);
                document.source.warning(Some(name.span), unused_upstream(name.text), Some(hint));
            }
        }
    }

    /// The sections in which `new` differs and that only a restart can change.
    pub fn differences(&self, new: &Self) -> Vec<&'static str> {
        let same = [
            ("server", self.server == new.server),
            ("listener", self.listeners == new.listeners),
            ("admin", self.admin == new.admin),
            ("client", self.client == new.client),
            ("privacy", self.privacy == new.privacy),
            ("decisions", self.decisions == new.decisions),
            ("reload", self.reload == new.reload),
            ("traffic", self.traffic == new.traffic),
            ("log", self.log == new.log),
        ];
        same.into_iter().filter(|(_, same)| !same).map(|(section, _)| section).collect()
    }

    /// Takes over from `running` the sections that only a restart can change.
    pub fn keep_fixed(self, running: &Self) -> Self {
        let fixed = running.clone();
        Self {
            server: fixed.server,
            listeners: fixed.listeners,
            admin: fixed.admin,
            client: fixed.client,
            privacy: fixed.privacy,
            decisions: fixed.decisions,
            reload: fixed.reload,
            traffic: fixed.traffic,
            log: fixed.log,
            ..self
        }
    }
}

/// The warning about an upstream that no route uses. It is moot if a script does, which is not known here.
pub fn unused_upstream(name: &str) -> String {
    format!("no route uses `{name}`")
}

/// Every `[[listener]]`, which names certificates.
fn read_listeners(document: &Document<'_>) -> Option<Vec<Listener>> {
    let names = document.names(&certificates::LAYOUT);
    listener::read(&document.sections(&listener::LAYOUT)?, document.source, names.as_deref())
}

/// Every `[[route]]`, which names upstreams.
fn read_routes(document: &Document<'_>) -> Option<Vec<Route>> {
    let names = document.names(&upstream::LAYOUT);
    route::read(&document.sections(&route::LAYOUT)?, document.source, names.as_deref())
}

/// Reports where a text is no TOML: the first problem of each line, since one often causes the next.
fn report_syntax(source: &Source<'_>, text: &str, errors: &[toml::de::Error]) {
    let mut lines = BTreeSet::new();
    for error in errors {
        let span = error.span();
        let line = span.as_ref().map(|span| source.position(span).line);
        if lines.len() < MAX_SYNTAX_PROBLEMS && lines.insert(line) {
            source.error(span, format!("not TOML: {}", error.message()), syntax_hint(text, error));
        }
    }
}

/// The usual slips: a key written twice, and `grace_period = 10s`.
fn syntax_hint(text: &str, error: &toml::de::Error) -> Option<String> {
    if error.message() == "duplicate key" {
        return Some("remove one of the two".into());
    }
    let at = error.span()?.start;
    let start = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let (key, value) = text.get(start..)?.lines().next()?.split_once('=')?;
    let value = value.split('#').next()?.trim();
    let bare = !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/-".contains(&b));
    (bare && at > start + key.len()).then(|| format!("write it in quotes: `\"{value}\"`"))
}

impl Problems {
    /// Every problem, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// All of them at once.
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// One line for each.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
