//! The short way to the origin, for requests that are nothing but a head: a GET without a body, as most are.
//!
//! Pingora's proxy joins two tasks by channels, so that bodies can flow both ways at once. Here a head goes out and
//! an answer comes back, in one line, through the same parsers, writers and pools of Pingora. What a request must
//! be like is said in [`fits`], in full; any other takes Pingora's way. Both tell origin and client the same.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::v1::client::HttpSession as OriginSession;
use pingora::proxy::Session;
use pingora::server::configuration::ServerConf;
use pingora::{Error, ErrorType, Result};

use super::Gate;
use super::exchange::{Exchange, Judged};
use super::server::MAX_TRIES;
use super::upstream::Server;
use crate::facts::time::Tick;

/// Connects to servers. Connections that idle are kept beside each server.
pub struct Relay {
    connector: TransportConnector,
}

impl Relay {
    /// Connects as the server's settings say.
    pub fn new(conf: &ServerConf) -> Self {
        Self { connector: TransportConnector::new(Some(ConnectorOptions::from_server_conf(conf))) }
    }

    /// A connection, and whether it was used before.
    async fn connect(&self, server: &Server, now: Tick) -> Result<(OriginSession, bool)> {
        let (stream, reused) = match server.idle.take(now) {
            Some(stream) => (stream, true),
            // Rare, and large.
            None => (Box::pin(self.connector.new_stream(&server.peer)).await?, false),
        };
        let mut origin = OriginSession::new_with_options(stream, &server.peer);
        origin.read_timeout = server.peer.options.read_timeout;
        origin.write_timeout = server.peer.options.write_timeout;
        Ok((origin, reused))
    }
}

/// Whether a request can take the short way: it can be repeated, it has no body and asks for none of the things that
/// are agreed between neighbours, and it names one host in one place.
pub fn fits(request: &RequestHeader) -> bool {
    matches!(request.method, Method::GET | Method::HEAD)
        && request.version == Version::HTTP_11
        && request.raw_path().first() == Some(&b'/')
        && request.headers.get_all(HOST).iter().count() == 1
        && request.headers.iter().all(|(name, value)| is_end_to_end(name) || keeps_alive(name, value))
}

/// Whether a header is for the origin, and says nothing about connections or a body.
fn is_end_to_end(name: &HeaderName) -> bool {
    !matches!(
        name.as_str(),
        "connection"
            | "content-length"
            | "expect"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// What HTTP/1.1 does anyway, and many clients say all the same.
fn keeps_alive(name: &HeaderName, value: &HeaderValue) -> bool {
    *name == CONNECTION && value.as_bytes().eq_ignore_ascii_case(b"keep-alive")
}

impl Gate {
    /// Proxies a request that [`fits`]. Whatever fails before an answer began, on a connection that the origin may
    /// have closed meanwhile or for want of one, is tried again as Pingora would.
    pub(super) async fn relay(&self, session: &mut Session, exchange: &mut Exchange) -> Result<()> {
        let mut tries = 1;
        loop {
            match self.relay_once(session, exchange).await {
                Err(error) if error.retry() && tries < MAX_TRIES => tries += 1,
                done => return done,
            }
        }
    }

    async fn relay_once(&self, session: &mut Session, exchange: &mut Exchange) -> Result<()> {
        let now = exchange.judged().map(Judged::passed).unwrap_or_default();
        let server = self.server(session.req_header(), exchange)?;
        let (mut origin, reused) = match self.relay.connect(&server, now).await {
            Ok(connected) => connected,
            Err(error) => return Err(self.not_connected(session.req_header(), exchange, error.into_up())),
        };
        match self.converse(session, &mut origin, exchange).await {
            Ok(()) => {
                origin.respect_keepalive();
                if let Some(stream) = origin.reuse().await {
                    server.idle.give_back(stream, self.clock.tick());
                }
                Ok(())
            }
            Err(error) => Err(self.broke_off(session, exchange, error, reused)),
        }
    }

    /// Sends the head and passes the answer on.
    async fn converse(
        &self,
        session: &mut Session,
        origin: &mut OriginSession,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let mut request = session.req_header().clone();
        request.remove_header(&CONNECTION);
        self.tell_origin(&mut request, exchange)?;
        origin.write_request_header(Box::new(request)).await.map_err(|error| error.into_up())?;
        origin.finish_body().await.map_err(|error| error.into_up())?;
        loop {
            let task = tokio::select! {
                biased;
                task = origin.read_response_task() => task.map_err(|error| error.into_up())?,
                gone = session.read_body_or_idle(true) => {
                    gone.map_err(|error| error.into_down())?;
                    continue;
                }
            };
            let task = match task {
                HttpTask::Header(mut response, end) => {
                    check_protocol(&response, false)?;
                    frame(&mut response, session.req_header(), end)?;
                    self.part(session);
                    self.tell_client(&mut response, exchange)?;
                    HttpTask::Header(response, end)
                }
                rest => rest,
            };
            if session.response_duplex_vec(vec![task]).await? {
                return Ok(());
            }
        }
    }
}

/// An origin may change the protocol only if it was asked to: what it sent afterwards would be no answer, and nobody
/// would look at what the client sends.
pub(super) fn check_protocol(response: &ResponseHeader, asked: bool) -> Result<()> {
    if response.status == StatusCode::SWITCHING_PROTOCOLS && !asked {
        let error = Error::explain(ErrorType::InvalidHTTPHeader, "nobody asked for another protocol");
        return Err(error.into_up());
    }
    Ok(())
}

/// An answer whose end only the end of a connection would show is sent in chunks, so that the client's lives on.
fn frame(response: &mut ResponseHeader, request: &RequestHeader, end: bool) -> Result<()> {
    let bodiless = end
        || request.method == Method::HEAD
        || response.status.is_informational()
        || matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framed = |name| response.headers.contains_key(name);
    if !bodiless && !framed(TRANSFER_ENCODING) && !framed(CONTENT_LENGTH) {
        response.set_version(Version::HTTP_11);
        response.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build(method, target.as_bytes(), None).unwrap();
        for (name, value) in [("Host", "api.example")].iter().chain(headers) {
            request.append_header((*name).to_owned(), *value).unwrap();
        }
        request
    }

    #[test]
    fn a_plain_get_or_head_takes_the_short_way() {
        for (method, target) in [("GET", "/"), ("HEAD", "/a/b?c=d"), ("GET", "/%ff")] {
            assert!(fits(&request(method, target, &[("Accept", "*/*"), ("Cookie", "a=b")])));
        }
        assert!(fits(&request("GET", "/", &[("Connection", "Keep-Alive")])));
    }

    #[test]
    fn whatever_has_more_to_it_takes_the_long_way() {
        for (method, target) in
            [("POST", "/"), ("DELETE", "/"), ("get", "/"), ("GET", "http://a/"), ("OPTIONS", "*")]
        {
            assert!(!fits(&request(method, target, &[])), "{method} {target}");
        }
        let between_neighbours = [
            ("Connection", "close"),
            ("Connection", "keep-alive, X-Forwarded-For"),
            ("Connection", "Upgrade"),
            ("Content-Length", "0"),
            ("Expect", "100-continue"),
            ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Authenticate", "Basic"),
            ("Proxy-Authorization", "Basic YTpi"),
            ("Proxy-Connection", "keep-alive"),
            ("TE", "trailers"),
            ("Trailer", "X-Sum"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "websocket"),
        ];
        for header in between_neighbours {
            assert!(!fits(&request("GET", "/", &[header])), "{header:?}");
        }
        assert!(!fits(&request("GET", "/", &[("Host", "other.example")])), "two hosts");
        assert!(!fits(&RequestHeader::build("GET", b"/", None).unwrap()), "no host");
        let mut old = request("GET", "/", &[]);
        old.set_version(Version::HTTP_10);
        assert!(!fits(&old));
    }

    fn framed(method: &str, status: u16, headers: &[(&'static str, &str)], end: bool) -> Option<String> {
        let mut response = ResponseHeader::build(status, None).unwrap();
        headers.iter().for_each(|(name, value)| response.insert_header(*name, *value).unwrap());
        frame(&mut response, &request(method, "/", &[]), end).unwrap();
        let encoding = response.headers.get(TRANSFER_ENCODING)?;
        Some(encoding.to_str().unwrap().to_owned())
    }

    #[test]
    fn an_answer_that_says_no_length_is_sent_in_chunks() {
        assert_eq!(framed("GET", 200, &[], false).as_deref(), Some("chunked"));
        assert_eq!(framed("GET", 200, &[("content-length", "3")], false), None);
        assert_eq!(
            framed("GET", 200, &[("transfer-encoding", "gzip, chunked")], false).as_deref(),
            Some("gzip, chunked")
        );
        assert_eq!(framed("HEAD", 200, &[], false), None);
        for (status, end) in [(103, false), (204, false), (304, false), (200, true)] {
            assert_eq!(framed("GET", status, &[], end), None, "{status}");
        }
    }

    #[test]
    fn an_origin_cannot_change_the_protocol_unasked() {
        let response = ResponseHeader::build(101, None).unwrap();
        assert!(check_protocol(&response, false).is_err());
        assert!(check_protocol(&response, true).is_ok());
    }
}
