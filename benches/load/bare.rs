//! The baseline: the least that a Pingora proxy can be. It chooses its upstream and does nothing else.
//!
//! It runs in a process of its own, which is this program in another role, so that it has the same build profile,
//! the same Pingora and the same allocator as the gate.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use async_trait::async_trait;
use pingora::modules::http::HttpModules;
use pingora::prelude::{HttpPeer, ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;

use crate::contestant::{Contestant, Seat};
use crate::error::LoadError;
use crate::process;

/// The first argument of a process that is a bare proxy.
pub(crate) const ROLE: &str = "as-bare-proxy";

/// The name of a baseline that is compared with the baseline.
pub(crate) const AGAIN: &str = "bare Pingora again";

/// The bare proxy as a contestant.
pub(crate) struct Bare(&'static str);

impl Bare {
    /// What all others are compared with.
    pub(crate) fn baseline() -> Self {
        Self("bare Pingora")
    }

    /// The same under another name: how far its ratio is from 1 is how far other ratios may be wrong.
    pub(crate) fn again() -> Self {
        Self(AGAIN)
    }
}

impl Contestant for Bare {
    fn name(&self) -> &str {
        self.0
    }

    fn command(&self, seat: &Seat<'_>) -> Result<Command, LoadError> {
        let mut command = process::this_program(ROLE)?;
        command.args([seat.listen.to_string(), seat.origin.to_string()]);
        Ok(command)
    }
}

/// Serves until told to stop. The arguments are where to listen and where the origin is.
pub(crate) fn run(arguments: &[String]) -> Result<(), LoadError> {
    let [listen, origin] = process::addresses(arguments)?;
    let mut server = Server::new_with_opt_and_conf(None, server_conf());
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Proxy::new(origin));
    service.add_tcp(&listen.to_string());
    server.add_service(service);
    server.run_forever()
}

/// As the gate is configured: one thread, no work stealing, no waiting at the end.
fn server_conf() -> ServerConf {
    ServerConf {
        threads: 1,
        work_stealing: false,
        upstream_keepalive_pool_size: 128,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    }
}

struct Proxy {
    peer: HttpPeer,
}

impl Proxy {
    fn new(origin: SocketAddr) -> Self {
        let mut peer = HttpPeer::new(origin, false, String::new());
        peer.options.idle_timeout = Some(Duration::from_secs(60));
        Self { peer }
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = ();

    fn new_ctx(&self) {}

    /// Not even the compression that Pingora adds by itself.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(self.peer.clone()))
    }
}
