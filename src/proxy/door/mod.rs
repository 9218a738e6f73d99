//! The door: where clients' connections come in, before there is any request.
//!
//! ```text
//!  accept -> enter the crowd -> (TLS handshake) -> Accepted -> the gate
//! ```
//!
//! [`Door`] is a service with an accept loop of its own for each [`Entrance`]; a connection is then handled on the
//! thread that it is given to, from its first byte to its last. What is known about it is a [`Connection`], which every
//! request on it finds. Nothing is judged here: whoever is turned away finds no room, or does not speak the protocol.

mod accepted;
pub mod certificate;
mod crowd;
mod pulse;
pub mod tls;
mod transport;

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::{Stream, UniqueIDType};
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use pingora_runtime::current_handle;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::acme::Challenges;
use super::drain::Drain;
use super::server::Listener;
use crate::facts::client::{PeerAddr, Truncation, TrustedProxies};

pub use accepted::{Accepted, Connection, Manner};
pub use crowd::{Bounds, Crowd, Full, Place};
pub use pulse::{Phase, Pulse};
pub use transport::{Deadlines, Socket, Transport};

use tls::Tls;

/// The service that lets clients in, and hands their connections to `A`.
pub struct Door<A> {
    app: Arc<A>,
    entrances: Vec<Entrance>,
    drain: Drain,
}

/// One listener, and how connections come in by it.
pub struct Entrance {
    /// Where it listens.
    pub listener: Listener,
    /// How TLS is spoken; `None` in the clear.
    pub tls: Option<Arc<Tls>>,
    /// How requests are answered.
    pub manner: Arc<Manner>,
    /// What all entrances share.
    pub porter: Arc<Porter>,
}

/// Who may come in, and how long it may take.
pub struct Porter {
    /// Everybody who is connected.
    pub crowd: Arc<Crowd>,
    /// How much of an address tells clients apart.
    pub truncation: Truncation,
    /// Whose connections are those of many clients.
    pub trusted: TrustedProxies,
    /// How long a connection is waited for.
    pub deadlines: Deadlines,
    /// How authorities are answered that ask for a handshake.
    pub challenges: Arc<Challenges>,
}

/// How HTTP/2 begins (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// After a failure to accept, for want of descriptors as a rule, some time for connections to end.
const BREATH: Duration = Duration::from_millis(100);

impl<A> Door<A> {
    /// Lets clients in by `entrances` until `drain` begins.
    pub fn new(app: A, entrances: Vec<Entrance>, drain: Drain) -> Self {
        Self { app: Arc::new(app), entrances, drain }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> Service for Door<A> {
    async fn start_service(&mut self, _: Option<ListenFds>, _: ShutdownWatch, _: usize) {
        let open = |entrance: Entrance| {
            current_handle().spawn(entrance.open(Arc::clone(&self.app), self.drain.watch()))
        };
        let loops: Vec<_> = self.entrances.drain(..).map(open).collect();
        for open in loops {
            // An entrance that broke off has said why.
            let _ = open.await;
        }
        self.app.cleanup().await;
    }

    fn name(&self) -> &str {
        "gate"
    }
}

/// What those who came in by one entrance go through.
struct Hall<A> {
    app: Arc<A>,
    tls: Option<Arc<Tls>>,
    manner: Arc<Manner>,
    porter: Arc<Porter>,
    stop: ShutdownWatch,
}

impl Entrance {
    /// Accepts until the server stops. The socket is closed then, whoever is still inside.
    async fn open<A: ServerApp + Send + Sync + 'static>(self, app: Arc<A>, stop: ShutdownWatch) {
        let Self { listener, tls, manner, porter } = self;
        let address = listener.address();
        let socket = match TcpListener::from_std(listener.into_socket()) {
            Ok(socket) => socket,
            Err(error) => return warn!("no client can connect to `{address}`: {error}"),
        };
        let mut stopped = stop.clone();
        let hall = Arc::new(Hall { app, tls, manner, porter, stop });
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                _ = stopped.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok((socket, peer)) => {
                    let peer = PeerAddr::new(Some(peer));
                    current_handle().spawn(Arc::clone(&hall).serve(socket, peer));
                }
                Err(error) => {
                    warn!("a connection to `{address}` was not accepted: {error}");
                    sleep(BREATH).await;
                }
            }
        }
    }
}

impl<A: ServerApp + Send + Sync + 'static> Hall<A> {
    /// Serves one connection, to its end.
    async fn serve(self: Arc<Self>, socket: TcpStream, peer: PeerAddr) {
        let Some(place) = self.porter.admit(peer) else { return };
        let id = socket.as_raw_fd();
        let Ok(socket) = own(socket) else { return };
        let welcomed = match self.welcome(Socket::Tcp(socket), id, peer, place).await {
            Ok(stream) => stream,
            Err(error) => return debug!("a connection ended before its first request: {error}"),
        };
        let mut next = Some(welcomed);
        while let Some(stream) = next {
            next = self.app.process_new(stream, &self.stop).await;
        }
    }

    /// What comes before the first request: the handshake, if this is an entrance by TLS.
    async fn welcome(
        &self,
        socket: Socket,
        id: UniqueIDType,
        peer: PeerAddr,
        place: Place,
    ) -> io::Result<Stream> {
        let (pulse, deadlines) = (Arc::new(Pulse::default()), self.porter.deadlines);
        let manner = Arc::clone(&self.manner);
        let mut transport = Transport::new(socket, Arc::clone(&pulse), deadlines);
        Ok(match &self.tls {
            None => {
                let http2 = manner.http2 && transport.begins_with(HTTP2_PREFACE).await?;
                let connection = Connection { peer, tls: None, http2, pulse, manner };
                Box::new(Accepted::new(transport, id, connection, place))
            }
            Some(tls) => {
                let (stream, session) =
                    timeout(deadlines.head, tls.shake_hands(transport, &self.porter.challenges)).await??;
                let http2 = &*session.alpn == "h2";
                let connection = Connection { peer, tls: Some(session), http2, pulse, manner };
                Box::new(Accepted::new(stream, id, connection, place))
            }
        })
    }
}

impl Porter {
    /// A place in the crowd; `None` if there is no room.
    fn admit(&self, peer: PeerAddr) -> Option<Place> {
        let client = (!self.trusted.trust(peer)).then(|| peer.prefix(self.truncation));
        self.crowd.enter(client).ok()
    }
}

/// The socket, watched by the thread that serves it instead of the one that accepted it: otherwise each thread would
/// have to be woken by another for every read.
fn own(socket: TcpStream) -> io::Result<TcpStream> {
    socket.set_nodelay(true)?;
    TcpStream::from_std(socket.into_std()?)
}
