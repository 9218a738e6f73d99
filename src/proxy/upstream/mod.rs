//! Upstreams: a name, some servers that answer alike, and how to treat them.
//!
//! Each request takes a [`Turn`]: it is told a server, and the next one when that fails, as often as the upstream's
//! settings and its budget of retries allow. Names are resolved while loading and in the background; a request finds
//! addresses only.

mod budget;
mod check;
pub mod fleet;
mod health;
mod members;
mod refresh;
mod resolve;
mod said;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod transport;
mod wish;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use arc_swap::ArcSwap;
use http::HeaderMap;
use http::response::Parts;
use smallvec::SmallVec;
use tracing::warn;

use crate::facts::time::Tick;
use budget::Budget;
use check::Checker;
use members::{Member, Members, Pick};
use said::Said;
use server::Visit;

pub use check::{Check, Get};
pub use health::Fitness;
pub use resolve::UpstreamError;
pub use server::{Ids, Server};
pub use settings::{Balance, Codes, Ejection, HashKey, ServerSpec, Settings, Statuses, Timeouts};
pub(super) use transport::WINDOW;
pub use transport::{Authorities, ClientIdentity, PemError, Protocol, Tls, Transport};
pub use wish::Wish;

/// A named group of servers that answer alike.
#[derive(Debug)]
pub struct Upstream {
    name: Box<str>,
    specs: Vec<ServerSpec>,
    settings: Settings,
    ids: Arc<Ids>,
    checker: Option<Checker>,
    members: ArcSwap<Members>,
    /// How many requests came.
    asked: AtomicUsize,
    budget: Budget,
    /// When names are to be looked up next, in milliseconds since the process started.
    resolve_at: AtomicU64,
    /// Whether names could not be looked up.
    unresolved: AtomicBool,
}

/// Which server one request is at, and which it has tried.
#[derive(Debug, Default)]
pub struct Turn {
    visit: Option<Visit>,
    tried: SmallVec<[Arc<Server>; 1]>,
    /// Whether a cookie named the server.
    kept: bool,
    /// Whether the trailers of the answer will tell how the server is.
    told_by_trailers: bool,
}

/// All servers that could be asked have as many requests as they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl Upstream {
    /// Looks up every server's addresses; a name with several stands for as many servers. Waits for the name
    /// service: call it while loading, never on the path of a request. What `earlier` has of the same servers is taken
    /// over. On failure, every mistake with the index of its server.
    pub fn resolve(
        name: &str,
        specs: Vec<ServerSpec>,
        settings: Settings,
        earlier: Option<&Self>,
        ids: &Arc<Ids>,
    ) -> Result<Self, Vec<(usize, UpstreamError)>> {
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for (index, spec) in specs.iter().enumerate() {
            match resolve::resolve(&spec.address) {
                Ok(addresses) => found.push(addresses),
                Err(error) => errors.push((index, error)),
            }
        }
        if specs.is_empty() {
            errors.push((0, UpstreamError::NoServers(name.into())));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut upstream = Self::without_members(name, specs, settings, ids);
        let known = earlier.map(Self::servers).unwrap_or_default();
        let list = upstream.list(upstream.specs.iter().zip(found).collect(), &known);
        if upstream.checker.is_none() {
            list.iter().for_each(|member| member.server.health.trust());
        }
        let hashed = matches!(upstream.settings.balance, Balance::Hash(_));
        upstream.members = ArcSwap::from_pointee(Members::new(list, hashed));
        Ok(upstream)
    }

    fn without_members(name: &str, specs: Vec<ServerSpec>, settings: Settings, ids: &Arc<Ids>) -> Self {
        let first = specs.first().map(|spec| spec.address.as_str()).unwrap_or_default();
        Self {
            name: name.into(),
            checker: Checker::new(&settings, first),
            specs,
            settings,
            ids: Arc::clone(ids),
            members: ArcSwap::from_pointee(Members::new(Vec::new(), false)),
            asked: AtomicUsize::new(0),
            budget: Budget::default(),
            resolve_at: AtomicU64::new(0),
            unresolved: AtomicBool::new(false),
        }
    }

    /// Whether it has these servers, treated like that.
    pub fn is(&self, specs: &[ServerSpec], settings: &Settings) -> bool {
        self.specs == specs && self.settings == *settings
    }

    /// The name that configuration and metrics use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it treats its servers.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its servers now; at least one.
    pub fn servers(&self) -> Vec<Arc<Server>> {
        self.members.load().servers().cloned().collect()
    }

    /// Their weights, in the same order as [`Upstream::servers`].
    pub fn weights(&self) -> Vec<u16> {
        self.members.load().iter().map(|member| member.weight).collect()
    }

    /// Tells a request its server, unless it was told already.
    pub fn choose(&self, turn: &mut Turn, wish: &Wish<'_>, now: Tick) -> Result<Arc<Server>, Busy> {
        if let Some(visit) = &turn.visit {
            return Ok(Arc::clone(visit.server()));
        }
        let number = self.asked.fetch_add(1, Relaxed);
        self.pick(turn, wish, number, now).ok_or(Busy)
    }

    /// Moves a request on to another server after it failed at one. `false` if enough of them were tried, or too many
    /// requests are repeated already. Whether the request may be repeated at all is for the caller to know.
    pub fn move_on(&self, turn: &mut Turn, wish: &Wish<'_>, now: Tick) -> bool {
        if let Some(visit) = turn.visit.take() {
            turn.tried.push(Arc::clone(visit.server()));
        }
        let asked = self.asked.load(Relaxed);
        turn.tried.len() <= self.settings.retries
            && self.pick(turn, wish, asked, now).is_some()
            && self.budget.spend(self.settings.retry_budget, asked, now)
    }

    /// Notes that the server of this turn answered with this head, which may be a failure all the same.
    pub fn answered(&self, turn: &mut Turn, head: &Parts, now: Tick) {
        self.note(turn, self.settings.ejection.said_by_head(head), now);
    }

    /// Notes that the answer ended with these trailers. They matter if the head left open whether it was a failure.
    pub fn ended(&self, turn: &mut Turn, trailers: &HeaderMap, now: Tick) {
        if turn.told_by_trailers {
            self.note(turn, self.settings.ejection.said_of_call(trailers), now);
        }
    }

    fn note(&self, turn: &mut Turn, said: Said, now: Tick) {
        turn.told_by_trailers = said == Said::Later;
        match said {
            Said::Failed => self.failed(turn, now),
            Said::Well => {
                if let Some(server) = turn.server() {
                    server.health.succeeded(&self.settings.ejection, now);
                }
            }
            Said::Nothing | Said::Later => {}
        }
    }

    /// Notes that the server of this turn failed, and says so if it is ejected for that.
    pub fn failed(&self, turn: &Turn, now: Tick) {
        let Some(server) = turn.server() else { return };
        if let Some(span) = server.health.failed(&self.settings.ejection, now) {
            let (upstream, server, seconds) = (self.name(), server.name(), span.as_secs_f64());
            warn!(upstream, server, seconds, "a server keeps failing and is left alone");
        }
    }

    /// Closes connections that nobody has used for too long, or that the server has closed.
    pub fn sweep(&self, now: Tick) {
        self.members.load().servers().for_each(|server| server.idle.sweep(now));
    }

    fn pick(&self, turn: &mut Turn, wish: &Wish<'_>, number: usize, now: Tick) -> Option<Arc<Server>> {
        let members = self.members.load();
        let most = self.settings.max_connections;
        // Whoever is overtaken looks again; that others overtake for ever is not to be feared.
        for _ in 0..=members.iter().count() {
            let server = members.pick(&Pick {
                balance: &self.settings.balance,
                sticky: wish.sticky,
                key: wish.key.as_deref(),
                number,
                most,
                tried: &turn.tried,
                now,
            })?;
            if let Some(visit) = Visit::begin(server, most) {
                turn.kept = wish.sticky == Some(server.id());
                turn.visit = Some(visit);
                return Some(Arc::clone(server));
            }
        }
        None
    }
}

impl Turn {
    /// The server that the request is at.
    pub fn server(&self) -> Option<&Arc<Server>> {
        self.visit.as_ref().map(Visit::server)
    }
}
