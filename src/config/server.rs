//! `[server]`: the process as a whole, and how long it waits for clients.

use std::path::PathBuf;
use std::time::Duration;

use super::buffers::{self, AHEAD, FROM_CLIENTS, TO_CLIENTS};
use super::kinds::{FilePath, Number, Period, Text};
use super::reader::{Fallback, Key, Layout, Section};
use crate::proxy::server::Buffers;

/// How the process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Worker threads, at least 1.
    pub threads: usize,
    /// How long open requests may take to end when the process is told to stop.
    pub grace_period: Duration,
    /// How long it serves on, though it is not ready any more, before that.
    pub drain_delay: Duration,
    /// Where a gate that takes over from this one finds it; `None` if none is to.
    pub upgrade_socket: Option<PathBuf>,
    /// Whom the process belongs to once it serves; `None` if it stays who it is.
    pub user: Option<String>,
    /// Its group; `None` is the user's own.
    pub group: Option<String>,
    /// How long an idle connection of a client is kept.
    pub keepalive: Duration,
    /// How long the gate waits for the next bytes of a request.
    pub read_timeout: Duration,
    /// How long the whole head of a request may take; a TLS handshake too.
    pub head_timeout: Duration,
    /// What the system may hold for each connection.
    pub buffers: Buffers,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections of each client's network.
    pub max_connections_per_client: u32,
    /// Connections of one client per second that end without a request.
    pub max_wasted_per_client: u32,
    /// Requests over HTTP/2 in all.
    pub max_requests: usize,
    /// Requests over HTTP/2 of each client's network.
    pub max_requests_per_client: u32,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "server",
    heading: "[server]",
    doc: "The process as a whole.",
    keys: &[
        &THREADS,
        &GRACE_PERIOD,
        &DRAIN_DELAY,
        &UPGRADE_SOCKET,
        &USER,
        &GROUP,
        &KEEPALIVE,
        &READ_TIMEOUT,
        &HEAD_TIMEOUT,
        &AHEAD,
        &TO_CLIENTS,
        &FROM_CLIENTS,
        &MAX_CONNECTIONS,
        &MAX_CONNECTIONS_PER_CLIENT,
        &MAX_WASTED_PER_CLIENT,
        &MAX_REQUESTS,
        &MAX_REQUESTS_PER_CLIENT,
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

const DRAIN_DELAY: Key<Period> = Key {
    name: "drain_delay",
    kind: Period { from: Duration::ZERO, to: Duration::from_secs(600) },
    fallback: Fallback::Is("\"0s\""),
    doc: "How long the process serves on after it was told to stop, while `/readyz` says that it is not ready, so that \
          balancers send nobody any more; `grace_period` begins after it.",
};

const UPGRADE_SOCKET: Key<FilePath> = Key {
    name: "upgrade_socket",
    kind: FilePath,
    fallback: Fallback::Absent,
    doc: "A Unix socket at which `riskgate run --upgrade` finds the gate that runs and takes over its listeners. Its folder \
          must not be writable for others.",
};

const USER: Key<Text> = Key {
    name: "user",
    kind: Text,
    fallback: Fallback::Absent,
    doc: "The user that the process becomes when it was started by root, after it has bound its sockets and read what it \
          needs, and before it serves. What is reloaded, and the decision log, must be theirs to read and write.",
};

const GROUP: Key<Text> = Key {
    name: "group",
    kind: Text,
    fallback: Fallback::Absent,
    doc: "The group that it becomes with `user`; by default the user's own. It has no other groups.",
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

const MAX_WASTED_PER_CLIENT: Key<Number<u32>> = Key {
    name: "max_wasted_per_client",
    kind: Number { from: 1, to: 1000 },
    fallback: Fallback::Is("50"),
    doc: "Connections of one client per second that end without a request, such as scans and dropped handshakes, or in a \
          flood. Ten times as many may come at once; beyond, its connections are closed at once until there is room again.",
};

const MAX_REQUESTS: Key<Number<usize>> = Key {
    name: "max_requests",
    kind: Number { from: 1, to: 10_000_000 },
    fallback: Fallback::Is("5000"),
    doc: "Requests over HTTP/2 under way in all; one more is answered with 503 and `Retry-After`. Over HTTP/1.1 a connection \
          has one at a time.",
};

const MAX_REQUESTS_PER_CLIENT: Key<Number<u32>> = Key {
    name: "max_requests_per_client",
    kind: Number { from: 1, to: 10_000_000 },
    fallback: Fallback::Is("1000"),
    doc: "Requests over HTTP/2 under way of one client, as `max_connections_per_client` counts them; one more is answered \
          with 429 and `Retry-After`.",
};

/// Reads `[server]`; `cores` is what `threads = 0` means.
pub(super) fn read(section: &Section<'_>, cores: usize) -> Option<Server> {
    let (threads, grace_period) = (section.read(&THREADS), section.read(&GRACE_PERIOD));
    let drain_delay = section.read(&DRAIN_DELAY);
    let (upgrade_socket, owner) = (section.optional(&UPGRADE_SOCKET), owner(section));
    let (keepalive, read_timeout) = (section.read(&KEEPALIVE), section.read(&READ_TIMEOUT));
    let (head_timeout, most) = (section.read(&HEAD_TIMEOUT), section.read(&MAX_CONNECTIONS));
    let (per_client, buffers) = (section.read(&MAX_CONNECTIONS_PER_CLIENT), buffers::of_clients(section));
    let wasted = section.read(&MAX_WASTED_PER_CLIENT);
    let (requests, of_client) = (section.read(&MAX_REQUESTS), section.read(&MAX_REQUESTS_PER_CLIENT));
    let (user, group) = owner?;
    Some(Server {
        threads: match threads? {
            0 => cores.max(1),
            threads => threads,
        },
        grace_period: grace_period?,
        drain_delay: drain_delay?,
        upgrade_socket: upgrade_socket?,
        user,
        group,
        keepalive: keepalive?,
        read_timeout: read_timeout?,
        head_timeout: head_timeout?,
        buffers: buffers?,
        max_connections: most?,
        max_connections_per_client: per_client?,
        max_wasted_per_client: wasted?,
        max_requests: requests?,
        max_requests_per_client: of_client?,
    })
}

/// The user and the group that the process becomes.
fn owner(section: &Section<'_>) -> Option<(Option<String>, Option<String>)> {
    let (user, group) = (section.optional(&USER), section.optional(&GROUP));
    let (user, group) = (user?, group?);
    if user.is_none() && group.is_some() {
        section.complain(&GROUP, "there is a `group`, and no `user`", "name the `user` too, or remove it");
        return None;
    }
    Some((user, group))
}
