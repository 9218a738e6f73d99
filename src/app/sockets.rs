//! Where listening sockets come from: others have opened them for this process (systemd, or the gate that ran before), or
//! they are bound now. A socket is known by the address that it listens on; what nobody asks for is closed.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

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
    socket: TcpListener,
    address: SocketAddr,
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
    /// Any socket; the error is that it does not listen for TCP connections.
    pub(super) fn new(role: Option<Role>, socket: TcpListener) -> io::Result<Self> {
        let address = socket.local_addr()?;
        if !rustix::net::sockopt::socket_acceptconn(&socket)? {
            return Err(io::Error::other("it does not listen; systemd sockets for a gate need `Accept=no`"));
        }
        Ok(Self { role, socket, address })
    }

    /// Whether it is what somebody asks for who wants any free port of an address.
    fn is_some_port_of(&self, role: Role, address: SocketAddr) -> bool {
        address.port() == 0 && self.role == Some(role) && self.address.ip() == address.ip()
    }
}

impl Offered {
    /// What systemd has opened. Reads the environment, and takes out of it what it read.
    pub(super) fn by_systemd() -> Self {
        let (mut given, mut offered) = (ListenFd::from_env(), Self::default());
        for number in 0..given.len() {
            let socket = given.take_tcp_listener(number);
            match socket.and_then(|socket| socket.map(|socket| Given::new(None, socket)).transpose()) {
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
        let same = self.sockets.iter().position(|given| given.address == address);
        let found =
            same.or_else(|| self.sockets.iter().position(|given| given.is_some_port_of(role, address)));
        if let Some(found) = found {
            let given = self.sockets.swap_remove(found);
            return Listener::adopt(given.socket).map_err(|error| ListenError::Other(address, error));
        }
        let bound = Listener::bind(address);
        let rival = self.sockets.iter().find(|given| given.address.port() == address.port());
        match (bound, rival) {
            (Err(ListenError::InUse(_)), Some(rival)) => Err(ListenError::Given(address, rival.address)),
            (bound, _) => bound,
        }
    }

    /// Closes what nobody has asked for; what to tell about it, and about what could not be used.
    pub(super) fn close(self) -> Vec<String> {
        let unwanted = self.sockets.iter().map(|given| {
            format!("a socket that listened on `{}` is closed: no listener has that address", given.address)
        });
        self.complaints.into_iter().chain(unwanted).collect()
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
        offered.add(vec![Given::new(None, socket).unwrap(), Given::new(None, other).unwrap()]);
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
            Given::new(Some(Role::Operators), operators).unwrap(),
            Given::new(Some(Role::Clients), clients).unwrap(),
        ]);
        let free = "127.0.0.1:0".parse().unwrap();
        assert_eq!(offered.listen(Role::Clients, free).unwrap().address(), address);
    }

    #[test]
    fn a_port_that_is_taken_by_a_given_socket_of_another_address_is_explained() {
        let socket = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let mut offered = Offered::default();
        offered.add(vec![Given::new(None, socket).unwrap()]);
        let error = offered.listen(Role::Clients, SocketAddr::from(([127, 0, 0, 1], port))).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!(
                "`127.0.0.1:{port}` is already in use by `0.0.0.0:{port}`, which this process was given"
            )),
            "{error}"
        );
    }
}
