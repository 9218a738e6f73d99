//! Why a request cannot be served, whatever the policy says: what each fault is called, and what it is answered with.
//!
//! Nothing here is a judgement: it is what a request is, held against [`Bounds`](super::bounds::Bounds). A fault that
//! shows before anything was sent on keeps the request from its origin; one of a body may show while it is sent on.

use std::time::Duration;

use super::refusal::RefusalStatus;
use crate::decision::{Outcome, Reason};
use crate::facts::wire::WireFault;

/// Why a request cannot be served, whatever the policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserved {
    /// Its head cannot be read, or asks for a tunnel; the parser has answered it.
    Unread,
    /// No route serves its host and path.
    NoRoute,
    /// It names no host.
    NoHost,
    /// It can be read in two ways.
    Wire(WireFault),
    /// Its path and query are too long.
    LongTarget,
    /// Its headers are too many or too large.
    LargeHeaders,
    /// Its body is too large, as declared or as it came.
    LargeBody,
    /// Its body is of a type that the route does not accept.
    MediaType,
    /// Its body comes too slowly.
    SlowBody,
    /// Its body breaks the rules of its framing.
    BrokenBody,
    /// Its body is no JSON, where that is asked for.
    NoJson,
    /// Its body is deeper, or has more values, than it may.
    BeyondShape,
    /// There are as many requests as there may be.
    Busy,
    /// There are as many requests of its client's network as there may be.
    TooMany,
}

/// The rule set name of what the gate itself says, rather than a script or the configuration.
const GATE: &str = "gate";

impl Unserved {
    /// What it is answered with.
    pub const fn status(self) -> RefusalStatus {
        match self {
            Self::NoRoute => RefusalStatus::NotFound,
            Self::Unread | Self::NoHost | Self::Wire(_) | Self::BrokenBody | Self::NoJson => {
                RefusalStatus::BadRequest
            }
            Self::LongTarget => RefusalStatus::UriTooLong,
            Self::LargeHeaders => RefusalStatus::HeadersTooLarge,
            Self::LargeBody | Self::BeyondShape => RefusalStatus::ContentTooLarge,
            Self::MediaType => RefusalStatus::UnsupportedMediaType,
            Self::SlowBody => RefusalStatus::RequestTimeout,
            Self::Busy => RefusalStatus::ServiceUnavailable,
            Self::TooMany => RefusalStatus::TooManyRequests,
        }
    }

    /// When to try again, if the same request may be served then.
    pub(super) fn lasts(self) -> Option<Duration> {
        self.is_of_the_moment().then_some(Duration::from_secs(1))
    }

    /// What became of it.
    pub(super) const fn outcome(self) -> Outcome {
        if self.is_of_the_moment() { Outcome::Throttled } else { Outcome::Blocked }
    }

    /// How records name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unread => "unread",
            Self::NoRoute => "no_route",
            Self::NoHost => "no_host",
            Self::Wire(fault) => fault.as_str(),
            Self::LongTarget => "long_target",
            Self::LargeHeaders => "large_headers",
            Self::LargeBody => "large_body",
            Self::MediaType => "media_type",
            Self::SlowBody => "slow_body",
            Self::BrokenBody => "broken_body",
            Self::NoJson => "no_json",
            Self::BeyondShape => "beyond_shape",
            Self::Busy => "busy",
            Self::TooMany => "too_many",
        }
    }

    /// The reason that records and metrics give; `None` where nothing is wrong with the request itself.
    pub fn reason(self) -> Option<Reason> {
        let reason = match self {
            Self::NoRoute => return None,
            Self::Unread
            | Self::NoHost
            | Self::Wire(WireFault::BareNewline | WireFault::OddTarget | WireFault::OddHost)
            | Self::BrokenBody => "request.malformed",
            Self::Wire(WireFault::RepeatedLength | WireFault::LengthAndEncoding | WireFault::OddEncoding) => {
                "request.ambiguous"
            }
            Self::LongTarget => "request.long_uri",
            Self::LargeHeaders => "request.large_headers",
            Self::LargeBody => "request.too_large",
            Self::MediaType => "request.media_type",
            Self::SlowBody => "request.slow_body",
            Self::NoJson | Self::BeyondShape => "request.json",
            Self::Busy => "request.busy",
            Self::TooMany => "request.too_many",
        };
        let (rule, reason) = (GATE.into(), reason.into());
        let verb = if self.is_of_the_moment() { "throttle" } else { "block" };
        Some(Reason { rule, reason, points: 0, verb: Some(verb), observed: false })
    }

    /// Whether nothing is wrong with the request but when it came.
    const fn is_of_the_moment(self) -> bool {
        matches!(self, Self::Busy | Self::TooMany)
    }

    /// Whether it breaks the protocol, so that nobody can say where the next request on the connection begins.
    pub(super) const fn is_of_wire(self) -> bool {
        match self {
            Self::Unread | Self::NoHost | Self::Wire(_) | Self::BrokenBody => true,
            Self::NoRoute
            | Self::LongTarget
            | Self::LargeHeaders
            | Self::LargeBody
            | Self::MediaType
            | Self::SlowBody
            | Self::NoJson
            | Self::BeyondShape
            | Self::Busy
            | Self::TooMany => false,
        }
    }

    /// Whether it is refused for its body, which the client may be sending all the same.
    pub(super) const fn is_of_body(self) -> bool {
        match self {
            Self::LargeBody | Self::MediaType => true,
            Self::Unread
            | Self::NoRoute
            | Self::NoHost
            | Self::Wire(_)
            | Self::LongTarget
            | Self::LargeHeaders
            | Self::SlowBody
            | Self::BrokenBody
            | Self::NoJson
            | Self::BeyondShape
            | Self::Busy
            | Self::TooMany => false,
        }
    }
}
