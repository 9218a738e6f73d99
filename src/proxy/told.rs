//! What origin and client are told of each other's messages: what both ways to an origin write into a request on its way
//! there, and into its answer.

use http::HeaderValue;
use http::header::{COOKIE, SET_COOKIE, STRICT_TRANSPORT_SECURITY};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, Result};

use super::Gate;
use super::exchange::Exchange;
use super::forward::{self, Forwarding};
use super::refusal::DECISION_HEADER;
use super::{enforce, rate_limit};

impl Gate {
    /// Writes what the origin is to know into a request on its way there.
    pub(super) fn tell_origin(&self, request: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
        let Some(judged) = exchange.judged() else {
            return Error::e_explain(ErrorType::InternalError, "a request that was not judged");
        };
        let (header, node) = (self.identity.header(), self.identity.node(&judged.caller));
        let forwarding = Forwarding { header, node: node.as_deref(), scheme: judged.caller.scheme() };
        join_cookies(request)?;
        forward::strip_claims(request, &forwarding);
        forwarding.write(request)?;
        judged.verdict(self.identity.verdict()).write(request)
    }

    /// Writes what the client is to know into a response of the origin.
    pub(super) fn tell_client(&self, response: &mut ResponseHeader, exchange: &mut Exchange) -> Result<()> {
        match exchange.judged_mut() {
            Some(judged) => {
                if let Some(cookie) = judged.answered_by_origin(response, self.clock.tick()) {
                    response.append_header(SET_COOKIE, cookie)?;
                }
                if rate_limit::is_told(response)
                    && let Some(left) = enforce::left(judged, &self.traffic, self.clock.tick())
                {
                    rate_limit::tighten(response, left)?;
                }
                if let Some(hsts) = judged.caller.hsts() {
                    response.insert_header(STRICT_TRANSPORT_SECURITY, hsts)?;
                }
                response.insert_header(DECISION_HEADER, &judged.id_text)
            }
            None => Ok(()),
        }
    }
}

/// Over HTTP/2 a client may send its cookies one by one; an origin wants them in one field (RFC 9113, section 8.2.3).
fn join_cookies(request: &mut RequestHeader) -> Result<()> {
    let crumbs = || request.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    if crumbs().nth(1).is_none() {
        return Ok(());
    }
    let joined = HeaderValue::from_bytes(&crumbs().collect::<Vec<_>>().join(&b"; "[..]));
    // What only a client of HTTP/1 can send, and nobody understands, stays as it is.
    joined.map_or(Ok(()), |joined| request.insert_header(COOKIE, joined))
}
