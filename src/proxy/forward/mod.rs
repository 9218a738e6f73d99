//! What the origin is told: who is calling, how risky it looked, and nothing that a client made up.
//!
//! Pure functions over the request header on its way to the origin, in this order: [`strip_claims`] removes
//! every header that could pass for ours or name an address, then [`Forwarding`] and [`Verdict`] write what is
//! believed. `Connection` and `Upgrade` are not touched, so WebSockets pass.

use http::header::{HOST, HeaderName};
use pingora::http::RequestHeader;
use uuid::Uuid;

use super::refusal::DECISION_HEADER;
use crate::facts::address_headers::{hyphenated, tells_address};
use crate::facts::forwarded::ForwardHeader;
use crate::facts::request::Scheme;

/// Everything that starts like this is ours to say.
const OUR_PREFIXES: &[&str] = &[TAG_PREFIX, "x-forwarded-"];
const TAG_PREFIX: &str = "riskgate-";
/// Names after [`TAG_PREFIX`] that no tag can take.
const RESERVED_TAGS: &[&str] = &["score", "level", "reasons", "decision"];
/// Bytes of a value that we write.
const MAX_VALUE: usize = 256;
/// Bytes of the list of reasons; whole ids only.
const MAX_REASONS: usize = 2048;

/// What the origin is told about the client and the connection.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// Which header names the client.
    pub header: ForwardHeader,
    /// The client as the operator wants it named: an address or a pseudonym; `None` if unknown.
    pub node: Option<&'a str>,
    /// How the request reached the gate, or the proxy in front of it that is trusted to say.
    pub scheme: Scheme,
}

/// What the origin is told about the judgement.
#[derive(Clone, Copy, Debug)]
pub struct Verdict<'a> {
    /// 0 to 100.
    pub score: u8,
    /// The level's name.
    pub level: &'a str,
    /// The ids of the reasons.
    pub reasons: &'a [&'a str],
    /// The decision's id.
    pub decision: Uuid,
    /// What scripts want the origin to know.
    pub tags: &'a [(&'a str, &'a str)],
}

/// Removes what a client might have made up: our own headers, in any spelling, and all that name an address,
/// a scheme or a host on somebody's behalf.
pub fn strip_claims(header: &mut RequestHeader) {
    let claims: Vec<_> = header.headers.keys().filter(|name| is_claim(name.as_str())).cloned().collect();
    for name in &claims {
        header.remove_header(name);
    }
}

/// Whether `name`, in lower case, is a header that only we may send to an origin.
pub fn is_claim(name: &str) -> bool {
    let plain = hyphenated(name);
    OUR_PREFIXES.iter().any(|prefix| plain.starts_with(prefix)) || tells_address(&plain)
}

/// Whether a script may use `name` for a tag: letters, digits and `-` in lower case, and not one of our own.
pub fn is_tag_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(plain) && !RESERVED_TAGS.contains(&name)
}

impl Forwarding<'_> {
    /// Writes the forwarding headers. Call [`strip_claims`] first.
    pub fn write(&self, header: &mut RequestHeader) -> pingora::Result<()> {
        let host = header.headers.get(HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
        match (self.header, self.node) {
            (ForwardHeader::XForwardedFor, Some(node)) => {
                header.insert_header("x-forwarded-for", sanitise(node))?;
            }
            (ForwardHeader::XForwardedFor, None) => {}
            (ForwardHeader::Forwarded, _) => {
                header.insert_header("forwarded", self.forwarded(host.as_deref()))?;
            }
        }
        header.insert_header("x-forwarded-proto", self.scheme.as_str())?;
        if let Some(host) = host {
            header.insert_header("x-forwarded-host", host)?;
        }
        Ok(())
    }

    /// One element of RFC 7239, section 4.
    fn forwarded(&self, host: Option<&str>) -> String {
        let node = match self.node {
            Some(node) if node.contains(':') && !node.starts_with('[') => quote(&format!("[{node}]")),
            Some(node) => quote(node),
            None => "unknown".to_owned(),
        };
        let mut element = format!("for={node};proto={}", self.scheme.as_str());
        if let Some(host) = host {
            element.push_str(";host=");
            element.push_str(&quote(host));
        }
        element
    }
}

impl Verdict<'_> {
    /// Writes our headers. Call [`strip_claims`] first.
    pub fn write(&self, header: &mut RequestHeader) -> pingora::Result<()> {
        header.insert_header("riskgate-score", u16::from(self.score))?;
        header.insert_header("riskgate-level", sanitise(self.level))?;
        if !self.reasons.is_empty() {
            header.insert_header("riskgate-reasons", self.reasons())?;
        }
        header.insert_header(DECISION_HEADER, self.decision.to_string())?;
        for (name, value) in self.tags.iter().filter(|(name, _)| is_tag_name(name)) {
            let name = HeaderName::try_from(format!("{TAG_PREFIX}{name}"));
            header.insert_header(name.map_err(|_| invalid_name())?, sanitise(value))?;
        }
        Ok(())
    }

    fn reasons(&self) -> String {
        let mut list = String::new();
        for reason in self.reasons {
            let reason = sanitise(reason);
            if list.len() + reason.len() + 2 > MAX_REASONS {
                break;
            }
            list.push_str(if list.is_empty() { "" } else { ", " });
            list.push_str(&reason);
        }
        list
    }
}

fn invalid_name() -> Box<pingora::Error> {
    pingora::Error::explain(pingora::ErrorType::InternalError, "a tag's name is not a header's name")
}

/// Visible ASCII and spaces between it, at most [`MAX_VALUE`] bytes; anything else becomes `?`.
fn sanitise(text: &str) -> String {
    let visible = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let clean: String = text.chars().take(MAX_VALUE).map(visible).collect();
    clean.trim().to_owned()
}

/// A token as it is, anything else as a quoted string (RFC 9110, section 5.6).
fn quote(text: &str) -> String {
    let clean = sanitise(text);
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !clean.is_empty() && clean.bytes().all(token) {
        return clean;
    }
    format!("\"{}\"", clean.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests;
