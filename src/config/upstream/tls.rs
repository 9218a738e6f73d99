//! TLS toward an upstream, as configuration says it: `tls` and `protocol`. Files are named here and read elsewhere.

use std::net::IpAddr;
use std::path::PathBuf;

use super::super::kinds::{FilePath, Flag, OneOf};
use super::super::reader::{Fallback, Key, Kind, Layout, Section, Value};
use super::server::is_host;
use crate::proxy::upstream::Protocol;

/// How TLS is spoken to an upstream's servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Whether certificates are verified.
    pub verify: bool,
    /// The name that is asked for and verified; the server's own if absent.
    pub sni: Option<String>,
    /// The file of authorities that are believed; the system's if absent.
    pub ca: Option<PathBuf>,
    /// The files of a certificate of our own and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

pub(super) struct Tls;
struct Name;

const LAYOUT: Layout =
    Layout { table: "tls", heading: "tls", doc: "", keys: &[&VERIFY, &SNI, &CA, &CERT, &KEY], reserved: &[] };

const VERIFY: Key<Flag> = Key {
    name: "verify",
    kind: Flag,
    fallback: Fallback::Is("true"),
    doc: "Whether certificates are verified.",
};

const SNI: Key<Name> = Key {
    name: "sni",
    kind: Name,
    fallback: Fallback::Absent,
    doc: "The name that is asked for and verified.",
};

const CA: Key<FilePath> =
    Key { name: "ca", kind: FilePath, fallback: Fallback::Absent, doc: "Authorities that are believed." };

const CERT: Key<FilePath> =
    Key { name: "cert", kind: FilePath, fallback: Fallback::Absent, doc: "A certificate of our own." };

const KEY: Key<FilePath> = Key { name: "key", kind: FilePath, fallback: Fallback::Absent, doc: "Its key." };

pub(super) const TLS: Key<Tls> = Key {
    name: "tls",
    kind: Tls,
    fallback: Fallback::Absent,
    doc: "Speaks TLS to the servers, and verifies their certificates: for the name `sni`, or else their own; against the \
          authorities in the PEM file `ca`, or else those of the system. `cert` and `key` show a certificate of the gate's \
          own. `verify = false` believes anybody.",
};

pub(super) const PROTOCOL: Key<OneOf<Protocol>> = Key {
    name: "protocol",
    kind: OneOf(&[("http1", Protocol::Http1), ("http2", Protocol::Http2), ("auto", Protocol::Auto)]),
    fallback: Fallback::Is("\"http1\""),
    doc: "Which HTTP the servers speak. `http2` without `tls` takes for granted that they do; `auto` leaves it to them, \
          which needs `tls`.",
};

/// Reads `tls` and `protocol` together.
pub(super) fn read(section: &Section<'_>) -> Option<(Option<UpstreamTls>, Protocol)> {
    let (tls, protocol) = (section.optional(&TLS), section.read(&PROTOCOL));
    let (tls, protocol) = (tls?.flatten(), protocol?);
    if protocol == Protocol::Auto && tls.is_none() {
        let hint = "add `tls = true`, or write `\"http1\"` or `\"http2\"`";
        section.complain(&PROTOCOL, "without `tls`, servers cannot say which HTTP they speak", hint);
        return None;
    }
    Some((tls, protocol))
}

impl Kind for Tls {
    type Value = Option<UpstreamTls>;

    fn expects(&self) -> String {
        "`true`, `false` or a table such as `{ sni = \"api.internal\", ca = \"ca.pem\" }`".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<Self::Value> {
        if let Some(wanted) = value.toml().as_bool() {
            return Some(wanted.then_some(UpstreamTls { verify: true, sni: None, ca: None, identity: None }));
        }
        if !value.toml().is_table() {
            return value.mismatch(self, None);
        }
        let section = value.section(&LAYOUT, "tls".to_owned())?;
        let (verify, sni, ca) = (section.read(&VERIFY), section.optional(&SNI), section.optional(&CA));
        let (cert, key) = (section.optional(&CERT), section.optional(&KEY));
        let identity = match (cert?, key?) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => return alone(&section, &CERT, "key"),
            (None, Some(_)) => return alone(&section, &KEY, "cert"),
        };
        Some(Some(UpstreamTls { verify: verify?, sni: sni?, ca: ca?, identity }))
    }
}

fn alone<T>(section: &Section<'_>, key: &Key<FilePath>, missing: &str) -> Option<T> {
    section.complain(
        key,
        format!("`{}` is of no use without `{missing}`", key.name),
        format!("add `{missing}`"),
    );
    None
}

impl Kind for Name {
    type Value = String;

    fn expects(&self) -> String {
        "the name that servers have in their certificates".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<String> {
        let text = value.text(self)?;
        let fits = is_host(text) || text.parse::<IpAddr>().is_ok();
        if fits { Some(text.to_ascii_lowercase()) } else { value.mismatch(self, None) }
    }
}
