//! What went wrong while a request was proxied, and whose doing it was.
//!
//! Pingora reports one error type for everything; this sorts it into the few cases that are answered,
//! recorded and counted differently. Nothing of an error's text goes to a client.

use std::time::Duration;

use pingora::{Error, ErrorSource, ErrorType};

use super::onward::BUSY;
use super::panics::PANIC;
use super::refusal::RefusalStatus;

/// A failed request, sorted by who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The client went away; nobody is there to be answered. Recorded as 499.
    ClientGone,
    /// The client stopped sending before its body was complete.
    ClientStalled,
    /// The client broke the protocol.
    ClientBroke,
    /// No connection to the upstream, or it broke the protocol or the connection.
    UpstreamFailed,
    /// The upstream took too long.
    UpstreamTimedOut,
    /// Every server of the upstream has as many requests as it may.
    UpstreamBusy,
    /// A fault of our own.
    Internal,
}

impl Failure {
    /// Sorts an error as `fail_to_proxy` or `logging` get it.
    pub fn of(error: &Error) -> Self {
        use ErrorType::{
            ConnectTimedout, ConnectionClosed, H2Error, ReadError, ReadTimedout, TLSHandshakeTimedout,
            WriteError, WriteTimedout,
        };
        match (error.esource(), error.etype()) {
            (_, kind) if *kind == BUSY => Self::UpstreamBusy,
            (_, kind) if *kind == PANIC => Self::Internal,
            (
                ErrorSource::Upstream,
                ConnectTimedout | ReadTimedout | WriteTimedout | TLSHandshakeTimedout,
            ) => Self::UpstreamTimedOut,
            (ErrorSource::Upstream, _) => Self::UpstreamFailed,
            // A stream of HTTP/2 that the client has reset is an error of its own.
            (
                ErrorSource::Downstream,
                ReadError | WriteError | WriteTimedout | ConnectionClosed | H2Error,
            ) => Self::ClientGone,
            (ErrorSource::Downstream, ReadTimedout) => Self::ClientStalled,
            (ErrorSource::Downstream, _) => Self::ClientBroke,
            (ErrorSource::Internal | ErrorSource::Unset, _) => Self::Internal,
        }
    }

    /// What to answer, if somebody is there and no answer has begun.
    pub fn answer(self) -> Option<RefusalStatus> {
        match self {
            Self::ClientGone => None,
            Self::ClientStalled | Self::ClientBroke => Some(RefusalStatus::BadRequest),
            Self::UpstreamFailed => Some(RefusalStatus::BadGateway),
            Self::UpstreamTimedOut => Some(RefusalStatus::GatewayTimeout),
            Self::UpstreamBusy => Some(RefusalStatus::ServiceUnavailable),
            Self::Internal => Some(RefusalStatus::InternalServerError),
        }
    }

    /// When to try again, if that can be said.
    pub fn lasts(self) -> Option<Duration> {
        match self {
            Self::UpstreamBusy => Some(Duration::from_secs(1)),
            Self::ClientGone
            | Self::ClientStalled
            | Self::ClientBroke
            | Self::UpstreamFailed
            | Self::UpstreamTimedOut
            | Self::Internal => None,
        }
    }

    /// The status to record when none was sent.
    pub fn recorded_status(self) -> u16 {
        self.answer().map_or(499, RefusalStatus::code)
    }

    /// How records name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientGone => "client_gone",
            Self::ClientStalled => "client_stalled",
            Self::ClientBroke => "client_broke",
            Self::UpstreamFailed => "upstream_failed",
            Self::UpstreamTimedOut => "upstream_timed_out",
            Self::UpstreamBusy => "upstream_busy",
            Self::Internal => "internal",
        }
    }

    /// Whether the upstream is to blame, so that its errors are counted.
    pub fn is_upstream(self) -> bool {
        matches!(self, Self::UpstreamFailed | Self::UpstreamTimedOut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(source: ErrorSource, kind: ErrorType) -> Failure {
        Failure::of(&Error::create(kind, source, None, None))
    }

    #[test]
    fn a_slow_upstream_is_504_and_a_broken_one_502() {
        for kind in [ErrorType::ConnectTimedout, ErrorType::ReadTimedout, ErrorType::WriteTimedout] {
            assert_eq!(failure(ErrorSource::Upstream, kind).recorded_status(), 504);
        }
        for kind in [ErrorType::ConnectRefused, ErrorType::ConnectionClosed, ErrorType::InvalidHTTPHeader] {
            assert_eq!(failure(ErrorSource::Upstream, kind).recorded_status(), 502);
        }
    }

    #[test]
    fn a_client_that_left_is_not_answered_and_recorded_as_499() {
        for kind in [ErrorType::ConnectionClosed, ErrorType::H2Error] {
            let gone = failure(ErrorSource::Downstream, kind);
            assert_eq!((gone.answer(), gone.recorded_status(), gone.is_upstream()), (None, 499, false));
        }
        let stalled = failure(ErrorSource::Downstream, ErrorType::ReadTimedout);
        assert_eq!(stalled.recorded_status(), 400);
    }

    #[test]
    fn a_busy_upstream_is_503_and_no_failure_of_it() {
        let busy = Failure::of(&Error::new(BUSY));
        assert_eq!((busy.recorded_status(), busy.is_upstream()), (503, false));
    }

    #[test]
    fn a_fault_of_our_own_is_500() {
        assert_eq!(failure(ErrorSource::Internal, ErrorType::InternalError).recorded_status(), 500);
        assert_eq!(failure(ErrorSource::Unset, ErrorType::ConnectTimedout).recorded_status(), 500);
        // Wherever Pingora was at that moment.
        for place in [ErrorSource::Upstream, ErrorSource::Downstream, ErrorSource::Unset] {
            assert_eq!(failure(place, PANIC), Failure::Internal);
        }
    }
}
