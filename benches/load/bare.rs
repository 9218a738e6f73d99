//! The baseline: the least that a Pingora proxy can be. It chooses its upstream and does nothing else.
//!
//! It runs in a process of its own, which is this program in another role, so that it has the same build profile,
//! the same Pingora and the same allocator as the gate. Its server settings are the gate's own, made by the gate's
//! own code. What it lacks are the gate's timeouts for clients and origins; a variant has them.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::Command;
use std::time::Duration;

use async_trait::async_trait;
use pingora::modules::http::HttpModules;
use pingora::modules::http::compression::ResponseCompressionBuilder;
use pingora::prelude::{HttpPeer, ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use riskgate::proxy::server::Settings;

use crate::contestant::{Contestant, Seat};
use crate::error::LoadError;
use crate::process;

/// The first argument of a process that is a bare proxy.
pub(crate) const ROLE: &str = "as-bare-proxy";

/// A bare proxy as a contestant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bare {
    /// What all others are compared with.
    Baseline,
    /// The same under another name: how far its ratio is from 1 is how far other ratios may be wrong.
    Again,
    /// As Pingora is if nobody changes anything but the number of threads, which is 1 there, too.
    Defaults,
    /// The baseline with the gate's timeouts, which each cost a timer.
    Patient,
}

impl Bare {
    const ALL: [Self; 4] = [Self::Baseline, Self::Again, Self::Defaults, Self::Patient];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "bare Pingora",
            Self::Again => "bare Pingora again",
            Self::Defaults => "bare, Pingora's defaults",
            Self::Patient => "bare, with timeouts",
        }
    }
}

impl Contestant for Bare {
    fn name(&self) -> &str {
        self.as_str()
    }

    fn command(&self, seat: &Seat<'_>) -> Result<Command, LoadError> {
        let mut command = process::this_program(ROLE)?;
        command.args([self.as_str(), &seat.listen.to_string(), &seat.origin.to_string()]);
        Ok(command)
    }
}

/// Serves until told to stop. The arguments are which one it is, where to listen and where the origin is.
pub(crate) fn run(arguments: &[String]) -> Result<(), LoadError> {
    let known = arguments.split_first().and_then(|(name, rest)| {
        let bare = Bare::ALL.into_iter().find(|bare| bare.as_str() == name)?;
        Some((bare, rest))
    });
    let (bare, rest) = known.ok_or_else(|| LoadError::Role(arguments.join(" ")))?;
    let [listen, origin] = process::addresses(rest)?;
    let mut server = Server::new_with_opt_and_conf(None, server_conf(bare));
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Proxy::new(bare, origin));
    service.add_tcp(&listen.to_string());
    server.add_service(service);
    server.run_forever()
}

/// The gate's settings, or Pingora's; neither waits at the end.
fn server_conf(bare: Bare) -> ServerConf {
    match bare {
        Bare::Baseline | Bare::Again | Bare::Patient => {
            Settings { threads: Some(NonZeroUsize::MIN), ..Settings::default() }.server_conf()
        }
        Bare::Defaults => ServerConf {
            grace_period_seconds: Some(0),
            graceful_shutdown_timeout_seconds: Some(0),
            ..ServerConf::default()
        },
    }
}

struct Proxy {
    bare: Bare,
    peer: HttpPeer,
}

/// The gate's default for everything it waits for.
const PATIENCE: Duration = Duration::from_secs(60);

impl Proxy {
    fn new(bare: Bare, origin: SocketAddr) -> Self {
        let mut peer = HttpPeer::new(origin, false, String::new());
        match bare {
            Bare::Defaults => {}
            Bare::Baseline | Bare::Again => peer.options.idle_timeout = Some(PATIENCE),
            Bare::Patient => {
                let options = &mut peer.options;
                options.connection_timeout = Some(PATIENCE);
                options.total_connection_timeout = Some(PATIENCE);
                options.read_timeout = Some(PATIENCE);
                options.write_timeout = Some(PATIENCE);
                options.idle_timeout = Some(PATIENCE);
            }
        }
        Self { bare, peer }
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = ();

    fn new_ctx(&self) {}

    /// Not even the compression that Pingora adds by itself.
    fn init_downstream_modules(&self, modules: &mut HttpModules) {
        if self.bare == Bare::Defaults {
            modules.add_module(ResponseCompressionBuilder::enable(0));
        }
    }

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> pingora::Result<bool> {
        if self.bare == Bare::Patient {
            session.set_keepalive(Some(PATIENCE.as_secs()));
            session.set_read_timeout(Some(PATIENCE));
            session.set_write_timeout(Some(PATIENCE));
        }
        Ok(false)
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(self.peer.clone()))
    }
}
