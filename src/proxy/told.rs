//! What origin and client are told of each other's messages: what both ways to an origin write into a request on its way
//! there, and into its answer.

use http::header::{COOKIE, HOST, SET_COOKIE, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, Result};

use super::Gate;
use super::exchange::{Exchange, Judged};
use super::forward::{self, Fields, Forwarding, Head};
use super::refusal::DECISION_HEADER;
use super::{enforce, rate_limit, relay};

impl Gate {
    /// Writes what the origin is to know into a request on its way there.
    pub(super) fn tell_origin(&self, request: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
        let judged = judged(exchange)?;
        let node = self.identity.node(&judged.caller);
        let forwarding = self.forwarding(judged, node.as_deref());
        if let Some(cookie) = joined_cookies(&request.headers) {
            request.insert_header(COOKIE, cookie)?;
        }
        forward::strip_claims(request, &forwarding);
        let host = request.headers.get(HOST).cloned();
        forwarding.write(request, host.as_ref().and_then(|host| host.to_str().ok()))?;
        judged.verdict(self.identity.verdict()).write(request)
    }

    /// The same as the bytes that leave, for a request that takes the short way.
    pub(super) fn head_for_origin(&self, request: &RequestHeader, exchange: &Exchange) -> Result<Vec<u8>> {
        let judged = judged(exchange)?;
        let node = self.identity.node(&judged.caller);
        let mut head = Head::asking(request).map_err(|error| error.into_up())?;
        let host = match request.uri.authority() {
            Some(authority) => {
                head.put("Host", authority.as_str().as_bytes())?;
                Some(authority.as_str())
            }
            None => request.headers.get(HOST).and_then(|host| host.to_str().ok()),
        };
        let cookie = joined_cookies(&request.headers);
        head.pass_on(request, |name| match *name {
            HOST => request.uri.authority().is_none(),
            COOKIE => cookie.is_none(),
            _ => !relay::is_between_neighbours(name) && !forward::is_claim(name.as_str()),
        })?;
        if let Some(cookie) = cookie {
            head.put(COOKIE.as_str(), cookie.as_bytes())?;
        }
        self.forwarding(judged, node.as_deref()).write(&mut head, host)?;
        judged.verdict(self.identity.verdict()).write(&mut head)?;
        Ok(head.ended())
    }

    fn forwarding<'a>(&self, judged: &Judged, node: Option<&'a str>) -> Forwarding<'a> {
        Forwarding { header: self.identity.header(), node, scheme: judged.caller.scheme() }
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

fn judged(exchange: &Exchange) -> Result<&Judged> {
    let unjudged = || Error::explain(ErrorType::InternalError, "a request that was not judged");
    exchange.judged().ok_or_else(unjudged)
}

/// Over HTTP/2 a client may send its cookies one by one; an origin wants them in one field (RFC 9113, section 8.2.3).
fn joined_cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let crumbs = || headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    crumbs().nth(1)?;
    // What only a client of HTTP/1 can send, and nobody understands, stays as it is.
    HeaderValue::from_bytes(&crumbs().collect::<Vec<_>>().join(&b"; "[..])).ok()
}
