//! Signals of the TLS session; all `""` on a plaintext listener, which is the only kind so far.

use super::{Facts, Kind, Name, Root, Signal, Value};

pub(super) const SIGNALS: &[Signal] = &[
    Signal::property(
        Root::Request,
        "tls.version",
        Kind::Text,
        "`1.2` or `1.3`; `\"\"` in the clear",
        plaintext,
    ),
    Signal::property(
        Root::Request,
        "tls.alpn",
        Kind::Text,
        "the protocol agreed on, such as `h2`; `\"\"` in the clear",
        plaintext,
    ),
    Signal::property(
        Root::Request,
        "tls.sni",
        Kind::Text,
        "the server name that the client asked for; `\"\"` in the clear",
        plaintext,
    ),
    Signal::property(
        Root::Request,
        "tls.ja4",
        Kind::Text,
        "the JA4 fingerprint of the client's hello; `\"\"` in the clear",
        plaintext,
    ),
];

fn plaintext<'a>(_: &Facts<'a>, _: &Name) -> Value<'a> {
    Value::text("")
}
