//! `[upstream.NAME]`: the origins behind the gate, how requests are spread over their servers, and how long it waits
//! for them.

mod balance;
mod check;
mod server;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::buffers::{self, AHEAD, FROM_SERVERS};
use super::kinds::{Flag, ListOf, Number, Period, Placed, Written, is_name, name_hint};
use super::reader::{Document, Fallback, Key, Layout, Section};
use crate::facts::problem::Position;
use crate::proxy::upstream::{Ejection, ServerSpec, Settings, Timeouts, Transport};
use balance::{BALANCE, HASH, STICKY};
use check::{CHECK, CHECK_FAILURES, CHECK_INTERVAL, CHECK_PASSES, CHECK_STATUS, CHECK_TIMEOUT};
use server::Server;
pub use tls::UpstreamTls;
use tls::{PROTOCOL, TLS};

/// One origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Who answers.
    pub origin: Origin,
    /// How its servers are treated, but for certificates, which are in files.
    pub settings: Settings,
    /// TLS to its servers, if it is spoken.
    pub tls: Option<UpstreamTls>,
    /// Where it is in the file.
    pub position: Position,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The echo origin inside the process.
    Builtin,
    /// These servers; at least one.
    Servers(Vec<Written<ServerSpec>>),
}

pub(super) const LAYOUT: Layout = Layout {
    table: "upstream",
    heading: "[upstream.NAME]",
    doc: "An origin behind the gate: the built-in echo, or one or more servers.",
    keys: &[
        &BUILTIN,
        &SERVERS,
        &BALANCE,
        &HASH,
        &STICKY,
        &MAX_CONNECTIONS,
        &RETRIES,
        &RETRY_BUDGET,
        &EJECT_AFTER,
        &EJECT_STATUS,
        &EJECT_GRPC_STATUS,
        &EJECT_TIME,
        &EJECT_LONGEST,
        &CHECK,
        &CHECK_STATUS,
        &CHECK_INTERVAL,
        &CHECK_TIMEOUT,
        &CHECK_FAILURES,
        &CHECK_PASSES,
        &RESOLVE,
        &PROTOCOL,
        &TLS,
        &AHEAD,
        &FROM_SERVERS,
        &CONNECT_TIMEOUT,
        &READ_TIMEOUT,
        &WRITE_TIMEOUT,
        &IDLE_TIMEOUT,
    ],
    reserved: &[],
};

const BUILTIN: Key<Flag> = Key {
    name: "builtin",
    kind: Flag,
    fallback: Fallback::Is("false"),
    doc: "An echo origin inside the process, for trying things out.",
};

const SERVERS: Key<ListOf<Placed<Server>>> = Key {
    name: "servers",
    kind: ListOf(Placed(Server)),
    fallback: Fallback::Is("[]"),
    doc: "The servers. A name that has several addresses stands for as many servers.",
};

const MAX_CONNECTIONS: Key<Number<usize>> = Key {
    name: "max_connections",
    kind: Number { from: 1, to: 1_000_000 },
    fallback: Fallback::Absent,
    doc: "How many requests may be under way at each server. When all servers have as many, further requests are \
          answered with 503 and `Retry-After`.",
};

const RETRIES: Key<Number<usize>> = Key {
    name: "retries",
    kind: Number { from: 0, to: 4 },
    fallback: Fallback::Is("2"),
    doc: "How many other servers a request tries: any request after a connection that could not be made, and one of an \
          idempotent method after a server that failed before it began to answer.",
};

const RETRY_BUDGET: Key<Number<usize>> = Key {
    name: "retry_budget",
    kind: Number { from: 0, to: 100 },
    fallback: Fallback::Is("20"),
    doc: "How many requests in a hundred may be tried again, besides ten in ten seconds.",
};

const EJECT_AFTER: Key<Number<u32>> = Key {
    name: "eject_after",
    kind: Number { from: 0, to: 1_000 },
    fallback: Fallback::Is("5"),
    doc: "After so many failures in a row (no connection, a broken one, no answer in time, or one of `eject_status` or \
          `eject_grpc_status`) a server \
          is left alone for a while. 0: never.",
};

const EJECT_STATUS: Key<ListOf<Number<u16>>> = Key {
    name: "eject_status",
    kind: ListOf(Number { from: 500, to: 599 }),
    fallback: Fallback::Is("[502, 503, 504]"),
    doc: "Statuses of answers that are failures, too. The client gets such an answer all the same. `[]`: every answer is a \
          good one.",
};

const EJECT_GRPC_STATUS: Key<ListOf<Number<u16>>> = Key {
    name: "eject_grpc_status",
    kind: ListOf(Number { from: 1, to: 16 }),
    fallback: Fallback::Is("[14]"),
    doc: "So are calls of gRPC that end with one of these codes, in trailers or in an answer that is nothing else; 14 is \
          `UNAVAILABLE`. `[]`: none.",
};

const EJECT_TIME: Key<Period> = timeout(
    "eject_time",
    "\"10s\"",
    "For how long, the first time; each time in a row it is twice as long. When no server is left, all are asked.",
);

const EJECT_LONGEST: Key<Period> = timeout("eject_longest", "\"5m\"", "No server is left alone for longer.");

const RESOLVE: Key<Period> = Key {
    name: "resolve",
    kind: Period { from: Duration::from_secs(1), to: Duration::from_secs(86_400) },
    fallback: Fallback::Is("\"30s\""),
    doc: "How often names among the servers are looked up again. While that fails, the last good addresses stay in use.",
};

const CONNECT_TIMEOUT: Key<Period> =
    timeout("connect_timeout", "\"5s\"", "How long a connection may take to be made.");

const READ_TIMEOUT: Key<Period> =
    timeout("read_timeout", "\"60s\"", "How long the gate waits for the next bytes of an answer.");

const WRITE_TIMEOUT: Key<Period> = timeout(
    "write_timeout",
    "\"60s\"",
    "How long the origin may take to accept the next bytes of a request.",
);

const IDLE_TIMEOUT: Key<Period> = timeout("idle_timeout", "\"60s\"", "How long an idle connection is kept.");

const fn timeout(name: &'static str, fallback: &'static str, doc: &'static str) -> Key<Period> {
    let kind = Period { from: Duration::from_millis(1), to: Duration::from_secs(3600) };
    Key { name, kind, fallback: Fallback::Is(fallback), doc }
}

/// Reads every `[upstream.NAME]`.
pub(super) fn read(document: &Document<'_>) -> Option<BTreeMap<String, Upstream>> {
    let read = document.members(&LAYOUT)?.into_iter().map(|(name, value)| {
        let section = value.section(&LAYOUT, format!("[upstream.{}]", name.text.escape_debug()));
        let upstream = section.and_then(|section| read_one(&section));
        if !is_name(name.text) {
            let message = format!("`{}` cannot name an upstream", name.text.escape_debug());
            document.source.error(Some(name.span), message, Some(name_hint(name.text)));
            return None;
        }
        Some((name.text.to_owned(), upstream?))
    });
    read.collect::<Vec<_>>().into_iter().collect()
}

fn read_one(section: &Section<'_>) -> Option<Upstream> {
    let (builtin, servers) = (section.read(&BUILTIN), section.read(&SERVERS));
    let origin = origin(section, builtin, servers);
    let (settings, spoken, buffers) = (settings(section), tls::read(section), buffers::to_servers(section));
    let position = section.span().map(|span| section.source().position(&span));
    let (mut settings, (tls, protocol)) = (settings?, spoken?);
    settings.transport.protocol = protocol;
    settings.transport.buffers = buffers?;
    Some(Upstream { origin: origin?, settings, tls, position: position? })
}

fn settings(section: &Section<'_>) -> Option<Settings> {
    let (balance, sticky) = (balance::read(section), section.optional(&STICKY));
    let (timeouts, ejection) = (timeouts(section), ejection(section));
    let max_connections = section.optional(&MAX_CONNECTIONS);
    let (check, resolve) = (check::read(section), section.read(&RESOLVE));
    let (retries, retry_budget) = (section.read(&RETRIES), section.read(&RETRY_BUDGET));
    Some(Settings {
        balance: balance?,
        sticky: sticky?,
        timeouts: timeouts?,
        max_connections: max_connections?,
        retries: retries?,
        retry_budget: retry_budget?,
        ejection: ejection?,
        transport: Transport::default(),
        check: check?,
        resolve: resolve?,
    })
}

fn timeouts(section: &Section<'_>) -> Option<Timeouts> {
    let (connect, read) = (section.read(&CONNECT_TIMEOUT), section.read(&READ_TIMEOUT));
    let (write, idle) = (section.read(&WRITE_TIMEOUT), section.read(&IDLE_TIMEOUT));
    Some(Timeouts { connect: connect?, read: read?, write: write?, idle: idle? })
}

fn ejection(section: &Section<'_>) -> Option<Ejection> {
    let (failures, statuses) = (section.read(&EJECT_AFTER), section.read(&EJECT_STATUS));
    let codes = section.read(&EJECT_GRPC_STATUS);
    let (time, longest) = (section.read(&EJECT_TIME), section.read(&EJECT_LONGEST));
    let (statuses, codes) = (statuses?.into_iter().collect(), codes?.into_iter().collect());
    Some(Ejection { failures: failures?, time: time?, longest: longest?, statuses, codes })
}

fn origin(
    section: &Section<'_>,
    builtin: Option<bool>,
    servers: Option<Vec<Written<ServerSpec>>>,
) -> Option<Origin> {
    let (builtin, servers) = (builtin?, servers?);
    if builtin && section.has(&SERVERS) {
        section.complain(
            &SERVERS,
            "an upstream is `builtin` or has `servers`, not both",
            "remove one of them",
        );
        return None;
    }
    if builtin {
        return Some(Origin::Builtin);
    }
    if servers.is_empty() {
        let hint = "add `servers = [\"10.0.0.1:8080\"]`, or `builtin = true` to try things out";
        section.complain(&SERVERS, "the upstream has no servers", hint);
        return None;
    }
    let distinct = are_distinct(section, &servers);
    distinct.then_some(Origin::Servers(servers))
}

/// Reports each server that has the address or the id of an earlier one.
fn are_distinct(section: &Section<'_>, servers: &[Written<ServerSpec>]) -> bool {
    let (mut addresses, mut ids) = (BTreeSet::new(), BTreeSet::new());
    let mut distinct = true;
    for ServerSpec { address, id, .. } in servers.iter().map(|server| &server.value) {
        if !addresses.insert(address) {
            section.complain(
                &SERVERS,
                format!("the server `{address}` is named twice"),
                "remove one of them",
            );
            distinct = false;
        }
        if let Some(id) = id.as_ref().filter(|id| !ids.insert(*id)) {
            let message = format!("two servers have the id `{id}`");
            section.complain(&SERVERS, message, "give each an id of its own");
            distinct = false;
        }
    }
    distinct
}
