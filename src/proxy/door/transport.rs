//! A client's socket: small writes joined, and patience bounded where the layers above have none.
//!
//! Two things end here that nothing above would end: a head that drips in byte by byte, and a client that takes
//! nothing of what is sent to it. A timer is made only when the socket has to be waited for, so a request that comes
//! in one piece costs none.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
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
use super::pulse::{Phase, Pulse};
use super::turns::Turns;

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

impl Socket {
    /// The descriptor.
    pub(super) fn id(&self) -> RawFd {
        match self {
            Self::Tcp(socket) => socket.as_raw_fd(),
            Self::Unix(socket) => socket.as_raw_fd(),
        }
    }

    /// The socket, watched by the thread that calls this instead of the one that accepted it: otherwise each thread
    /// would have to be woken by another for every read.
    pub(super) fn moved_here(self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => {
                socket.set_nodelay(true)?;
                Self::Tcp(TcpStream::from_std(socket.into_std()?)?)
            }
            Self::Unix(socket) => Self::Unix(UnixStream::from_std(socket.into_std()?)?),
        })
    }
}

/// A wait that begins when it is first asked about.
#[derive(Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

/// A head and the body behind it leave together, as a segment of a usual network.
const WRITE_BUFFER: usize = 1460;
/// No hello is longer than this, by far.
const MAX_TAP: usize = 64 * 1024;

impl Transport {
    /// Waits for `socket` as `deadlines` say, and notes in `pulse` when a request begins. A client that dawdles waits for its
    /// turn.
    pub fn new(socket: Socket, pulse: Arc<Pulse>, deadlines: Deadlines, turns: Arc<Turns>) -> Self {
        let socket = BufWriter::with_capacity(WRITE_BUFFER, socket);
        Self {
            socket,
            pulse,
            deadlines,
            dawdle: Dawdle::new(turns),
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
        ready!(this.dawdle.poll_turn(cx));
        let before = buffer.filled().len();
        match Pin::new(&mut this.socket).poll_read(cx, buffer) {
            Poll::Pending => {
                this.dawdle.waits();
                this.wait_for_head(cx)
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                this.pulse.heard();
                if !this.pulse.is_shared() {
                    this.dawdle.came(buffer.filled().len() - before);
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
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    fn pair(deadlines: Deadlines) -> (Transport, UnixStream, Arc<Pulse>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let pulse = Arc::new(Pulse::default());
        let turns = Arc::new(Turns::new(1));
        (Transport::new(Socket::Unix(ours), Arc::clone(&pulse), deadlines, turns), theirs, pulse)
    }

    const PATIENT: Deadlines = Deadlines {
        head: Duration::from_secs(10),
        stall: Duration::from_secs(60),
        idle: Duration::from_secs(60),
    };

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_in_is_waited_for_only_so_long() {
        let (mut transport, mut client, _) = pair(PATIENT);
        let dripping = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let (mut head, mut buffer) = (0, [0; 16]);
        let error = loop {
            match transport.read(&mut buffer).await {
                Ok(read) => head += read,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!((9..=11).contains(&head), "a byte each second, for ten seconds: {head}");
        drop(transport);
        dripping.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_and_a_rest_take_as_long_as_they_take() {
        let (mut transport, mut client, pulse) = pair(PATIENT);
        for phase in [|pulse: &Pulse| pulse.began(None), Pulse::rested] {
            phase(&pulse);
            let (read, _) = tokio::join!(transport.read_u8(), async {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                client.write_all(b"x").await
            });
            assert_eq!(read.unwrap(), b'x');
        }
        assert_eq!(pulse.phase(), Phase::Head, "what came after the rest began a request");
        let error = transport.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (mut transport, client, _) = pair(PATIENT);
        let error = transport.write_all(&vec![0; 16 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(client);
    }

    #[tokio::test]
    async fn a_beginning_is_looked_at_and_read_again() {
        for (sent, agrees) in
            [("PRI * more", true), ("PRI", false), ("POST /", false), ("G", false), ("", false)]
        {
            let (mut transport, mut client, _) = pair(PATIENT);
            client.write_all(sent.as_bytes()).await.unwrap();
            drop(client);
            assert_eq!(transport.begins_with(b"PRI *").await.unwrap(), agrees, "{sent}");
            let mut all = String::new();
            transport.read_to_string(&mut all).await.unwrap();
            assert_eq!(all, sent);
        }
    }

    #[tokio::test]
    async fn the_tap_keeps_what_came_and_no_more_than_it_may() {
        let (mut transport, mut client, _) = pair(PATIENT);
        transport.open_tap();
        client.write_all(b"hello").await.unwrap();
        let mut buffer = [0; 8];
        let read = transport.read(&mut buffer).await.unwrap();
        assert_eq!(buffer.get(..read), Some(&b"hello"[..]));
        assert_eq!(transport.close_tap(), b"hello");
        assert_eq!(transport.close_tap(), b"");

        let mut tap = Tap::default();
        tap.keep(&vec![1; 2 * MAX_TAP]);
        tap.keep(&[2]);
        assert_eq!(tap.0.len(), MAX_TAP);
    }
}
