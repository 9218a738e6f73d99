//! The gate that runs already, as the one that starts sees it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bequest::understood;
use super::{ALL, COUNTS, FAREWELL, HELLO, OK, PATIENCE, SERVING, UpgradeError, place, wire};
use crate::app::sockets::Given;
use crate::proxy::door::SocketFile;

/// The gate that runs already. If this is dropped, it serves on.
#[derive(Debug)]
pub(in crate::app) struct Predecessor {
    path: PathBuf,
    stream: UnixStream,
    /// The files of its sockets, be they wanted or not.
    files: Vec<Arc<SocketFile>>,
    /// What it has counted.
    counts: Option<OwnedFd>,
}

impl Predecessor {
    /// The gate that listens at `path`; `None` if none does.
    pub(in crate::app) fn find(path: &Path) -> Result<Option<Self>, UpgradeError> {
        let Some(stream) = place::visit(path)? else { return Ok(None) };
        let timed = stream.set_read_timeout(Some(PATIENCE)).and(stream.set_write_timeout(Some(PATIENCE)));
        timed.map_err(UpgradeError::place(path))?;
        Ok(Some(Self { path: path.to_path_buf(), stream, files: Vec::new(), counts: None }))
    }

    /// Its sockets. It accepts from them, until it is told that somebody else does.
    pub(in crate::app) fn sockets(&mut self) -> Result<Vec<Given>, UpgradeError> {
        let given = self.receive().map_err(UpgradeError::refused(&self.path))?;
        self.files = given.iter().filter_map(Given::file).cloned().collect();
        Ok(given)
    }

    /// What it has counted, once, if it said so.
    pub(in crate::app) fn counts(&mut self) -> Option<OwnedFd> {
        self.counts.take()
    }

    /// Tells it that clients can connect here. Returns when it accepts no more: then the files of its sockets are this
    /// gate's, and those that nobody wants are gone.
    pub(in crate::app) fn relieve(self) -> Result<(), UpgradeError> {
        let told =
            wire::send(&self.stream, SERVING, None).and_then(|()| wire::expect(&self.stream, FAREWELL));
        told.map_err(UpgradeError::refused(&self.path))?;
        self.files.iter().for_each(|file| file.take_charge());
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Vec<Given>> {
        let mut given = Vec::new();
        wire::send(&self.stream, HELLO, None)?;
        loop {
            match wire::receive(&self.stream)? {
                (said, None) if said == ALL => return Ok(given),
                (said, Some(memory)) if said == COUNTS => {
                    self.counts = Some(memory);
                    wire::send(&self.stream, OK, None)?;
                }
                (said, Some(socket)) => {
                    // A socket of a kind that this version does not know is closed, and bound anew if need be.
                    given.extend(understood(&said, socket));
                    wire::send(&self.stream, OK, None)?;
                }
                (said, None) => {
                    let message = format!("it says `{}`", said.escape_debug());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
            }
        }
    }
}
