//! `[client]`: whom to believe about a client's address, and what the origin is told about it.

use std::net::IpAddr;
use std::num::NonZeroU8;

use ipnet::IpNet;

use super::kinds::{ListOf, Network, Number, OneOf};
use super::reader::{Fallback, Key, Kind, Layout, Section, Value};
use crate::facts::client::{Forward, TrustedProxies};
use crate::facts::forwarded::{ForwardHeader, Tell};
use crate::signals::Credential;

/// How clients are told apart from proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    proxies: Vec<Proxy>,
    hops: Option<NonZeroU8>,
    /// The one header that trusted proxies are believed in.
    pub header: ForwardHeader,
    /// What the origin is told about the client.
    pub forward: Forward,
    /// What the origin is told about the judgement.
    pub verdict: Vec<Tell>,
    /// Where a request's credential is looked for, in this order.
    pub token: Vec<Credential>,
}

impl Client {
    /// Whose forwarding header is believed, and how far.
    pub fn trusted_proxies(&self) -> TrustedProxies {
        let network = |proxy: &Proxy| match proxy {
            Proxy::In(network) => Some(*network),
            Proxy::Unix => None,
        };
        let trusted = TrustedProxies::new(self.proxies.iter().filter_map(network).collect());
        let trusted = if self.proxies.contains(&Proxy::Unix) { trusted.and_unix() } else { trusted };
        match self.hops {
            Some(hops) => trusted.counting(hops),
            None => trusted,
        }
    }
}

/// A proxy whose header is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proxy {
    /// Any in this network.
    In(IpNet),
    /// Any on a Unix socket.
    Unix,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "client",
    heading: "[client]",
    doc: "Who is calling: whose word is taken for it, and what the origin is told.",
    keys: &[&TRUSTED_PROXIES, &TRUSTED_HOPS, &HEADER, &FORWARD, &VERDICT, &TOKEN],
    reserved: &[],
};

const TRUSTED_PROXIES: Key<ListOf<ProxyKind>> = Key {
    name: "trusted_proxies",
    kind: ListOf(ProxyKind),
    fallback: Fallback::Is("[]"),
    doc: "Proxies whose forwarding header is believed; nobody by default. `unix` is whoever connects to a Unix socket.",
};

const TRUSTED_HOPS: Key<Number<u8>> = Key {
    name: "trusted_hops",
    kind: Number { from: 1, to: 16 },
    fallback: Fallback::Absent,
    doc: "How many proxies every request passes, if not all of them are known by their networks: the client is as many \
          elements from the header's right end. Only the last proxy must be one of `trusted_proxies` then. A request that \
          came past one of them could claim any address.",
};

const HEADER: Key<OneOf<ForwardHeader>> = Key {
    name: "header",
    kind: OneOf(&[
        ("x-forwarded-for", ForwardHeader::XForwardedFor),
        ("forwarded", ForwardHeader::Forwarded),
    ]),
    fallback: Fallback::Is("\"x-forwarded-for\""),
    doc: "The one header that they are believed in; the other is ignored.",
};

const FORWARD: Key<OneOf<Forward>> = Key {
    name: "forward",
    kind: OneOf(&[
        ("full", Forward::Full),
        ("truncated", Forward::Truncated),
        ("pseudonym", Forward::Pseudonym),
    ]),
    fallback: Fallback::Is("\"truncated\""),
    doc: "What the origin is told: the full address, the truncated one, or a pseudonym (RFC 7239, section 6.3).",
};

const VERDICT: Key<ListOf<OneOf<Tell>>> = Key {
    name: "verdict",
    kind: ListOf(OneOf(&[
        ("score", Tell::Score),
        ("level", Tell::Level),
        ("reasons", Tell::Reasons),
        ("decision", Tell::Decision),
    ])),
    fallback: Fallback::Is("[\"score\", \"level\", \"reasons\", \"decision\"]"),
    doc: "Which of the headers `riskgate-score`, `-level`, `-reasons` and `-decision` the origin gets; tags it always gets.",
};

const TOKEN: Key<ListOf<CredentialKind>> = Key {
    name: "token",
    kind: ListOf(CredentialKind),
    fallback: Fallback::Is("[\"authorization\"]"),
    doc: "What `per = \"token\"` of a counter tells apart: the first of these that a request has. Of `authorization` it is \
          the user name for `Basic`, and else what follows the scheme. Only a keyed hash of it is kept.",
};

/// A network, or the word `unix`.
struct ProxyKind;

impl Kind for ProxyKind {
    type Value = Proxy;

    fn expects(&self) -> String {
        format!("{}, or `\"unix\"`", Network.expects())
    }

    fn read(&self, value: &Value<'_>) -> Option<Proxy> {
        match value.text(self)? {
            "unix" => Some(Proxy::Unix),
            text if text.parse::<IpAddr>().is_ok() || text.parse::<IpNet>().is_ok() => {
                Network.read(value).map(Proxy::In)
            }
            _ => value.mismatch(self, None),
        }
    }
}

/// Where a credential is: `authorization`, or a header, cookie or query parameter.
struct CredentialKind;

impl Kind for CredentialKind {
    type Value = Credential;

    fn expects(&self) -> String {
        "`\"authorization\"`, `\"header:NAME\"`, `\"cookie:NAME\"` or `\"param:NAME\"`".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<Credential> {
        let text = value.text(self)?;
        let named = |kind: &str| text.strip_prefix(kind).filter(|name| !name.is_empty());
        let header = |name: &str| http::HeaderName::try_from(name).ok().map(Credential::Header);
        let found = if text == "authorization" {
            Some(Credential::Authorization)
        } else if let Some(name) = named("header:") {
            header(name)
        } else if let Some(name) = named("cookie:") {
            Some(Credential::Cookie(name.to_owned()))
        } else {
            named("param:").map(|name| Credential::Parameter(name.to_owned()))
        };
        found.or_else(|| value.mismatch(self, None))
    }
}

/// Reads `[client]`.
pub(super) fn read(section: &Section<'_>) -> Option<Client> {
    let (proxies, hops) = (section.read(&TRUSTED_PROXIES), section.optional(&TRUSTED_HOPS));
    let (header, forward) = (section.read(&HEADER), section.read(&FORWARD));
    let (verdict, token) = (section.read(&VERDICT), section.read(&TOKEN));
    let (proxies, hops) = (proxies?, hops?);
    if hops.is_some() && proxies.is_empty() {
        let hint = "add `trusted_proxies` with the networks of the last of them";
        section.complain(&TRUSTED_HOPS, "hops are counted only behind a proxy that is trusted", hint);
        return None;
    }
    let hops = hops.and_then(NonZeroU8::new);
    Some(Client { proxies, hops, header: header?, forward: forward?, verdict: verdict?, token: token? })
}
