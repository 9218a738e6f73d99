//! What the origin is told: who is calling, how risky it looked, and nothing that a client made up.
//!
//! Pure functions over the request header on its way to the origin, in this order: [`strip_claims`] removes
//! every header that could pass for ours or name an address, then [`Forwarding`] and [`Verdict`] write what is
//! believed. `Connection` and `Upgrade` are not touched, so WebSockets pass. Where they write is for [`Fields`] to say.

mod head;

use std::borrow::Cow;

use http::header::{HeaderName, HeaderValue};
use pingora::http::RequestHeader;

use super::refusal::DECISION_HEADER;
use crate::decision::{Decision, Reason};
use crate::facts::address_headers::{hyphenated, tells_address};
use crate::facts::forwarded::{ForwardHeader, Tell};
use crate::facts::request::Scheme;

pub use head::{Fields, Head};

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
    /// What was decided.
    pub decision: &'a Decision,
    /// The decision's id.
    pub id: &'a HeaderValue,
    /// Which of it the origin is told.
    pub tell: &'a [Tell],
}

/// Removes what a client might have made up: our own headers, in any spelling, and all that name an address,
/// a scheme or a host on somebody's behalf. What `forwarding` will replace may stay until then.
pub fn strip_claims(header: &mut RequestHeader, forwarding: &Forwarding<'_>) {
    let replaced = forwarding.replaces();
    let claim = |name: &&HeaderName| Some(*name) != replaced && is_claim(name.as_str());
    // Seldom more than the one that a proxy before us wrote.
    while let Some(claim) = header.headers.keys().find(claim).cloned() {
        header.remove_header(&claim);
    }
}

/// Whether `name`, in lower case, is a header that only we may send to an origin.
pub fn is_claim(name: &str) -> bool {
    if !name.starts_with(['r', 'x']) {
        return tells_address(name);
    }
    let plain = hyphenated(name);
    OUR_PREFIXES.iter().any(|prefix| plain.starts_with(prefix)) || tells_address(&plain)
}

/// Whether a script may use `name` for a tag: letters, digits and `-` in lower case, and not one of our own.
pub fn is_tag_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(plain) && !RESERVED_TAGS.contains(&name)
}

impl Forwarding<'_> {
    /// The header that is surely written.
    fn replaces(&self) -> Option<&'static HeaderName> {
        match (self.header, self.node) {
            (ForwardHeader::XForwardedFor, None) => None,
            (header, _) => Some(header.header_name()),
        }
    }

    /// Writes the forwarding headers, of a request for `host`, where there are no claims.
    pub fn write(&self, fields: &mut impl Fields, host: Option<&str>) -> pingora::Result<()> {
        match (self.header, self.node) {
            (ForwardHeader::XForwardedFor, Some(node)) => {
                fields.put("x-forwarded-for", sanitise(node).as_bytes())?;
            }
            (ForwardHeader::XForwardedFor, None) => {}
            (ForwardHeader::Forwarded, _) => fields.put("forwarded", self.forwarded(host).as_bytes())?,
        }
        fields.put("x-forwarded-proto", self.scheme.as_str().as_bytes())?;
        host.map_or(Ok(()), |host| fields.put("x-forwarded-host", host.as_bytes()))
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
    /// Writes our headers, where there are no claims.
    pub fn write(&self, fields: &mut impl Fields) -> pingora::Result<()> {
        let decision = self.decision;
        for tell in self.tell {
            match tell {
                Tell::Score => {
                    let mut digits = itoa::Buffer::new();
                    fields.put("riskgate-score", digits.format(decision.score().value()).as_bytes())?;
                }
                Tell::Level => fields.put("riskgate-level", decision.level().as_str().as_bytes())?,
                Tell::Reasons => {
                    if let Some(reasons) = listed(decision.reasons()) {
                        fields.put("riskgate-reasons", reasons.as_bytes())?;
                    }
                }
                Tell::Decision => fields.put(DECISION_HEADER, self.id.as_bytes())?,
            }
        }
        let mut tags = decision.tags();
        while let Some(((name, said), later)) = tags.split_first() {
            // What is said last counts.
            if is_tag_name(name) && !later.iter().any(|(again, _)| again == name) {
                fields.put(format!("{TAG_PREFIX}{name}"), sanitise(said).as_bytes())?;
            }
            tags = later;
        }
        Ok(())
    }
}

/// The ids of the reasons that counted, as many as there is room for; `None` if there are none.
fn listed(reasons: &[Reason]) -> Option<Cow<'_, str>> {
    let mut counted = reasons.iter().filter(|reason| !reason.observed).map(|reason| &*reason.reason);
    let first = counted.next()?;
    let mut list = sanitise(first);
    for reason in counted {
        let reason = sanitise(reason);
        if list.len() + reason.len() + 2 > MAX_REASONS {
            break;
        }
        let list = list.to_mut();
        list.push_str(", ");
        list.push_str(&reason);
    }
    Some(list)
}

/// Visible ASCII and spaces between it, at most [`MAX_VALUE`] bytes; anything else becomes `?`.
fn sanitise(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_VALUE && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Cow::Borrowed(text);
    }
    let visible = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let clean: String = text.chars().take(MAX_VALUE).map(visible).collect();
    clean.trim().to_owned().into()
}

/// A token as it is, anything else as a quoted string (RFC 9110, section 5.6).
fn quote(text: &str) -> String {
    let clean = sanitise(text);
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !clean.is_empty() && clean.bytes().all(token) {
        return clean.into_owned();
    }
    format!("\"{}\"", clean.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests;
