//! One server: how it is reached, the connections to it that idle, and how it fares.
//!
//! A server outlives reloads for as long as it is reached in the same way, and with it its connections, its health and
//! what is under way. Who is asked for how much is not its business.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use pingora::protocols::l4::socket::SocketAddr;
use pingora::upstreams::peer::HttpPeer;

use super::health::{Fitness, Health};
use super::settings::{Settings, Timeouts};
use super::transport::Transport;
use crate::facts::time::Tick;
use crate::proxy::pool::Pool;
use crate::proxy::server::IDLE_CONNECTIONS;
use crate::workers;

/// One server.
#[derive(Debug)]
pub struct Server {
    name: Box<str>,
    /// What cookies call it.
    id: Box<str>,
    timeouts: Timeouts,
    transport: Transport,
    pub(in crate::proxy) peer: HttpPeer,
    pub(in crate::proxy) idle: Pool,
    pub(super) health: Health,
    in_flight: AtomicUsize,
    /// When it is to be checked next, in milliseconds since the process started.
    check_at: AtomicU64,
}

/// A request that is under way at a server.
#[derive(Debug)]
pub(super) struct Visit(Arc<Server>);

impl Server {
    pub(super) fn new(name: &str, id: &str, address: SocketAddr, settings: &Settings) -> Self {
        Self {
            name: name.into(),
            id: id.into(),
            timeouts: settings.timeouts,
            transport: settings.transport.clone(),
            peer: settings.peer(address, name),
            idle: Pool::new(workers::usual(), IDLE_CONNECTIONS, settings.timeouts.idle),
            health: Health::default(),
            in_flight: AtomicUsize::new(0),
            check_at: AtomicU64::new(0),
        }
    }

    /// Whether this is the server of that name, id and address, reached as `settings` say.
    pub(super) fn is(&self, name: &str, id: &str, address: &SocketAddr, settings: &Settings) -> bool {
        *self.name == *name
            && *self.id == *id
            && self.peer._address == *address
            && self.timeouts == settings.timeouts
            && self.transport == settings.transport
    }

    /// What its operator calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What cookies call it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Where it is; for its operator.
    pub fn address(&self) -> String {
        self.peer._address.to_string()
    }

    /// How many requests are under way at it.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// What is to be said of its health.
    pub fn fitness(&self, now: Tick) -> Fitness {
        self.health.fitness(now)
    }

    /// Whether it is to be checked now, as it is every `interval`. That is said once.
    pub(super) fn is_due(&self, interval: Duration, now: Tick) -> bool {
        let now = now.elapsed();
        let due = now >= Duration::from_millis(self.check_at.load(Relaxed));
        if due {
            let next = u64::try_from(now.saturating_add(interval).as_millis()).unwrap_or(u64::MAX);
            self.check_at.store(next, Relaxed);
        }
        due
    }

    /// Whether one more request fits under `most`.
    pub(super) fn has_room(&self, most: Option<usize>) -> bool {
        most.is_none_or(|most| self.in_flight() < most)
    }
}

impl Visit {
    /// Begins, unless `most` requests are under way already.
    pub(super) fn begin(server: &Arc<Server>, most: Option<usize>) -> Option<Self> {
        let visit = Self(Arc::clone(server));
        let before = server.in_flight.fetch_add(1, Relaxed);
        most.is_none_or(|most| before < most).then_some(visit)
    }

    pub(super) fn server(&self) -> &Arc<Server> {
        &self.0
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// Makes what cookies call servers whose operator gave them no id: nothing that tells an address without the key.
pub struct Ids([u8; 32]);

impl Ids {
    /// By this key, which has to be random and of this process alone.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(*key)
    }

    pub(super) fn of(&self, upstream: &str, address: &SocketAddr) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(upstream.as_bytes()).update(&[0]).update(address.to_string().as_bytes());
        let mut id = String::new();
        for byte in hasher.finalize().as_bytes().iter().take(8) {
            let _ = write!(id, "{byte:02x}");
        }
        id
    }
}

impl std::fmt::Debug for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ids")
    }
}
