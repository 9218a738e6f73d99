//! A connection to an origin in two hands: one reads the answer while the other writes the body.
//!
//! Pingora's session reads and writes, but does one at a time. Whoever has both hands has them in one task, so that neither
//! ever waits for the other.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, Ssl, Stream, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// One of the two hands that hold a connection.
#[derive(Clone, Debug)]
pub(super) struct Hand(Arc<Mutex<Stream>>);

impl Hand {
    /// Takes a connection.
    pub(super) fn of(stream: Stream) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    /// The connection, if no other hand holds it any more.
    pub(super) fn release(self) -> Option<Stream> {
        let stream = Arc::into_inner(self.0)?;
        Some(stream.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nobody else polls it: both hands belong to one task.
    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Hand {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_read(context, bytes)
    }
}

impl AsyncWrite for Hand {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream()).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream()).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for Hand {
    async fn shutdown(&mut self) {
        // It is closed whatever comes of this.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Hand {
    fn id(&self) -> UniqueIDType {
        self.stream().id()
    }
}

impl GetTimingDigest for Hand {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream().get_timing_digest()
    }
}

// Nobody asks for any of these.
impl Ssl for Hand {}
impl Peek for Hand {}

impl GetProxyDigest for Hand {
    fn get_proxy_digest(&self) -> Option<Arc<pingora::protocols::raw_connect::ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Hand {
    fn get_socket_digest(&self) -> Option<Arc<pingora::protocols::SocketDigest>> {
        None
    }
}
