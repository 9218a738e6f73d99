//! Signals of the client: its names for us, its rate, the lists it is on. Never its address.

use super::{Argument, Domain, Kind, Root, Signal, Value};

pub(super) const SIGNALS: &[Signal] = &[
    Signal::property(
        Root::Request,
        "client.id",
        Kind::Text,
        "the client's pseudonym, 16 hex digits; changes when the key rotates",
        |facts, _| Value::text(facts.client.pseudonym().to_string()),
    ),
    Signal::property(
        Root::Request,
        "client.prefix",
        Kind::Text,
        "the truncated address, such as `203.0.113.0/24`; `unknown` if there is none",
        |facts, _| Value::text(facts.client.prefix().to_string()),
    ),
    Signal::property(
        Root::Request,
        "client.rate",
        Kind::Float,
        "requests/s of this client, just before this request",
        |facts, _| Value::float(facts.readings.client_rate()),
    )
    .within(Domain::COUNT),
    Signal::method(
        Root::Request,
        "client.listed",
        Argument::List,
        Kind::Bool,
        "whether the client's address is on the list of that name in `[lists]`",
        |facts, list| Value::Bool(facts.readings.listed(list.as_str())),
    ),
];
