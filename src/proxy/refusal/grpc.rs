//! Refusals of gRPC calls: an answer of status 200 that is nothing but trailers, which tell the real status
//! (the "Trailers-Only" answer of gRPC over HTTP/2). A client of gRPC takes any other for a broken server. What tells calls
//! and their status is known here only.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use pingora::http::ResponseHeader;

use super::{DECISION_HEADER, Refusal, RefusalStatus};
use crate::facts::request::RequestHead;

/// Whether the request is a call of gRPC.
pub fn is_call(head: &RequestHead<'_>) -> bool {
    head.version() == "2" && is_grpc(head.header("content-type").as_bytes())
}

/// Whether a `Content-Type` is that of gRPC itself; gRPC-Web, which has no trailers, is another.
pub fn is_grpc(kind: &[u8]) -> bool {
    let (start, rest) = kind.split_at_checked(GRPC.len()).unwrap_or((kind, b""));
    start.eq_ignore_ascii_case(GRPC.as_bytes()) && matches!(rest.first(), None | Some(b'+' | b';'))
}

/// The code that a status of a call has; what is none means that nothing is known.
pub fn code_of(status: &[u8]) -> u16 {
    std::str::from_utf8(status).ok().and_then(|status| status.parse().ok()).unwrap_or(UNKNOWN)
}

/// The field that tells the status of a call.
pub const STATUS: &str = "grpc-status";
const GRPC: &str = "application/grpc";
const UNKNOWN: u16 = 2;

/// The whole answer.
pub(super) fn trailers_only(refusal: &Refusal, retry_after: Option<u64>) -> pingora::Result<ResponseHeader> {
    let mut header = ResponseHeader::build(200, Some(6))?;
    header.insert_header(CONTENT_TYPE, GRPC)?;
    header.insert_header(STATUS, code(refusal.status()))?;
    header.insert_header("grpc-message", refusal.status().title())?;
    if let Some(seconds) = retry_after {
        let wait = Duration::from_secs(seconds).as_millis();
        header.insert_header("grpc-retry-pushback-ms", wait.to_string())?;
    }
    header.insert_header(CACHE_CONTROL, "no-store")?;
    header.insert_header(DECISION_HEADER, refusal.decision.to_string())?;
    Ok(header)
}

/// The code of gRPC that says the same.
const fn code(status: RefusalStatus) -> u16 {
    match status {
        RefusalStatus::BadRequest | RefusalStatus::UnsupportedMediaType => 3,
        RefusalStatus::Forbidden => 7,
        RefusalStatus::ContentTooLarge
        | RefusalStatus::UriTooLong
        | RefusalStatus::TooManyRequests
        | RefusalStatus::HeadersTooLarge => 8,
        RefusalStatus::NotFound => 12,
        RefusalStatus::InternalServerError => 13,
        RefusalStatus::BadGateway | RefusalStatus::ServiceUnavailable => 14,
        RefusalStatus::RequestTimeout | RefusalStatus::GatewayTimeout => 4,
    }
}
