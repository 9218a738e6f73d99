//! Where a `[[listener]]` listens, and who introduces its clients by the PROXY protocol.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::kinds::{ListOf, Network, OneOf, Socket};
use super::reader::{Fallback, Key, Kind, Section, Value};

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address and a port; 0 is any free one.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix {
        /// Its place in the file system.
        path: PathBuf,
        /// Who may connect, as the mode of a file that they write to.
        mode: u32,
    },
}

/// Who introduces clients by the PROXY protocol, which is required then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// The networks of those who may. On a Unix socket, whoever can connect may.
    pub from: Vec<IpNet>,
}

/// Where connections come in.
pub(super) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Whether clients are introduced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Introduction {
    Off,
    Required,
}

/// An address with a port, or the path of a Unix socket.
pub(super) struct PlaceKind;

/// The mode of a file.
pub(super) struct Mode;

/// Paths of Unix sockets have up to 107 bytes, of which `.new` is needed for a moment.
const MAX_PATH: usize = 103;
const UNIX: &str = "unix:";
const USUAL_MODE: u32 = 0o660;

pub(super) const ADDRESS: Key<PlaceKind> = Key {
    name: "address",
    kind: PlaceKind,
    fallback: Fallback::Required,
    doc: "Where to listen. `0.0.0.0` and `[::]` are all addresses of the machine; `unix:/run/riskgate.sock` is a Unix \
          socket. Clients of one have no address: they are `unknown`, and counted as one client, unless a proxy says more.",
};

pub(super) const MODE: Key<Mode> = Key {
    name: "mode",
    kind: Mode,
    fallback: Fallback::Absent,
    doc: "Who may connect to a Unix socket, as the mode of a file that they write to; `\"0660\"` if left out.",
};

pub(super) const PROXY_PROTOCOL: Key<OneOf<Introduction>> = Key {
    name: "proxy_protocol",
    kind: OneOf(&[("off", Introduction::Off), ("required", Introduction::Required)]),
    fallback: Fallback::Is("\"off\""),
    doc: "Whether each connection begins with a header of the PROXY protocol, version 1 or 2, that says whose it is. \
          Connections without one are closed then; with `off`, one is a malformed request.",
};

pub(super) const PROXY_PROTOCOL_FROM: Key<ListOf<Network>> = Key {
    name: "proxy_protocol_from",
    kind: ListOf(Network),
    fallback: Fallback::Is("[]"),
    doc: "Who may say so; all others are not served. Not for Unix sockets, where `mode` says it.",
};

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { path, .. } => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl Address {
    /// Whether two listeners cannot both have theirs.
    pub(super) fn clashes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) => one.port() != 0 && one == other,
            (Self::Unix { path: one, .. }, Self::Unix { path: other, .. }) => one == other,
            (Self::Tcp(_), Self::Unix { .. }) | (Self::Unix { .. }, Self::Tcp(_)) => false,
        }
    }
}

impl Kind for PlaceKind {
    type Value = Place;

    fn expects(&self) -> String {
        format!("{}, or `\"unix:/run/riskgate.sock\"`", Socket.expects())
    }

    fn read(&self, value: &Value<'_>) -> Option<Place> {
        let text = value.text(self)?;
        let Some(path) = text.strip_prefix(UNIX) else {
            return match text.parse() {
                Ok(address) => Some(Place::Tcp(address)),
                Err(_) if text.starts_with('/') => {
                    value.mismatch(self, Some(format!("for a Unix socket, write `\"{UNIX}{text}\"`")))
                }
                Err(_) => Socket.read(value).map(Place::Tcp),
            };
        };
        if path.is_empty() || path.contains('\0') {
            return value.mismatch(self, None);
        }
        if path.len() > MAX_PATH {
            let hint = format!("paths of Unix sockets have up to {MAX_PATH} bytes here");
            return value.refuse("the path of the socket is too long", Some(hint));
        }
        Some(Place::Unix(path.into()))
    }
}

impl Kind for Mode {
    type Value = u32;

    fn expects(&self) -> String {
        "three octal digits in quotes, such as `\"0660\"`".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<u32> {
        let text = value.text(self)?;
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
        mode.filter(|_| text.len() >= 3).or_else(|| value.mismatch(self, None))
    }
}

/// Reads where a listener listens, and who introduces its clients.
pub(super) fn read(section: &Section<'_>) -> Option<(Address, Option<ProxyProtocol>)> {
    let (place, mode) = (section.read(&ADDRESS), section.optional(&MODE));
    let (introduction, from) = (section.read(&PROXY_PROTOCOL), section.read(&PROXY_PROTOCOL_FROM));
    let (place, mode, introduction, from) = (place?, mode?, introduction?, from?);
    let address = match (place, mode) {
        (Place::Tcp(address), None) => Address::Tcp(address),
        (Place::Unix(path), mode) => Address::Unix { path, mode: mode.unwrap_or(USUAL_MODE) },
        (Place::Tcp(_), Some(_)) => {
            section.complain(
                &MODE,
                "`mode` is for Unix sockets",
                "remove it, or let `address` begin with `unix:`",
            );
            return None;
        }
    };
    let unix = matches!(address, Address::Unix { .. });
    let complaint = match introduction {
        Introduction::Required if !unix && from.is_empty() => Some((
            "`proxy_protocol` needs to know who may say whose a connection is",
            "add `proxy_protocol_from` with the networks of your own proxies",
        )),
        Introduction::Required if unix && !from.is_empty() => Some((
            "peers on a Unix socket are in no network",
            "remove `proxy_protocol_from`, and let `mode` say who may connect",
        )),
        Introduction::Off if !from.is_empty() => Some((
            "`proxy_protocol_from` says nothing as long as `proxy_protocol` is off",
            "add `proxy_protocol = \"required\"`, or remove it",
        )),
        Introduction::Required | Introduction::Off => None,
    };
    if let Some((message, hint)) = complaint {
        let key = if from.is_empty() {
            section.span_of(&PROXY_PROTOCOL)
        } else {
            section.span_of(&PROXY_PROTOCOL_FROM)
        };
        section.source().error(key, message, Some(hint.to_owned()));
        return None;
    }
    Some((address, (introduction == Introduction::Required).then_some(ProxyProtocol { from })))
}
