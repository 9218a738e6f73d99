//! `GET /metrics`: everything that is counted, for Prometheus.

use async_trait::async_trait;

use super::{Admin, Answer, Asked, Endpoint};
use crate::proxy::upstream::Fitness;
use crate::proxy::upstream::fleet::Fleet;

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
        admin.metrics.broken_off(admin.drain.broken_off());
        let (snapshot, now) = (admin.live.pin(), admin.clock.tick());
        let upstreams = Fleet::of(&snapshot).map(Fleet::upstreams).unwrap_or_default();
        let servers = upstreams
            .iter()
            .flat_map(|upstream| upstream.servers().into_iter().map(|server| (upstream.name(), server)));
        let servers: Vec<_> = servers.collect();
        admin.metrics.upstream_health(
            servers
                .iter()
                .map(|(upstream, server)| (*upstream, server.name(), server.fitness(now) == Fitness::Up)),
        );
        Answer::text(admin.metrics.text(admin.recorder.dropped()))
    }
}
