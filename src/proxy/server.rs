//! The server: listeners bound before anything starts, and Pingora's own settings.
//!
//! Pingora binds inside its services, retries for 30 seconds and then panics. Here a listener is bound first,
//! so that "address in use" is a message and port 0 can be asked for; [`Bound`] hands its socket over when
//! the service starts. What the services do is not decided here.

mod buffers;

use std::fs::Permissions;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread::available_parallelism;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::server::configuration::ServerConf;
use pingora::server::{Fds, ListenFds, RuntimeOpts, Server, ShutdownWatch};
use pingora::services::Service as PingoraService;
use pingora::services::listening::Service;

pub use buffers::{Buffer, Buffers};

/// How the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Threads of each service; `None`: one for each core.
    pub threads: Option<NonZeroUsize>,
    /// Idle upstream connections kept for each thread.
    pub idle_upstream_connections: usize,
    /// Whether threads share their work.
    pub scheduling: Scheduling,
}

/// Whether threads share their work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Scheduling {
    /// A connection stays on its thread, which is cheaper. Only for the one server of a process: after a
    /// server has stopped, the next one's tasks may be spawned on its threads and vanish (pingora#981).
    #[default]
    Pinned,
    /// Idle threads take work from busy ones. For processes that start one server after another, like tests;
    /// all of them have to use it.
    Stealing,
}

/// A socket that listens already, though nobody accepts yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process has it, or this one twice.
    #[error("`{0}` is already in use; stop the other process or choose another port")]
    InUse(SocketAddr),
    /// This process was given a socket of another address with the same port.
    #[error(
        "`{0}` is already in use by `{1}`, which this process was given: write that address, or have the other opened"
    )]
    Given(SocketAddr, SocketAddr),
    /// The port is below 1024, usually.
    #[error("`{0}` needs privileges that this process does not have; choose a port from 1024 on")]
    Forbidden(SocketAddr),
    /// The address belongs to another machine.
    #[error("`{0}` is not an address of this machine; `0.0.0.0` and `[::]` are all of its addresses")]
    NotOurs(SocketAddr),
    /// Anything else.
    #[error("cannot listen on `{0}`: {1}")]
    Other(SocketAddr, io::Error),
}

/// A service whose sockets listen already.
pub struct Bound<A> {
    service: Service<A>,
    sockets: Vec<(String, OwnedFd)>,
    until: Option<ShutdownWatch>,
}

/// Idle connections to upstreams that are kept for each thread.
pub(super) const IDLE_CONNECTIONS: usize = 128;
/// A retry is another try of one request: at most this many tries, whatever the reason.
pub(super) const MAX_TRIES: usize = 6;

impl Settings {
    /// Pingora's settings. Times of its own shutdown are zero, since [`Drain`](super::drain::Drain) waits instead.
    pub fn server_conf(&self) -> ServerConf {
        let cores = || available_parallelism().unwrap_or(NonZeroUsize::MIN);
        ServerConf {
            threads: self.threads.unwrap_or_else(cores).get(),
            work_stealing: self.scheduling == Scheduling::Stealing,
            upstream_keepalive_pool_size: self.idle_upstream_connections,
            max_retries: MAX_TRIES,
            grace_period_seconds: Some(0),
            graceful_shutdown_timeout_seconds: Some(0),
            ..ServerConf::default()
        }
    }

    /// A server without services. Give `server.configuration` to the proxy services.
    pub fn server(&self) -> Server {
        Server::new_with_opt_and_conf(None, self.server_conf())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { threads: None, idle_upstream_connections: IDLE_CONNECTIONS, scheduling: Scheduling::Pinned }
    }
}

impl Listener {
    /// Binds and listens. With port 0 the system chooses a free one; see [`Listener::address`].
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |error| ListenError::of(address, error);
        let socket = TcpListener::bind(address).map_err(failed)?;
        Self::adopt(socket).map_err(failed)
    }

    /// Uses a socket that listens already.
    pub fn adopt(socket: TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Bounds what the system may hold for each connection that comes in from now on.
    pub fn bounded(self, buffers: Buffers) -> Result<Self, ListenError> {
        buffers.bound(&self.socket).map_err(|error| ListenError::Other(self.address, error))?;
        Ok(self)
    }

    /// Another handle of the same socket, which listens until both are closed.
    pub fn duplicate(&self) -> io::Result<TcpListener> {
        self.socket.try_clone()
    }

    /// The socket, for an accept loop of one's own.
    pub fn into_socket(self) -> TcpListener {
        self.socket
    }

    /// The address, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl ListenError {
    fn of(address: SocketAddr, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(address),
            io::ErrorKind::PermissionDenied => Self::Forbidden(address),
            io::ErrorKind::AddrNotAvailable => Self::NotOurs(address),
            _ => Self::Other(address, error),
        }
    }
}

impl<A> Bound<A> {
    /// A service that has no endpoints yet. It stops accepting when the server shuts down.
    pub fn new(service: Service<A>) -> Self {
        Self { service, sockets: Vec::new(), until: None }
    }

    /// Accepts from `listener`.
    pub fn tcp(mut self, listener: Listener) -> Self {
        let address = listener.address.to_string();
        self.service.add_tcp(&address);
        self.sockets.push((address, listener.socket.into()));
        self
    }

    /// Accepts from a Unix socket, which only this user may write to. `path` is where `socket` is bound.
    pub fn unix(mut self, path: &str, socket: UnixListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        self.service.add_uds(path, Some(Permissions::from_mode(0o600)));
        self.sockets.push((path.to_owned(), socket.into()));
        Ok(self)
    }

    /// Stops accepting when this turns true. Otherwise it accepts as long as the server runs.
    pub fn until(self, stop: ShutdownWatch) -> Self {
        Self { until: Some(stop), ..self }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> PingoraService for Bound<A> {
    async fn start_service(
        &mut self,
        _: Option<ListenFds>,
        shutdown: ShutdownWatch,
        tasks_per_socket: usize,
    ) {
        let mut sockets = Fds::new();
        for (address, socket) in self.sockets.drain(..) {
            sockets.add(address, socket.into_raw_fd());
        }
        let sockets: ListenFds = Arc::new(sockets.into());
        let shutdown = self.until.take().unwrap_or(shutdown);
        self.service.start_service(Some(sockets), shutdown, tasks_per_socket).await;
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads
    }

    fn runtime_opts_override(&self, global: &RuntimeOpts) -> Option<RuntimeOpts> {
        self.service.runtime_opts_override(global)
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        self.service.listen_addresses()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_is_chosen_and_a_taken_one_is_a_message() {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_ne!(listener.address().port(), 0);
        let error = Listener::bind(listener.address()).unwrap_err();
        let address = listener.address();
        assert_eq!(
            error.to_string(),
            format!("`{address}` is already in use; stop the other process or choose another port")
        );
    }

    #[test]
    fn an_address_of_another_machine_is_a_message() {
        let error = Listener::bind("192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert!(matches!(error, ListenError::NotOurs(_)), "{error}");
    }

    #[test]
    fn threads_default_to_the_cores() {
        assert!(Settings::default().server_conf().threads > 0);
        let four = Settings { threads: NonZeroUsize::new(4), ..Settings::default() };
        assert_eq!(four.server_conf().threads, 4);
    }
}
