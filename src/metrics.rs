//! What is counted for operators, in Prometheus' terms.
//!
//! Every label is bounded by construction: countries are two letters, actions and levels are enums, reasons, scripts
//! and upstreams are names that an operator wrote. Nothing that a client sends becomes a label. On the path of a
//! request no label is looked up in the registry: handles are resolved when a policy is published.

mod connections;
mod delays;
mod limits;
mod surges;
mod upstreams;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::decision::{Evaluation, Level, Mode, Outcome, Reason};
use crate::facts::place::CountryCode;
use crate::facts::time::Wall;
use crate::proxy::door::Crowd;
use crate::snapshot::{Generation, Snapshot};
use crate::traffic::{Claim, Crowded, Per, Surge};

/// All metrics of one gate.
pub struct Metrics {
    registry: Registry,
    decisions: IntCounterVec,
    /// Handles of `decisions` by country, outcome and level, made when first used.
    handles: Box<[OnceLock<IntCounter>]>,
    throttled: IntCounterVec,
    /// Handles of `throttled` by country and key, made when first used.
    throttles: Box<[OnceLock<IntCounter>]>,
    reasons: IntCounterVec,
    script_errors: IntCounterVec,
    known: ArcSwap<Known>,
    reloads: IntCounterVec,
    generation: IntGauge,
    last_reload: Gauge,
    judge: Histogram,
    request: Histogram,
    upstreams: upstreams::Upstreams,
    dropped: IntCounter,
    panics: IntCounter,
    delays: delays::Delays,
    limits: limits::Limits,
    surges: surges::Surges,
    expiry: IntGaugeVec,
    acme_failures: IntCounterVec,
}

/// Handles of what the policy in use can say.
#[derive(Default)]
struct Known {
    reasons: HashMap<String, IntCounter, RandomState>,
    scripts: HashMap<String, IntCounter, RandomState>,
}

/// Bounds of `riskgate_judge_seconds`: 1 us to 16 ms.
const JUDGE_SECONDS: [f64; 8] = [1e-6, 4e-6, 16e-6, 64e-6, 256e-6, 1e-3, 4e-3, 16e-3];
/// Bounds of `riskgate_request_seconds`: 250 us to 65 s.
const REQUEST_SECONDS: [f64; 10] = [250e-6, 1e-3, 4e-3, 16e-3, 64e-3, 256e-3, 1.024, 4.096, 16.384, 65.536];

impl Metrics {
    /// Registers all metrics.
    pub fn new() -> Result<Self, prometheus::Error> {
        let vec = |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let histogram = |name: &str, help: &str, bounds: &[f64]| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds.to_vec()))
        };
        let slots = CountryCode::COUNT * Outcome::ALL.len() * Level::ALL.len();
        let metrics = Self {
            registry: Registry::new(),
            decisions: vec("riskgate_decisions_total", "Requests judged.", &["country", "action", "level"])?,
            handles: (0..slots).map(|_| OnceLock::new()).collect(),
            throttled: vec(
                "riskgate_throttled_total",
                "Requests that a limit turned away.",
                &["country", "per"],
            )?,
            throttles: (0..CountryCode::COUNT * Per::ALL.len()).map(|_| OnceLock::new()).collect(),
            reasons: vec("riskgate_reasons_total", "Reasons given by enforced scripts.", &["reason"])?,
            script_errors: vec(
                "riskgate_script_errors_total",
                "Failures of scripts at run time.",
                &["script"],
            )?,
            known: ArcSwap::default(),
            reloads: vec("riskgate_reloads_total", "Reloads by outcome.", &["outcome"])?,
            generation: IntGauge::new("riskgate_generation", "Number of the snapshot in use.")?,
            last_reload: Gauge::new(
                "riskgate_last_reload_timestamp_seconds",
                "When the last reload was tried.",
            )?,
            judge: histogram("riskgate_judge_seconds", "Time from parsed head to decision.", &JUDGE_SECONDS)?,
            request: histogram(
                "riskgate_request_seconds",
                "Time from parsed head to end.",
                &REQUEST_SECONDS,
            )?,
            upstreams: upstreams::Upstreams::new()?,
            dropped: IntCounter::new("riskgate_decisions_dropped_total", "Records lost.")?,
            panics: IntCounter::new("riskgate_panics_total", "Requests that a panic has ended.")?,
            delays: delays::Delays::new()?,
            limits: limits::Limits::new()?,
            surges: surges::Surges::new()?,
            expiry: connections::expiry()?,
            acme_failures: connections::acme_failures()?,
        };
        for collector in metrics.collectors() {
            metrics.registry.register(collector)?;
        }
        Ok(metrics)
    }

    /// Makes ready to count what the policy of a snapshot can say; it stands at 0 from now on. Call it before the
    /// snapshot is in use. What it does not name is counted too, at the price of a look into the registry.
    pub fn know(&self, snapshot: &Snapshot) {
        let rule_sets = || snapshot.policy().rule_sets().iter();
        let enforced = rule_sets().filter(|rule_set| rule_set.mode() == Mode::Enforce);
        let lists = snapshot.hard_lists().map(|list| format!("list.{list}"));
        let reasons = enforced.flat_map(|rule_set| rule_set.reasons().map(str::to_owned)).chain(lists);
        let scripts = rule_sets().map(|rule_set| rule_set.name().to_owned());
        self.known.store(Arc::new(Known {
            reasons: reasons
                .map(|reason| (reason.clone(), self.reasons.with_label_values(&[reason])))
                .collect(),
            scripts: scripts
                .map(|name| (name.clone(), self.script_errors.with_label_values(&[name])))
                .collect(),
        }));
    }

    /// Tells of these connections, too, if there can be any, and of the requests over HTTP/2 on them.
    pub fn watch(&self, crowd: Option<Arc<Crowd>>, streams: &Arc<Crowd>) -> Result<(), prometheus::Error> {
        let connections = crowd.map(|crowd| connections::Connections::new(crowd, streams)).transpose()?;
        connections.map_or(Ok(()), |connections| self.registry.register(Box::new(connections)))
    }

    /// Tells when these certificates end, in seconds since 1970, and of no others.
    pub fn certificates(&self, ends: &[(String, i64)]) {
        self.expiry.reset();
        ends.iter().for_each(|(name, end)| self.expiry.with_label_values(&[name]).set(*end));
    }

    /// Counts an order of the certificate of this name that came to nothing.
    pub fn acme_failed(&self, name: &str) {
        self.acme_failures.with_label_values(&[name]).inc();
    }

    /// Counts one judged request.
    pub fn decided(
        &self,
        country: CountryCode,
        outcome: Outcome,
        level: Level,
        judge: Duration,
        total: Duration,
    ) {
        self.ended(country, outcome, level);
        self.judge.observe(judge.as_secs_f64());
        self.request.observe(total.as_secs_f64());
    }

    /// Counts a request that was refused before anybody could read it. It took no time to judge.
    pub fn unread(&self, country: CountryCode, level: Level) {
        self.ended(country, Outcome::Blocked, level);
    }

    fn ended(&self, country: CountryCode, outcome: Outcome, level: Level) {
        let at =
            (country.index() * Outcome::ALL.len() + outcome as usize) * Level::ALL.len() + level as usize;
        let labels = || [country.as_str().to_owned(), outcome.as_str().to_owned(), level.as_str().to_owned()];
        match self.handles.get(at) {
            Some(handle) => handle.get_or_init(|| self.decisions.with_label_values(&labels())).inc(),
            None => self.decisions.with_label_values(&labels()).inc(),
        }
    }

    /// Counts a request from `country` that a limit `per` this key turned away.
    pub fn throttled(&self, country: CountryCode, per: Per) {
        let make = || self.throttled.with_label_values(&[country.as_str(), per.as_str()]);
        let at = Per::ALL.iter().position(|known| *known == per);
        let at = at.map(|at| country.index() * Per::ALL.len() + at);
        match at.and_then(|at| self.throttles.get(at)) {
            Some(handle) => handle.get_or_init(make).inc(),
            None => make().inc(),
        }
    }

    /// Counts a request that waited so long at limits, the last of them `per` this key, and what became of it.
    pub fn delayed(&self, per: Per, outcome: Outcome, waited: Duration) {
        self.delays.delayed(per, outcome, waited);
    }

    /// How many requests are in flight under each limit of them.
    pub fn in_flight<'a>(&self, limits: impl Iterator<Item = Claim<'a>>) {
        self.limits.in_flight(limits);
    }

    /// Shows how many requests wait at limits now.
    pub fn waiting(&self, requests: usize) {
        self.delays.waiting(requests);
    }

    /// Shows the fair shares of these countries, the smallest of each, and of no others.
    pub fn fair_shares(&self, crowded: &[Crowded]) {
        self.limits.fair_shares(crowded);
    }

    /// Counts the reasons of one request; observed ones did not count, and are not counted.
    pub fn reasoned(&self, reasons: &[Reason]) {
        if reasons.is_empty() {
            return;
        }
        let known = self.known.load();
        for reason in reasons.iter().filter(|reason| !reason.observed).map(|reason| reason.reason.as_str()) {
            match known.reasons.get(reason) {
                Some(counter) => counter.inc(),
                None => self.reasons.with_label_values(&[reason]).inc(),
            }
        }
    }

    /// How often a reason was given.
    pub fn hits(&self, reason: &str) -> u64 {
        self.reasons.with_label_values(&[reason]).get()
    }

    /// Counts the failures of scripts.
    pub fn failed(&self, evaluation: &Evaluation) {
        for (outcome, _) in evaluation.errors() {
            let script = outcome.rule.as_str();
            match self.known.load().scripts.get(script) {
                Some(counter) => counter.inc(),
                None => self.script_errors.with_label_values(&[script]).inc(),
            }
        }
    }

    /// Counts a failure of an upstream.
    pub fn upstream_failed(&self, upstream: &str) {
        self.upstreams.failed(upstream);
    }

    /// Counts a request that was tried again.
    pub fn upstream_retried(&self, upstream: &str) {
        self.upstreams.retried(upstream);
    }

    /// Shows which servers are asked, and no others: the upstream's name, the server's, and whether it is.
    pub fn upstream_health<'a>(&self, servers: impl Iterator<Item = (&'a str, &'a str, bool)>) {
        self.upstreams.health(servers);
    }

    /// Counts a reload: `published`, `unchanged` or `refused`.
    pub fn reloaded(&self, outcome: &str, generation: Generation, at: Wall) {
        self.reloads.with_label_values(&[outcome]).inc();
        self.generation.set(i64::try_from(generation.0).unwrap_or(i64::MAX));
        self.last_reload.set(at.as_millis() as f64 / 1e3);
    }

    /// Takes notice of a surge that began, lasts or ended.
    pub fn surged(&self, surge: &Surge) {
        self.surges.told(surge);
    }

    /// So many requests were ended by a panic so far.
    pub fn broken_off(&self, requests: u64) {
        self.panics.inc_by(requests.saturating_sub(self.panics.get()));
    }

    /// All metrics as text. `dropped` is how many records were lost so far.
    pub fn text(&self, dropped: u64) -> String {
        self.dropped.inc_by(dropped.saturating_sub(self.dropped.get()));
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }

    fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let own: [Box<dyn Collector>; 12] = [
            Box::new(self.decisions.clone()),
            Box::new(self.throttled.clone()),
            Box::new(self.reasons.clone()),
            Box::new(self.script_errors.clone()),
            Box::new(self.reloads.clone()),
            Box::new(self.generation.clone()),
            Box::new(self.last_reload.clone()),
            Box::new(self.judge.clone()),
            Box::new(self.request.clone()),
            Box::new(self.dropped.clone()),
            Box::new(self.panics.clone()),
            Box::new(self.acme_failures.clone()),
        ];
        let own = own.into_iter().chain(self.limits.collectors());
        let own = own.chain(self.delays.collectors()).chain(self.surges.collectors());
        let own = own.chain(self.upstreams.collectors());
        own.chain([Box::new(self.expiry.clone()) as Box<dyn Collector>]).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::ip_list::IpList;
    use crate::rules::{Policy, Script, Terms};
    use crate::signals::Vocabulary;
    use crate::snapshot::{Contents, NamedList};

    #[test]
    fn every_metric_of_the_design_is_there_and_counted_under_its_labels() {
        let metrics = Metrics::new().unwrap();
        let kp = CountryCode::parse("KP").unwrap();
        metrics.decided(
            kp,
            Outcome::Blocked,
            Level::Critical,
            Duration::from_micros(3),
            Duration::from_millis(2),
        );
        metrics.decided(
            kp,
            Outcome::Blocked,
            Level::Critical,
            Duration::from_micros(3),
            Duration::from_millis(2),
        );
        metrics.upstream_failed("origin");
        metrics.reloaded("published", Generation(7), Wall::from_millis(1_500));
        let text = metrics.text(4);
        for line in [
            "riskgate_decisions_total{action=\"blocked\",country=\"KP\",level=\"critical\"} 2",
            "riskgate_upstream_errors_total{upstream=\"origin\"} 1",
            "riskgate_reloads_total{outcome=\"published\"} 1",
            "riskgate_generation 7",
            "riskgate_last_reload_timestamp_seconds 1.5",
            "riskgate_judge_seconds_count 2",
            "riskgate_request_seconds_count 2",
            "riskgate_decisions_dropped_total 4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(metrics.text(4).contains("riskgate_decisions_dropped_total 4"));
    }

    fn snapshot(script: &str) -> Snapshot {
        let script = Script { path: "10-login.rhai".into(), text: script.to_owned() };
        let vocabulary = Vocabulary::standard();
        let terms = Terms::of(&vocabulary);
        let addresses = Arc::new(IpList::parse(Path::new("block"), b"").unwrap());
        Snapshot::new(Contents {
            lists: vec![NamedList { name: "blocked".into(), addresses, hard: true }],
            ..Contents::of(Policy::load(&[script], &terms).unwrap())
        })
    }

    #[test]
    fn reasons_are_counted_in_one_place_whether_or_not_the_policy_in_use_names_them() {
        let metrics = Metrics::new().unwrap();
        let reason = |reason: &str, observed| Reason {
            rule: "10-login".into(),
            reason: reason.into(),
            points: 1,
            verb: None,
            observed,
        };
        let said = [reason("login.many", false), reason("list.blocked", false), reason("login.many", true)];
        metrics.reasoned(&said);
        for script in ["fn assess(req, risk) { risk.add(\"login.many\", 1); }", "fn assess(req, risk) {}"] {
            metrics.know(&snapshot(script));
            metrics.reasoned(&said);
        }
        assert_eq!((metrics.hits("login.many"), metrics.hits("list.blocked")), (3, 3));
    }

    #[test]
    fn what_a_policy_can_say_stands_at_zero_before_it_is_said() {
        let metrics = Metrics::new().unwrap();
        metrics.know(&snapshot("fn assess(req, risk) { risk.add(\"login.many\", 1); }"));
        let text = metrics.text(0);
        for line in [
            "riskgate_reasons_total{reason=\"login.many\"} 0",
            "riskgate_reasons_total{reason=\"list.blocked\"} 0",
            "riskgate_script_errors_total{script=\"10-login\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
