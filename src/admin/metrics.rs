//! `GET /metrics`: everything that is counted, for Prometheus.

use async_trait::async_trait;

use super::{Admin, Answer, Asked, Endpoint};

pub(super) struct Metrics;

#[async_trait]
impl Endpoint for Metrics {
    fn method(&self) -> &'static str {
        "GET"
    }

    fn path(&self) -> &'static str {
        "/metrics"
    }

    async fn answer(&self, admin: &Admin, _: Asked) -> Answer {
        admin.metrics.fair_shares(&admin.traffic.crowded(admin.clock.now().tick));
        admin.metrics.in_flight(admin.live.pin().claims());
        admin.metrics.waiting(admin.room.waiting());
        Answer::text(admin.metrics.text(admin.recorder.dropped()))
    }
}
