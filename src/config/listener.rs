//! `[[listener]]`: where clients connect, and how they are spoken to.

use std::path::PathBuf;
use std::time::Duration;

use super::certificates::{KeyPair, Pair};
use super::kinds::{FilePath, Flag, ListOf, Number, OneOf, Period, Text};
use super::listening::{self, ADDRESS, Address, MODE, PROXY_PROTOCOL, PROXY_PROTOCOL_FROM, ProxyProtocol};
use super::reader::{Fallback, Key, Layout, Section, Word};
use super::source::Source;
use crate::facts::problem::nearest;
use crate::facts::tls::TlsVersion;

/// One address where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens.
    pub address: Address,
    /// Who introduces clients by the PROXY protocol; `None` if nobody does.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How TLS is spoken; `None` in the clear.
    pub tls: Option<ListenerTls>,
    /// Whether HTTP/2 is understood: agreed on by TLS, or known beforehand in the clear.
    pub http2: bool,
    /// Send every request to the same place by HTTPS, at this port.
    pub redirect: Option<u16>,
    /// For how long clients are told to come by HTTPS only.
    pub hsts: Option<Duration>,
}

/// How TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// The listener's own certificate.
    pub own: Option<KeyPair>,
    /// Names of `[certificates]`. The first of all is for clients that ask for no server known here.
    pub certificates: Vec<String>,
    /// The oldest version.
    pub oldest: TlsVersion,
    /// Whose certificates clients may show.
    pub clients: Option<ClientCertificates>,
}

/// Certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Who vouches for them, as PEM.
    pub ca: PathBuf,
    /// Whether a client may come without.
    pub needed: Needed,
}

/// Whether a client may come without a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// No.
    Required,
    /// Yes; one that is shown must be good all the same.
    Optional,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "listener",
    heading: "[[listener]]",
    doc: "Where clients connect; at least one. With `tls` or `certificates`, by TLS.",
    keys: &[
        &ADDRESS,
        &MODE,
        &PROXY_PROTOCOL,
        &PROXY_PROTOCOL_FROM,
        &TLS,
        &CERTIFICATES,
        &TLS_MIN,
        &HTTP2,
        &CLIENT_CA,
        &CLIENT_CERTIFICATE,
        &REDIRECT,
        &HSTS,
    ],
    reserved: &[],
};

const TLS: Key<Pair> = Key {
    name: "tls",
    kind: Pair,
    fallback: Fallback::Absent,
    doc: "A certificate of this listener, and its key, as in `[certificates]`.",
};

const CERTIFICATES: Key<ListOf<Text>> = Key {
    name: "certificates",
    kind: ListOf(Text),
    fallback: Fallback::Is("[]"),
    doc: "Names of `[certificates]`. Without `tls`, the first is for clients that ask for no server known here.",
};

const TLS_MIN: Key<OneOf<TlsVersion>> = Key {
    name: "tls_min",
    kind: OneOf(&[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)]),
    fallback: Fallback::Is("\"1.2\""),
    doc: "The oldest version of TLS that is spoken.",
};

const HTTP2: Key<Flag> = Key {
    name: "http2",
    kind: Flag,
    fallback: Fallback::Absent,
    doc: "Whether HTTP/2 is understood. By default it is with TLS, where both sides agree on it. In the clear, clients must \
          know it beforehand and begin with it.",
};

const CLIENT_CA: Key<FilePath> = Key {
    name: "client_ca",
    kind: FilePath,
    fallback: Fallback::Absent,
    doc: "Clients are asked for a certificate that one of these vouches for, as PEM. Scripts read its subject as \
          `req.tls.client`.",
};

const CLIENT_CERTIFICATE: Key<OneOf<Needed>> = Key {
    name: "client_certificate",
    kind: OneOf(&[("required", Needed::Required), ("optional", Needed::Optional)]),
    fallback: Fallback::Absent,
    doc: "Whether clients may come without a certificate; `required` if there is a `client_ca`.",
};

const REDIRECT: Key<Number<u16>> = Key {
    name: "redirect_https",
    kind: Number { from: 1, to: u16::MAX },
    fallback: Fallback::Absent,
    doc: "Every request is sent to the same place by HTTPS, at this port (443, as a rule), and none is proxied.",
};

const HSTS: Key<Period> = Key {
    name: "hsts",
    kind: Period { from: Duration::from_secs(1), to: Duration::from_secs(10 * 365 * 24 * 3600) },
    fallback: Fallback::Absent,
    doc: "For how long clients are told to come by HTTPS only (`Strict-Transport-Security`).",
};

/// Reads every `[[listener]]`; `certificates` are the names of `[certificates]`.
pub(super) fn read(
    sections: &[Section<'_>],
    source: &Source<'_>,
    certificates: Option<&[Word<'_>]>,
) -> Option<Vec<Listener>> {
    if sections.is_empty() {
        let hint = "add `[[listener]]` with `address = \"127.0.0.1:8080\"`".to_owned();
        source.error(None, "there is no `[[listener]]`, so no client could connect", Some(hint));
        return None;
    }
    let mut listeners: Vec<Listener> = Vec::new();
    let mut complete = true;
    for section in sections {
        match read_one(section, certificates) {
            Some(new) if listeners.iter().any(|old| old.address.clashes(&new.address)) => {
                complete = false;
                let message = format!("two listeners share `{}`", new.address);
                section.complain(&ADDRESS, message, "remove one of them");
            }
            Some(listener) => listeners.push(listener),
            None => complete = false,
        }
    }
    complete.then_some(listeners)
}

fn read_one(section: &Section<'_>, certificates: Option<&[Word<'_>]>) -> Option<Listener> {
    let (listening, tls) = (listening::read(section), read_tls(section, certificates));
    let (http2, redirect, hsts) =
        (section.optional(&HTTP2), section.optional(&REDIRECT), section.optional(&HSTS));
    let (tls, redirect, hsts) = (tls?, redirect?, hsts?);
    let hint = "add `tls = { cert = \"...\", key = \"...\" }`, or remove it";
    if tls.is_none() && hsts.is_some() {
        section.complain(&HSTS, "`hsts` is only heard by TLS", hint);
        return None;
    }
    if tls.is_some() && redirect.is_some() {
        section.complain(&REDIRECT, "this listener is by HTTPS already", "remove `redirect_https`");
        return None;
    }
    let ((address, proxy_protocol), http2) = (listening?, http2?.unwrap_or(tls.is_some()));
    Some(Listener { address, proxy_protocol, http2, tls, redirect, hsts })
}

/// `Some(None)` is a listener in the clear; `None` means that a problem was reported.
fn read_tls(section: &Section<'_>, known: Option<&[Word<'_>]>) -> Option<Option<ListenerTls>> {
    let (own, certificates) = (section.optional(&TLS), section.read(&CERTIFICATES));
    let (oldest, ca) = (section.read(&TLS_MIN), section.optional(&CLIENT_CA));
    let needed = section.optional(&CLIENT_CERTIFICATE);
    let (own, certificates, ca, needed) = (own?, certificates?, ca?, needed?);
    let all_known = certificates.iter().all(|name| is_known(section, name, known));
    let hint = "add `tls = { cert = \"...\", key = \"...\" }`, or remove it";
    let clients = match (ca, needed) {
        (Some(ca), needed) => Some(ClientCertificates { ca, needed: needed.unwrap_or(Needed::Required) }),
        (None, Some(_)) => {
            let message = "`client_certificate` needs to know who vouches for clients";
            section.complain(&CLIENT_CERTIFICATE, message, "add `client_ca = \"...\"`");
            return None;
        }
        (None, None) => None,
    };
    if own.is_none() && certificates.is_empty() {
        if clients.is_some() {
            section.complain(&CLIENT_CA, "clients show certificates by TLS only", hint);
            return None;
        }
        return Some(None);
    }
    Some(Some(ListenerTls { own, certificates, oldest: oldest?, clients })).filter(|_| all_known)
}

/// Whether there is such a certificate, or it cannot be said; reports it if not.
fn is_known(section: &Section<'_>, name: &str, known: Option<&[Word<'_>]>) -> bool {
    let Some(known) = known else { return true };
    if known.iter().any(|word| word.text == name) {
        return true;
    }
    let shown = name.escape_debug();
    let hint = match nearest(name, known.iter().map(|word| word.text)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("add `[certificates.{shown}]`"),
    };
    section.complain(&CERTIFICATES, format!("unknown certificate `{shown}`"), hint);
    false
}
