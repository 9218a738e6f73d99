//! Signals of the TLS session; all `""` in the clear.

use super::{Domain, Facts, Kind, Name, Root, Signal, Value};
use crate::facts::ja4::Ja4;

pub(super) const SIGNALS: &[Signal] = &[
    Signal::property(
        Root::Request,
        "tls.version",
        Kind::Text,
        "`1.2` or `1.3`; `\"\"` in the clear",
        |facts, _| Value::text(facts.tls.map_or("", |tls| tls.version.as_str())),
    ),
    Signal::property(
        Root::Request,
        "tls.alpn",
        Kind::Text,
        "the protocol agreed on, such as `h2`; `\"\"` in the clear",
        |facts, _| Value::text(facts.tls.map_or("", |tls| &*tls.alpn)),
    ),
    Signal::property(
        Root::Request,
        "tls.sni",
        Kind::Text,
        "the server name that the client asked for; `\"\"` in the clear",
        |facts, _| Value::text(facts.tls.map_or("", |tls| &*tls.sni)),
    ),
    Signal::property(
        Root::Request,
        "tls.ja4",
        Kind::Text,
        "the JA4 fingerprint of the client's hello, which records keep as its class; `\"\"` in the clear",
        |facts, _| Value::text(ja4(facts).map_or("", Ja4::as_str)),
    )
    .recorded_as(class),
    Signal::property(
        Root::Request,
        "tls.class",
        Kind::Text,
        "what `[fingerprints]` calls clients with this fingerprint; `\"\"` if nothing",
        class,
    )
    .within(Domain::Lower),
    Signal::property(
        Root::Request,
        "tls.client",
        Kind::Text,
        "the subject of the certificate that the client proved to have; `\"\"` without one",
        |facts, _| Value::text(facts.tls.map_or("", |tls| &*tls.client)),
    ),
];

fn ja4<'a>(facts: &Facts<'a>) -> Option<&'a Ja4> {
    facts.tls?.ja4.as_ref()
}

fn class<'a>(facts: &Facts<'a>, _: &Name) -> Value<'a> {
    Value::text(ja4(facts).map_or("", |ja4| facts.readings.class(ja4)))
}
