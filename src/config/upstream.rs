//! `[upstream.NAME]`: the origins behind the gate, and how long it waits for them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::kinds::{Flag, ListOf, Period, is_name, name_hint};
use super::reader::{Document, Fallback, Key, Kind, Layout, Section, Value};

/// One origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Who answers.
    pub origin: Origin,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long the gate waits for the next bytes of an answer.
    pub read_timeout: Duration,
    /// How long the origin may take to accept the next bytes of a request.
    pub write_timeout: Duration,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The echo origin inside the process.
    Builtin,
    /// These servers in turn; at least one.
    Servers(Vec<ServerAddress>),
}

/// A server by name or address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// A host name in lower case, or an IP address without brackets.
    pub host: String,
    /// The port, not 0.
    pub port: u16,
}

struct Server;

pub(super) const LAYOUT: Layout = Layout {
    table: "upstream",
    heading: "[upstream.NAME]",
    doc: "An origin behind the gate: the built-in echo, or one or more servers.",
    keys: &[&BUILTIN, &SERVERS, &CONNECT_TIMEOUT, &READ_TIMEOUT, &WRITE_TIMEOUT, &IDLE_TIMEOUT],
    reserved: &[(
        "tls",
        "TLS to upstreams is not available in this version",
        "remove `tls` and reach the origin over a private network",
    )],
};

const BUILTIN: Key<Flag> = Key {
    name: "builtin",
    kind: Flag,
    fallback: Fallback::Is("false"),
    doc: "An echo origin inside the process, for trying things out.",
};

const SERVERS: Key<ListOf<Server>> = Key {
    name: "servers",
    kind: ListOf(Server),
    fallback: Fallback::Is("[]"),
    doc: "The servers, each `\"host:port\"`; they take turns.",
};

const CONNECT_TIMEOUT: Key<Period> =
    timeout("connect_timeout", "\"5s\"", "How long a connection may take to be made.");

const READ_TIMEOUT: Key<Period> =
    timeout("read_timeout", "\"60s\"", "How long the gate waits for the next bytes of an answer.");

const WRITE_TIMEOUT: Key<Period> = timeout(
    "write_timeout",
    "\"60s\"",
    "How long the origin may take to accept the next bytes of a request.",
);

const IDLE_TIMEOUT: Key<Period> = timeout("idle_timeout", "\"60s\"", "How long an idle connection is kept.");

const fn timeout(name: &'static str, fallback: &'static str, doc: &'static str) -> Key<Period> {
    let kind = Period { from: Duration::from_millis(1), to: Duration::from_secs(3600) };
    Key { name, kind, fallback: Fallback::Is(fallback), doc }
}

/// Reads every `[upstream.NAME]`.
pub(super) fn read(document: &Document<'_>) -> Option<BTreeMap<String, Upstream>> {
    let read = document.members(&LAYOUT)?.into_iter().map(|(name, value)| {
        let section = value.section(&LAYOUT, format!("[upstream.{}]", name.text.escape_debug()));
        let upstream = section.and_then(|section| read_one(&section));
        if !is_name(name.text) {
            let message = format!("`{}` cannot name an upstream", name.text.escape_debug());
            document.source.error(Some(name.span), message, Some(name_hint(name.text)));
            return None;
        }
        Some((name.text.to_owned(), upstream?))
    });
    read.collect::<Vec<_>>().into_iter().collect()
}

fn read_one(section: &Section<'_>) -> Option<Upstream> {
    let (builtin, servers) = (section.read(&BUILTIN), section.read(&SERVERS));
    let origin = origin(section, builtin, servers);
    let (connect, read) = (section.read(&CONNECT_TIMEOUT), section.read(&READ_TIMEOUT));
    let (write, idle) = (section.read(&WRITE_TIMEOUT), section.read(&IDLE_TIMEOUT));
    Some(Upstream {
        origin: origin?,
        connect_timeout: connect?,
        read_timeout: read?,
        write_timeout: write?,
        idle_timeout: idle?,
    })
}

fn origin(
    section: &Section<'_>,
    builtin: Option<bool>,
    servers: Option<Vec<ServerAddress>>,
) -> Option<Origin> {
    let (builtin, servers) = (builtin?, servers?);
    if builtin && section.has(&SERVERS) {
        section.complain(
            &SERVERS,
            "an upstream is `builtin` or has `servers`, not both",
            "remove one of them",
        );
        return None;
    }
    if builtin {
        return Some(Origin::Builtin);
    }
    if servers.is_empty() {
        let hint = "add `servers = [\"10.0.0.1:8080\"]`, or `builtin = true` to try things out";
        section.complain(&SERVERS, "the upstream has no servers", hint);
        return None;
    }
    let twice =
        servers.iter().enumerate().find(|(at, server)| servers.iter().take(*at).any(|s| s == *server));
    if let Some((_, server)) = twice {
        section.complain(&SERVERS, format!("the server `{server}` is named twice"), "remove one of them");
        return None;
    }
    Some(Origin::Servers(servers))
}

impl Kind for Server {
    type Value = ServerAddress;

    fn expects(&self) -> String {
        "a host with a port, such as `\"10.0.0.1:8080\"`".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<ServerAddress> {
        let text = value.text(self)?;
        ServerAddress::parse(text).or_else(|| value.mismatch(self, server_hint(text)))
    }
}

fn server_hint(text: &str) -> Option<String> {
    if let Some((scheme, rest)) = text.split_once("://") {
        return Some(match scheme {
            "https" => "TLS to upstreams is not available in this version".into(),
            _ => {
                let rest = rest.trim_end_matches('/');
                let port = if is_host(rest) { ":80" } else { "" };
                format!("leave out `{scheme}://`: `\"{rest}{port}\"`")
            }
        });
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(format!("add a port: `\"{}\"`", SocketAddr::new(address, 80)));
    }
    is_host(text).then(|| format!("add a port: `\"{text}:80\"`"))
}

impl ServerAddress {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return (socket.port() != 0).then(|| Self { host: socket.ip().to_string(), port: socket.port() });
        }
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|number: &u16| *number != 0 && number.to_string() == port)?;
        is_host(host).then(|| Self { host: host.to_ascii_lowercase(), port })
    }
}

/// Whether `text` can be a host name; what looks like an IPv4 address must be one.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let numeric = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= 253 && text.split('.').all(is_label) && !numeric
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<IpAddr>() {
            Ok(address) => SocketAddr::new(address, self.port).fmt(f),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port() {
        for (text, host) in [
            ("10.0.0.1:80", "10.0.0.1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("Api.internal:80", "api.internal"),
            ("db_1:80", "db_1"),
        ] {
            let server = ServerAddress::parse(text).unwrap();
            assert_eq!(server, ServerAddress { host: host.into(), port: 80 }, "{text}");
            assert_eq!(ServerAddress::parse(&server.to_string()), Some(server));
        }
        for text in [
            "",
            "a",
            ":80",
            "a:",
            "a:0",
            "a:+80",
            "a:99999",
            "a b:80",
            "10.0.0.256:80",
            "2001:db8::1:80x",
            "-a:1",
        ] {
            assert_eq!(ServerAddress::parse(text), None, "{text}");
        }
    }
}
