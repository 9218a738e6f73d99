//! What is counted for operators, in Prometheus' terms.
//!
//! Every label is bounded by construction: countries are two letters, actions and levels are enums, reasons, scripts
//! and upstreams are names that an operator wrote. Nothing that a client sends becomes a label.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::decision::{Evaluation, Level, Outcome, Reason};
use crate::facts::place::CountryCode;
use crate::facts::time::Wall;
use crate::snapshot::Generation;

/// All metrics of one gate.
pub struct Metrics {
    registry: Registry,
    decisions: IntCounterVec,
    /// Handles of `decisions` by country, outcome and level, made when first used.
    handles: Box<[OnceLock<IntCounter>]>,
    reasons: IntCounterVec,
    script_errors: IntCounterVec,
    reloads: IntCounterVec,
    generation: IntGauge,
    last_reload: Gauge,
    judge: Histogram,
    request: Histogram,
    upstream_errors: IntCounterVec,
    dropped: IntCounter,
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
            reasons: vec("riskgate_reasons_total", "Reasons given by enforced scripts.", &["reason"])?,
            script_errors: vec(
                "riskgate_script_errors_total",
                "Failures of scripts at run time.",
                &["script"],
            )?,
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
            upstream_errors: vec("riskgate_upstream_errors_total", "Failures of upstreams.", &["upstream"])?,
            dropped: IntCounter::new("riskgate_decisions_dropped_total", "Records lost.")?,
        };
        for collector in metrics.collectors() {
            metrics.registry.register(collector)?;
        }
        Ok(metrics)
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
        let at =
            (country.index() * Outcome::ALL.len() + outcome as usize) * Level::ALL.len() + level as usize;
        let labels = || [country.as_str().to_owned(), outcome.as_str().to_owned(), level.as_str().to_owned()];
        match self.handles.get(at) {
            Some(handle) => handle.get_or_init(|| self.decisions.with_label_values(&labels())).inc(),
            None => self.decisions.with_label_values(&labels()).inc(),
        }
        self.judge.observe(judge.as_secs_f64());
        self.request.observe(total.as_secs_f64());
    }

    /// Counts the reasons of one request; observed ones did not count, and are not counted.
    pub fn reasoned(&self, reasons: &[Reason]) {
        for reason in reasons.iter().filter(|reason| !reason.observed) {
            self.reasons.with_label_values(&[reason.reason.as_str()]).inc();
        }
    }

    /// How often a reason was given.
    pub fn hits(&self, reason: &str) -> u64 {
        self.reasons.with_label_values(&[reason]).get()
    }

    /// Counts the failures of scripts.
    pub fn failed(&self, evaluation: &Evaluation) {
        for (outcome, _) in evaluation.errors() {
            self.script_errors.with_label_values(&[outcome.rule.as_str()]).inc();
        }
    }

    /// Counts a failure of an upstream.
    pub fn upstream_failed(&self, upstream: &str) {
        self.upstream_errors.with_label_values(&[upstream]).inc();
    }

    /// Counts a reload: `published`, `unchanged` or `refused`.
    pub fn reloaded(&self, outcome: &str, generation: Generation, at: Wall) {
        self.reloads.with_label_values(&[outcome]).inc();
        self.generation.set(i64::try_from(generation.0).unwrap_or(i64::MAX));
        self.last_reload.set(at.as_millis() as f64 / 1e3);
    }

    /// All metrics as text. `dropped` is how many records were lost so far.
    pub fn text(&self, dropped: u64) -> String {
        self.dropped.inc_by(dropped.saturating_sub(self.dropped.get()));
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }

    fn collectors(&self) -> [Box<dyn Collector>; 10] {
        [
            Box::new(self.decisions.clone()),
            Box::new(self.reasons.clone()),
            Box::new(self.script_errors.clone()),
            Box::new(self.reloads.clone()),
            Box::new(self.generation.clone()),
            Box::new(self.last_reload.clone()),
            Box::new(self.judge.clone()),
            Box::new(self.request.clone()),
            Box::new(self.upstream_errors.clone()),
            Box::new(self.dropped.clone()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
