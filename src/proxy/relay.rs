//! The short way to the origin: for plain requests without a body, as most are, and for all that come over HTTP/2.
//!
//! Pingora's proxy joins two tasks by channels, which hold what one of them has read ahead. Here a head goes out and
//! an answer comes back, in one line, through the same parsers, writers and pools of Pingora. Nothing more is read of an
//! answer before the client has taken the last of it, nor of a body before the origin has. What a request must be like is
//! said in `fits`, in full; any other takes Pingora's way. Both tell origin and client the same.

mod hands;
mod outgoing;
mod upload;

use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession as OriginSession;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::proxy::Session;
use pingora::server::configuration::ServerConf;
use pingora::{Error, ErrorType, OrErr, Result};
use pingora_timeout::timeout;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use self::hands::Hand;
use self::outgoing::Outgoing;
use self::upload::{Next, Upload, next};
use super::Gate;
use super::exchange::{Exchange, Judged};
use super::http2::PIECE;
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
    async fn connect(&self, server: &Server, now: Tick) -> Result<(Stream, bool)> {
        match server.idle.take(now) {
            Some(stream) => Ok((stream, true)),
            // Rare, and large.
            None => Ok((Box::pin(self.connector.new_stream(&server.peer)).await?, false)),
        }
    }
}

/// Whether a request can take the short way: it [`fits`], and over HTTP/1.1 no body follows.
pub(super) fn takes(session: &mut Session) -> bool {
    (session.is_http2() || session.is_body_empty()) && fits(session.req_header())
}

/// Whether a head can take the short way. Over HTTP/2 nearly all can, since what they could not have is left out on the
/// way: else a client could choose the way that holds more of an answer that it does not take. Over HTTP/1.1 the request
/// can be repeated, and asks for none of the things that are agreed between neighbours.
fn fits(request: &RequestHeader) -> bool {
    let fits = match request.version {
        Version::HTTP_2 => request.method != Method::CONNECT,
        Version::HTTP_11 => {
            matches!(request.method, Method::GET | Method::HEAD)
                && request.raw_path().first() == Some(&b'/')
                && request.headers.iter().all(|(name, value)| is_plain(name) || is_usual(name, value))
        }
        _ => false,
    };
    fits && names_one_host(request)
}

/// Whether there is no doubt which host is asked for. Over HTTP/2 a field cannot say another than the authority.
fn names_one_host(request: &RequestHeader) -> bool {
    let hosts = request.headers.get_all(HOST).iter().count();
    match request.uri.authority() {
        None => hosts == 1,
        Some(authority) => {
            request.version == Version::HTTP_2 && hosts <= 1 && !authority.as_str().contains('@')
        }
    }
}

/// Whether a header is for the origin, and says nothing about a body.
fn is_plain(name: &HeaderName) -> bool {
    !is_between_neighbours(name) && !matches!(*name, CONTENT_LENGTH | EXPECT)
}

/// Whether a header is about this connection, so that it is not passed on.
pub(super) fn is_between_neighbours(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
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

/// What goes without saying, and many clients say all the same: that a connection is kept.
fn is_usual(name: &HeaderName, value: &HeaderValue) -> bool {
    *name == CONNECTION && value.as_bytes().eq_ignore_ascii_case(b"keep-alive")
}

/// A parsed request as the origin gets it, but for what [`Gate::tell_origin`] adds.
fn for_origin(session: &Session, has_body: bool) -> Result<RequestHeader> {
    let mut request = session.req_header().clone();
    while let Some(name) = request.headers.keys().find(|name| is_between_neighbours(name)).cloned() {
        request.remove_header(&name);
    }
    request.set_version(Version::HTTP_11);
    if let Some(authority) = request.uri.authority().cloned() {
        request.insert_header(HOST, authority.as_str())?;
    }
    if has_body && !request.headers.contains_key(CONTENT_LENGTH) {
        request.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    Ok(request)
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
        let (stream, reused) = match self.relay.connect(&server, now).await {
            Ok(connected) => connected,
            Err(error) => return Err(self.not_connected(session.req_header(), exchange, error.into_up())),
        };
        match self.converse(session, stream, &server, exchange).await {
            Ok((mut origin, upload)) => {
                if !upload.is_whole() {
                    return Ok(());
                }
                origin.respect_keepalive();
                if let Some(stream) = origin.reuse().await.and_then(|stream| upload.release(stream)) {
                    server.idle.give_back(stream, self.clock.tick());
                }
                Ok(())
            }
            Err(error) => Err(self.broke_off(session, exchange, error, reused)),
        }
    }

    /// Sends the head. What comes back can be read, and the body be sent.
    async fn ask(
        &self,
        session: &Session,
        mut stream: Stream,
        server: &Server,
        exchange: &Exchange,
        has_body: bool,
    ) -> Result<(OriginSession, Upload)> {
        let (request, options) = (session.req_header(), &server.peer.options);
        let (read_timeout, write_timeout) = (options.read_timeout, options.write_timeout);
        // That the answer has no body, whatever its head says, Pingora knows only of a request that it has written.
        if request.method != Method::HEAD && !has_body {
            let head = self.head_for_origin(request, exchange)?;
            send(&mut stream, &mut &*head, write_timeout).await.map_err(|error| error.into_up())?;
            let mut origin = OriginSession::new_with_options(stream, &server.peer);
            origin.read_timeout = read_timeout;
            return Ok((origin, Upload::new(None, read_timeout)));
        }
        let mut request = for_origin(session, has_body)?;
        self.tell_origin(&mut request, exchange)?;
        let mut out = None;
        if has_body {
            let hand = Hand::of(stream);
            stream = Box::new(hand.clone());
            out = Some(Outgoing::of(&request, hand, write_timeout)?);
        }
        let mut origin = OriginSession::new_with_options(stream, &server.peer);
        origin.read_timeout = read_timeout;
        in_time(write_timeout, origin.write_request_header(Box::new(request))).await?;
        Ok((origin, Upload::new(out, read_timeout)))
    }

    /// Sends head and body and passes the answer on, which may begin before the body has ended.
    async fn converse(
        &self,
        session: &mut Session,
        stream: Stream,
        server: &Server,
        exchange: &mut Exchange,
    ) -> Result<(OriginSession, Upload)> {
        let has_body = !session.is_body_empty();
        self.begin_body(session, exchange);
        let (mut origin, mut upload) = self.ask(session, stream, server, exchange, has_body).await?;
        if has_body {
            self.begin_upload(session, exchange, &mut upload)?;
        }
        loop {
            upload.time(&mut origin);
            let body = session.read_body_or_idle(!upload.is_open());
            let task = match next(origin.read_response_task(), body, &mut upload).await {
                Next::Taken => {
                    self.passed_up(exchange, &upload);
                    continue;
                }
                Next::OfAnswer(task) => task.map_err(|error| upload.blame(error.into_up()))?,
                Next::OfBody(piece) => {
                    let piece = piece.map_err(|error| error.into_down())?;
                    self.pass_up(session, exchange, &mut upload, piece)?;
                    continue;
                }
            };
            let HttpTask::Header(mut response, end) = task else {
                return Error::e_explain(ErrorType::InternalError, "an answer without a head");
            };
            let is_final = !response.status.is_informational();
            frame(&mut response, session.req_header(), end)?;
            self.answer(session, &mut response, exchange)?;
            let ended = session.response_duplex_vec(vec![HttpTask::Header(response, end)]).await?;
            if !ended && !is_final {
                continue;
            }
            if !upload.is_over() {
                // Large, and only for those that have a body.
                Box::pin(self.pass_both(session, &mut origin, exchange, &mut upload, ended)).await?;
            } else if !ended {
                let passed = pass_body(&mut session.downstream_session, &mut origin).await;
                passed.map_err(|error| upload.blame(error))?;
            }
            return Ok((origin, upload));
        }
    }
}

/// Writes all of something. What cannot be written in time is given up.
async fn send(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &mut impl Buf,
    time: Option<Duration>,
) -> Result<()> {
    in_time(time, async {
        let sent = match stream.write_all_buf(bytes).await {
            Ok(()) => stream.flush().await,
            Err(error) => Err(error),
        };
        sent.or_err(ErrorType::WriteError, "while asking an origin")
    })
    .await
}

/// Does something that an origin is to take, in time.
async fn in_time<T>(time: Option<Duration>, doing: impl Future<Output = Result<T>>) -> Result<T> {
    let done = match time {
        Some(time) => {
            timeout(time, doing).await.or_err(ErrorType::WriteTimedout, "while asking an origin").flatten()
        }
        None => doing.await,
    };
    done.map_err(|error| error.into_up())
}

/// Passes the body of an answer on, piece by piece. The client's pace is the origin's.
async fn pass_body(session: &mut ServerSession, origin: &mut OriginSession) -> Result<()> {
    loop {
        let body = tokio::select! {
            biased;
            body = origin.read_body_ref() => body.map_err(|error| error.into_up())?,
            gone = session.read_body_or_idle(true) => {
                gone.map_err(|error| error.into_down())?;
                continue;
            }
        };
        let last = pass_all_but_last(session, body).await?;
        // Only now it is known whether more is to come.
        let task = HttpTask::Body(last, origin.is_body_done());
        if session.response_duplex_vec(vec![task]).await? {
            return Ok(());
        }
    }
}

/// Sends as much as there is more than one piece; what is left.
async fn pass_all_but_last(session: &mut ServerSession, body: Option<&[u8]>) -> Result<Option<Bytes>> {
    let Some(body) = body else { return Ok(None) };
    let piece = if session.is_http2() { PIECE } else { usize::MAX };
    let (first, last) = body.split_at(body.len().saturating_sub(1) / piece * piece);
    for piece in first.chunks(piece) {
        let task = HttpTask::Body(Some(Bytes::copy_from_slice(piece)), false);
        session.response_duplex_vec(vec![task]).await?;
    }
    Ok(Some(Bytes::copy_from_slice(last)))
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
mod tests;
