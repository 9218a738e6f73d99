//! Connections and certificates, in metrics.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts};

use crate::proxy::door::{Crowd, Ending, Full};

/// Everybody who is connected, who was turned away, and the requests over HTTP/2.
pub(super) struct Connections {
    crowd: Arc<Crowd>,
    streams: Arc<Crowd>,
    here: IntGauge,
    under_way: IntGauge,
    turned_away: IntCounterVec,
    ended: IntCounterVec,
}

/// When certificates end.
pub(super) fn expiry() -> Result<IntGaugeVec, prometheus::Error> {
    let help = "When a certificate ends, in seconds since 1970.";
    IntGaugeVec::new(Opts::new("riskgate_certificate_expiry_seconds", help), &["name"])
}

/// Orders of certificates that came to nothing.
pub(super) fn acme_failures() -> Result<IntCounterVec, prometheus::Error> {
    let help = "Orders of a certificate by ACME that came to nothing.";
    IntCounterVec::new(Opts::new("riskgate_acme_failures_total", help), &["name"])
}

fn ended() -> Result<IntCounterVec, prometheus::Error> {
    let help = "Connections that the gate has ended for what their clients did, or did not do in time.";
    IntCounterVec::new(Opts::new("riskgate_connections_ended_total", help), &["reason"])
}

impl Connections {
    pub(super) fn new(crowd: Arc<Crowd>, streams: &Arc<Crowd>) -> Result<Self, prometheus::Error> {
        let help = "Connections closed at once: too many, in all or of one client; introduced by no proxy; or of a client that wasted others.";
        let opts = Opts::new("riskgate_connections_refused_total", help);
        Ok(Self {
            crowd,
            streams: Arc::clone(streams),
            here: IntGauge::new("riskgate_connections", "Connections of clients.")?,
            under_way: IntGauge::new("riskgate_http2_requests", "Requests over HTTP/2 under way.")?,
            turned_away: IntCounterVec::new(opts, &["bound"])?,
            ended: ended()?,
        })
    }
}

impl Collector for Connections {
    fn desc(&self) -> Vec<&Desc> {
        [self.here.desc(), self.under_way.desc(), self.turned_away.desc(), self.ended.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.here.set(i64::try_from(self.crowd.here()).unwrap_or(i64::MAX));
        self.under_way.set(i64::try_from(self.streams.here()).unwrap_or(i64::MAX));
        for why in Full::ALL {
            let counter = self.turned_away.with_label_values(&[why.as_str()]);
            counter.inc_by(self.crowd.turned_away(why).saturating_sub(counter.get()));
        }
        for why in Ending::ALL {
            let counter = self.ended.with_label_values(&[why.as_str()]);
            counter.inc_by(self.crowd.endings().of(why).saturating_sub(counter.get()));
        }
        let (here, under_way) = (self.here.collect(), self.under_way.collect());
        [here, under_way, self.turned_away.collect(), self.ended.collect()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;
    use crate::proxy::door::Bounds;

    #[test]
    fn whoever_is_here_or_was_turned_away_is_counted() {
        let metrics = Metrics::new().unwrap();
        let crowd = Arc::new(Crowd::new(Bounds { most: 2, per_client: 1 }));
        let streams = Arc::new(Crowd::new(Bounds { most: 9, per_client: 9 }));
        metrics.watch(Some(Arc::clone(&crowd)), &streams).unwrap();
        let request = streams.enter(None);
        let places = [crowd.enter(None), crowd.enter(None)];
        (0..3).for_each(|_| assert!(crowd.enter(None).is_err()));
        metrics.certificates(&[("api".to_owned(), 1_900_000_000)]);
        for _ in 0..2 {
            let text = metrics.text(0);
            for line in [
                "riskgate_connections 2",
                "riskgate_http2_requests 1",
                "riskgate_connections_refused_total{bound=\"connections\"} 3",
                "riskgate_connections_refused_total{bound=\"client\"} 0",
                "riskgate_connections_ended_total{reason=\"stalled\"} 0",
                "riskgate_certificate_expiry_seconds{name=\"api\"} 1900000000",
            ] {
                assert!(text.lines().any(|found| found == line), "{line}\n{text}");
            }
        }
        drop((places, request));
        metrics.certificates(&[]);
        assert!(!metrics.text(0).contains("riskgate_certificate_expiry_seconds{"));
    }
}
