//! What a forwarding header says: the nodes of `X-Forwarded-For` or `Forwarded` (RFC 7239), read from the
//! right, nearest hop first.
//!
//! Only syntax lives here; whom to believe is decided in [`super::client`]. Input is hostile: every walk is
//! bounded, and a node that cannot be read is `Node::Opaque`, never skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::{FORWARDED, HeaderName};

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

    /// The same, ready to be looked up.
    pub fn header_name(self) -> &'static HeaderName {
        static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
        match self {
            Self::XForwardedFor => &X_FORWARDED_FOR,
            Self::Forwarded => &FORWARDED,
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
            for element in self.elements_from_right(line) {
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

    /// Each element is read by itself: what a client wrote to the left of a proxy's word cannot spoil it.
    fn node(self, element: &[u8]) -> Node {
        let element = std::str::from_utf8(element).ok();
        let identifier = match self {
            Self::XForwardedFor => element.map(trim),
            Self::Forwarded => element.and_then(for_parameter),
        };
        identifier.and_then(address).map_or(Node::Opaque, Node::Address)
    }

    /// The comma-separated elements of one line, last first.
    fn elements_from_right(self, line: &[u8]) -> impl Iterator<Item = &[u8]> {
        let mut rest = Some(line);
        std::iter::from_fn(move || {
            let text = rest?;
            let (head, element) = match self.last_comma(text) {
                Some(at) => (text.get(..at), text.get(at + 1..)),
                None => (None, Some(text)),
            };
            rest = head;
            element
        })
    }

    /// Only `Forwarded` has quotes, inside which commas do not separate. A quote behind a backslash neither opens nor
    /// closes anything; so whatever a proxy quotes in its own element is skipped as a whole, coming from the right.
    fn last_comma(self, text: &[u8]) -> Option<usize> {
        let mut quoted = false;
        text.iter().enumerate().rev().find_map(|(at, byte)| {
            quoted ^= self == Self::Forwarded && *byte == b'"' && !escaped(text, at);
            (*byte == b',' && !quoted).then_some(at)
        })
    }
}

/// Whether an odd number of backslashes stands before a place.
fn escaped(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The value of the one `for=` parameter of a `Forwarded` element, unquoted.
fn for_parameter(element: &str) -> Option<&str> {
    let mut found = None;
    for pair in pairs(element) {
        if trim(pair).is_empty() {
            continue;
        }
        let (name, value) = pair.split_once('=')?;
        if trim(name).eq_ignore_ascii_case("for") {
            if found.is_some() {
                return None;
            }
            found = Some(trim(value));
        }
    }
    let value = found?;
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').filter(|inner| !inner.contains(['"', '\\'])),
        None => Some(value),
    }
}

/// The parameters of an element; semicolons inside quotes do not separate.
fn pairs(element: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    element.split(move |char| {
        let literal = std::mem::take(&mut escaped);
        match char {
            _ if literal => false,
            '\\' if quoted => {
                escaped = true;
                false
            }
            '"' => {
                quoted = !quoted;
                false
            }
            char => char == ';' && !quoted,
        }
    })
}

/// Without the blanks that may stand around elements and their parts; there are no others.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`, with `_name` for a hidden port.
fn address(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inner, port) = rest.split_once(']')?;
        let address = inner.parse::<Ipv6Addr>().ok()?;
        return (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(address.into());
    }
    match text.split_once(':') {
        Some((address, port)) if !port.contains(':') => {
            address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port)).map(IpAddr::V4)
        }
        Some(_) | None => text.parse().ok(),
    }
}

/// Up to five digits, or what RFC 7239 calls an obfuscated port.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        }
        None => text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}

#[cfg(test)]
mod tests;
