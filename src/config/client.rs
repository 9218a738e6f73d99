//! `[client]`: whom to believe about a client's address, and what the origin is told about it.

use ipnet::IpNet;

use super::kinds::{ListOf, Network, OneOf};
use super::reader::{Fallback, Key, Kind, Layout, Section, Value};
use crate::facts::client::{Forward, TrustedProxies};
use crate::facts::forwarded::{ForwardHeader, Tell};
use crate::signals::Credential;

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
    /// Where a request's credential is looked for, in this order.
    pub token: Vec<Credential>,
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
    keys: &[&TRUSTED_PROXIES, &HEADER, &FORWARD, &VERDICT, &TOKEN],
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

const TOKEN: Key<ListOf<CredentialKind>> = Key {
    name: "token",
    kind: ListOf(CredentialKind),
    fallback: Fallback::Is("[\"authorization\"]"),
    doc: "What `per = \"token\"` of a counter tells apart: the first of these that a request has. Of `authorization` it is \
          the user name for `Basic`, and else what follows the scheme. Only a keyed hash of it is kept.",
};

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
    let proxies = section.read(&TRUSTED_PROXIES);
    let (header, forward) = (section.read(&HEADER), section.read(&FORWARD));
    let (verdict, token) = (section.read(&VERDICT), section.read(&TOKEN));
    Some(Client { proxies: proxies?, header: header?, forward: forward?, verdict: verdict?, token: token? })
}
