//! Delays in metrics: how many requests wait and waited at limits, what became of them, and how long it took.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts};

use crate::decision::Outcome;
use crate::traffic::Per;

pub(super) struct Delays {
    delayed: IntCounterVec,
    waited: Histogram,
    waiting: IntGauge,
}

/// Bounds of `riskgate_delay_seconds`: 10 ms to 30 s, the longest that can be configured.
const SECONDS: [f64; 8] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

impl Delays {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let delayed = Opts::new("riskgate_delayed_total", "Requests that waited at a limit.");
        let waited = HistogramOpts::new("riskgate_delay_seconds", "Time that requests waited at limits.");
        Ok(Self {
            delayed: IntCounterVec::new(delayed, &["per", "action"])?,
            waited: Histogram::with_opts(waited.buckets(SECONDS.to_vec()))?,
            waiting: IntGauge::new("riskgate_waiting", "Requests that wait at a limit now.")?,
        })
    }

    pub(super) fn delayed(&self, per: Per, outcome: Outcome, waited: Duration) {
        self.delayed.with_label_values(&[per.as_str(), outcome.as_str()]).inc();
        self.waited.observe(waited.as_secs_f64());
    }

    pub(super) fn waiting(&self, requests: usize) {
        self.waiting.set(i64::try_from(requests).unwrap_or(i64::MAX));
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 3] {
        [Box::new(self.delayed.clone()), Box::new(self.waited.clone()), Box::new(self.waiting.clone())]
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn who_waited_is_counted_by_key_and_end_and_by_how_long() {
        let metrics = Metrics::new().unwrap();
        metrics.delayed(Per::Client, Outcome::Allowed, Duration::from_millis(50));
        metrics.delayed(Per::Client, Outcome::Allowed, Duration::from_millis(500));
        metrics.delayed(Per::Route, Outcome::Throttled, Duration::from_secs(2));
        metrics.waiting(7);
        let text = metrics.text(0);
        for line in [
            "riskgate_delayed_total{action=\"allowed\",per=\"client\"} 2",
            "riskgate_delayed_total{action=\"throttled\",per=\"route\"} 1",
            "riskgate_delay_seconds_bucket{le=\"0.1\"} 1",
            "riskgate_delay_seconds_bucket{le=\"1\"} 2",
            "riskgate_delay_seconds_count 3",
            "riskgate_waiting 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
