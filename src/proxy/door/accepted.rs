//! A connection as the layers above see it: its bytes, and what is known about it.

use std::any::Any;
use std::fmt::{self, Debug, Formatter};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use http::HeaderValue;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use pingora::proxy::Session;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::crowd::Place;
use super::ending::{Ending, Goodbye};
use super::frames::Frames;
use super::pulse::Pulse;
use crate::clock::Clock;
use crate::facts::client::PeerAddr;
use crate::facts::request::Scheme;
use crate::facts::tls::TlsSession;

/// What is known about a connection, for as long as it lives. Every request on it finds it with [`Connection::of`].
#[derive(Debug)]
pub struct Connection {
    /// Who is at the other end.
    pub peer: PeerAddr,
    /// The TLS session; `None` in the clear.
    pub tls: Option<TlsSession>,
    /// Whether HTTP/2 is spoken on it.
    pub http2: bool,
    /// What the connection is doing.
    pub pulse: Arc<Pulse>,
    /// How requests are answered that come by this entrance.
    pub manner: Arc<Manner>,
}

/// How requests are answered that come by an entrance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// They are all sent to the same place by HTTPS, at this port.
    pub redirect: Option<u16>,
    /// Whether HTTP/2 is understood.
    pub http2: bool,
    /// What clients are told about coming by HTTPS only.
    pub hsts: Option<HeaderValue>,
}

/// An accepted connection over `S`, which may be the socket or a TLS session over it.
pub struct Accepted<S> {
    stream: S,
    /// The descriptor, by which Pingora tells connections apart.
    id: UniqueIDType,
    /// Where a [`Connection`] is kept.
    known: Option<Arc<ProxyDigest>>,
    socket: Arc<SocketDigest>,
    tls: Option<Arc<SslDigest>>,
    alpn: Option<ALPN>,
    pulse: Arc<Pulse>,
    /// Looks at what comes and what goes, where HTTP/2 is spoken.
    http2: Option<(Frames, Goodbye)>,
    _place: Place,
}

impl Connection {
    /// The connection that a request came on; `None` if it did not come through a door of ours.
    pub fn of(session: &Session) -> Option<&Arc<Self>> {
        let known = session.digest()?.proxy_digest.as_ref()?;
        known.user_data.as_ref()?.downcast_ref()
    }

    /// Notes that the head of a request was read.
    pub fn began(session: &Session) {
        if let Some(connection) = Self::of(session) {
            connection.pulse.began(body_length(session.req_header()));
        }
    }

    /// How clients name what they speak.
    pub fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }
}

/// How long the body of a request is; `None` if its head does not say.
fn body_length(request: &RequestHeader) -> Option<u64> {
    if request.headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    match request.headers.get(CONTENT_LENGTH) {
        Some(length) => length.to_str().ok()?.parse().ok(),
        None => Some(0),
    }
}

impl<S> Accepted<S> {
    /// Joins a stream with what is known about it. The place is kept until the connection ends.
    pub(super) fn new(
        stream: S,
        id: UniqueIDType,
        connection: Connection,
        place: Place,
        clock: Clock,
    ) -> Self {
        let http2 = connection.http2.then(|| (Frames::new(clock), Goodbye::default()));
        if connection.http2 {
            connection.pulse.share();
        }
        let tls = connection.tls.as_ref();
        let alpn = Some(if connection.http2 { ALPN::H2 } else { ALPN::H1 });
        let tls = tls.map(|tls| Arc::new(SslDigest::new("", tls.version.as_str(), None, None, Vec::new())));
        let pulse = Arc::clone(&connection.pulse);
        let connection: Box<dyn Any + Send + Sync> = Box::new(Arc::new(connection));
        // There is room for data of our own beside the answer of a proxy, though none answered.
        let answer = ResponseHeader::build_no_case(200, Some(0)).ok();
        let known = answer.map(|answer| Arc::new(ProxyDigest::new(Box::new(answer), Some(connection))));
        let socket = Arc::new(SocketDigest::from_raw_fd(id));
        Self { stream, id, known, socket, tls, alpn, pulse, http2, _place: place }
    }
}

impl<S> Accepted<S> {
    /// Notes what was written of these parts.
    fn told<'a>(
        &mut self,
        parts: impl Iterator<Item = &'a [u8]>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let (Some((frames, goodbye)), Poll::Ready(Ok(count))) = (&mut self.http2, &written) else {
            return written;
        };
        frames.told(*count);
        let mut left = *count;
        for part in parts {
            let part = part.get(..left).unwrap_or(part);
            if let Some(why) = goodbye.told(part) {
                self.pulse.ends(why);
            }
            left -= part.len();
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Accepted<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (this, before) = (self.get_mut(), buffer.filled().len());
        let read = ready!(Pin::new(&mut this.stream).poll_read(cx, buffer));
        let came = buffer.filled().get(before..).unwrap_or_default();
        match &mut this.http2 {
            Some((frames, _)) => frames.heard(came).inspect_err(|_| this.pulse.ends(Ending::Frames))?,
            None => this.pulse.came(came.len()),
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Accepted<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.pulse.spoke(bytes);
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.told(std::iter::once(bytes), written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bytes);
        this.told(bytes.iter().map(|part| &**part), written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[async_trait]
impl<S: AsyncWrite + Unpin + Send> Shutdown for Accepted<S> {
    async fn shutdown(&mut self) {
        // The other end may be gone already, which is what is wanted.
        let _ = self.stream.shutdown().await;
    }
}

impl<S> UniqueID for Accepted<S> {
    fn id(&self) -> UniqueIDType {
        self.id
    }
}

impl<S> Ssl for Accepted<S> {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.tls.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.alpn.clone()
    }
}

impl<S> GetTimingDigest for Accepted<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl<S> GetProxyDigest for Accepted<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.known.clone()
    }
}

impl<S> GetSocketDigest for Accepted<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.socket))
    }
}

impl<S: Send> Peek for Accepted<S> {}

impl<S> Debug for Accepted<S> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("id", &self.id).field("alpn", &self.alpn).finish_non_exhaustive()
    }
}
