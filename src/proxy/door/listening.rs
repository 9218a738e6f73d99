//! Where connections come from: a TCP listener, or a Unix socket with a place in the file system.
//!
//! A Unix socket is bound under another name, given its mode, and renamed to its own, so that nobody finds one that is
//! half made. One that was left behind is replaced only if nobody listens to it; ours is removed at the end, unless
//! somebody else's has taken its place meanwhile, or another gate has taken it over.

use std::fmt::{self, Display, Formatter};
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener as StdTcpListener, TcpStream as StdTcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpStream, UnixStream};
use tracing::warn;

use super::super::server::Listener;
use super::socket_file::{Identity, SocketFile};
use super::transport::Socket;
use crate::facts::client::PeerAddr;

/// A socket of either kind that listens already.
#[derive(Debug)]
pub enum Listening {
    /// TCP.
    Tcp(Listener),
    /// A Unix socket.
    Unix(UnixDoor),
}

/// A Unix socket that listens already, and its place in the file system.
#[derive(Debug)]
pub struct UnixDoor {
    socket: StdUnixListener,
    file: Arc<SocketFile>,
    mode: u32,
}

/// Why a Unix socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum UnixError {
    /// Another process listens there, or this one twice.
    #[error("`unix:{0}` is already in use; stop the other process or choose another path")]
    InUse(PathBuf),
    /// Something else has that name.
    #[error("`{0}` is there already and is no socket; remove it or choose another path")]
    NoSocket(PathBuf),
    /// Anything else.
    #[error("cannot listen on `unix:{0}`: {1}")]
    Other(PathBuf, io::Error),
}

/// Accepts connections.
pub(super) enum Acceptor {
    Tcp(AsyncFd<StdTcpListener>),
    /// The file is there as long as somebody accepts.
    Unix {
        listener: AsyncFd<StdUnixListener>,
        _file: Arc<SocketFile>,
    },
}

/// Who has connected. No thread watches the socket yet, so that to turn somebody away is to close it and nothing else.
pub(super) enum Caller {
    Tcp(StdTcpStream),
    Unix(StdUnixStream),
}

impl Listening {
    /// The address, with the port that was chosen; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => Some(listener.address()),
            Self::Unix(_) => None,
        }
    }

    /// The file of a Unix socket.
    pub fn file(&self) -> Option<&SocketFile> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(door) => Some(&door.file),
        }
    }

    /// Begins to accept, on the runtime that this is called on.
    pub(super) fn open(self) -> io::Result<Acceptor> {
        Ok(match self {
            Self::Tcp(listener) => Acceptor::Tcp(watched(listener.into_socket())?),
            Self::Unix(UnixDoor { socket, file, mode }) => {
                // Not before now: as long as it can still come to nothing, nothing changes for the gate that runs.
                if let Err(error) = file.set_mode(mode) {
                    warn!("the mode of `{}` stays as it was: {error}", file.path().display());
                }
                Acceptor::Unix { listener: watched(socket)?, _file: file }
            }
        })
    }
}

impl Display for Listening {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => listener.address().fmt(f),
            Self::Unix(door) => write!(f, "unix:{}", door.file.path().display()),
        }
    }
}

impl Acceptor {
    pub(super) async fn accept(&self) -> io::Result<(Caller, PeerAddr)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.async_io(Interest::READABLE, StdTcpListener::accept).await?;
                (Caller::Tcp(socket), PeerAddr::new(Some(peer)))
            }
            Self::Unix { listener, .. } => {
                let (socket, _) = listener.async_io(Interest::READABLE, StdUnixListener::accept).await?;
                (Caller::Unix(socket), PeerAddr::UNIX)
            }
        })
    }
}

impl Caller {
    /// The descriptor.
    pub(super) fn id(&self) -> RawFd {
        match self {
            Self::Tcp(socket) => socket.as_raw_fd(),
            Self::Unix(socket) => socket.as_raw_fd(),
        }
    }

    /// The socket, watched by the thread that calls this instead of the one that accepted it: otherwise each thread
    /// would have to be woken by another for every read.
    pub(super) fn watched(self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                socket.set_nodelay(true)?;
                Socket::Tcp(TcpStream::from_std(socket)?)
            }
            Self::Unix(socket) => {
                socket.set_nonblocking(true)?;
                Socket::Unix(UnixStream::from_std(socket)?)
            }
        })
    }
}

impl UnixDoor {
    /// Binds and listens. Whoever may write to a file of this mode may connect.
    pub fn bind(path: &Path, mode: u32) -> Result<Self, UnixError> {
        let failed = |error: io::Error| UnixError::Other(path.to_path_buf(), error);
        make_room(path)?;
        let new = path.with_added_extension("new");
        make_room(&new)?;
        let socket = StdUnixListener::bind(&new).map_err(failed)?;
        let begun = || {
            socket.set_nonblocking(true)?;
            fs::set_permissions(&new, Permissions::from_mode(mode))?;
            let identity = Identity::of(&new)?;
            fs::rename(&new, path)?;
            Ok(identity)
        };
        let identity = begun().map_err(|error| {
            // Nobody else knows of it.
            let _ = fs::remove_file(&new);
            failed(error)
        })?;
        Ok(Self { socket, file: Arc::new(SocketFile::made(path.to_path_buf(), identity)), mode })
    }

    /// Uses a socket that listens already. Its file gets this mode when somebody accepts.
    pub fn adopt(socket: StdUnixListener, file: Arc<SocketFile>, mode: u32) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, file, mode })
    }

    /// Another handle of the same socket, which listens until both are closed.
    pub fn duplicate(&self) -> io::Result<StdUnixListener> {
        self.socket.try_clone()
    }

    /// Its place in the file system.
    pub fn file(&self) -> &Arc<SocketFile> {
        &self.file
    }
}

/// A listener, watched by the thread that calls this.
#[expect(deprecated, reason = "what replaces it is unsafe, for types that lie about their descriptor")]
fn watched<L: AsRawFd>(listener: L) -> io::Result<AsyncFd<L>> {
    AsyncFd::with_interest(listener, Interest::READABLE)
}

/// Removes a socket that was left behind; fails if there is anything else.
fn make_room(path: &Path) -> Result<(), UnixError> {
    let failed = |error: io::Error| UnixError::Other(path.to_path_buf(), error);
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(UnixError::NoSocket(path.to_path_buf()));
    }
    match StdUnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Ok(_) => Err(UnixError::InUse(path.to_path_buf())),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn bind(path: &Path) -> Result<UnixDoor, UnixError> {
        UnixDoor::bind(path, 0o640)
    }

    #[test]
    fn a_socket_has_its_mode_and_goes_with_its_listener() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("gate.sock");
        let door = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(StdUnixStream::connect(&path).is_ok());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        drop(door);
        assert!(!path.exists());
    }

    #[test]
    fn one_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("gate.sock");
        drop(StdUnixListener::bind(&path).unwrap());
        assert!(path.exists(), "nobody removed it");
        let door = bind(&path).unwrap();
        let error = bind(&path).unwrap_err();
        assert!(matches!(error, UnixError::InUse(_)), "{error}");
        assert!(StdUnixStream::connect(&path).is_ok(), "the first still listens");
        drop(door);
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("gate.sock");
        fs::write(&path, "precious").unwrap();
        let error = bind(&path).unwrap_err();
        assert!(matches!(error, UnixError::NoSocket(_)), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let nowhere = bind(&folder.path().join("nowhere/gate.sock")).unwrap_err();
        assert!(matches!(nowhere, UnixError::Other(..)), "{nowhere}");
        let long = bind(&folder.path().join("x".repeat(120))).unwrap_err();
        assert!(matches!(long, UnixError::Other(..)), "{long}");
    }

    #[test]
    fn the_socket_of_a_successor_is_not_removed() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("gate.sock");
        let door = bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let successor = bind(&path).unwrap();
        drop(door);
        assert!(StdUnixStream::connect(&path).is_ok());
        drop(successor);
    }
}
