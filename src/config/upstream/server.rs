//! One entry of `servers`: a host and a port, alone or in a table with a weight and an id.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::super::kinds::{Number, is_name, name_hint};
use super::super::reader::{Fallback, Key, Kind, Layout, Value};
use crate::proxy::upstream::ServerSpec;

/// A server by name or address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerAddress {
    /// A host name in lower case, or an IP address without brackets.
    host: String,
    /// The port, not 0.
    port: u16,
}

pub(super) struct Server;
struct Address;
struct Id;

const LAYOUT: Layout =
    Layout { table: "servers", heading: "servers", doc: "", keys: &[&ADDRESS, &WEIGHT, &ID], reserved: &[] };

const ADDRESS: Key<Address> =
    Key { name: "address", kind: Address, fallback: Fallback::Required, doc: "Where it is." };

const WEIGHT: Key<Number<u16>> = Key {
    name: "weight",
    kind: Number { from: 1, to: 100 },
    fallback: Fallback::Is("1"),
    doc: "Its share among the servers.",
};

const ID: Key<Id> = Key { name: "id", kind: Id, fallback: Fallback::Absent, doc: "What cookies call it." };

impl Kind for Server {
    type Value = ServerSpec;

    fn expects(&self) -> String {
        format!("{}, or `{{ address = \"10.0.0.1:8080\", weight = 3, id = \"a\" }}`", Address.expects())
    }

    fn read(&self, value: &Value<'_>) -> Option<ServerSpec> {
        if !value.toml().is_table() {
            return value.text(self).and_then(|_| Address.read(value)).map(ServerSpec::new);
        }
        let section = value.section(&LAYOUT, "a server".to_owned())?;
        let (address, weight, id) = (section.read(&ADDRESS), section.read(&WEIGHT), section.optional(&ID));
        Some(ServerSpec { address: address?, weight: weight?, id: id? })
    }
}

impl Kind for Address {
    type Value = String;

    fn expects(&self) -> String {
        "a host with a port, such as `\"10.0.0.1:8080\"`".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<String> {
        let text = value.text(self)?;
        match ServerAddress::parse(text) {
            Some(address) => Some(address.to_string()),
            None => value.mismatch(self, hint(text)),
        }
    }
}

impl Kind for Id {
    type Value = String;

    fn expects(&self) -> String {
        "a name that tells strangers nothing".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<String> {
        let text = value.text(self)?;
        if is_name(text) { Some(text.to_owned()) } else { value.mismatch(self, Some(name_hint(text))) }
    }
}

fn hint(text: &str) -> Option<String> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.trim_end_matches('/');
        let (port, also) = match scheme {
            "https" => (":443", ", and add `tls = true` to the upstream"),
            _ => (":80", ""),
        };
        let port = if is_host(rest) { port } else { "" };
        return Some(format!("leave out `{scheme}://`: `\"{rest}{port}\"`{also}"));
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
pub(super) fn is_host(text: &str) -> bool {
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
