//! A client's socket: small writes joined, and patience bounded where the layers above have none.
//!
//! Two things end here that nothing above would end: a head that drips in byte by byte, and a client that takes
//! nothing of what is sent to it. A timer is made only when the socket has to be waited for, so a request that comes
//! in one piece costs none.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, BufWriter, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep};

use super::dawdle::Dawdle;
use super::ending::Ending;
use super::line::Lines;
use super::pulse::{Phase, Pulse};

/// How long a transport waits.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For the whole head of a request, from its first byte; on a new connection, for the handshake as well.
    pub head: Duration,
    /// For a client to take anything of what is sent to it.
    pub stall: Duration,
    /// For the next request.
    pub idle: Duration,
}

/// A client's socket.
pub struct Transport {
    socket: BufWriter<Socket>,
    pulse: Arc<Pulse>,
    deadlines: Deadlines,
    dawdle: Dawdle,
    head: Timer,
    stall: Timer,
    tap: Option<Tap>,
    /// Read already, and to be read again.
    unread: BytesMut,
}

/// The first bytes of a connection, as they came, for whoever wants to read the client's hello.
#[derive(Debug, Default)]
struct Tap(Vec<u8>);

/// A socket of either kind.
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

/// A wait that begins when it is first asked about.
#[derive(Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

/// A head and the body behind it leave together, as a segment of a usual network.
const WRITE_BUFFER: usize = 1460;
/// No hello is longer than this, by far.
const MAX_TAP: usize = 64 * 1024;

impl Transport {
    /// Waits for `socket` as `deadlines` say, and notes in `pulse` when a request begins. A client that dawdles stands in
    /// line.
    pub fn new(socket: Socket, pulse: Arc<Pulse>, deadlines: Deadlines, lines: Arc<Lines>) -> Self {
        let socket = BufWriter::with_capacity(WRITE_BUFFER, socket);
        Self {
            socket,
            pulse,
            deadlines,
            dawdle: Dawdle::new(lines),
            head: Timer::default(),
            stall: Timer::default(),
            tap: None,
            unread: BytesMut::new(),
        }
    }

    /// Keeps what comes from now on, until it is taken.
    pub fn open_tap(&mut self) {
        self.tap = Some(Tap::default());
    }

    /// What came since the tap was opened; nothing is kept from now on.
    pub fn close_tap(&mut self) -> Vec<u8> {
        self.tap.take().map(|tap| tap.0).unwrap_or_default()
    }

    /// Whether the connection begins with these bytes. As many of them are waited for as agree, and all can be read again.
    pub async fn begins_with(&mut self, wanted: &[u8]) -> io::Result<bool> {
        let mut read = BytesMut::with_capacity(wanted.len());
        let agrees = loop {
            if !wanted.starts_with(&read) || read.len() == wanted.len() {
                break read == wanted;
            }
            if (&mut *self).take((wanted.len() - read.len()) as u64).read_buf(&mut read).await? == 0 {
                break false;
            }
        };
        self.unread = read;
        Ok(agrees)
    }

    /// The socket had nothing: a head that is owed must come in time.
    fn wait_for_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.pulse.phase() {
            Phase::Head => {
                ready!(self.head.poll(cx, self.deadlines.head));
                self.pulse.ends(Ending::Head);
                Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "no whole head in time")))
            }
            Phase::Busy | Phase::Idle => {
                self.head = Timer::default();
                Poll::Pending
            }
        }
    }

    /// The socket took nothing: it must take something in time.
    fn wait_for_room<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        ready!(self.stall.poll(cx, self.deadlines.stall));
        self.pulse.ends(Ending::Stalled);
        Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the client takes nothing")))
    }

    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_pending() {
            return self.wait_for_room(cx);
        }
        self.stall = Timer::default();
        written
    }
}

impl Timer {
    fn poll(&mut self, cx: &mut Context<'_>, time: Duration) -> Poll<()> {
        self.0.get_or_insert_with(|| Box::pin(sleep(time))).as_mut().poll(cx)
    }
}

impl Tap {
    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_TAP.saturating_sub(self.0.len());
        self.0.extend(bytes.iter().take(room));
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.pulse.phase() {
            Phase::Head => {}
            Phase::Busy => this.head = Timer::default(),
            Phase::Idle => {
                this.head = Timer::default();
                this.dawdle.rest();
            }
        }
        if !this.unread.is_empty() {
            let now = this.unread.split_to(this.unread.len().min(buffer.remaining()));
            buffer.put_slice(&now);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let Self { dawdle, socket, .. } = this;
        match dawdle.poll(cx, |cx| Pin::new(socket).poll_read(cx, buffer)) {
            Poll::Pending => this.wait_for_head(cx),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                this.pulse.heard();
                match this.pulse.is_shared() {
                    true => this.dawdle.rest(),
                    false => this.dawdle.came(buffer.filled().len() - before),
                }
                if let Some(tap) = &mut this.tap {
                    tap.keep(buffer.filled().get(before..).unwrap_or_default());
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write(cx, bytes);
        this.bounded(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write_vectored(cx, bytes);
        this.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.socket).poll_flush(cx);
        this.bounded(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let closed = Pin::new(&mut this.socket).poll_shutdown(cx);
        this.bounded(cx, closed)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, bytes),
            Self::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;
