//! Checks: whether a server can be connected to, or answers a certain request as it should.
//!
//! A check is Pingora's own; what is here says when one is due, and what it means. It runs beside requests.

use std::sync::Arc;
use std::time::Duration;

use pingora::http::RequestHeader;
use pingora::lb::Backend;
use pingora::lb::health_check::{HealthCheck, HttpHealthCheck, TcpHealthCheck};
use pingora::{Error, ErrorType};
use tracing::{info, warn};

use super::Upstream;
use super::server::Server;
use super::settings::Settings;
use crate::facts::time::Tick;

/// How servers are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is asked for, if connecting is not enough.
    pub get: Option<Get>,
    /// How long from one check of a server to the next.
    pub interval: Duration,
    /// How long it may take.
    pub timeout: Duration,
    /// After how many failures in a row a server is down.
    pub failures: u32,
    /// After how many passes in a row it is up again.
    pub passes: u32,
}

/// A request, and the answer that it should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// Path and query.
    pub path: String,
    /// The status.
    pub status: u16,
}

/// Checks the servers of one upstream.
pub(super) struct Checker {
    check: Check,
    way: Box<dyn HealthCheck + Send + Sync>,
}

impl Checker {
    /// `server` is what the request calls the server. `None` if servers are not checked, or the path is none.
    pub(super) fn new(settings: &Settings, server: &str) -> Option<Self> {
        let check = settings.check.clone()?;
        let placeholder = std::net::SocketAddr::from(([0, 0, 0, 0], 0)).into();
        let way: Box<dyn HealthCheck + Send + Sync> = match &check.get {
            Some(get) => {
                let mut way = HttpHealthCheck::new("", false);
                way.req = RequestHeader::build("GET", get.path.as_bytes(), None).ok()?;
                way.req.append_header("Host", server).ok()?;
                way.req.append_header("User-Agent", "riskgate").ok()?;
                way.peer_template = settings.peer(placeholder, server);
                let wanted = get.status;
                way.validator = Some(Box::new(move |response| match response.status.as_u16() {
                    status if status == wanted => Ok(()),
                    status => Err(Error::new(ErrorType::HTTPStatus(status))),
                }));
                Box::new(way)
            }
            None => TcpHealthCheck::new(),
        };
        Some(Self { check, way })
    }

    async fn passes(&self, server: &Server) -> bool {
        let addr = server.peer._address.clone();
        let backend = Backend { addr, weight: 1, ext: http::Extensions::new() };
        tokio::time::timeout(self.check.timeout, self.way.check(&backend)).await.is_ok_and(|it| it.is_ok())
    }
}

impl std::fmt::Debug for Checker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.check.fmt(f)
    }
}

impl Upstream {
    /// How long from one check of a server to the next; `None` if servers are not checked.
    pub fn check_interval(&self) -> Option<Duration> {
        self.checker.as_ref().map(|checker| checker.check.interval)
    }

    /// The servers that are to be checked now; each is named once.
    pub fn due(&self, now: Tick) -> Vec<Arc<Server>> {
        let Some(interval) = self.check_interval() else { return Vec::new() };
        self.servers().into_iter().filter(|server| server.is_due(interval, now)).collect()
    }

    /// Checks one of its servers, and notes the result.
    pub async fn check(&self, server: &Server) {
        let Some(checker) = &self.checker else { return };
        let passed = checker.passes(server).await;
        let enough = if passed { checker.check.passes } else { checker.check.failures };
        match server.health.checked(passed, enough) {
            Some(true) => info!(upstream = self.name(), server = server.name(), "a server is up again"),
            Some(false) => warn!(upstream = self.name(), server = server.name(), "a server fails its checks"),
            None => {}
        }
    }
}
