//! Which server a request goes to, as configuration says it: `balance`, `hash` and `sticky`.

use http::HeaderName;

use super::super::kinds::OneOf;
use super::super::reader::{Fallback, Key, Kind, Section, Value};
use crate::proxy::upstream::{Balance, HashKey};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    RoundRobin,
    LeastConnections,
    Hash,
}

pub(super) struct By;
pub(super) struct CookieName;

pub(super) const BALANCE: Key<OneOf<Word>> = Key {
    name: "balance",
    kind: OneOf(&[
        ("round_robin", Word::RoundRobin),
        ("least_connections", Word::LeastConnections),
        ("hash", Word::Hash),
    ]),
    fallback: Fallback::Is("\"round_robin\""),
    doc: "Which server is next: all in turn by weight; the less busy of two that are drawn by weight; or, with `hash`, \
          always the same one for the same key.",
};

pub(super) const HASH: Key<By> = Key {
    name: "hash",
    kind: By,
    fallback: Fallback::Absent,
    doc: "For `balance = \"hash\"`: what requests have in common that go to the same server. Requests without it take \
          turns.",
};

pub(super) const STICKY: Key<CookieName> = Key {
    name: "sticky",
    kind: CookieName,
    fallback: Fallback::Absent,
    doc: "A cookie that keeps a client at the server which it was given first, for as long as that is fit. It holds the \
          server's `id`, or a name that a restart changes.",
};

/// Reads `balance` and `hash` together.
pub(super) fn read(section: &Section<'_>) -> Option<Balance> {
    let (word, by) = (section.read(&BALANCE), section.optional(&HASH));
    match (word?, by?) {
        (Word::Hash, Some(key)) => Some(Balance::Hash(key)),
        (Word::Hash, None) => {
            let hint = "add `hash = \"header:NAME\"`, `\"cookie:NAME\"` or `\"client\"`";
            section.complain(&BALANCE, "requests are to be hashed, but it is not said by what", hint);
            None
        }
        (Word::RoundRobin | Word::LeastConnections, Some(_)) => {
            section.complain(
                &HASH,
                "`hash` says nothing without `balance = \"hash\"`",
                "add that, or remove it",
            );
            None
        }
        (Word::RoundRobin, None) => Some(Balance::RoundRobin),
        (Word::LeastConnections, None) => Some(Balance::LeastConnections),
    }
}

impl Kind for By {
    type Value = HashKey;

    fn expects(&self) -> String {
        "`\"client\"`, `\"header:NAME\"` or `\"cookie:NAME\"`".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<HashKey> {
        let text = value.text(self)?;
        let key = match text.split_once(':') {
            None if text == "client" => Some(HashKey::Client),
            Some(("header", name)) => HeaderName::try_from(name).ok().map(HashKey::Header),
            Some(("cookie", name)) => is_token(name).then(|| HashKey::Cookie(name.to_owned())),
            Some(_) | None => None,
        };
        key.or_else(|| value.mismatch(self, None))
    }
}

impl Kind for CookieName {
    type Value = String;

    fn expects(&self) -> String {
        "the name of a cookie".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<String> {
        let text = value.text(self)?;
        if is_token(text) { Some(text.to_owned()) } else { value.mismatch(self, None) }
    }
}

/// RFC 6265 takes for the name of a cookie what RFC 9110 takes for the name of a header.
fn is_token(text: &str) -> bool {
    text.len() <= 128 && HeaderName::try_from(text).is_ok()
}
