//! What a forwarding header says: the nodes of `X-Forwarded-For` or `Forwarded` (RFC 7239), read from the
//! right, nearest hop first.
//!
//! Only syntax lives here; whom to believe is decided in [`super::client`]. Input is hostile: every walk is
//! bounded, and a node that cannot be read is `Node::Opaque`, never skipped.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Which header is believed. There is exactly one; believing both lets a client choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ForwardHeader {
    /// `X-Forwarded-For`: a list of addresses.
    #[default]
    XForwardedFor,
    /// `Forwarded`: RFC 7239.
    Forwarded,
}

/// One hop as the header names it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    /// An address, with or without a port.
    Address(IpAddr),
    /// `unknown`, an obfuscated name, or something that cannot be read.
    Opaque,
}

/// At most this many bytes of header are read, counted from the right.
const MAX_BYTES: usize = 8 * 1024;
/// At most this many hops are read.
const MAX_NODES: usize = 64;

/// One thing that the origin is told about a judgement, as a header of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// `riskgate-score`
    Score,
    /// `riskgate-level`
    Level,
    /// `riskgate-reasons`
    Reasons,
    /// `riskgate-decision`
    Decision,
}

impl ForwardHeader {
    /// The header's name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }

    /// Calls `visit` with each hop of all header `lines` joined, nearest first, until it returns `false`.
    /// Past the bounds the walk just ends with [`Node::Opaque`].
    pub(super) fn walk<'a>(
        self,
        lines: impl DoubleEndedIterator<Item = &'a [u8]>,
        mut visit: impl FnMut(Node) -> bool,
    ) {
        let (mut bytes, mut nodes) = (0, 0);
        for line in lines.rev() {
            let Ok(text) = std::str::from_utf8(line) else {
                visit(Node::Opaque);
                return;
            };
            for element in elements_from_right(text) {
                bytes += element.len() + 1;
                nodes += 1;
                if bytes > MAX_BYTES || nodes > MAX_NODES {
                    visit(Node::Opaque);
                    return;
                }
                if !visit(self.node(element)) {
                    return;
                }
            }
        }
    }

    fn node(self, element: &str) -> Node {
        let identifier = match self {
            Self::XForwardedFor => Some(element.trim()),
            Self::Forwarded => for_parameter(element),
        };
        identifier.and_then(address).map_or(Node::Opaque, Node::Address)
    }
}

/// The comma-separated elements of one line, last first; commas inside quotes do not separate.
fn elements_from_right(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut quoted = false;
        // A quote escaped by a backslash cannot be told from the right; such an element is opaque anyway.
        let comma = text.bytes().enumerate().rev().find(|(_, byte)| {
            quoted ^= *byte == b'"';
            *byte == b',' && !quoted
        });
        let (head, element) = match comma {
            Some((at, _)) => (text.get(..at), text.get(at + 1..)),
            None => (None, Some(text)),
        };
        rest = head;
        element
    })
}

/// The value of the one `for=` parameter of a `Forwarded` element, unquoted.
fn for_parameter(element: &str) -> Option<&str> {
    let mut found = None;
    for pair in element.split(';') {
        let (name, value) = pair.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("for") {
            if found.is_some() {
                return None;
            }
            found = Some(value.trim());
        }
    }
    let value = found?;
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').filter(|inner| !inner.contains(['"', '\\'])),
        None => Some(value),
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    text.parse::<SocketAddr>().ok().map(|socket| socket.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(header: ForwardHeader, lines: &[&str]) -> Vec<String> {
        let mut seen = Vec::new();
        header.walk(lines.iter().map(|line| line.as_bytes()), |node| {
            seen.push(match node {
                Node::Address(address) => address.to_string(),
                Node::Opaque => "?".into(),
            });
            true
        });
        seen
    }

    #[test]
    fn hops_come_from_the_right_over_all_lines() {
        let lines = ["192.0.2.1, 192.0.2.2:8080", "[2001:db8::1]:443 ,2001:db8::2"];
        assert_eq!(
            nodes(ForwardHeader::XForwardedFor, &lines),
            ["2001:db8::2", "2001:db8::1", "192.0.2.2", "192.0.2.1"]
        );
    }

    #[test]
    fn forwarded_reads_quotes_brackets_ports_and_any_case() {
        let line = [
            r#"for=192.0.2.43;proto=http, For="[2001:db8:cafe::17]:4711";by=203.0.113.43, for=unknown, for=_x, proto=https"#,
        ];
        assert_eq!(
            nodes(ForwardHeader::Forwarded, &line),
            ["?", "?", "?", "2001:db8:cafe::17", "192.0.2.43"]
        );
    }

    #[test]
    fn what_cannot_be_read_is_opaque_not_skipped() {
        let lines = ["1.2.3, , 01.2.3.4, 1.2.3.4.5, ::g, [1.2.3.4], 1.2.3.4:99999"];
        assert!(nodes(ForwardHeader::XForwardedFor, &lines).iter().all(|node| node == "?"));
        let twice = ["for=192.0.2.1;for=192.0.2.2"];
        assert_eq!(nodes(ForwardHeader::Forwarded, &twice), ["?"]);
    }

    #[test]
    fn a_comma_inside_quotes_does_not_separate() {
        assert_eq!(nodes(ForwardHeader::Forwarded, &[r#"for=192.0.2.1;by="a,b""#]), ["192.0.2.1"]);
    }

    #[test]
    fn the_walk_is_bounded() {
        let many = vec!["192.0.2.1"; 10_000].join(",");
        let seen = nodes(ForwardHeader::XForwardedFor, &[&many]);
        assert_eq!(seen.len(), MAX_NODES + 1);
        assert_eq!(seen.last().map(String::as_str), Some("?"));
    }
}
