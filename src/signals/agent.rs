//! Signals of the program that made a request, by its habits rather than by its word.

use super::{Domain, Kind, Root, Signal, Value};
use crate::facts::order;

pub(super) const SIGNALS: &[Signal] = &[Signal::property(
    Root::Request,
    "agent.order",
    Kind::Text,
    "a fingerprint of the names of headers, their order and case: twelve hexadecimal digits",
    |facts, _| {
        let described = facts.head.described_order().map(str::to_owned);
        Value::text(described.unwrap_or_else(|| order::fingerprint(facts.head)))
    },
)
.within(Domain::Lower)];
