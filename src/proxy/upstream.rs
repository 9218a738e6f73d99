//! Upstreams: a name, some servers, and how long to wait for them.
//!
//! Each request takes a [`Turn`]: servers are used in rotation, and when one cannot be connected to, the turn
//! moves on to the next, a bounded number of times. Host names are resolved once, when the configuration is
//! loaded; a peer is then copied for every request. Health checks and weights are not here.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pingora::upstreams::peer::HttpPeer;

use super::pool::Pool;
use super::server::IDLE_CONNECTIONS;
use crate::workers;

/// A named group of servers that answer alike.
#[derive(Debug)]
pub struct Upstream {
    name: Box<str>,
    servers: Vec<Server>,
    next: AtomicUsize,
}

/// One server, and the connections to it that idle.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) peer: HttpPeer,
    pub(super) idle: Arc<Pool>,
}

/// How long to wait for a server, each step by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection stands.
    pub connect: Duration,
    /// Between two reads, so also until the first byte of an answer, and between messages of a WebSocket.
    pub read: Duration,
    /// Until a write is taken.
    pub write: Duration,
    /// How long an unused connection is kept for the next request.
    pub idle: Duration,
}

/// Which server one request is at, and which it may still try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    first: usize,
    attempt: usize,
}

/// Why an upstream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// There is nothing to send requests to.
    #[error("upstream `{0}` has no servers; add `servers = [\"10.0.0.1:8080\"]`")]
    NoServers(String),
    /// The text is not `host:port` or `unix:/path`.
    #[error(
        "`{0}` is not a server; write `10.0.0.1:8080`, `name:8080`, `[2001:db8::1]:8080` or `unix:/path`"
    )]
    Server(String),
    /// The name service has no address for it.
    #[error("the address of `{server}` cannot be found ({source}); check the name, or write the address")]
    Resolve {
        /// The server as it was written.
        server: String,
        /// What the name service said.
        source: io::Error,
    },
    /// A socket's path is too long or holds a zero byte.
    #[error("`{0}` cannot be the path of a unix socket; paths end at about 100 bytes")]
    SocketPath(String),
}

/// A request tries at most this many servers.
const MAX_ATTEMPTS: usize = 3;

impl Upstream {
    /// Looks up every server's addresses; a name with several stands for as many servers. Waits for the name
    /// service: call it while loading, never on the path of a request. On failure, every mistake.
    pub fn resolve(name: &str, servers: &[String], timeouts: Timeouts) -> Result<Self, Vec<UpstreamError>> {
        let (mut peers, mut errors) = (Vec::new(), Vec::new());
        for server in servers {
            match resolve(server) {
                Ok(found) => peers.extend(found),
                Err(error) => errors.push(error),
            }
        }
        if servers.is_empty() {
            errors.push(UpstreamError::NoServers(name.into()));
        }
        if errors.is_empty() { Ok(Self::new(name, peers, timeouts)) } else { Err(errors) }
    }

    /// An upstream behind one unix socket, such as the built-in origin.
    pub fn unix(name: &str, socket: &Path, timeouts: Timeouts) -> Result<Self, UpstreamError> {
        Ok(Self::new(name, vec![unix_peer(&socket.to_string_lossy())?], timeouts))
    }

    /// The name that configuration and metrics use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many servers there are; at least one.
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Never true; it is there because [`Upstream::len`] is.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// A new request's turn, starting one server after the last request's.
    pub fn turn(&self) -> Turn {
        Turn { first: self.next.fetch_add(1, Ordering::Relaxed), attempt: 0 }
    }

    /// The server whose turn it is, for Pingora's own proxy; `None` only if there are no servers.
    pub fn peer(&self, turn: &Turn) -> Option<Box<HttpPeer>> {
        self.server(turn).map(|server| Box::new(server.peer.clone()))
    }

    /// The server whose turn it is.
    pub(super) fn server(&self, turn: &Turn) -> Option<&Server> {
        let index = turn.first.wrapping_add(turn.attempt).checked_rem(self.servers.len())?;
        self.servers.get(index)
    }

    /// Moves on to the next server after a failure to connect; `false` if enough of them were tried. Safe for
    /// every method, since nothing was sent yet.
    pub fn move_on(&self, turn: &mut Turn) -> bool {
        let more = turn.attempt + 1 < self.servers.len().min(MAX_ATTEMPTS);
        turn.attempt += usize::from(more);
        more
    }

    /// The idle connections to each of its servers.
    pub fn pools(&self) -> impl Iterator<Item = Arc<Pool>> {
        self.servers.iter().map(|server| Arc::clone(&server.idle))
    }

    fn new(name: &str, mut servers: Vec<HttpPeer>, timeouts: Timeouts) -> Self {
        servers.iter_mut().for_each(|peer| timeouts.apply(peer));
        let servers = servers.into_iter().map(|peer| Server::new(peer, timeouts.idle)).collect();
        Self { name: name.into(), servers, next: AtomicUsize::new(0) }
    }
}

impl Server {
    fn new(peer: HttpPeer, patience: Duration) -> Self {
        Self { peer, idle: Arc::new(Pool::new(workers::usual(), IDLE_CONNECTIONS, patience)) }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(3), read: seconds(60), write: seconds(60), idle: seconds(60) }
    }
}

impl Timeouts {
    fn apply(self, peer: &mut HttpPeer) {
        let options = &mut peer.options;
        options.connection_timeout = Some(self.connect);
        options.total_connection_timeout = Some(self.connect);
        options.read_timeout = Some(self.read);
        options.write_timeout = Some(self.write);
        options.idle_timeout = Some(self.idle);
    }
}

fn resolve(server: &str) -> Result<Vec<HttpPeer>, UpstreamError> {
    if let Some(path) = server.strip_prefix("unix:") {
        return Ok(vec![unix_peer(path)?]);
    }
    let written = || UpstreamError::Server(server.into());
    let (host, port) = server.rsplit_once(':').ok_or_else(written)?;
    let plain = !host.is_empty() && !host.contains(['/', '@', ' ']);
    let bare_ipv6 = host.contains(':') && !host.starts_with('[');
    if !plain || bare_ipv6 || !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(written());
    }
    let failed = |source| UpstreamError::Resolve { server: server.into(), source };
    let mut addresses: Vec<SocketAddr> = server.to_socket_addrs().map_err(failed)?.collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "no addresses")));
    }
    Ok(addresses.into_iter().map(|address| HttpPeer::new(address, false, String::new())).collect())
}

fn unix_peer(path: &str) -> Result<HttpPeer, UpstreamError> {
    let refused = |_| UpstreamError::SocketPath(path.into());
    if path.is_empty() {
        return Err(UpstreamError::SocketPath(path.into()));
    }
    HttpPeer::new_uds(path, false, String::new()).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(servers: &[&str]) -> Result<Upstream, Vec<UpstreamError>> {
        let servers: Vec<_> = servers.iter().map(|server| (*server).to_owned()).collect();
        Upstream::resolve("origin", &servers, Timeouts::default())
    }

    fn address(upstream: &Upstream, turn: &Turn) -> String {
        upstream.peer(turn).unwrap()._address.to_string()
    }

    #[test]
    fn requests_take_the_servers_in_rotation() {
        let upstream = upstream(&["10.0.0.1:80", "10.0.0.2:80"]).unwrap();
        let used: Vec<_> = (0..4).map(|_| address(&upstream, &upstream.turn())).collect();
        assert_eq!(used, ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.1:80", "10.0.0.2:80"]);
    }

    #[test]
    fn a_turn_tries_each_server_once_and_no_more_than_three() {
        for (servers, attempts) in [(1, 1), (2, 2), (3, 3), (5, 3)] {
            let names: Vec<_> = (0..servers).map(|n| format!("10.0.0.{n}:80")).collect();
            let upstream = Upstream::resolve("origin", &names, Timeouts::default()).unwrap();
            let mut turn = upstream.turn();
            let mut used = vec![address(&upstream, &turn)];
            while upstream.move_on(&mut turn) {
                used.push(address(&upstream, &turn));
            }
            assert_eq!(used, names[..attempts], "{servers} servers");
            assert!(!upstream.move_on(&mut turn));
        }
    }

    #[test]
    fn the_rotation_survives_its_counter_running_over() {
        let upstream = upstream(&["10.0.0.1:80", "10.0.0.2:80"]).unwrap();
        assert!(upstream.peer(&Turn { first: usize::MAX, attempt: 1 }).is_some());
    }

    #[test]
    fn every_mistake_is_reported() {
        let wrong = ["10.0.0.1", "http://a:80", "2001:db8::1:80", ":80", "a:0", "a:99999", "unix:"];
        let errors = upstream(&wrong).unwrap_err();
        let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), wrong.len());
        for (wrong, told) in wrong.iter().zip(told) {
            assert!(told.contains(wrong.trim_start_matches("unix:")), "{told}");
        }
        assert!(matches!(upstream(&[]).unwrap_err()[..], [UpstreamError::NoServers(_)]));
    }

    #[test]
    fn addresses_and_sockets_need_no_name_service() {
        let upstream = upstream(&["127.0.0.1:80", "[2001:db8::1]:80", "unix:/run/app.sock"]).unwrap();
        assert_eq!(upstream.len(), 3);
        let long = format!("unix:/{}", "x".repeat(200));
        assert!(matches!(super::resolve(&long), Err(UpstreamError::SocketPath(_))));
    }

    #[test]
    fn a_peer_waits_only_as_long_as_configured() {
        let upstream = upstream(&["127.0.0.1:80"]).unwrap();
        let peer = upstream.peer(&upstream.turn()).unwrap();
        assert_eq!(peer.options.connection_timeout, Some(Timeouts::default().connect));
        assert_eq!(peer.options.read_timeout, Some(Timeouts::default().read));
        assert_eq!(peer.options.write_timeout, Some(Timeouts::default().write));
        assert_eq!(peer.options.idle_timeout, Some(Timeouts::default().idle));
    }
}
