//! `[server]`: the process as a whole, and how long it waits for clients.

use std::time::Duration;

use super::kinds::{Number, Period};
use super::reader::{Fallback, Key, Layout, Section};

/// How the process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Worker threads, at least 1.
    pub threads: usize,
    /// How long open requests may take to end when the process is told to stop.
    pub grace_period: Duration,
    /// How long an idle connection of a client is kept.
    pub keepalive: Duration,
    /// How long the gate waits for the next bytes of a request.
    pub read_timeout: Duration,
    /// How long the whole head of a request may take; a TLS handshake too.
    pub head_timeout: Duration,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections of each client's network.
    pub max_connections_per_client: u32,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "server",
    heading: "[server]",
    doc: "The process as a whole.",
    keys: &[
        &THREADS,
        &GRACE_PERIOD,
        &KEEPALIVE,
        &READ_TIMEOUT,
        &HEAD_TIMEOUT,
        &MAX_CONNECTIONS,
        &MAX_CONNECTIONS_PER_CLIENT,
    ],
    reserved: &[],
};

const THREADS: Key<Number<usize>> = Key {
    name: "threads",
    kind: Number { from: 0, to: 1024 },
    fallback: Fallback::Is("0"),
    doc: "Worker threads; 0 is one for each core.",
};

const GRACE_PERIOD: Key<Period> = Key {
    name: "grace_period",
    kind: Period { from: Duration::ZERO, to: Duration::from_secs(600) },
    fallback: Fallback::Is("\"10s\""),
    doc: "How long open requests may take to end when the process is told to stop.",
};

const KEEPALIVE: Key<Period> = Key {
    name: "keepalive",
    kind: Period { from: Duration::from_secs(1), to: Duration::from_secs(3600) },
    fallback: Fallback::Is("\"60s\""),
    doc: "How long an idle connection of a client is kept open.",
};

const READ_TIMEOUT: Key<Period> = Key {
    name: "read_timeout",
    kind: Period { from: Duration::from_secs(1), to: Duration::from_secs(3600) },
    fallback: Fallback::Is("\"60s\""),
    doc: "How long the gate waits for the next bytes of a request.",
};

const HEAD_TIMEOUT: Key<Period> = Key {
    name: "head_timeout",
    kind: Period { from: Duration::from_millis(100), to: Duration::from_secs(600) },
    fallback: Fallback::Is("\"10s\""),
    doc: "How long the whole head of a request may take from its first byte, however it drips in; on a new connection \
          from its beginning, with the TLS handshake.",
};

const MAX_CONNECTIONS: Key<Number<usize>> = Key {
    name: "max_connections",
    kind: Number { from: 1, to: 10_000_000 },
    fallback: Fallback::Is("20000"),
    doc: "Connections of clients in all; one more is closed at once.",
};

const MAX_CONNECTIONS_PER_CLIENT: Key<Number<u32>> = Key {
    name: "max_connections_per_client",
    kind: Number { from: 1, to: 10_000_000 },
    fallback: Fallback::Is("5000"),
    doc: "Connections of one client, which is a network as `[privacy]` truncates it; one more is closed at once. Those \
          of `trusted_proxies` are not counted by client.",
};

/// Reads `[server]`; `cores` is what `threads = 0` means.
pub(super) fn read(section: &Section<'_>, cores: usize) -> Option<Server> {
    let (threads, grace_period) = (section.read(&THREADS), section.read(&GRACE_PERIOD));
    let (keepalive, read_timeout) = (section.read(&KEEPALIVE), section.read(&READ_TIMEOUT));
    let (head_timeout, most) = (section.read(&HEAD_TIMEOUT), section.read(&MAX_CONNECTIONS));
    let per_client = section.read(&MAX_CONNECTIONS_PER_CLIENT);
    Some(Server {
        threads: match threads? {
            0 => cores.max(1),
            threads => threads,
        },
        grace_period: grace_period?,
        keepalive: keepalive?,
        read_timeout: read_timeout?,
        head_timeout: head_timeout?,
        max_connections: most?,
        max_connections_per_client: per_client?,
    })
}
