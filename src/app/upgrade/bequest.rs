//! One socket on its way from a gate to the next: what is said of it, and how that is understood.
//!
//! Of a TCP socket only its use is said, since the socket knows its address. A Unix socket knows the name that it was bound
//! under, which is not where its file is now; so the file is told too, and whether it was lent.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, absolute};
use std::sync::Arc;

use crate::app::sockets::{Given, Role};
use crate::proxy::door::{FileOwner, Identity, Listening, SocketFile, UnixDoor};
use crate::proxy::server::Listener;

/// A socket to hand over.
pub(in crate::app) struct Bequest {
    said: String,
    /// Closed when it is no longer to be handed over: as long as it is open, clients can connect.
    socket: OwnedFd,
    file: Option<Arc<SocketFile>>,
}

const UNIX: &str = "unix";
const LENT: &str = "lent";

impl Bequest {
    /// The socket of a listener for clients.
    pub(in crate::app) fn clients(listening: &Listening) -> io::Result<Self> {
        match listening {
            Listening::Tcp(listener) => Self::tcp(Role::Clients, listener),
            Listening::Unix(door) => Self::unix(Role::Clients, door),
        }
    }

    /// The socket of the listener for operators.
    pub(in crate::app) fn operators(listener: &Listener) -> io::Result<Self> {
        Self::tcp(Role::Operators, listener)
    }

    fn tcp(role: Role, listener: &Listener) -> io::Result<Self> {
        Ok(Self { said: role.as_str().to_owned(), socket: listener.duplicate()?.into(), file: None })
    }

    fn unix(role: Role, door: &UnixDoor) -> io::Result<Self> {
        let file = Arc::clone(door.file());
        let said = describe(role, &file)?;
        Ok(Self { said, socket: door.duplicate()?.into(), file: Some(file) })
    }

    /// What is said of it.
    pub(super) fn said(&self) -> &str {
        &self.said
    }

    /// The socket itself.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// It has been handed over; the other gate is in charge of its file.
    pub(super) fn is_theirs(&self) {
        if let Some(file) = &self.file {
            file.leave_charge();
        }
    }
}

/// The role, whose the file is, which one it is, and where.
fn describe(role: Role, file: &SocketFile) -> io::Result<String> {
    let owner = match file.owner() {
        FileOwner::Gate => UNIX,
        FileOwner::Lender => LENT,
    };
    let Identity { device, inode } = file.identity();
    let path = absolute(file.path())?;
    let path = path.to_str().filter(|path| !path.contains('\n'));
    let path = path.ok_or_else(|| io::Error::other("the path of a Unix socket cannot be told"))?;
    Ok(format!("{} {owner} {device:x} {inode:x} {path}", role.as_str()))
}

/// A socket of which this was said; `None` if it is of a kind that this version does not know.
pub(super) fn understood(said: &str, socket: OwnedFd) -> Option<Given> {
    let mut words = said.splitn(5, ' ');
    let role = Role::parse(words.next()?);
    let Some(kind) = words.next() else { return Given::tcp(role, TcpListener::from(socket)).ok() };
    let owner = match kind {
        UNIX => FileOwner::Gate,
        LENT => FileOwner::Lender,
        _ => return None,
    };
    let mut number = || u64::from_str_radix(words.next()?, 16).ok();
    let identity = Identity { device: number()?, inode: number()? };
    let file = SocketFile::found(Path::new(words.next()?).to_path_buf(), identity, owner);
    Given::unix(role, UnixListener::from(socket), file).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_unix_socket_is_understood() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("with a space.sock");
        let door = UnixDoor::bind(&path, 0o600).unwrap();
        let bequest = Bequest::clients(&Listening::Unix(door)).unwrap();
        let given = understood(bequest.said(), bequest.socket.try_clone().unwrap()).unwrap();
        let file = given.file().unwrap();
        assert_eq!((given.role, file.path()), (Some(Role::Clients), path.as_path()));
        assert_eq!((file.identity(), file.owner()), (Identity::of(&path).unwrap(), FileOwner::Gate));
        let lent = SocketFile::found(path.clone(), file.identity(), FileOwner::Lender);
        let said = describe(Role::Clients, &lent).unwrap();
        let given = understood(&said, bequest.socket.try_clone().unwrap()).unwrap();
        assert_eq!(given.file().unwrap().owner(), FileOwner::Lender);
    }

    #[test]
    fn a_socket_of_an_unknown_kind_is_nobodys() {
        let socket = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        for said in ["clients", "others"] {
            assert!(understood(said, socket()).is_some(), "{said}");
        }
        for said in ["clients quic 1 2 /a", "clients unix 1 x /a", "clients unix 1 2", "clients unix"] {
            assert!(understood(said, socket()).is_none(), "{said}");
        }
    }
}
