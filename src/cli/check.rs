//! `riskgate check`: what would be loaded, or everything that is wrong with it.

use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::layout::{Columns, Ink, count, grouped, list, size};
use super::{diagnostics, kernel, not_good, open_files};
use crate::app::build::Builder;
use crate::app::{self, Loaded, acme, parts};
use crate::config::units::show_duration;
use crate::config::{Host, Origin, Upstream};
use crate::decision::{LevelAction, Mode};
use crate::facts::problem::Problem;
use crate::facts::time::Wall;
use crate::geoip::Summary;
use crate::proxy::acme::Wanted;
use crate::proxy::door;
use crate::proxy::http2::Held;
use crate::proxy::upstream::Protocol;
use crate::record::rfc3339;
use crate::reload::sources::Sources;
use crate::reload::{Build, Built};
use crate::rules::RuleSet;
use crate::signals::Vocabulary;
use crate::snapshot::Snapshot;

/// Everything, as the gate would load it at start.
struct Checked {
    loaded: Loaded,
    snapshot: Snapshot,
    /// How many policy cases were run; all of them passed.
    cases: usize,
    notes: Vec<Problem>,
}

pub(super) fn check(config: &Path) -> ExitCode {
    match load(config) {
        Ok(checked) => {
            let _ = diagnostics::show(&checked.notes, &mut stderr());
            let _ = stdout().write_all(checked.report(Ink::of(&stdout())).as_bytes());
            ExitCode::SUCCESS
        }
        Err(problems) => not_good(config, &problems),
    }
}

/// Loads without binding or serving anything.
fn load(config: &Path) -> Result<Checked, Vec<Problem>> {
    let mut loaded = app::load(config, Vocabulary::standard())?;
    let sources = read(&mut loaded)?;
    match loaded.builder.build(&sources)? {
        Built::Candidate(snapshot, mut notes) => {
            let cases = Builder::cases(&sources)?.iter().map(|(_, cases)| cases.len()).sum();
            notes.extend(open_files::doubt(config, loaded.config.server.max_connections));
            Ok(Checked { loaded, snapshot: *snapshot, cases, notes })
        }
        Built::ReadAgain => {
            Err(vec![Problem::error(config, "the configuration changed while it was read; try again")])
        }
    }
}

/// Reads everything that a snapshot is made from.
pub(super) fn read(loaded: &mut Loaded) -> Result<Sources, Vec<Problem>> {
    let clock = loaded.clock;
    let mut pause = || std::thread::sleep(Duration::from_millis(20));
    Sources::read(&loaded.builder.paths(), None, &move || clock.now().wall, &mut pause)
}

/// A database in a few words.
pub(super) fn database(summary: &Summary, values: &str) -> String {
    let values = grouped(summary.values as u64) + " " + values;
    format!("{values}, `{}`, built {}", summary.database_type, day(summary))
}

impl Checked {
    fn report(&self, ink: Ink) -> String {
        let good = format!("{} {}\n", self.loaded.config_path.display(), ink.good("is good"));
        let sections = [
            ("scripts", self.scripts()),
            ("places", self.places()),
            ("lists", self.lists()),
            ("fingerprints", self.fingerprints()),
            ("levels", self.levels()),
            ("countries", self.countries()),
            ("limits", self.limits()),
            ("requests at once", self.concurrency()),
            ("counters", self.counters()),
            ("routes", self.routes()),
            ("certificates by ACME", self.certificates()),
            ("memory at most", self.memory()),
            ("memory of the system at most", kernel::memory(&self.loaded.config)),
            ("disk at most", self.disk()),
        ];
        let shown = sections.into_iter().filter(|(_, text)| !text.is_empty());
        let shown = shown.map(|(heading, text)| format!("\n{}\n{text}", ink.heading(heading)));
        [good].into_iter().chain(shown).collect()
    }

    fn scripts(&self) -> String {
        let policy = self.snapshot.policy();
        let names = policy.rule_sets().iter().map(|rule_set| rule_set.name().chars().count());
        let width = names.chain(["signals".len()]).max().unwrap_or(0);
        let indent = width + 4;
        let mut text = String::new();
        let mut line = |name: &str, items: String| text.push_str(&format!("  {name:<width$}  {items}\n"));
        for rule_set in policy.rule_sets() {
            line(rule_set.name(), list(functions(rule_set), indent));
            for (function, kept) in rule_set.interpreted() {
                line("", format!("interpreted: {function}, because of {kept}"));
            }
            let reasons: Vec<String> = rule_set.reasons().map(str::to_owned).collect();
            if !reasons.is_empty() {
                line("", format!("reasons: {}", list(reasons, indent + "reasons: ".len())));
            }
        }
        line("signals", list(policy.needs().names(), indent));
        line(
            "cases",
            if self.cases == 0 {
                "none".to_owned()
            } else {
                format!("{}, all pass", grouped(self.cases as u64))
            },
        );
        text
    }

    fn places(&self) -> String {
        let geo = self.snapshot.geo();
        let mut columns = Columns::default();
        match &geo.country {
            Some(db) => {
                let (summary, kept) = (db.summary(), self.loaded.config.privacy.truncation);
                columns.row(["country", &database(summary, "countries")]);
                let loss = summary.truncation;
                columns.row([
                    "truncated",
                    &format!(
                        "/{} moves {:.3} % of IPv4 addresses to another country, /{} moves {} of {} IPv6 networks",
                        kept.ipv4(),
                        loss.ipv4.share * 100.0,
                        kept.ipv6(),
                        grouped(loss.ipv6.moved),
                        grouped(loss.ipv6.networks),
                    ),
                ]);
            }
            None => columns.row(["country", "no database: every request is from `ZZ`"]),
        }
        if let Some(db) = &geo.asn {
            columns.row(["asn", &database(db.summary(), "autonomous systems")]);
        }
        columns.lines(2)
    }

    fn lists(&self) -> String {
        let mut columns = Columns::default();
        for list in self.snapshot.lists() {
            let hard = if list.hard { "refused whatever scripts say" } else { "" };
            columns.row([&list.name, &count(list.addresses.len(), "entry"), &memory_of_list(list), hard]);
        }
        columns.lines(2)
    }

    fn fingerprints(&self) -> String {
        let known = self.snapshot.fingerprints();
        let mut columns = Columns::default();
        if !known.is_empty() {
            columns.row([&count(known.len(), "fingerprint"), &count(known.classes(), "name")]);
        }
        columns.lines(2)
    }

    fn levels(&self) -> String {
        let mut columns = Columns::default();
        let rulebook = self.snapshot.rulebook();
        for (at, (level, from, action)) in rulebook.levels.iter().enumerate() {
            if at == 0 {
                columns.row(["low", &format!("below {from}"), "allow"]);
            }
            columns.row([level.as_str(), &format!("from {from}"), &level_action(action)]);
        }
        columns.lines(2)
    }

    fn countries(&self) -> String {
        let country = |(code, country): (&crate::facts::place::CountryCode, &crate::config::Country)| {
            let limit = country.limit.map_or_else(String::new, |limit| format!(", {}/s", limit.rate));
            format!("{code} {}{limit}", count(country.weight.into(), "point"))
        };
        let countries: Vec<String> = self.loaded.config.countries.iter().map(country).collect();
        let text = countries.chunks(4).fold(Columns::default(), |mut columns, chunk| {
            let cell = |at: usize| chunk.get(at).map_or("", String::as_str);
            columns.row([cell(0), cell(1), cell(2), cell(3)]);
            columns
        });
        text.lines(2)
    }

    fn limits(&self) -> String {
        let mut limits: Vec<_> = self.snapshot.limits().map(|limit| limit.spec()).collect();
        limits.sort_by(|a, b| (&a.name, a.per).cmp(&(&b.name, b.per)));
        let mut columns = Columns::default();
        for limit in limits {
            columns.row([
                &limit.name,
                &format!("per {}", limit.per.as_str()),
                &format!("over {}", limit.window),
                &self.delay(&limit.name),
            ]);
        }
        columns.lines(2)
    }

    /// What a limit lets wait at most.
    fn delay(&self, limit: &str) -> String {
        self.snapshot.delay(&limit.into()).map_or_else(String::new, |delay| {
            let most = count(delay.most, "request");
            let verb = if delay.most == 1 { "waits" } else { "wait" };
            format!("up to {most} {verb} up to {}", show_duration(delay.longest))
        })
    }

    fn concurrency(&self) -> String {
        let mut columns = Columns::default();
        for claim in self.snapshot.claims() {
            let (spec, most) = (claim.cap.spec(), grouped(claim.most.get().into()));
            columns.row([&spec.name, &format!("per {}", spec.per.as_str()), &format!("{most} at most")]);
        }
        columns.lines(2)
    }

    fn counters(&self) -> String {
        let mut columns = Columns::default();
        for counter in self.snapshot.counters() {
            let spec = counter.spec();
            let kind = counter.precision().map_or_else(
                || "events".to_owned(),
                |precision| {
                    let (reach, error) = (grouped(precision.reach), precision.error * 100.0);
                    format!("distinct values, up to {reach} within {error:.0} %")
                },
            );
            let room = counter.places().map_or_else(
                || "a place for each".to_owned(),
                |places| format!("about {} keys at once", grouped(places as u64 * 9 / 10)),
            );
            let (over, step) = (format!("over {}", spec.window), counter.step());
            columns.row([
                &spec.name,
                &format!("per {}", spec.per),
                &over,
                &format!("off by what came in {step} at most"),
                &kind,
                &room,
            ]);
        }
        columns.lines(2)
    }

    fn routes(&self) -> String {
        let config = &self.loaded.config;
        let mut columns = Columns::default();
        for route in &config.routes {
            let host = match &route.host {
                Host::Any => "*".to_owned(),
                Host::Exact(name) => name.clone(),
                Host::Below(domain) => format!("*.{domain}"),
            };
            let servers = config.upstreams.get(&route.upstream).map(servers).unwrap_or_default();
            columns.row([&route.name, &host, &route.path, &format!("-> {}", route.upstream), &servers]);
        }
        columns.lines(2)
    }

    /// What an authority is to issue, and what it has issued; nobody is asked.
    fn certificates(&self) -> String {
        let (config, mut columns) = (&self.loaded.config, Columns::default());
        let store = acme::store(config);
        for Wanted { name, hosts } in acme::wanted(config) {
            let until =
                store.look(&name).map(|stored| u64::try_from(stored.certificate.until()).unwrap_or(0));
            let until = until.map_or_else(
                || "not issued yet".to_owned(),
                |end| format!("until {}", date(Wall::from_millis(end.saturating_mul(1000)))),
            );
            columns.row([&name, &list(hosts, 0), &until, &store.certificate(&name).display().to_string()]);
        }
        columns.lines(2)
    }

    /// What is bounded by configuration, then what the files take that are loaded.
    fn memory(&self) -> String {
        let geo = self.snapshot.geo();
        let records = parts::record_settings(&self.loaded.config).memory_bytes();
        let country = geo.country.as_ref().map_or(0, |db| db.summary().memory_bytes);
        let asn = geo.asn.as_ref().map_or(0, |db| db.summary().memory_bytes);
        let lists = self.snapshot.lists().iter().map(|list| list.addresses.memory_bytes()).sum::<usize>();
        let mut parts: Vec<(String, usize)> =
            self.loaded.traffic.memory().into_iter().map(|part| (part.what, part.bytes)).collect();
        parts.push(("waiting and recent decisions".to_owned(), records));
        parts.push(("databases, twice while they are replaced".to_owned(), 2 * (country + asn)));
        parts.push(("lists, twice while they are replaced".to_owned(), 2 * lists));
        let total = parts.iter().map(|(_, bytes)| bytes).sum();
        parts.push(("total, besides requests under way".to_owned(), total));
        parts.extend(self.requests());
        let sizes: Vec<String> = parts.iter().map(|(_, bytes)| size(*bytes as u64)).collect();
        let width = sizes.iter().map(String::len).max().unwrap_or(0);
        let mut columns = Columns::default();
        for ((what, _), size) in parts.iter().zip(&sizes) {
            columns.row([&format!("{size:>width$}"), what]);
        }
        columns.lines(2)
    }

    /// What connections hold that idle, and requests if nobody takes an answer.
    fn requests(&self) -> [(String, usize); 4] {
        let server = &self.loaded.config.server;
        let row = |number: usize, of: usize, what: &str| {
            let what = format!("{what}, {} of {}", grouped(number as u64), size(of as u64));
            (what, number.saturating_mul(of))
        };
        let of_one = usize::try_from(server.max_requests_per_client).unwrap_or(usize::MAX);
        let of_one = of_one.min(server.max_requests);
        let (connections, requests) = (server.max_connections, server.max_requests);
        let by_http2 = self.loaded.config.listeners.iter().any(|listener| listener.http2);
        let mut upstreams = self.loaded.config.upstreams.values();
        let speaks_http2 = |upstream: &Upstream| upstream.settings.transport.protocol != Protocol::Http1;
        let held = Held::with(upstreams.any(speaks_http2));
        [
            row(connections, if by_http2 { door::IDLE_HTTP2 } else { door::IDLE }, "connections that idle"),
            row(connections, held.http1, "answers over HTTP/1.1 that nobody takes"),
            row(requests, held.http2, "answers over HTTP/2 that nobody takes"),
            row(of_one, held.http2, "those of one client"),
        ]
    }

    fn disk(&self) -> String {
        let (decisions, traffic) = (&self.loaded.config.decisions, &self.loaded.config.traffic);
        let mut columns = Columns::default();
        if decisions.enabled {
            let bytes = parts::record_settings(&self.loaded.config).max_bytes();
            columns.row([&size(bytes), &format!("decisions, in {}", decisions.path.display())]);
        }
        if traffic.remember {
            let bytes = self.loaded.traffic.kept_bytes() as u64;
            let what =
                format!("what was counted, in {}, twice while it is replaced", traffic.counts.display());
            columns.row([&size(bytes), &what]);
        }
        columns.lines(2)
    }
}

fn functions(rule_set: &RuleSet) -> Vec<String> {
    let observed = match rule_set.mode() {
        Mode::Observe => Some("observed only".to_owned()),
        Mode::Enforce => None,
    };
    let signatures = rule_set.functions().iter().map(|function| function.signature.clone());
    signatures.chain(observed).collect()
}

fn memory_of_list(list: &crate::snapshot::NamedList) -> String {
    size(list.addresses.memory_bytes() as u64)
}

fn level_action(action: LevelAction) -> String {
    match action {
        LevelAction::Allow => "allow".to_owned(),
        LevelAction::Throttle { per, rate } => {
            format!("throttle, {}/s per {}", rate.per_second(), per.as_str())
        }
        LevelAction::Block => "block".to_owned(),
    }
}

fn servers(upstream: &Upstream) -> String {
    match &upstream.origin {
        Origin::Builtin => "built in".to_owned(),
        Origin::Servers(servers) => list(servers.iter().map(|server| server.value.address.clone()), 0),
    }
}

fn day(summary: &Summary) -> String {
    date(summary.built)
}

fn date(wall: Wall) -> String {
    rfc3339(wall).chars().take("2026-01-31".len()).collect()
}
