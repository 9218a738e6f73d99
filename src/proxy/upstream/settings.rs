//! How an upstream treats its servers, as its operator decided; plain values, nothing is done here.

use std::net::Ipv4Addr;
use std::time::Duration;

use http::HeaderName;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::upstreams::peer::HttpPeer;

use super::check::Check;
use super::transport::Transport;

/// How an upstream treats its servers.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Which server is next.
    pub balance: Balance,
    /// The cookie that keeps a client at one server, by its name.
    pub sticky: Option<String>,
    /// How long to wait for a server.
    pub timeouts: Timeouts,
    /// How servers are spoken to.
    pub transport: Transport,
    /// How many requests each server gets at once; `None`: any number.
    pub max_connections: Option<usize>,
    /// How many servers a request tries after the first.
    pub retries: usize,
    /// How many requests in a hundred may be repeated.
    pub retry_budget: usize,
    /// When a server that fails is left alone.
    pub ejection: Ejection,
    /// How servers are checked, if they are.
    pub check: Option<Check>,
    /// How long from one look-up of names to the next.
    pub resolve: Duration,
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

/// Which server is next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// All in turn, by weight.
    #[default]
    RoundRobin,
    /// The less busy of two that are drawn by weight.
    LeastConnections,
    /// The same one for the same key, for as long as it is there.
    Hash(HashKey),
}

/// What requests have in common that go to the same server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The first header of this name.
    Header(HeaderName),
    /// The first cookie of this name.
    Cookie(String),
    /// The client, by its pseudonym.
    Client,
}

/// When a server that fails is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// After how many failures in a row; 0: never.
    pub failures: u32,
    /// For how long the first time. Each time in a row it is twice as long.
    pub time: Duration,
    /// No longer than this.
    pub longest: Duration,
    /// Answers that are failures, too.
    pub statuses: Statuses,
    /// So are calls of gRPC that end with one of these.
    pub codes: Codes,
}

/// Some of the statuses from 500 to 599.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statuses(u128);

/// Some of the codes that calls of gRPC end with, from 1 to 16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codes(u32);

/// A server as somebody wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSpec {
    /// `host:port`, or `unix:/path`.
    pub address: String,
    /// Its share among the servers of the upstream; at least 1.
    pub weight: u16,
    /// What cookies call it; made from its address with a key of the process if absent.
    pub id: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            balance: Balance::default(),
            sticky: None,
            timeouts: Timeouts::default(),
            transport: Transport::default(),
            max_connections: None,
            retries: 2,
            retry_budget: 20,
            ejection: Ejection::default(),
            check: None,
            resolve: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// How a server at this address is reached, which its operator calls `server`.
    pub(super) fn peer(&self, address: SocketAddr, server: &str) -> HttpPeer {
        let mut peer = HttpPeer::new((Ipv4Addr::UNSPECIFIED, 0), false, String::new());
        peer._address = address;
        let options = &mut peer.options;
        options.connection_timeout = Some(self.timeouts.connect);
        options.total_connection_timeout = Some(self.timeouts.connect);
        options.read_timeout = Some(self.timeouts.read);
        options.write_timeout = Some(self.timeouts.write);
        options.idle_timeout = Some(self.timeouts.idle);
        self.transport.apply(&mut peer, server);
        peer
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(3), read: seconds(60), write: seconds(60), idle: seconds(60) }
    }
}

impl Default for Ejection {
    fn default() -> Self {
        let statuses = GATEWAY_FAILURES.into_iter().collect();
        let (time, longest) = (Duration::from_secs(10), Duration::from_secs(300));
        Self { failures: 5, time, longest, statuses, codes: [UNAVAILABLE].into_iter().collect() }
    }
}

impl Ejection {
    /// For how long, if it happened `times` in a row before.
    pub(super) fn span(&self, times: u32) -> Duration {
        self.time.saturating_mul(1 << times.min(16)).min(self.longest.max(self.time))
    }
}

/// What a server says that is a gateway itself and gets no answer, or that cannot serve for now.
const GATEWAY_FAILURES: [u16; 3] = [502, 503, 504];
/// The same in gRPC.
const UNAVAILABLE: u16 = 14;

impl Statuses {
    /// Whether it is one of them.
    pub fn contains(self, status: u16) -> bool {
        self.0 & Self::bit(status) != 0
    }

    fn bit(status: u16) -> u128 {
        if (500..600).contains(&status) { 1 << (status - 500) } else { 0 }
    }
}

impl FromIterator<u16> for Statuses {
    fn from_iter<I: IntoIterator<Item = u16>>(statuses: I) -> Self {
        Self(statuses.into_iter().map(Self::bit).fold(0, |all, one| all | one))
    }
}

impl Codes {
    /// Whether it is one of them.
    pub fn contains(self, code: u16) -> bool {
        self.0 & Self::bit(code) != 0
    }

    fn bit(code: u16) -> u32 {
        if (1..=16).contains(&code) { 1 << code } else { 0 }
    }
}

impl FromIterator<u16> for Codes {
    fn from_iter<I: IntoIterator<Item = u16>>(codes: I) -> Self {
        Self(codes.into_iter().map(Self::bit).fold(0, |all, one| all | one))
    }
}

impl ServerSpec {
    /// A server with an ordinary share.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), weight: 1, id: None }
    }
}
