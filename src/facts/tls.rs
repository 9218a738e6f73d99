//! What is known about a client's TLS session. A connection in the clear has none of it.

use serde::Deserialize;

use super::ja4::Ja4;

/// A TLS session, once its handshake is done.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSession {
    /// The protocol's version.
    pub version: TlsVersion,
    /// The protocol agreed on, such as `h2`; empty if none was.
    pub alpn: Box<str>,
    /// The server name that the client asked for, in lower case; empty if it asked for none.
    pub sni: Box<str>,
    /// The JA4 fingerprint of the client's hello; `None` if it cannot be told.
    pub ja4: Option<Ja4>,
    /// Whose certificate the client proved to have: its subject, or empty if it showed none.
    pub client: Box<str>,
}

/// A version of TLS that the gate speaks.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    #[default]
    Tls13,
}

impl TlsVersion {
    /// `1.2` or `1.3`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}
