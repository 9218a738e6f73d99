//! Onward: which server a request goes to, and whether it is tried again when that fails.
//!
//! Both ways to an origin, Pingora's and the short one, ask here. Nothing is chosen without a permit. A request is
//! repeated only if nothing of it was sent, or if its method is idempotent, nothing of its body is lost and no byte of
//! an answer went out; and only within the upstream's budget.

use std::sync::Arc;

use http::HeaderMap;
use http::request::Parts;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType, Result, RetryType};

use super::Gate;
use super::exchange::{Exchange, Judged};
use super::upstream::{Server, Turn, Upstream};
use crate::facts::client::Pseudonym;

/// Where a request goes that may go on.
pub(super) struct Onward<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) client: Pseudonym,
    pub(super) turn: &'a mut Turn,
}

/// What an error is called that means that all servers are busy.
pub(super) const BUSY: ErrorType = ErrorType::Custom("all servers are busy");

impl Gate {
    /// The server that a request is at, or else goes to.
    pub(super) fn server(&self, request: &Parts, exchange: &mut Exchange) -> Result<Arc<Server>> {
        let now = exchange.judged().map(Judged::passed).unwrap_or_default();
        let Some(Onward { upstream, client, turn }) = exchange.onward() else {
            return Error::e_explain(ErrorType::InternalError, "a request without a permit");
        };
        if let Some(server) = turn.server() {
            return Ok(Arc::clone(server));
        }
        let wish = upstream.wish(request, client);
        upstream.choose(turn, &wish, now).map_err(|_| Error::new(BUSY))
    }

    /// What to do about a server that cannot be connected to: nothing was sent, so any request may go to the next one.
    pub(super) fn not_connected(
        &self,
        request: &Parts,
        exchange: &mut Exchange,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.set_retry(self.failed(request, exchange, true));
        error
    }

    /// What to do about a server that failed after it was connected to. `reused`: the connection was, so that the server
    /// may have closed it just before, which is no fault of anybody; then the same server is asked once more.
    pub(super) fn broke_off(
        &self,
        session: &Session,
        exchange: &mut Exchange,
        mut error: Box<Error>,
        reused: bool,
    ) -> Box<Error> {
        if *error.esource() != ErrorSource::Upstream {
            error.set_retry(false);
            return error;
        }
        let request = session.req_header();
        let repeatable = request.method.is_idempotent()
            && session.response_written().is_none()
            && !session.as_ref().retry_buffer_truncated();
        // The server said that it did nothing, or had gone.
        let stale = match error.retry {
            RetryType::Decided(unharmed) => unharmed,
            RetryType::ReusedOnly => reused,
        };
        let again = if stale { repeatable } else { self.failed(request, exchange, repeatable) };
        error.set_retry(again);
        error
    }

    /// Notes how an answer of a server ended, which may tell that it failed.
    pub(super) fn ended(&self, trailers: &HeaderMap, exchange: &mut Exchange) {
        if let Some(Onward { upstream, turn, .. }) = exchange.onward() {
            upstream.ended(turn, trailers, self.clock.tick());
        }
    }

    /// Notes a failure, and moves a request that may be repeated on to the next server. Whether there is one.
    fn failed(&self, request: &Parts, exchange: &mut Exchange, repeatable: bool) -> bool {
        let now = self.clock.tick();
        let Some(Onward { upstream, client, turn }) = exchange.onward() else { return false };
        upstream.failed(turn, now);
        let moved_on = repeatable && upstream.move_on(turn, &upstream.wish(request, client), now);
        if moved_on {
            self.metrics.upstream_retried(upstream.name());
        }
        moved_on
    }
}
