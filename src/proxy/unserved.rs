//! Why a request cannot be served, whatever the policy says: what each fault is called, and what it is answered with.
//!
//! Nothing here is a judgement: it is what a request is, held against [`Bounds`](super::bounds::Bounds). A fault that
//! shows before anything was sent on keeps the request from its origin; one of a body may show while it is sent on.

use super::refusal::RefusalStatus;
use crate::decision::Reason;
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
        }
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
        };
        let (rule, reason) = (GATE.into(), reason.into());
        Some(Reason { rule, reason, points: 0, verb: Some("block"), observed: false })
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
            | Self::BeyondShape => false,
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
            | Self::BeyondShape => false,
        }
    }
}
