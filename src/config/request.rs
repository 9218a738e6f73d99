//! `[request]`: how large and how slow requests may be, whatever the policy says.
//!
//! Routes may have bounds of their own for bodies; see `[[route]]`. What is refused, and how it is recorded, is not
//! decided here.

use std::time::Duration;

use super::kinds::{Number, Period, Size};
use super::reader::{Document, Fallback, Key, Layout};

/// What requests may be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes of path and query.
    pub max_uri: u64,
    /// Header lines.
    pub max_headers: usize,
    /// Bytes of one header's value.
    pub max_header: u64,
    /// Bytes of all names and values of headers.
    pub max_header_bytes: u64,
    /// Bytes of a body.
    pub max_body: u64,
    /// Bytes per second of a body; 0 is no minimum.
    pub min_body_rate: u64,
    /// How long a body may take besides.
    pub body_grace: Duration,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "request",
    heading: "[request]",
    doc: "How large and how slow requests may be. What exceeds it is refused, and recorded with a reason of its own.",
    keys: &[&MAX_URI, &MAX_HEADERS, &MAX_HEADER, &MAX_HEADER_BYTES, &MAX_BODY, &MIN_BODY_RATE, &BODY_GRACE],
    reserved: &[],
};

const MAX_URI: Key<Size> = Key {
    name: "max_uri",
    kind: Size { from: 64, to: 60 * 1024 },
    fallback: Fallback::Is("\"8KiB\""),
    doc: "The most bytes of path and query; more are answered with 414.",
};

const MAX_HEADERS: Key<Number<usize>> = Key {
    name: "max_headers",
    kind: Number { from: 1, to: 256 },
    fallback: Fallback::Is("100"),
    doc: "The most header lines; more are answered with 431.",
};

const MAX_HEADER: Key<Size> = Key {
    name: "max_header",
    kind: Size { from: 64, to: 512 * 1024 },
    fallback: Fallback::Is("\"16KiB\""),
    doc: "The most bytes of one header's value; more are answered with 431.",
};

const MAX_HEADER_BYTES: Key<Size> = Key {
    name: "max_header_bytes",
    kind: Size { from: 64, to: 512 * 1024 },
    fallback: Fallback::Is("\"64KiB\""),
    doc: "The most bytes of all names and values of headers; more are answered with 431.",
};

const MAX_BODY: Key<Size> = Key {
    name: "max_body",
    kind: MOST,
    fallback: Fallback::Is("\"100MiB\""),
    doc: "The most bytes of a body, as declared and as it comes; more are answered with 413.",
};

const MIN_BODY_RATE: Key<Size> = Key {
    name: "min_body_rate",
    kind: RATE,
    fallback: Fallback::Is("\"256B\""),
    doc: "The least bytes of a body that a client has to send each second; less is answered with 408. `\"0B\"` is no \
          minimum.",
};

const BODY_GRACE: Key<Period> = Key {
    name: "body_grace",
    kind: Period { from: Duration::from_secs(1), to: Duration::from_secs(3600) },
    fallback: Fallback::Is("\"10s\""),
    doc: "How long a body may take besides what `min_body_rate` allows for its bytes.",
};

/// How large a body may be at most.
pub(super) const MOST: Size = Size { from: 0, to: 1 << 50 };
/// How many bytes a second a client may have to send.
pub(super) const RATE: Size = Size { from: 0, to: 1 << 30 };

/// Reads `[request]`.
pub(super) fn read(document: &Document<'_>) -> Option<Request> {
    let section = document.section(&LAYOUT)?;
    let (max_uri, max_headers) = (section.read(&MAX_URI), section.read(&MAX_HEADERS));
    let (max_header, max_header_bytes) = (section.read(&MAX_HEADER), section.read(&MAX_HEADER_BYTES));
    let (max_body, min_body_rate) = (section.read(&MAX_BODY), section.read(&MIN_BODY_RATE));
    let body_grace = section.read(&BODY_GRACE);
    Some(Request {
        max_uri: max_uri?,
        max_headers: max_headers?,
        max_header: max_header?,
        max_header_bytes: max_header_bytes?,
        max_body: max_body?,
        min_body_rate: min_body_rate?,
        body_grace: body_grace?,
    })
}
