//! Signals of a body that was read as JSON before the request was judged, where its route asks for that.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::{Argument, Domain, Facts, Kind, Name, Root, Signal, Value};

/// At most this many bytes of pointers and texts are kept when a script computes the pointer.
const MAX_TABLE_BYTES: usize = 8 * 1024;

pub(super) const SIGNALS: &[Signal] = &[
    Signal::property(
        Root::Request,
        "body.kind",
        Kind::Text,
        "what the body is: `object`, `array`, `string`, `number`, `bool` or `null`; `\"\"` if it was not read",
        |facts, _| Value::text(facts.head.body().map_or("", |body| body.kind())),
    )
    .within(Domain::OneOf(&["", "object", "array", "string", "number", "bool", "null"])),
    Signal::property(
        Root::Request,
        "body.depth",
        Kind::Int,
        "how deep objects and arrays are within each other; 0 if it was not read",
        |facts, _| {
            Value::Int(facts.head.body().map_or(0, |body| i64::try_from(body.depth()).unwrap_or(i64::MAX)))
        },
    )
    .within(Domain::COUNT),
    Signal::method(
        Root::Request,
        "body.has",
        Argument::Pointer,
        Kind::Bool,
        "whether there is a value at that pointer, even `null`",
        |facts, name| each(facts, name, Kind::Bool, |_, _| Some(Value::Bool(true))),
    ),
    Signal::method(
        Root::Request,
        "body.number",
        Argument::Pointer,
        Kind::Float,
        "the number at that pointer; `0.0` if there is none",
        |facts, name| each(facts, name, Kind::Float, |_, json| json.as_f64().map(Value::float)),
    ),
    Signal::method(
        Root::Request,
        "body.json",
        Argument::Pointer,
        Kind::Text,
        "the text, number or bool at that pointer as text, else `\"\"`; a text reads as a pseudonym unless it is configured \
         as plain",
        |facts, name| each(facts, name, Kind::Text, |pointer, json| text(facts, pointer, json)),
    ),
];

/// What `read` makes of the value at a pointer, or of all values; what is empty where it makes nothing.
fn each<'a>(
    facts: &Facts<'a>,
    name: &Name,
    kind: Kind,
    read: impl Fn(&str, &'a Json) -> Option<Value<'a>>,
) -> Value<'a> {
    let body = facts.head.body();
    if !name.is_all() {
        let found = body.and_then(|body| body.at(name.as_str()));
        return found.and_then(|json| read(name.as_str(), json)).unwrap_or_else(|| kind.empty());
    }
    let mut room = MAX_TABLE_BYTES;
    let mut entries = Vec::new();
    if let Some(root) = body.and_then(|body| body.at("")) {
        walk(String::new(), root, &mut |pointer, json| {
            let Some(value) = read(&pointer, json) else { return true };
            let size = pointer.len() + if let Value::Text(text) = &value { text.len() } else { 8 };
            let fits = size <= room;
            room = room.saturating_sub(size);
            if fits {
                entries.push((pointer, value.into_owned()));
            }
            fits
        });
    }
    Value::table(entries.into_iter())
}

/// Shows every value with its pointer, until it has seen enough.
fn walk<'a>(pointer: String, json: &'a Json, see: &mut impl FnMut(String, &'a Json) -> bool) -> bool {
    if !see(pointer.clone(), json) {
        return false;
    }
    match json {
        Json::Object(members) => members.iter().all(|(name, value)| {
            walk(format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")), value, see)
        }),
        Json::Array(items) => {
            items.iter().enumerate().all(|(at, value)| walk(format!("{pointer}/{at}"), value, see))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => true,
    }
}

fn text<'a>(facts: &Facts<'a>, pointer: &str, json: &'a Json) -> Option<Value<'a>> {
    let text: Cow<'a, str> = match json {
        Json::String(text) => facts.secrets.body(pointer, text),
        Json::Number(number) => number.to_string().into(),
        Json::Bool(flag) => flag.to_string().into(),
        Json::Null | Json::Array(_) | Json::Object(_) => return None,
    };
    Some(Value::text(text))
}
