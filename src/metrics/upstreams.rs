//! Upstreams in metrics: their failures, what was tried again, and which of their servers are asked.
//!
//! Labels are names that the operator wrote. A gauge is gone when its server is.

use prometheus::core::Collector;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};

pub(super) struct Upstreams {
    errors: IntCounterVec,
    retries: IntCounterVec,
    healthy: IntGaugeVec,
}

impl Upstreams {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| IntCounterVec::new(Opts::new(name, help), &["upstream"]);
        let healthy = Opts::new(
            "riskgate_upstream_healthy",
            "Addresses of a server that are asked: neither down by checks nor ejected.",
        );
        Ok(Self {
            errors: counter("riskgate_upstream_errors_total", "Failures of upstreams.")?,
            retries: counter("riskgate_upstream_retries_total", "Requests that were tried again.")?,
            healthy: IntGaugeVec::new(healthy, &["upstream", "server"])?,
        })
    }

    pub(super) fn failed(&self, upstream: &str) {
        self.errors.with_label_values(&[upstream]).inc();
    }

    pub(super) fn retried(&self, upstream: &str) {
        self.retries.with_label_values(&[upstream]).inc();
    }

    /// A name may stand for several servers, which are added up.
    pub(super) fn health<'a>(&self, servers: impl Iterator<Item = (&'a str, &'a str, bool)>) {
        self.healthy.reset();
        for (upstream, server, is_up) in servers {
            self.healthy.with_label_values(&[upstream, server]).add(i64::from(is_up));
        }
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 3] {
        [Box::new(self.errors.clone()), Box::new(self.retries.clone()), Box::new(self.healthy.clone())]
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;

    #[test]
    fn servers_are_shown_while_they_are_there_and_the_addresses_of_a_name_are_added_up() {
        let metrics = Metrics::new().unwrap();
        let servers = [("a", "x:80", true), ("a", "x:80", true), ("a", "10.0.0.1:80", false)];
        metrics.upstream_health(servers.into_iter());
        let text = metrics.text(0);
        for line in [
            "riskgate_upstream_healthy{server=\"x:80\",upstream=\"a\"} 2",
            "riskgate_upstream_healthy{server=\"10.0.0.1:80\",upstream=\"a\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        metrics.upstream_health(std::iter::empty());
        assert!(!metrics.text(0).contains("riskgate_upstream_healthy{"));
    }
}
