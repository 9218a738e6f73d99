//! Load by TLS 1.3 and HTTP/2: so many requests at once, each of which is followed by the next as soon as it is answered.
//!
//! One thread, as the load in the clear. It has the cryptography of a client to do, on the core that it shares with the
//! origin, and HTTP/2 by a library; so it may be what fills its core first. CPU per request does not depend on that.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificate::{self, HOST};
use crate::error::LoadError;
use crate::origin;
use crate::requests::Mix;
use crate::response::{Arrived, look};

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// One after the other on connections that stay.
    KeepAlive,
    /// Each on a connection of its own, with a full handshake.
    Handshakes,
    /// Several at once on connections that stay.
    Http2,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Load {
    /// How long it took.
    pub(crate) took: Duration,
    /// Requests that were answered by the origin.
    pub(crate) answers: u64,
    /// Nanoseconds from the beginning of a request, with its handshake if it has one, to the end of its answer.
    pub(crate) latencies: Histogram<u64>,
}

/// Streams of one connection at once.
const STREAMS: usize = 8;
/// The longest latency that is told apart, in nanoseconds.
const SLOWEST: u64 = 60_000_000_000;

impl Way {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::KeepAlive, Self::Handshakes, Self::Http2];

    /// What the table calls it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::KeepAlive => "TLS 1.3, keep-alive",
            Self::Handshakes => "TLS 1.3, handshakes",
            Self::Http2 => "HTTP/2 by TLS 1.3",
        }
    }

    const fn alpn(self) -> &'static str {
        match self {
            Self::KeepAlive | Self::Handshakes => "http/1.1",
            Self::Http2 => "h2",
        }
    }

    /// As many requests as `address` can answer, `at_once` at any time, for so long, after connections that stay are there
    /// and that was said.
    pub(crate) fn load(
        self,
        address: SocketAddr,
        at_once: usize,
        length: Duration,
        ready: &mut dyn FnMut(),
    ) -> Result<Load, LoadError> {
        let failed = || LoadError::io(format!("talk to `{address}` by {}", self.as_str()));
        let config = Arc::new(certificate::client(self.alpn())?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed())?;
        let mix = Arc::new(Mutex::new(Mix::for_server(address)));
        let client = Client { address, config, mix };
        let work = async {
            let connections = client.connections(self, at_once).await?;
            ready();
            client.run(connections, length).await
        };
        runtime.block_on(work).map_err(failed())
    }
}

/// One for each request at once.
enum Connection {
    Kept(Box<TlsStream<TcpStream>>),
    New,
    Stream(h2::client::SendRequest<Bytes>),
}

#[derive(Clone, Debug)]
struct Client {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    /// One thread has it, so nobody waits for it.
    mix: Arc<Mutex<Mix>>,
}

impl Client {
    async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(HOST).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await
    }

    /// The next request of the mix.
    fn write_next(&self, request: &mut Vec<u8>) {
        self.mix.lock().unwrap_or_else(PoisonError::into_inner).write_next(request);
    }

    async fn connections(&self, way: Way, at_once: usize) -> io::Result<Vec<Connection>> {
        let mut connections = Vec::new();
        while connections.len() < at_once {
            match way {
                Way::KeepAlive => connections.push(Connection::Kept(Box::new(self.connect().await?))),
                Way::Handshakes => connections.push(Connection::New),
                Way::Http2 => {
                    let sender = self.http2().await?;
                    let streams = STREAMS.min(at_once - connections.len());
                    connections.extend((0..streams).map(|_| Connection::Stream(sender.clone())));
                }
            }
        }
        Ok(connections)
    }

    async fn run(&self, connections: Vec<Connection>, length: Duration) -> io::Result<Load> {
        let begin = Instant::now();
        let until = begin + length;
        let mut workers = JoinSet::new();
        for connection in connections {
            let client = self.clone();
            match connection {
                Connection::Kept(stream) => workers.spawn(client.keep_alive(*stream, until)),
                Connection::New => workers.spawn(client.handshakes(until)),
                Connection::Stream(sender) => workers.spawn(client.streams(sender, until)),
            };
        }
        let mut latencies = histogram()?;
        while let Some(worker) = workers.join_next().await {
            latencies.add(worker.map_err(io::Error::other)??).map_err(io::Error::other)?;
        }
        Ok(Load { took: begin.elapsed(), answers: latencies.len(), latencies })
    }

    async fn keep_alive(
        self,
        mut stream: TlsStream<TcpStream>,
        until: Instant,
    ) -> io::Result<Histogram<u64>> {
        let (mut request, mut inbox, mut latencies) = (Vec::new(), Vec::new(), histogram()?);
        while Instant::now() < until {
            let begin = Instant::now();
            self.write_next(&mut request);
            exchange(&mut stream, &request, &mut inbox).await?;
            latencies.saturating_record(nanoseconds(begin));
        }
        Ok(latencies)
    }

    async fn handshakes(self, until: Instant) -> io::Result<Histogram<u64>> {
        let (mut request, mut inbox, mut latencies) = (Vec::new(), Vec::new(), histogram()?);
        while Instant::now() < until {
            let begin = Instant::now();
            self.write_next(&mut request);
            let mut stream = self.connect().await?;
            exchange(&mut stream, &request, &mut inbox).await?;
            latencies.saturating_record(nanoseconds(begin));
        }
        Ok(latencies)
    }

    async fn http2(&self) -> io::Result<h2::client::SendRequest<Bytes>> {
        let (sender, connection) =
            h2::client::handshake(self.connect().await?).await.map_err(io::Error::other)?;
        // Its end is seen by whoever uses it.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    async fn streams(
        self,
        sender: h2::client::SendRequest<Bytes>,
        until: Instant,
    ) -> io::Result<Histogram<u64>> {
        let (mut request, mut latencies) = (Vec::new(), histogram()?);
        let mut sender = sender.ready().await.map_err(io::Error::other)?;
        while Instant::now() < until {
            let begin = Instant::now();
            self.write_next(&mut request);
            let head = as_http2(&request).ok_or(ErrorKind::InvalidInput)?;
            sender = sender.ready().await.map_err(io::Error::other)?;
            let (answer, _) = sender.send_request(head, true).map_err(io::Error::other)?;
            let answer = answer.await.map_err(io::Error::other)?;
            let (status, mut body, mut length) = (answer.status().as_u16(), answer.into_body(), 0);
            while let Some(data) = body.data().await {
                let data = data.map_err(io::Error::other)?;
                length += data.len();
                body.flow_control().release_capacity(data.len()).map_err(io::Error::other)?;
            }
            check(status, length)?;
            latencies.saturating_record(nanoseconds(begin));
        }
        Ok(latencies)
    }
}

/// A request of the mix, which is ready-made for HTTP/1.1.
fn as_http2(request: &[u8]) -> Option<http::Request<()>> {
    let text = std::str::from_utf8(request).ok()?;
    let mut lines = text.split("\r\n");
    let target = lines.next()?.split(' ').nth(1)?;
    let mut head = http::Request::get(format!("https://{HOST}{target}"));
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if name != "Host" {
            head = head.header(name, value);
        }
    }
    head.body(()).ok()
}

/// One request and its answer.
async fn exchange(stream: &mut TlsStream<TcpStream>, request: &[u8], inbox: &mut Vec<u8>) -> io::Result<()> {
    stream.write_all(request).await?;
    stream.flush().await?;
    inbox.clear();
    loop {
        if stream.read_buf(inbox).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        match look(inbox) {
            Arrived::Whole { status, body } => return check(status, body),
            Arrived::Part => {}
            Arrived::Nonsense => return Err(ErrorKind::InvalidData.into()),
        }
    }
}

/// Figures of wrong answers are none.
fn check(status: u16, body: usize) -> io::Result<()> {
    if status == 200 && body == origin::BODY.len() {
        return Ok(());
    }
    Err(io::Error::other(format!("an answer with status {status} and {body} bytes is not the origin's")))
}

fn histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, SLOWEST, 3).map_err(io::Error::other)
}

fn nanoseconds(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_nanos()).unwrap_or(SLOWEST)
}
