//! Names are looked up again while the gate runs: servers that a name gained are asked, those that it lost are not.
//!
//! When the name service does not answer, the last good addresses stay. It blocks; it is for the background.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pingora::protocols::l4::socket::SocketAddr;
use tracing::{info, warn};

use super::resolve::{UpstreamError, is_name, resolve};
use super::settings::ServerSpec;
use super::{Balance, Member, Members, Server, Upstream};
use crate::facts::time::Tick;

impl Upstream {
    /// How long from one look-up of its names to the next; `None` if it has none.
    pub fn resolve_interval(&self) -> Option<Duration> {
        let named = self.specs.iter().any(|spec| is_name(&spec.address));
        named.then_some(self.settings.resolve)
    }

    /// Whether its names are to be looked up now. That is said once.
    pub fn is_stale(&self, now: Tick) -> bool {
        let Some(interval) = self.resolve_interval() else { return false };
        let now = now.elapsed();
        let due = Duration::from_millis(self.resolve_at.load(Relaxed));
        if now < due {
            return false;
        }
        let next = u64::try_from(now.saturating_add(interval).as_millis()).unwrap_or(u64::MAX);
        self.resolve_at.store(next, Relaxed);
        // Its names were looked up when it was made.
        !due.is_zero()
    }

    /// Looks its names up again.
    pub fn refresh(&self) {
        self.refresh_by(resolve);
    }

    pub(super) fn refresh_by(&self, resolve: impl Fn(&str) -> Result<Vec<SocketAddr>, UpstreamError>) {
        let known = self.servers();
        let (mut found, mut failed) = (Vec::new(), None);
        for spec in &self.specs {
            let looked_up = is_name(&spec.address).then(|| resolve(&spec.address));
            let addresses = match looked_up {
                Some(Ok(addresses)) => addresses,
                Some(Err(error)) => {
                    failed = Some(error);
                    last_good(&known, spec)
                }
                None => last_good(&known, spec),
            };
            found.push((spec, addresses));
        }
        self.tell(failed);
        let list = self.list(found, &known);
        let same = list.len() == known.len()
            && list.iter().zip(&known).all(|(member, server)| Arc::ptr_eq(&member.server, server));
        if !same {
            info!(upstream = self.name(), servers = list.len(), "names have other addresses");
            let hashed = matches!(self.settings.balance, Balance::Hash(_));
            self.members.store(Arc::new(Members::new(list, hashed)));
        }
    }

    /// Says when names can no longer be looked up, and when they can again; not each time.
    fn tell(&self, failed: Option<UpstreamError>) {
        let failed_before = self.unresolved.swap(failed.is_some(), Relaxed);
        match failed {
            Some(error) if !failed_before => {
                warn!(upstream = self.name(), "the last good addresses stay in use: {error}");
            }
            None if failed_before => info!(upstream = self.name(), "names can be looked up again"),
            Some(_) | None => {}
        }
    }

    /// Members for these addresses: the servers that are known, and new ones.
    pub(super) fn list(
        &self,
        found: Vec<(&ServerSpec, Vec<SocketAddr>)>,
        known: &[Arc<Server>],
    ) -> Vec<Member> {
        let mut list = Vec::new();
        for (spec, addresses) in found {
            for address in addresses {
                let id = spec.id.clone().unwrap_or_else(|| self.ids.of(&self.name, &address));
                let same =
                    known.iter().find(|server| server.is(&spec.address, &id, &address, &self.settings));
                let new = || Arc::new(Server::new(&spec.address, &id, address, &self.settings));
                list.push(Member { server: same.cloned().unwrap_or_else(new), weight: spec.weight.max(1) });
            }
        }
        list
    }
}

fn last_good(known: &[Arc<Server>], spec: &ServerSpec) -> Vec<SocketAddr> {
    let own = known.iter().filter(|server| server.name() == spec.address);
    own.map(|server| server.peer._address.clone()).collect()
}
