//! Refusals: what a client gets instead of the origin's answer, ready for the wire.
//!
//! A refusal holds a status, times and a decision id, and no free text: a score, a rule, a country or an
//! address cannot get into it. This file makes header fields and body from it and is pure; jitter is handed
//! in. When to refuse, and writing to the connection, is somebody else's.

mod body;
mod form;
pub mod grpc;

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER,
    VARY, X_CONTENT_TYPE_OPTIONS,
};
use pingora::http::ResponseHeader;
use uuid::Uuid;

pub use form::{Form, is_preflight, prefers_html};
use form::{Media, Readers};

/// The header that carries a decision's id, to the client and to the origin.
pub const DECISION_HEADER: &str = "riskgate-decision";

/// What a client gets instead of the origin's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    status: RefusalStatus,
    problem: ProblemType,
    retry_after: Option<Duration>,
    /// For how long a place is kept after that.
    kept: Option<Duration>,
    rate_limit: Option<RateLimit>,
    decision: Uuid,
}

/// The statuses that we answer with ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalStatus {
    /// 400: the request cannot be understood.
    BadRequest,
    /// 403: blocked.
    Forbidden,
    /// 404: no route serves this host and path.
    NotFound,
    /// 408: the body came too slowly.
    RequestTimeout,
    /// 413: the body is too large.
    ContentTooLarge,
    /// 414: path and query are too long.
    UriTooLong,
    /// 415: the body is of another type than is accepted here.
    UnsupportedMediaType,
    /// 429: throttled.
    TooManyRequests,
    /// 431: the headers are too large.
    HeadersTooLarge,
    /// 500: a fault of our own.
    InternalServerError,
    /// 502: the upstream failed.
    BadGateway,
    /// 503: not now.
    ServiceUnavailable,
    /// 504: the upstream took too long.
    GatewayTimeout,
}

/// The problem's type, for programs (RFC 9457, section 3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ProblemType {
    /// Nothing more than the status says.
    #[default]
    Blank,
    /// Throttled because of the risk that the request carries.
    AbnormalUsageDetected,
    /// Throttled because a limit that holds for everybody is used up.
    QuotaExceeded,
}

/// The limit that was hit, for the `RateLimit` fields (draft-ietf-httpapi-ratelimit-headers-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests admitted in a window.
    pub quota: u64,
    /// The window's length; rounded up to whole seconds.
    pub window: Duration,
    /// Requests left in this window.
    pub remaining: u64,
    /// Time until more are admitted, from now; rounded up to whole seconds.
    pub reset: Duration,
}

/// Limits have one neutral name: a real one would tell which rule or country was hit.
const LIMIT_NAME: &str = "client";
/// What a script from another origin may read of a refusal.
const EXPOSED: &str = "Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate, riskgate-decision";
/// The page needs its own style sheet and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                           frame-ancestors 'none'";

impl Refusal {
    /// A refusal that says no more than its status.
    pub fn new(status: RefusalStatus, decision: Uuid) -> Self {
        Self {
            status,
            problem: ProblemType::Blank,
            retry_after: None,
            kept: None,
            rate_limit: None,
            decision,
        }
    }

    /// Says which type of problem it is.
    pub fn of_type(self, problem: ProblemType) -> Self {
        Self { problem, ..self }
    }

    /// Says when to come back, if that can be said.
    pub fn retry_after(self, wait: impl Into<Option<Duration>>) -> Self {
        Self { retry_after: wait.into(), ..self }
    }

    /// For how long a place is kept after `Retry-After`, if one is: jitter does not send the client away for longer.
    pub fn kept(self, kept: Option<Duration>) -> Self {
        Self { kept, ..self }
    }

    /// Says which limit was hit.
    pub fn rate_limit(self, limit: RateLimit) -> Self {
        Self { rate_limit: Some(limit), ..self }
    }

    /// The status.
    pub fn status(&self) -> RefusalStatus {
        self.status
    }

    /// Header and body as `form` wants them; the body is empty for `HEAD`. `jitter` from 0 to 1 spreads
    /// clients that come back: by up to a quarter of the wait, and at least a second now and then.
    /// Fails only if Pingora cannot hold the header.
    pub fn on_wire(&self, form: &Form, jitter: f64) -> pingora::Result<(ResponseHeader, Bytes)> {
        let retry_after = self.retry_after.map(|wait| whole_seconds_with_jitter(wait, self.kept, jitter));
        let (content_type, body) = match form.media {
            Media::Grpc => return Ok((grpc::trailers_only(self, retry_after)?, Bytes::new())),
            Media::Problem => ("application/problem+json", body::problem(self)),
            Media::Html => ("text/html; charset=utf-8", body::page(self, retry_after)),
        };
        let mut header = ResponseHeader::build(self.status.code(), Some(16))?;
        header.insert_header(CONTENT_TYPE, content_type)?;
        header.insert_header(CONTENT_LENGTH, body.len())?;
        header.insert_header(CACHE_CONTROL, "no-store")?;
        header.insert_header(X_CONTENT_TYPE_OPTIONS, "nosniff")?;
        header.insert_header(DECISION_HEADER, self.decision.to_string())?;
        if form.media == Media::Html {
            header.insert_header(CONTENT_LANGUAGE, "en")?;
            header.insert_header(CONTENT_SECURITY_POLICY, PAGE_POLICY)?;
        }
        if let Some(seconds) = retry_after {
            header.insert_header(RETRY_AFTER, seconds)?;
        }
        if let Some(limit) = self.rate_limit {
            header.insert_header("ratelimit-policy", limit.policy())?;
            header.insert_header("ratelimit", limit.state())?;
        }
        allow_reading(&mut header, &form.readers)?;
        Ok((header, if form.wants_body { body } else { Bytes::new() }))
    }
}

impl RefusalStatus {
    /// The number.
    pub const fn code(self) -> u16 {
        self.status_code().as_u16()
    }

    /// The standard's words for it.
    pub fn title(self) -> &'static str {
        self.status_code().canonical_reason().unwrap_or("Error")
    }

    const fn status_code(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::ContentTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::InternalServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

impl RateLimit {
    fn policy(self) -> String {
        format!("\"{LIMIT_NAME}\";q={};w={}", self.quota, whole_seconds(self.window))
    }

    fn state(self) -> String {
        format!("\"{LIMIT_NAME}\";r={};t={}", self.remaining, whole_seconds(self.reset))
    }
}

fn allow_reading(header: &mut ResponseHeader, readers: &Readers) -> pingora::Result<()> {
    match readers {
        Readers::SameOrigin => return Ok(()),
        Readers::Anyone => header.insert_header(ACCESS_CONTROL_ALLOW_ORIGIN, "*")?,
        Readers::Sibling(origin) => {
            header.insert_header(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())?;
            header.insert_header(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true")?;
        }
    }
    header.insert_header(VARY, "Origin")?;
    header.insert_header(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED)
}

/// Rounded up, and at least one.
fn whole_seconds(time: Duration) -> u64 {
    let part = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(part).max(1)
}

fn whole_seconds_with_jitter(wait: Duration, kept: Option<Duration>, jitter: f64) -> u64 {
    let wait = whole_seconds(wait);
    let quarter = wait as f64 / 4.0;
    let most = 1.0 + kept.map_or(quarter, |kept| kept.as_secs_f64().min(quarter));
    wait.saturating_add((jitter.clamp(0.0, 1.0) * most) as u64)
}

#[cfg(test)]
mod tests;
