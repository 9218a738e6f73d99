//! In which form a request wants its refusal: for a program or a person, with or without a body, and who else
//! may read it. Decided from the request's head alone, before it is needed.

use http::header::{ACCEPT, AUTHORIZATION, ORIGIN};
use http::{HeaderMap, HeaderValue};

use super::grpc;
use crate::facts::request::RequestHead;

/// In which form a request wants its refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    pub(super) media: Media,
    pub(super) wants_body: bool,
    pub(super) readers: Readers,
}

/// For a program, or for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Problem,
    Html,
    Grpc,
}

/// Which scripts in browsers may read the refusal (Fetch standard, CORS protocol).
///
/// Without permission a page sees a network error and cannot tell "slow down" from "offline". A refusal holds
/// nothing of a user, so any origin may read it without credentials. With credentials, which single-page
/// applications on `app.example.com` use toward `api.example.com`, only origins of the same site may: another
/// site could otherwise learn how a visitor's account fares here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// The request named no origin, so nobody needs permission.
    SameOrigin,
    /// Every origin, without credentials.
    Anyone,
    /// This origin of the same site, with credentials.
    Sibling(HeaderValue),
}

/// Longer origins do not exist: a scheme, a host name and a port.
const MAX_ORIGIN: usize = 280;

impl Form {
    /// The form that `head` asks for.
    pub fn asked_by(head: &RequestHead<'_>) -> Self {
        Self {
            media: Media::of(head),
            wants_body: head.method() != "HEAD",
            readers: Readers::of(head.headers()),
        }
    }
}

/// Whether a person in front of a browser is waiting for a page: a navigation, or, from browsers that do not
/// say, a `GET` without credentials of an API that accepts HTML sooner than JSON.
pub fn prefers_html(head: &RequestHead<'_>) -> bool {
    match head.headers().get("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => {
            matches!(head.method(), "GET" | "HEAD")
                && !head.headers().contains_key(AUTHORIZATION)
                && accepts_html_first(head.headers())
        }
    }
}

/// Whether a browser asks in advance for permission to send a request (Fetch standard, CORS preflight).
pub fn is_preflight(head: &RequestHead<'_>) -> bool {
    head.method() == "OPTIONS"
        && head.has_header("origin")
        && head.has_header("access-control-request-method")
}

impl Media {
    fn of(head: &RequestHead<'_>) -> Self {
        if grpc::is_call(head) {
            Self::Grpc
        } else if prefers_html(head) {
            Self::Html
        } else {
            Self::Problem
        }
    }
}

impl Readers {
    fn of(headers: &HeaderMap) -> Self {
        let Some(origin) = headers.get(ORIGIN) else {
            return Self::SameOrigin;
        };
        let relation = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        let related = matches!(relation, Some(b"same-origin" | b"same-site"));
        let plain = origin.len() <= MAX_ORIGIN && origin.as_bytes().iter().all(u8::is_ascii_graphic);
        if related && plain && origin != "null" { Self::Sibling(origin.clone()) } else { Self::Anyone }
    }
}

fn accepts_html_first(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let (mut html, mut json) = (0, 0);
    for range in lines.flat_map(|line| line.split(',')) {
        let (media, parameters) = range.split_once(';').unwrap_or((range, ""));
        let best = match media.trim() {
            media if media.eq_ignore_ascii_case("text/html") => &mut html,
            media if media.to_ascii_lowercase().ends_with("json") => &mut json,
            _ => continue,
        };
        *best = quality(parameters).max(*best);
    }
    html > json
}

/// The weight among a media range's parameters, in thousandths (RFC 9110, section 12.4.2).
fn quality(parameters: &str) -> u16 {
    let mut pairs = parameters.split(';').filter_map(|pair| pair.split_once('='));
    let weight = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    let number = weight.map_or(Some(1.0), |(_, value)| value.trim().parse::<f32>().ok());
    (number.unwrap_or(0.0).clamp(0.0, 1.0) * 1000.0) as u16
}
