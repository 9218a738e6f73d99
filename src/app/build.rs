//! From configuration and sources to a snapshot, checked.
//!
//! This is the one recipe: the gate at start, every reload, `check`, `test` and `explain` all build with it, so what
//! was checked is what runs. A list or database whose file did not change is taken over, not parsed again.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::delays::delays;
use super::fingerprints;
use super::fleet::{self, Fleets, drop_moot};
use super::limits;
pub use super::sources::source_paths;
use super::sources::{ASN, COUNTRY};
use super::tls::Greetings;
use crate::cases::{Case, Setting};
use crate::clock::Clock;
use crate::config::{Config, List};
use crate::facts::problem::{Problem, nearest};
use crate::geoip::{AsnDb, Geo, GeoDb};
use crate::ip_list::IpList;
use crate::metrics::Metrics;
use crate::proxy::acme::{Challenges, Orders};
use crate::proxy::door::tls::Tls;
use crate::reload::sources::{Digest, SourcePaths, Sources};
use crate::reload::{Build, Built};
use crate::rules::{Declared, Policy, Script, Terms};
use crate::signals::Vocabulary;
use crate::snapshot::{Contents, NamedList, Snapshot, always};
use crate::traffic::{Cap, CapSpec, CounterSpec, Interval, Most, Traffic, TrafficError};

/// Builds snapshots as the configuration says.
pub struct Builder {
    /// What candidates are built from.
    config: Config,
    /// What the snapshot in use was built from.
    in_use: Config,
    config_path: PathBuf,
    vocabulary: Vocabulary,
    traffic: Arc<Traffic>,
    setting: Setting,
    clock: Clock,
    lists: HashMap<String, (Digest, Arc<IpList>)>,
    geo: Option<(Option<Digest>, Option<Digest>, Geo)>,
    greetings: Greetings,
    /// What requests are served by; `None` if none are.
    fleets: Option<Fleets>,
    fingerprints: fingerprints::Kept,
}

impl Builder {
    /// A builder that begins with a configuration read from `config_path`.
    pub fn new(
        config: Config,
        config_path: PathBuf,
        vocabulary: Vocabulary,
        traffic: Arc<Traffic>,
        setting: Setting,
        clock: Clock,
    ) -> Self {
        let (lists, geo, fleets, greetings) = (HashMap::new(), None, None, Greetings::new(&config));
        let (in_use, fingerprints) = (config.clone(), fingerprints::Kept::default());
        Self {
            config,
            in_use,
            config_path,
            vocabulary,
            traffic,
            setting,
            clock,
            lists,
            geo,
            greetings,
            fleets,
            fingerprints,
        }
    }

    /// Builds snapshots that can serve requests: each with a fleet of its own.
    pub(super) fn serving(self, fleets: Fleets) -> Self {
        Self { fleets: Some(fleets), ..self }
    }

    /// The policy cases beside the scripts, by file. Problems are misspelt cases.
    pub fn cases(sources: &Sources) -> Result<Vec<(PathBuf, Vec<Case>)>, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut files = Vec::new();
        for file in sources.cases() {
            match Case::parse(file.path(), file.text()) {
                Ok(cases) => files.push((file.path().to_path_buf(), cases)),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(files) } else { Err(problems) }
    }

    /// Builds without running the policy cases: all problems of scripts, lists, databases and limits at once.
    pub fn assemble(&mut self, sources: &Sources) -> Result<Snapshot, Vec<Problem>> {
        let mut problems = self.unknown_observe_only(sources);
        let geo = gather(&mut problems, self.geo(sources));
        let lists = gather(&mut problems, self.lists(sources));
        let fingerprints = gather(&mut problems, self.fingerprints.load(sources));
        let policy = gather(&mut problems, self.policy(sources));
        let fleet = fleet::build(self.fleets.as_ref(), &self.config, &self.config_path, sources);
        let fleet = gather(&mut problems, fleet);
        let (Some(geo), Some(lists), Some(policy), Some(fingerprints)) = (geo, lists, policy, fingerprints)
        else {
            return Err(problems);
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let rulebook = limits::rulebook(&self.config);
        let window = self.traffic.settings().window;
        let specs = limits::specs(&self.config, window, &policy, &rulebook);
        let delays = delays(&self.config, &self.config_path, &specs)?;
        let now = self.clock.now().tick;
        let refuse = |error: TrafficError| vec![Problem::error(&self.config_path, error.to_string())];
        let limits = self.traffic.limits(&specs, now).map_err(refuse)?;
        let limits =
            limits.into_iter().map(|limit| ((limit.spec().name.as_str().into(), limit.spec().per), limit));
        let contents = Contents {
            limits: limits.collect(),
            delays,
            counters: self.traffic.counters(&self.counter_specs(), now),
            caps: self.caps(),
            weights: self.config.countries.iter().map(|(code, country)| (*code, country.weight)).collect(),
            policy,
            geo,
            lists,
            fingerprints,
            rulebook,
            attachment: fleet.flatten().map(|fleet| fleet as _),
        };
        Ok(Snapshot::new(contents))
    }

    /// What each listener speaks TLS with; `None` in the clear.
    pub fn greetings(&self) -> Arc<[Option<Arc<Tls>>]> {
        self.greetings.listeners()
    }

    /// How authorities are answered, once orders wait for that.
    pub fn challenges(&self) -> Arc<Challenges> {
        self.greetings.challenges()
    }

    /// Which certificates are wanted from an authority; told anew whenever something is published.
    pub fn orders(&self) -> watch::Receiver<Arc<Orders>> {
        self.greetings.orders()
    }

    /// The configuration that the last candidate was built from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    fn unknown_observe_only(&self, sources: &Sources) -> Vec<Problem> {
        let names: Vec<String> =
            sources.scripts().iter().map(|script| crate::rules::name_of(script.path())).collect();
        let unknown = self.config.policy.observe_only.iter().filter(|only| !names.contains(&only.value));
        let problem = |only: &crate::config::Written<String>| {
            let message = format!("`observe_only` names `{}`, but there is no such script", only.value);
            let (line, column) = (only.position.line, only.position.column);
            let problem =
                Problem::error(&self.config_path, message).at(line, column).spanning(only.position.width);
            match nearest(&only.value, names.iter().map(String::as_str)) {
                Some(meant) => problem.hint(format!("did you mean `{meant}`?")),
                None => problem.hint("write the file name without `.rhai`"),
            }
        };
        unknown.map(problem).collect()
    }

    fn policy(&self, sources: &Sources) -> Result<Policy, Vec<Problem>> {
        let script = |text: &crate::reload::sources::Text| Script {
            path: text.path().to_path_buf(),
            text: text.text().to_owned(),
        };
        let scripts: Vec<Script> = sources.scripts().iter().map(script).collect();
        let hard = self.config.lists.iter().filter(|(_, list)| list.block).map(|(name, _)| name.as_str());
        let lists: Vec<String> = self.config.lists.keys().cloned().collect();
        let counters = self.config.counters.iter();
        let counters: Vec<Declared> =
            counters.map(|(name, counter)| Declared { name: name.clone(), kind: counter.kind }).collect();
        let caps: Vec<String> = self.config.concurrency.keys().cloned().collect();
        let upstreams: Vec<String> = self.config.upstreams.keys().cloned().collect();
        let known = |name: &&crate::config::Written<String>| {
            scripts.iter().any(|script| crate::rules::name_of(&script.path) == name.value)
        };
        let observe_only: Vec<String> =
            self.config.policy.observe_only.iter().filter(known).map(|only| only.value.clone()).collect();
        Policy::load(
            &scripts,
            &Terms {
                vocabulary: &self.vocabulary,
                lists: &lists,
                counters: &counters,
                caps: &caps,
                upstreams: &upstreams,
                observe_only: &observe_only,
                always: &always(&self.vocabulary, hard),
                bounds: self.config.policy.bounds,
            },
        )
    }

    fn lists(&mut self, sources: &Sources) -> Result<Vec<NamedList>, Vec<Problem>> {
        let mut problems = Vec::new();
        let (mut lists, mut kept) = (Vec::new(), HashMap::new());
        for (name, List { block, .. }) in &self.config.lists {
            let Some(data) = sources.role(name) else { continue };
            let known = self.lists.get(name).filter(|(digest, _)| *digest == data.digest());
            let parsed = match known {
                Some((_, addresses)) => Ok(Arc::clone(addresses)),
                None => IpList::parse(data.path(), data.bytes()).map(Arc::new),
            };
            match parsed {
                Ok(addresses) => {
                    kept.insert(name.clone(), (data.digest(), Arc::clone(&addresses)));
                    lists.push(NamedList { name: name.clone(), addresses, hard: *block });
                }
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        self.lists = kept;
        Ok(lists)
    }

    fn geo(&mut self, sources: &Sources) -> Result<Geo, Vec<Problem>> {
        let digest = |role| sources.role(role).map(crate::reload::sources::Data::digest);
        let (country_digest, asn_digest) = (digest(COUNTRY), digest(ASN));
        if let Some((country, asn, geo)) = &self.geo
            && (*country, *asn) == (country_digest, asn_digest)
        {
            return Ok(geo.clone());
        }
        let truncation = self.config.privacy.truncation;
        let load = |role| sources.role(role).map(|data| (data.path(), data.bytes().to_vec()));
        let country =
            load(COUNTRY).map(|(path, bytes)| GeoDb::from_bytes(path, bytes, truncation)).transpose();
        let asn = load(ASN).map(|(path, bytes)| AsnDb::from_bytes(path, bytes, truncation)).transpose();
        match (country, asn) {
            (Ok(country), Ok(asn)) => {
                let geo = Geo { country: country.map(Arc::new), asn: asn.map(Arc::new) };
                self.geo = Some((country_digest, asn_digest, geo.clone()));
                Ok(geo)
            }
            (country, asn) => Err(country.err().into_iter().chain(asn.err()).collect()),
        }
    }

    fn caps(&self) -> Vec<(Arc<Cap>, Most)> {
        let declared = &self.config.concurrency;
        let specs = declared.iter().map(|(name, limit)| CapSpec { name: name.clone(), per: limit.per });
        let caps = self.traffic.caps(&specs.collect::<Vec<_>>());
        caps.into_iter().zip(declared.values().map(|limit| limit.most)).collect()
    }

    fn counter_specs(&self) -> Vec<CounterSpec> {
        let default = self.traffic.settings().window;
        let counters = self.config.counters.iter();
        counters
            .map(|(name, counter)| CounterSpec {
                name: name.clone(),
                per: counter.per,
                kind: counter.kind,
                window: Interval::new(counter.window).unwrap_or(default),
            })
            .collect()
    }

    /// Fails with the first difference of each case that is not as expected.
    fn run_cases(&self, snapshot: &Snapshot, files: &[(PathBuf, Vec<Case>)]) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        for (path, cases) in files {
            for case in cases {
                let problem = match case.run(snapshot, &self.setting) {
                    Ok((_, differences)) => differences.first().map(|difference| {
                        let (what, expected, found) =
                            (difference.what, &difference.expected, &difference.found);
                        format!("case `{}` fails: {what} is `{found}`, expected `{expected}`", case.name())
                    }),
                    Err(error) => Some(format!("case `{}` cannot be run: {error}", case.name())),
                };
                let problem = problem.map(|message| Problem::error(path, message).at(case.line(), 1));
                problems.extend(problem.map(|problem| problem.hint("`riskgate test` shows all of it")));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

impl Build for Builder {
    fn paths(&mut self) -> SourcePaths {
        // A configuration that cannot be read is refused by `build`, once the rest was read.
        self.config = match Config::load(&self.config_path) {
            Ok(config) => config.keep_fixed(&self.in_use),
            Err(_) => self.in_use.clone(),
        };
        source_paths(&self.config, self.config_path.clone())
    }

    fn build(&mut self, sources: &Sources) -> Result<Built, Vec<Problem>> {
        let mut notes = Vec::new();
        if let Some(text) = sources.config() {
            let config = Config::parse(text.path(), text.text())
                .map_err(|problems| problems.into_iter().collect::<Vec<_>>())?;
            for section in self.in_use.differences(&config) {
                let note = format!("`{section}` has changed, which takes effect at the next start");
                notes.push(Problem::warning(text.path(), note).hint("restart to use it"));
            }
            notes.extend(config.warnings.iter().cloned());
            let paths = |config: &Config| source_paths(config, self.config_path.clone());
            let (read, config) = (paths(&self.config), config.keep_fixed(&self.in_use));
            // It was edited between the look for paths and the reading.
            if paths(&config) != read {
                return Ok(Built::ReadAgain);
            }
            self.config = config;
        }
        let (snapshot, cases) = (self.assemble(sources), Self::cases(sources));
        let tls = self.greetings.build(&self.config, sources, self.clock.now().wall);
        let (snapshot, cases) = match (snapshot, cases, tls) {
            (Ok(snapshot), Ok(cases), Ok(doubts)) => {
                notes.extend(doubts);
                (snapshot, cases)
            }
            (snapshot, cases, tls) => {
                let problems = [snapshot.err(), cases.err(), tls.err()];
                return Err(problems.into_iter().flatten().flatten().collect());
            }
        };
        self.run_cases(&snapshot, &cases)?;
        drop_moot(&mut notes, snapshot.policy());
        notes.extend(snapshot.policy().warnings().iter().cloned());
        Ok(Built::Candidate(Box::new(snapshot), notes))
    }

    fn published(&mut self, snapshot: &Snapshot, metrics: &Metrics) {
        self.in_use = self.config.clone();
        self.fleets.iter_mut().for_each(|fleets| fleets.published(snapshot));
        if let Some(ends) = self.greetings.publish() {
            metrics.certificates(&ends);
        }
    }

    fn unchanged(&mut self) {
        self.greetings.remind();
    }
}

fn gather<T>(problems: &mut Vec<Problem>, result: Result<T, Vec<Problem>>) -> Option<T> {
    result.map_err(|found| problems.extend(found)).ok()
}
