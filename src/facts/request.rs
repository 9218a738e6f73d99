//! The head of a request, as the policy sees it: borrowed, normalised, typed.
//!
//! `path` is normalised (RFC 3986, section 6.2.2: percent-encoded unreserved characters decoded, dot segments
//! and doubled slashes removed), so that `/%61dmin` and `//x/../admin` cannot walk around a rule about
//! `/admin`. The origin still gets the path as the client wrote it.

use std::borrow::Cow;

use http::header::AsHeaderName;
use http::request::Parts;
use http::{HeaderMap, Version};

use super::body::Document;

/// How the request reached the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

/// A request's head. Borrowed from whoever parsed it.
#[derive(Clone, Debug)]
pub struct RequestHead<'a> {
    method: &'a str,
    scheme: Scheme,
    host: Cow<'a, str>,
    path: Cow<'a, str>,
    query: &'a str,
    version: Version,
    target_len: usize,
    headers: &'a HeaderMap,
    lines: Lines<'a>,
    body: Option<&'a Document>,
}

/// What is known about the header lines besides the parsed ones.
#[derive(Clone, Copy, Debug)]
enum Lines<'a> {
    /// Nothing.
    Parsed,
    /// The whole head as it came.
    Raw(&'a [u8]),
    /// Only what somebody says that their fingerprint is.
    Described(&'a str),
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl<'a> RequestHead<'a> {
    /// Reads a parsed head. Nothing is refused here; what is missing is empty.
    pub fn read(parts: &'a Parts, scheme: Scheme) -> Self {
        Self {
            method: parts.method.as_str(),
            scheme,
            host: host(parts),
            path: normalise(parts.uri.path()),
            query: parts.uri.query().unwrap_or(""),
            version: parts.version,
            target_len: parts.uri.path_and_query().map_or(0, |target| target.as_str().len()),
            headers: &parts.headers,
            lines: Lines::Parsed,
            body: None,
        }
    }

    /// The same head, of which it is known how it came, for HTTP/1.
    #[must_use]
    pub fn from_wire(self, raw: Option<&'a [u8]>) -> Self {
        Self { lines: raw.map_or(self.lines, Lines::Raw), ..self }
    }

    /// The same head, of which somebody says what the fingerprint of its header lines is.
    #[must_use]
    pub fn with_order(self, order: Option<&'a str>) -> Self {
        Self { lines: order.map_or(self.lines, Lines::Described), ..self }
    }

    /// The same head, whose body was read already.
    #[must_use]
    pub fn with_body(self, body: Option<&'a Document>) -> Self {
        Self { body, ..self }
    }

    /// The body, if it was read already.
    pub fn body(&self) -> Option<&'a Document> {
        self.body
    }

    /// The head as it came, if that is known.
    pub fn raw(&self) -> Option<&'a [u8]> {
        match self.lines {
            Lines::Raw(raw) => Some(raw),
            Lines::Parsed | Lines::Described(_) => None,
        }
    }

    /// What somebody says that the fingerprint of the header lines is.
    pub fn described_order(&self) -> Option<&'a str> {
        match self.lines {
            Lines::Described(order) => Some(order),
            Lines::Parsed | Lines::Raw(_) => None,
        }
    }

    /// The method as sent, usually upper case.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// How the request reached the gate.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host in lower case, without port; empty if there is none.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The normalised path, always starting with `/` (or `*` for `OPTIONS *`).
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query as sent, without `?`; empty if there is none.
    pub fn query(&self) -> &'a str {
        self.query
    }

    /// `1.0`, `1.1`, `2` or `3`.
    pub fn version(&self) -> &'static str {
        match self.version {
            Version::HTTP_09 => "0.9",
            Version::HTTP_10 => "1.0",
            Version::HTTP_11 => "1.1",
            Version::HTTP_2 => "2",
            Version::HTTP_3 => "3",
            _ => "unknown",
        }
    }

    /// The declared size of the body in bytes; `None` if the request does not say, or not as a number.
    pub fn size(&self) -> Option<u64> {
        self.headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
    }

    /// Bytes of path and query as sent.
    pub fn target_len(&self) -> usize {
        self.target_len
    }

    /// Bytes of the largest header value, and of all names and values together.
    pub fn header_sizes(&self) -> (usize, usize) {
        self.headers.iter().fold((0, 0), |(largest, all), (name, value)| {
            (largest.max(value.len()), all + name.as_str().len() + value.len())
        })
    }

    /// The first header of that name; bytes that are not UTF-8 read as U+FFFD; empty if absent.
    pub fn header(&self, name: impl AsHeaderName) -> Cow<'a, str> {
        self.headers.get(name).map_or(Cow::Borrowed(""), |value| String::from_utf8_lossy(value.as_bytes()))
    }

    /// Whether the request has a header of that name, empty or not.
    pub fn has_header(&self, name: impl AsHeaderName) -> bool {
        self.headers.contains_key(name)
    }

    /// All headers, names in lower case.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// Every `name=value` of every `Cookie` header, in order.
    pub fn cookies(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.headers
            .get_all(http::header::COOKIE)
            .iter()
            .filter_map(|line| std::str::from_utf8(line.as_bytes()).ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
    }

    /// Every `name=value` of the query, decoded, in order. A name without `=` has an empty value.
    pub fn params(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        self.query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
    }
}

fn host(parts: &Parts) -> Cow<'_, str> {
    let named = parts.uri.authority().map(|authority| authority.as_str());
    let header = || parts.headers.get(http::header::HOST).and_then(|value| value.to_str().ok());
    let host = named.or_else(header).unwrap_or("");
    if let Some(plain) = plain_name(host) {
        return Cow::Borrowed(plain);
    }
    let host = host.trim();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    // The port follows the last colon, unless that colon is inside the brackets of an IPv6 address.
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// The name in a host that is written as most are: in lower case, with or without a port.
fn plain_name(host: &str) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    let (name, port) = match host.bytes().position(|byte| !plain(byte)) {
        None => (host, ""),
        Some(end) => host.split_at(end),
    };
    let is_port =
        port.is_empty() || port.starts_with(':') && port.bytes().skip(1).all(|b| b.is_ascii_digit());
    (is_port && !name.ends_with('.')).then_some(name)
}

fn normalise(path: &str) -> Cow<'_, str> {
    let mut before = 0;
    let plain = path.bytes().all(|byte| {
        let plain = byte != b'%' && !(before == b'/' && (byte == b'/' || byte == b'.'));
        before = byte;
        plain
    });
    if plain && path.starts_with('/') || path == "*" {
        return Cow::Borrowed(path);
    }
    let decoded = decode_unreserved(path);
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = decoded.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            ".." => {
                kept.pop();
            }
            "." | "" => {}
            name => kept.push(name),
        }
        if last && matches!(segment, "" | "." | "..") {
            kept.push("");
        }
    }
    Cow::Owned(format!("/{}", kept.join("/")))
}

/// Decodes `%XX` where it stands for a letter, a digit or one of `-._~`, which never needed encoding.
fn decode_unreserved(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (head, tail) = rest.split_at(at);
        out.push_str(head);
        match hex_pair(tail) {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                out.push(char::from(byte));
                rest = tail.get(3..).unwrap_or("");
            }
            _ => {
                out.push('%');
                rest = tail.get(1..).unwrap_or("");
            }
        }
    }
    out.push_str(rest);
    out
}

/// Decodes a query component: `+` is a space, `%XX` is a byte, what is not UTF-8 becomes U+FFFD.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let (byte, used) = match (first, hex_pair(rest)) {
            (b'%', Some(byte)) => (byte, 3),
            (b'+', _) => (b' ', 1),
            _ => {
                let width = rest.chars().next().map_or(1, char::len_utf8);
                bytes.extend_from_slice(rest.get(..width).unwrap_or("").as_bytes());
                rest = rest.get(width..).unwrap_or("");
                continue;
            }
        };
        bytes.push(byte);
        rest = rest.get(used..).unwrap_or("");
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// The byte that `%XX` at the start of `text` stands for.
fn hex_pair(text: &str) -> Option<u8> {
    let digits = text.strip_prefix('%')?.get(..2)?;
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests;
