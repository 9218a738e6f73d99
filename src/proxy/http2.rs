//! Bounds of HTTP/2 toward clients: what one connection may hold, what a client that opens and resets, or asks and
//! never listens, can make of it, and how many requests there may be of all connections together.

use std::time::Duration;

use pingora::apps::HttpServerOptions;
use pingora::protocols::http::v2::server::H2Options;
use pingora::proxy::Session;

use super::Gate;
use super::door::{Connection, Full};
use super::exchange::Exchange;
use super::unserved::Unserved;
use super::upstream::WINDOW;

/// Requests of one connection at once.
const STREAMS: u32 = 128;
/// Bytes of a head, which may come in any number of CONTINUATION frames; each field counts 32 more.
const HEAD: u32 = 96 * 1024;
/// Bytes of bodies that may be on their way to the gate: of one request, and of a connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of answers that wait for a client, for each request: this many for each of [`STREAMS`] is what a client can hold
/// here that grants room for everything and then takes nothing.
const SEND_BUFFER: usize = 32 * 1024;
/// An answer goes out over HTTP/2 in pieces of this size, as large as a frame of a client that asks for no larger ones.
/// Each is waited for by itself.
pub(super) const PIECE: usize = 16 * 1024;
/// Bytes that are read of an answer at once.
const CHUNK: usize = 64 * 1024;
/// Bytes of a body that are kept for another try.
const KEPT: usize = 64 * 1024;

/// Bytes that one request can hold whose answer nobody takes, as many as they ever are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Over HTTP/1.1.
    pub http1: usize,
    /// Over HTTP/2.
    pub http2: usize,
}

impl Held {
    /// By the short way: what was read of the answer, one piece of it in hand, and those that wait for the client; a body that
    /// waits meanwhile, or is kept. Over HTTP/1.1 a client can choose Pingora's way, where thirteen pieces are read (four on
    /// their way between two tasks, four more and one in the hands of one of them, one in those of the other, two in buffers
    /// of the origin's connection, and one of the request, kept for another try).
    const FROM_HTTP1: Self = Self {
        http1: 13 * CHUNK + SEND_BUFFER,
        http2: CHUNK + PIECE + SEND_BUFFER + KEPT + STREAM_WINDOW as usize,
    };
    /// By Pingora's way, and what an origin may send before it is asked for.
    const FROM_HTTP2: Self = Self {
        http1: Self::FROM_HTTP1.http1 + WINDOW as usize,
        http2: Self::FROM_HTTP1.http1 + STREAM_WINDOW as usize + WINDOW as usize,
    };

    /// If there are origins that may be spoken to over HTTP/2, or else.
    pub fn with(http2_origins: bool) -> Self {
        if http2_origins { Self::FROM_HTTP2 } else { Self::FROM_HTTP1 }
    }
}

/// Streams that a client reset before they were looked at. One more, and the connection ends (CVE-2023-44487).
const PENDING_RESETS: usize = 32;
/// Streams that were reset for what the client did wrong. One more, and the connection ends.
const ERROR_RESETS: usize = 128;

/// What one connection may hold.
pub fn bounds() -> H2Options {
    let mut options = H2Options::default();
    options
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(ERROR_RESETS))
        .max_concurrent_reset_streams(PENDING_RESETS);
    options
}

/// How long a connection without requests is kept.
pub fn options(keepalive: Duration) -> HttpServerOptions {
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(keepalive);
    options
}

impl Gate {
    /// Takes a place for a request over HTTP/2, which its exchange keeps as long as it lasts. Over HTTP/1 a connection has
    /// one request at a time, and a place of its own already.
    pub(super) fn enter(&self, session: &Session, exchange: &mut Exchange) -> Result<(), Unserved> {
        let connection = Connection::of(session).filter(|connection| connection.http2);
        let Some(connection) = connection else { return Ok(()) };
        let place =
            self.streams.enter(self.identity.network(connection.peer)).map_err(|full| match full {
                Full::All => Unserved::Busy,
                Full::Client | Full::Unintroduced | Full::Wasted => Unserved::TooMany,
            })?;
        exchange.occupy(place);
        Ok(())
    }
}
