//! Where listening sockets come from: others have opened them for this process (systemd, or the gate that ran before), or
//! they are bound now. A socket is known by the address that it listens on, or by its file; what nobody asks for is closed.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use listenfd::ListenFd;

use crate::proxy::door::{FileOwner, Identity, SocketFile, UnixDoor, UnixError};
use crate::proxy::server::{ListenError, Listener};

/// Where listening sockets come from, if they are not bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Sockets {
    /// All are bound.
    #[default]
    Bound,
    /// systemd may have opened some, as `LISTEN_FDS` in the environment says.
    Activated,
    /// The same, and the gate that runs already hands its own over. Without one, it is a start like any other.
    TakenOver,
}

/// Who connects to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Clients do.
    Clients,
    /// Operators do.
    Operators,
}

/// A socket that somebody else has opened.
#[derive(Debug)]
pub(super) struct Given {
    /// What it was used for, if that is known.
    pub(super) role: Option<Role>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Tcp { socket: TcpListener, address: SocketAddr },
    Unix { socket: UnixListener, file: Arc<SocketFile> },
}

/// Sockets that others have opened for this process.
#[derive(Debug, Default)]
pub(super) struct Offered {
    sockets: Vec<Given>,
    /// What was given and cannot be used.
    complaints: Vec<String>,
}

impl Role {
    /// Its name on the way from one gate to the next.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Operators => "operators",
        }
    }

    /// The role of that name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Clients, Self::Operators].into_iter().find(|role| role.as_str() == name)
    }
}

impl Given {
    /// Any TCP socket; the error is that it does not listen.
    pub(super) fn tcp(role: Option<Role>, socket: TcpListener) -> io::Result<Self> {
        let address = socket.local_addr()?;
        listens(&socket)?;
        Ok(Self { role, kind: Kind::Tcp { socket, address } })
    }

    /// Any Unix socket with its file; the error is that it does not listen.
    pub(super) fn unix(role: Option<Role>, socket: UnixListener, file: SocketFile) -> io::Result<Self> {
        listens(&socket)?;
        Ok(Self { role, kind: Kind::Unix { socket, file: Arc::new(file) } })
    }

    /// A Unix socket whose file is for others to remove.
    fn lent(socket: UnixListener) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let path = address.as_pathname().ok_or_else(|| io::Error::other("it has no path"))?;
        let file = SocketFile::found(path.to_path_buf(), Identity::of(path)?, FileOwner::Lender);
        Self::unix(None, socket, file)
    }

    /// Its file, if it is a Unix socket.
    pub(super) fn file(&self) -> Option<&Arc<SocketFile>> {
        match &self.kind {
            Kind::Tcp { .. } => None,
            Kind::Unix { file, .. } => Some(file),
        }
    }

    fn address(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Tcp { address, .. } => Some(*address),
            Kind::Unix { .. } => None,
        }
    }

    /// Whether it is what somebody asks for who wants any free port of an address.
    fn is_some_port_of(&self, role: Role, wanted: SocketAddr) -> bool {
        let same = self.address().is_some_and(|address| address.ip() == wanted.ip());
        wanted.port() == 0 && self.role == Some(role) && same
    }
}

impl Display for Given {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Tcp { address, .. } => address.fmt(f),
            Kind::Unix { file, .. } => write!(f, "unix:{}", file.path().display()),
        }
    }
}

/// What does not listen cannot be accepted from.
fn listens(socket: &impl AsFd) -> io::Result<()> {
    match rustix::net::sockopt::socket_acceptconn(socket)? {
        true => Ok(()),
        false => Err(io::Error::other("it does not listen; systemd sockets for a gate need `Accept=no`")),
    }
}

impl Offered {
    /// What systemd has opened. Reads the environment, and takes out of it what it read.
    pub(super) fn by_systemd() -> Self {
        let (mut given, mut offered) = (ListenFd::from_env(), Self::default());
        for number in 0..given.len() {
            match taken(&mut given, number) {
                Ok(socket) => offered.sockets.extend(socket),
                Err(error) => offered.complaints.push(format!(
                    "socket {number} of those that this process was given cannot be used: {error}"
                )),
            }
        }
        offered
    }

    /// What somebody else has opened, too.
    pub(super) fn add(&mut self, given: Vec<Given>) {
        self.sockets.extend(given);
    }

    /// The socket for an address: one that is here, or a new one.
    pub(super) fn listen(&mut self, role: Role, address: SocketAddr) -> Result<Listener, ListenError> {
        let same = self.sockets.iter().position(|given| given.address() == Some(address));
        let found =
            same.or_else(|| self.sockets.iter().position(|given| given.is_some_port_of(role, address)));
        if let Some(Kind::Tcp { socket, .. }) = found.map(|found| self.sockets.swap_remove(found).kind) {
            return Listener::adopt(socket).map_err(|error| ListenError::Other(address, error));
        }
        let bound = Listener::bind(address);
        let mut others = self.sockets.iter().filter_map(Given::address);
        let rival = others.find(|given| given.port() == address.port());
        match (bound, rival) {
            (Err(ListenError::InUse(_)), Some(rival)) => Err(ListenError::Given(address, rival)),
            (bound, _) => bound,
        }
    }

    /// The Unix socket for a path: one whose file is there, or a new one.
    pub(super) fn listen_at(&mut self, path: &Path, mode: u32) -> Result<UnixDoor, UnixError> {
        let there = Identity::of(path).ok();
        let is_it = |given: &Given| given.file().map(|file| file.identity()) == there;
        let found = there.and_then(|_| self.sockets.iter().position(is_it));
        if let Some(Kind::Unix { socket, file }) = found.map(|found| self.sockets.swap_remove(found).kind) {
            let failed = |error| UnixError::Other(path.to_path_buf(), error);
            return UnixDoor::adopt(socket, file, mode).map_err(failed);
        }
        UnixDoor::bind(path, mode)
    }

    /// Closes what nobody has asked for; what to tell about it, and about what could not be used.
    pub(super) fn close(self) -> Vec<String> {
        let unwanted = self.sockets.iter().map(|given| {
            format!("a socket that listened on `{given}` is closed: no listener has that address")
        });
        self.complaints.into_iter().chain(unwanted).collect()
    }
}

/// One socket of systemd's, of either kind; `None` if there is none of that number.
fn taken(given: &mut ListenFd, number: usize) -> io::Result<Option<Given>> {
    let no_tcp = match given.take_tcp_listener(number) {
        Ok(socket) => return socket.map(|socket| Given::tcp(None, socket)).transpose(),
        Err(error) => error,
    };
    match given.take_unix_listener(number) {
        Ok(socket) => socket.map(Given::lent).transpose(),
        Err(_) => Err(no_tcp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> (TcpListener, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    #[test]
    fn a_given_socket_is_used_for_its_address_and_others_are_bound() {
        let ((socket, address), (other, unwanted)) = (opened(), opened());
        let mut offered = Offered::default();
        offered.add(vec![Given::tcp(None, socket).unwrap(), Given::tcp(None, other).unwrap()]);
        assert_eq!(offered.listen(Role::Operators, address).unwrap().address(), address);
        let bound = offered.listen(Role::Clients, "127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(![address, unwanted, "127.0.0.1:0".parse().unwrap()].contains(&bound.address()));
        let told = offered.close();
        assert_eq!(told.len(), 1);
        assert!(told[0].contains(&unwanted.to_string()), "{told:?}");
        assert!(Listener::bind(unwanted).is_ok(), "it is closed");
    }

    #[test]
    fn any_free_port_is_the_one_that_was_taken_over_for_the_same_use() {
        let ((clients, address), (operators, _)) = (opened(), opened());
        let mut offered = Offered::default();
        offered.add(vec![
            Given::tcp(Some(Role::Operators), operators).unwrap(),
            Given::tcp(Some(Role::Clients), clients).unwrap(),
        ]);
        let free = "127.0.0.1:0".parse().unwrap();
        assert_eq!(offered.listen(Role::Clients, free).unwrap().address(), address);
    }

    #[test]
    fn a_port_that_is_taken_by_a_given_socket_of_another_address_is_explained() {
        let socket = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let mut offered = Offered::default();
        offered.add(vec![Given::tcp(None, socket).unwrap()]);
        let error = offered.listen(Role::Clients, SocketAddr::from(([127, 0, 0, 1], port))).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!(
                "`127.0.0.1:{port}` is already in use by `0.0.0.0:{port}`, which this process was given"
            )),
            "{error}"
        );
    }

    #[test]
    fn a_unix_socket_is_known_by_its_file_whatever_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("bound.sock"), folder.path().join("gate.sock"));
        let socket = UnixListener::bind(&path).unwrap();
        std::fs::rename(&path, &moved).unwrap();
        let file = SocketFile::found(moved.clone(), Identity::of(&moved).unwrap(), FileOwner::Gate);
        let file = Given::unix(Some(Role::Clients), socket, file).unwrap();
        let held = Arc::clone(file.file().unwrap());
        let mut offered = Offered::default();
        offered.add(vec![file]);
        let other = offered.listen_at(&folder.path().join("other.sock"), 0o600).unwrap();
        assert!(!Arc::ptr_eq(other.file(), &held));
        assert!(Arc::ptr_eq(offered.listen_at(&moved, 0o600).unwrap().file(), &held));
        assert!(offered.close().is_empty());
    }

    #[test]
    fn a_unix_socket_whose_file_is_gone_is_bound_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.sock");
        let given = Given::lent(UnixListener::bind(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut offered = Offered::default();
        offered.add(vec![given]);
        let door = offered.listen_at(&path, 0o600).unwrap();
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
        assert_eq!(offered.close().len(), 1, "the other one is closed");
        drop(door);
        assert!(!path.exists());
    }
}
