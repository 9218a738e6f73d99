//! Signals of the response, for `observe`. Before there is a response they are empty.

use std::borrow::Cow;

use http::HeaderName;

use super::{Argument, Domain, Facts, Kind, Name, Root, Signal, Value};

pub(super) const SIGNALS: &[Signal] = &[
    Signal::property(
        Root::Response,
        "status",
        Kind::Int,
        "the status sent to the client; 499 if it was gone before one was",
        |facts, _| Value::Int(facts.response.map_or(0, |response| i64::from(response.status))),
    )
    .within(Domain::Numbers(0.0, 999.0)),
    Signal::property(Root::Response, "size", Kind::Int, "body bytes sent to the client", |facts, _| {
        Value::Int(facts.response.map_or(0, |response| i64::try_from(response.size).unwrap_or(i64::MAX)))
    })
    .within(Domain::COUNT),
    Signal::property(
        Root::Response,
        "from_origin",
        Kind::Bool,
        "whether the origin answered; `false` for what the gate answers itself: refusals and failures",
        |facts, _| Value::Bool(facts.response.is_some_and(|response| response.from_origin)),
    ),
    Signal::property(
        Root::Response,
        "duration",
        Kind::Float,
        "seconds from the parsed head to the end of the response, such as `0.25`",
        |facts, _| Value::float(facts.response.map_or(0.0, |response| response.seconds)),
    )
    .within(Domain::COUNT),
    Signal::method(
        Root::Response,
        "header",
        Argument::Header,
        Kind::Text,
        "the first response header of that name; `\"\"` if absent; secret ones read as a pseudonym",
        header,
    ),
];

fn header<'a>(facts: &Facts<'a>, name: &Name) -> Value<'a> {
    let Some(headers) = facts.response.and_then(|response| response.headers) else {
        return Kind::Text.empty();
    };
    let read = |name: &HeaderName| match headers.get(name) {
        Some(value) => facts.secrets.header(name.as_str(), String::from_utf8_lossy(value.as_bytes())),
        None => Cow::Borrowed(""),
    };
    if name.is_all() {
        return Value::table(
            headers.keys().map(|name| (name.to_string(), Value::text(read(name)).into_owned())),
        );
    }
    name.header().map_or(Value::text(""), |name| Value::text(read(name)))
}
