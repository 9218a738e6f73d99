//! Signals of the request head: method, host, path, headers, cookies, parameters.

use std::borrow::Cow;

use super::{Argument, Domain, Facts, Kind, Name, Read, Root, Signal, Value};

/// At most this many bytes of names and values are kept when a script computes the name of what it reads.
const MAX_TABLE_BYTES: usize = 8 * 1024;

pub(super) const SIGNALS: &[Signal] = &[
    property("method", Kind::Text, "the method as sent, such as `GET`", |facts, _| {
        Value::text(facts.head.method())
    })
    .within(Domain::Upper),
    property("scheme", Kind::Text, "`http` or `https`, as the request reached the gate", |facts, _| {
        Value::text(facts.head.scheme().as_str())
    })
    .within(Domain::OneOf(&["http", "https"])),
    property(
        "host",
        Kind::Text,
        "the host in lower case, without port; `\"\"` if the request names none",
        |facts, _| Value::text(facts.head.host()),
    )
    .within(Domain::Lower),
    property(
        "path",
        Kind::Text,
        "the path, normalised: unreserved characters decoded, dot segments and doubled slashes removed",
        |facts, _| Value::text(facts.head.path()),
    )
    .within(Domain::Path),
    property(
        "query",
        Kind::Text,
        "the query as sent, without `?`; values of secret parameters read as a pseudonym",
        |facts, _| Value::text(facts.secrets.query(facts.head.query())),
    ),
    property("version", Kind::Text, "the HTTP version: `1.0`, `1.1` or `2`", |facts, _| {
        Value::text(facts.head.version())
    })
    .within(Domain::OneOf(&["0.9", "1.0", "1.1", "2", "3", "unknown"])),
    property("size", Kind::Int, "declared body bytes; -1 if unknown", |facts, _| {
        Value::Int(facts.head.size().map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX)))
    })
    .within(Domain::Numbers(-1.0, f64::INFINITY)),
    Signal::method(
        Root::Request,
        "header",
        Argument::Header,
        Kind::Text,
        "the first header of that name; `\"\"` if absent; secret ones read as a pseudonym",
        header,
    ),
    Signal::method(
        Root::Request,
        "has_header",
        Argument::Header,
        Kind::Bool,
        "whether there is a header of that name, empty or not",
        has_header,
    ),
    Signal::method(
        Root::Request,
        "cookie",
        Argument::Cookie,
        Kind::Text,
        "the first cookie of that name; `\"\"` if absent; reads as a pseudonym unless configured as plain",
        cookie,
    ),
    Signal::method(
        Root::Request,
        "param",
        Argument::Parameter,
        Kind::Text,
        "the first query parameter of that name, decoded; `\"\"` if absent; secret ones read as a pseudonym",
        param,
    ),
];

const fn property(name: &'static str, kind: Kind, doc: &'static str, read: Read) -> Signal {
    Signal::property(Root::Request, name, kind, doc, read)
}

fn header<'a>(facts: &Facts<'a>, name: &Name) -> Value<'a> {
    if name.is_all() {
        return bounded(facts.head.headers().keys().map(|name| {
            let value = facts.secrets.header(name.as_str(), facts.head.header(name));
            (name.as_str().to_owned(), value.into_owned())
        }));
    }
    let value = name.header().map_or(Cow::Borrowed(""), |name| facts.head.header(name));
    Value::text(facts.secrets.header(name.as_str(), value))
}

fn has_header<'a>(facts: &Facts<'a>, name: &Name) -> Value<'a> {
    if name.is_all() {
        let names = facts.head.headers().keys();
        return Value::table(names.map(|name| (name.as_str().to_owned(), Value::Bool(true))));
    }
    Value::Bool(name.header().is_some_and(|name| facts.head.has_header(name)))
}

fn cookie<'a>(facts: &Facts<'a>, name: &Name) -> Value<'a> {
    if name.is_all() {
        return bounded(
            facts
                .head
                .cookies()
                .map(|(name, value)| (name.to_owned(), facts.secrets.cookie(name, value).into_owned())),
        );
    }
    let found = facts.head.cookies().find(|(candidate, _)| *candidate == name.as_str());
    Value::text(found.map_or_else(Default::default, |(_, value)| facts.secrets.cookie(name.as_str(), value)))
}

fn param<'a>(facts: &Facts<'a>, name: &Name) -> Value<'a> {
    if name.is_all() {
        return bounded(facts.head.params().map(|(name, value)| {
            let value = facts.secrets.parameter(&name, value).into_owned();
            (name.into_owned(), value)
        }));
    }
    let found = facts.head.params().find(|(candidate, _)| candidate == name.as_str());
    Value::text(
        found.map_or_else(Default::default, |(_, value)| facts.secrets.parameter(name.as_str(), value)),
    )
}

fn bounded(entries: impl Iterator<Item = (String, String)>) -> Value<'static> {
    let mut room = MAX_TABLE_BYTES;
    let fits = entries.take_while(|(name, value)| {
        let size = name.len() + value.len();
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    });
    Value::table(fits.map(|(name, value)| (name, Value::text(value))))
}
