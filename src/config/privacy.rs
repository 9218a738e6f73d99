//! `[privacy]`: how little of a client is kept, and which values are secrets.
//!
//! The built-in lists of secrets can be added to, never shortened: forgetting one must not leak it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::kinds::{HeaderName, ListOf, Number, Period, Text};
use super::reader::{Fallback, Key, Kind, Layout, Section, Value};
use crate::facts::address_headers::ADDRESS_HEADERS;
use crate::facts::client::Truncation;

/// What is kept of a client, and what is hidden from scripts and records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privacy {
    /// How many leading bits of an address are kept.
    pub truncation: Truncation,
    /// How long one pseudonym key lives.
    pub key_rotation: Duration,
    /// Headers, in lower case, whose value is replaced by a pseudonym or left out.
    pub secret_headers: BTreeSet<String>,
    /// Query parameters, in lower case and to be compared without case, whose value is replaced by a pseudonym.
    pub secret_params: BTreeSet<String>,
    /// Cookies, in lower case and to be compared without case, whose value scripts may read; any other reads
    /// as a pseudonym.
    pub plain_cookies: BTreeSet<String>,
    /// JSON pointers of texts in bodies that scripts may read; any other reads as a pseudonym.
    pub plain_pointers: BTreeSet<String>,
}

/// Headers that carry credentials.
const CREDENTIAL_HEADERS: &[&str] = &[
    "authorization",
    "cookie",
    "dpop",
    "private-token",
    "proxy-authorization",
    "set-cookie",
    "x-access-token",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
    "x-csrftoken",
    "x-forwarded-client-cert",
    "x-session-token",
    "x-xsrf-token",
];

/// Query parameters that carry credentials or persons.
const SECRET_PARAMS: &[&str] = &[
    "access_token",
    "api-key",
    "api_key",
    "apikey",
    "auth",
    "client_secret",
    "code",
    "email",
    "id_token",
    "jwt",
    "key",
    "passwd",
    "password",
    "pwd",
    "refresh_token",
    "secret",
    "session",
    "session_id",
    "sessionid",
    "sid",
    "sig",
    "signature",
    "token",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
];

pub(super) const LAYOUT: Layout = Layout {
    table: "privacy",
    heading: "[privacy]",
    doc: "How little of a client is kept, and what scripts and records never see in the clear.",
    keys: &[
        &IPV4_PREFIX,
        &IPV6_PREFIX,
        &KEY_ROTATION,
        &SECRET_HEADERS,
        &SECRET_PARAMS_KEY,
        &PLAIN_COOKIES,
        &PLAIN_POINTERS,
    ],
    reserved: &[],
};

const IPV4_PREFIX: Key<Number<u8>> = Key {
    name: "ipv4_prefix",
    kind: Number { from: 8, to: 28 },
    fallback: Fallback::Is("24"),
    doc: "Leading bits of an IPv4 address that are kept. More would name single lines, fewer mix up countries.",
};

const IPV6_PREFIX: Key<Number<u8>> = Key {
    name: "ipv6_prefix",
    kind: Number { from: 16, to: 64 },
    fallback: Fallback::Is("48"),
    doc: "Leading bits of an IPv6 address that are kept.",
};

const KEY_ROTATION: Key<Period> = Key {
    name: "key_rotation",
    kind: Period { from: Duration::from_secs(60), to: Duration::from_secs(30 * 86_400) },
    fallback: Fallback::Is("\"24h\""),
    doc: "How long a pseudonym stays the same. The key is random, only in memory, and destroyed afterwards.",
};

const SECRET_HEADERS: Key<ListOf<HeaderName>> = Key {
    name: "secret_headers",
    kind: ListOf(HeaderName),
    fallback: Fallback::Is("[]"),
    doc: "More headers whose value is secret, besides the built-in ones for credentials and addresses.",
};

const SECRET_PARAMS_KEY: Key<ListOf<Text>> = Key {
    name: "secret_params",
    kind: ListOf(Text),
    fallback: Fallback::Is("[]"),
    doc: "More query parameters whose value is secret, besides built-in ones such as `token` and `password`.",
};

const PLAIN_COOKIES: Key<ListOf<Text>> = Key {
    name: "plain_cookies",
    kind: ListOf(Text),
    fallback: Fallback::Is("[]"),
    doc: "Cookies whose value scripts may read, such as a language. Any other reads as a pseudonym.",
};

const PLAIN_POINTERS: Key<ListOf<Pointer>> = Key {
    name: "plain_pointers",
    kind: ListOf(Pointer),
    fallback: Fallback::Is("[]"),
    doc: "Texts in bodies that scripts may read, such as a currency. Any other reads as a pseudonym.",
};

struct Pointer;

impl Kind for Pointer {
    type Value = String;

    fn expects(&self) -> String {
        "a JSON pointer such as `\"/order/currency\"`".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<String> {
        let text = value.text(self)?;
        if text.starts_with('/') { Some(text.to_owned()) } else { value.mismatch(self, None) }
    }
}

/// Reads `[privacy]`.
pub(super) fn read(section: &Section<'_>) -> Option<Privacy> {
    let (ipv4, ipv6) = (section.read(&IPV4_PREFIX), section.read(&IPV6_PREFIX));
    let (rotation, headers) = (section.read(&KEY_ROTATION), section.read(&SECRET_HEADERS));
    let (params, cookies) = (section.read(&SECRET_PARAMS_KEY), section.read(&PLAIN_COOKIES));
    let pointers = section.read(&PLAIN_POINTERS);
    let built_in = CREDENTIAL_HEADERS.iter().chain(ADDRESS_HEADERS).map(|name| (*name).to_owned());
    let lower = |name: String| name.to_ascii_lowercase();
    Some(Privacy {
        truncation: Truncation::new(ipv4?, ipv6?)?,
        key_rotation: rotation?,
        secret_headers: built_in.chain(headers?).collect(),
        secret_params: SECRET_PARAMS
            .iter()
            .map(|name| (*name).to_owned())
            .chain(params?.into_iter().map(lower))
            .collect(),
        plain_cookies: cookies?.into_iter().map(lower).collect(),
        plain_pointers: pointers?.into_iter().collect(),
    })
}

/// The built-in secrets, for the reference manual.
pub(super) fn built_in_secrets() -> [(&'static str, Vec<&'static str>); 2] {
    let headers = CREDENTIAL_HEADERS.iter().chain(ADDRESS_HEADERS).copied().collect();
    [("headers", headers), ("query parameters", SECRET_PARAMS.to_vec())]
}
