//! `[client]`: whom to believe about a client's address, and what the origin is told about it.

use ipnet::IpNet;

use super::kinds::{ListOf, Network, OneOf};
use super::reader::{Fallback, Key, Layout, Section};
use crate::facts::client::{Forward, TrustedProxies};
use crate::facts::forwarded::{ForwardHeader, Tell};

/// How clients are told apart from proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    proxies: Vec<IpNet>,
    /// The one header that trusted proxies are believed in.
    pub header: ForwardHeader,
    /// What the origin is told about the client.
    pub forward: Forward,
    /// What the origin is told about the judgement.
    pub verdict: Vec<Tell>,
}

impl Client {
    /// The networks whose forwarding header is believed.
    pub fn trusted_proxies(&self) -> TrustedProxies {
        TrustedProxies::new(self.proxies.clone())
    }
}

pub(super) const LAYOUT: Layout = Layout {
    table: "client",
    heading: "[client]",
    doc: "Who is calling: whose word is taken for it, and what the origin is told.",
    keys: &[&TRUSTED_PROXIES, &HEADER, &FORWARD, &VERDICT],
    reserved: &[],
};

const TRUSTED_PROXIES: Key<ListOf<Network>> = Key {
    name: "trusted_proxies",
    kind: ListOf(Network),
    fallback: Fallback::Is("[]"),
    doc: "Proxies whose forwarding header is believed; nobody by default.",
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

/// Reads `[client]`.
pub(super) fn read(section: &Section<'_>) -> Option<Client> {
    let proxies = section.read(&TRUSTED_PROXIES);
    let (header, forward) = (section.read(&HEADER), section.read(&FORWARD));
    let verdict = section.read(&VERDICT);
    Some(Client { proxies: proxies?, header: header?, forward: forward?, verdict: verdict? })
}
