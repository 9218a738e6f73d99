//! The door: where clients' connections come in, before there is any request.
//!
//! ```text
//!  accept -> enter the crowd -> (PROXY protocol) -> (TLS handshake) -> Accepted -> the gate
//! ```
//!
//! [`Door`] is a service with an accept loop of its own for each [`Entrance`]; a connection is then handled on the
//! thread that it is given to, from its first byte to its last. What is known about it is a [`Connection`], which every
//! request on it finds. Nothing is judged here: whoever is turned away finds no room, or does not speak the protocol.

mod accepted;
pub mod certificate;
mod crowd;
mod dawdle;
mod ending;
mod frames;
mod introduction;
mod line;
mod listening;
mod pulse;
mod socket_file;
pub mod tls;
mod transport;
mod turns;
mod visit;
mod wasters;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::{ALPN, Stream, UniqueIDType};
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use pingora_runtime::current_handle;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::drain::{Connected, Drain};
use super::unread::Unread;
use crate::clock::Clock;
use crate::facts::client::{PeerAddr, Prefix, Truncation, TrustedProxies};

pub use accepted::{Accepted, Connection, Manner};
pub use crowd::{Bounds, Crowd, Full, Place};
pub use ending::{Ending, Endings};
pub use line::Lines;
pub use listening::{Listening, UnixDoor, UnixError};
pub use pulse::{Phase, Pulse};
pub use socket_file::{Identity, Owner as FileOwner, SocketFile};
pub use transport::{Deadlines, Socket, Transport};
pub use turns::Turns;
pub use wasters::Wasters;

use introduction::introduced;
use listening::Caller;
use tls::Tls;
use visit::Visit;

/// The service that lets clients in, and hands their connections to `A`.
pub struct Door<A> {
    app: Arc<A>,
    entrances: Vec<Entrance>,
    drain: Drain,
    unread: Arc<Unread>,
}

/// One listener, and how connections come in by it.
pub struct Entrance {
    /// Where it listens.
    pub listener: Listening,
    /// How TLS is spoken; `None` in the clear.
    pub tls: Option<Arc<Tls>>,
    /// Who introduces each connection by the PROXY protocol; `None` if nobody does.
    pub introducers: Option<TrustedProxies>,
    /// How requests are answered.
    pub manner: Arc<Manner>,
    /// What all entrances share.
    pub porter: Arc<Porter>,
}

/// Who may come in, and how long it may take.
pub struct Porter {
    /// Everybody who is connected.
    pub crowd: Arc<Crowd>,
    /// Whose connections come to nothing.
    pub wasters: Wasters,
    /// How much of an address tells clients apart.
    pub truncation: Truncation,
    /// Whose connections are those of many clients.
    pub trusted: TrustedProxies,
    /// How long a connection is waited for.
    pub deadlines: Deadlines,
    /// Handshakes stand in line for these.
    pub turns: Turns,
    /// Where clients stand whose requests come a few bytes at a time.
    pub dawdlers: Arc<Lines>,
    /// The clocks.
    pub clock: Clock,
}

/// Bytes that a connection holds which idles over HTTP/1.1: rounded up from what was measured, 5 KiB in the clear and
/// 13 by TLS.
pub const IDLE: usize = 16 * 1024;
/// The same over HTTP/2, after a request: 43 KiB in the clear and 51 by TLS.
pub const IDLE_HTTP2: usize = 64 * 1024;

/// How HTTP/2 begins (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// After a failure to accept, for want of descriptors as a rule, some time for connections to end.
const BREATH: Duration = Duration::from_millis(100);
/// After so many connections in one go, whatever else is ready has its turn.
const IN_ONE_GO: u32 = 2;

impl<A> Door<A> {
    /// Lets clients in by `entrances` until `drain` begins. What `app` cannot read is told to `unread`.
    pub fn new(app: A, entrances: Vec<Entrance>, drain: Drain, unread: Unread) -> Self {
        Self { app: Arc::new(app), entrances, drain, unread: Arc::new(unread) }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> Service for Door<A> {
    async fn start_service(&mut self, _: Option<ListenFds>, _: ShutdownWatch, _: usize) {
        let open = |entrance: Entrance| {
            let (app, unread) = (Arc::clone(&self.app), Arc::clone(&self.unread));
            // Whoever waits for the last connection to end waits for the last that may still be accepted.
            let (open, drain) = (self.drain.connect(), self.drain.clone());
            let (accepts, accepting) = oneshot::channel();
            (current_handle().spawn(entrance.open(app, unread, drain, open, accepts)), accepting)
        };
        let (loops, accepting): (Vec<_>, Vec<_>) = self.entrances.drain(..).map(open).unzip();
        let mut all = true;
        for accepts in accepting {
            all &= accepts.await.is_ok();
        }
        // An entrance that could not be opened has said why, and nobody is told to come in by it.
        if all {
            self.drain.open();
        }
        for open in loops {
            // An entrance that broke off has said why.
            let _ = open.await;
        }
        // From here on idle connections close.
        self.drain.begun().await;
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
    introducers: Option<TrustedProxies>,
    manner: Arc<Manner>,
    porter: Arc<Porter>,
    unread: Arc<Unread>,
    drain: Drain,
    parting: ShutdownWatch,
}

impl Entrance {
    /// How clients connect.
    pub fn url(&self) -> String {
        let Self { listener, tls, .. } = self;
        match (listener, tls) {
            (Listening::Unix(_), _) => listener.to_string(),
            (Listening::Tcp(_), None) => format!("http://{listener}"),
            (Listening::Tcp(_), Some(_)) => format!("https://{listener}"),
        }
    }

    /// Accepts until the server stops, and says when it begins to. The socket is closed then, whoever is still inside.
    async fn open<A>(
        self,
        app: Arc<A>,
        unread: Arc<Unread>,
        drain: Drain,
        _open: Connected,
        accepts: oneshot::Sender<()>,
    ) where
        A: HttpServerApp + Send + Sync + 'static,
    {
        let Self { listener, tls, introducers, manner, porter } = self;
        let address = listener.to_string();
        let socket = match listener.open() {
            Ok(socket) => socket,
            Err(error) => return warn!("no client can connect to `{address}`: {error}"),
        };
        let (mut shut, parting) = (drain.shut(), drain.parting());
        let hall = Hall { app, tls, introducers, manner, porter, unread, drain: drain.clone(), parting };
        let hall = Arc::new(hall);
        // Nobody may wait for it any more.
        let _ = accepts.send(());
        let mut in_one_go = 0;
        loop {
            in_one_go = (in_one_go + 1) % IN_ONE_GO;
            if in_one_go == 0 {
                yield_now().await;
            }
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                _ = shut.wait_for(|shut| *shut) => return,
            };
            match accepted {
                // Whoever finds no room costs next to nothing.
                Ok((caller, peer)) => {
                    if let Ok(place) = hall.admit(peer) {
                        let serving = Arc::clone(&hall).serve(caller, peer, place, drain.connect());
                        current_handle().spawn(serving);
                    }
                }
                Err(error) => {
                    warn!("a connection to `{address}` was not accepted: {error}");
                    sleep(BREATH).await;
                }
            }
        }
    }
}

impl<A: HttpServerApp + Send + Sync + 'static> Hall<A> {
    /// Serves one connection, to its end.
    async fn serve(self: Arc<Self>, caller: Caller, peer: PeerAddr, place: Place, _connected: Connected) {
        let id = caller.id();
        let Ok(socket) = caller.watched() else { return };
        let pulse = Arc::new(Pulse::default());
        // A handshake takes some room, and is over soon.
        match Box::pin(self.welcome(socket, id, peer, place, &pulse)).await {
            Ok((stream, peer)) => self.attend(stream, peer, &pulse).await,
            Err(error) => {
                // Nobody knows whose it was if it was to be introduced.
                self.introducers.is_none().then(|| self.porter.blame(peer));
                debug!("a connection ended before its first request: {error}");
            }
        }
        if let Some(why) = pulse.ending() {
            self.porter.crowd.endings().count(why);
        }
    }

    /// Serves the requests of a connection, to its end.
    async fn attend(&self, stream: Stream, peer: PeerAddr, pulse: &Pulse) {
        if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            self.app.process_new(stream, &self.parting).await;
        } else {
            let (Self { app, drain, parting, .. }, keepalive) = (self, self.porter.deadlines.idle);
            Visit { app, pulse, drain, parting, keepalive }.serve(stream).await;
        }
        if let Some(status) = pulse.unread() {
            self.unread.record(peer, status);
        }
        if pulse.was_wasted() {
            self.porter.blame(peer);
        }
    }

    /// A place in the crowd, if there is room, for a peer that may come in here.
    fn admit(&self, peer: PeerAddr) -> Result<Place, Full> {
        match &self.introducers {
            None => {
                let client = self.porter.welcomed(peer)?;
                self.porter.crowd.enter(client)
            }
            // Whose connection it is will be said.
            Some(introducers) if introducers.trust(peer) => self.porter.crowd.enter(None),
            Some(_) => Err(self.porter.crowd.turn_away(Full::Unintroduced)),
        }
    }

    /// Who is at the other end, by the word of a proxy that introduces it.
    async fn introduced(
        &self,
        transport: &mut Transport,
        proxy: PeerAddr,
        place: &mut Place,
    ) -> io::Result<PeerAddr> {
        let told = introduced(transport, proxy).await;
        if told.is_err() {
            self.porter.crowd.turn_away(Full::Unintroduced);
        }
        let peer = told?;
        let room = self.porter.welcomed(peer).and_then(|client| place.belongs_to(client));
        room.map(|()| peer).map_err(|full| io::Error::other(format!("no room: {}", full.as_str())))
    }

    /// What comes before the first request: an introduction and a handshake, as this entrance has them.
    async fn welcome(
        &self,
        socket: Socket,
        id: UniqueIDType,
        peer: PeerAddr,
        mut place: Place,
        pulse: &Arc<Pulse>,
    ) -> io::Result<(Stream, PeerAddr)> {
        let (pulse, deadlines) = (Arc::clone(pulse), self.porter.deadlines);
        let clock = self.porter.clock;
        let manner = Arc::clone(&self.manner);
        let mut transport =
            Transport::new(socket, Arc::clone(&pulse), deadlines, Arc::clone(&self.porter.dawdlers));
        let peer = match self.introducers {
            None => peer,
            Some(_) => self.introduced(&mut transport, peer, &mut place).await?,
        };
        let stream: Stream = match &self.tls {
            None => {
                let http2 = manner.http2 && transport.begins_with(HTTP2_PREFACE).await?;
                let connection = Connection { peer, tls: None, http2, pulse, manner };
                Box::new(Accepted::new(transport, id, connection, place, clock))
            }
            Some(tls) => {
                let shaken =
                    timeout(deadlines.head, self.porter.turns.take(tls.shake_hands(transport))).await;
                let (stream, session) =
                    shaken.unwrap_or_else(|late| Err(late.into())).inspect_err(|error| {
                        if error.kind() == io::ErrorKind::TimedOut {
                            pulse.ends_in_handshake();
                        }
                    })?;
                let http2 = &*session.alpn == "h2";
                let connection = Connection { peer, tls: Some(session), http2, pulse, manner };
                Box::new(Accepted::new(stream, id, connection, place, clock))
            }
        };
        Ok((stream, peer))
    }
}

impl Porter {
    /// Whose connections are counted together with those of a peer, unless they are turned away.
    fn welcomed(&self, peer: PeerAddr) -> Result<Option<Prefix>, Full> {
        match self.client(peer) {
            Some(client) if self.wasters.have_spent(client, self.clock.tick()) => {
                Err(self.crowd.turn_away(Full::Wasted))
            }
            client => Ok(client),
        }
    }

    /// Notes that a connection of a peer came to nothing.
    fn blame(&self, peer: PeerAddr) {
        if let Some(client) = self.client(peer) {
            self.wasters.waste(client, self.clock.tick());
        }
    }

    /// Whose connections are counted together with those of a peer; `None` if nobody's are.
    fn client(&self, peer: PeerAddr) -> Option<Prefix> {
        (!self.trusted.trust(peer)).then(|| peer.prefix(self.truncation))
    }
}
