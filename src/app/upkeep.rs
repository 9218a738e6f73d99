//! What is done for upstreams beside requests: servers are checked, and names are looked up again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::proxy::upstream::Upstream;
use crate::proxy::upstream::fleet::Fleet;
use crate::reload::Live;

/// Looks after the fleet in use.
pub(super) struct Upkeep {
    pub(super) live: Arc<Live>,
    pub(super) clock: Clock,
}

/// How often it is looked whether something is due, unless servers are checked more often.
const ROUND: Duration = Duration::from_secs(1);

#[async_trait]
impl BackgroundService for Upkeep {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            _ = shutdown.changed() => {}
            () = self.look_after() => {}
        }
    }
}

impl Upkeep {
    async fn look_after(&self) {
        loop {
            let upstreams = self.upstreams();
            upstreams.iter().for_each(|upstream| self.begin(upstream));
            let checks = upstreams.iter().filter_map(|upstream| upstream.check_interval());
            let round = checks.fold(ROUND, Duration::min);
            drop(upstreams);
            sleep(round).await;
        }
    }

    /// Begins what is due; a check or a look-up that takes long does not hold up the others.
    fn begin(&self, upstream: &Arc<Upstream>) {
        let now = self.clock.tick();
        for server in upstream.due(now) {
            let upstream = Arc::clone(upstream);
            tokio::spawn(async move { upstream.check(&server).await });
        }
        if upstream.is_stale(now) {
            let upstream = Arc::clone(upstream);
            spawn_blocking(move || upstream.refresh());
        }
    }

    fn upstreams(&self) -> Vec<Arc<Upstream>> {
        let snapshot = self.live.pin();
        Fleet::of(&snapshot).map(|fleet| fleet.upstreams().to_vec()).unwrap_or_default()
    }
}
