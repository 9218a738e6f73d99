//! What is the same for every turn: two cores, the origin, and a folder for everything.

use std::net::SocketAddr;

use tempfile::TempDir;

use crate::contestant::{Contestant, Seat};
use crate::error::LoadError;
use crate::machine::{self, Cores};
use crate::origin;
use crate::process::{self, Process};

/// The origin serves, and this thread is on its core.
#[derive(Debug)]
pub(crate) struct Arena {
    cores: Option<Cores>,
    origin: Process,
    folder: TempDir,
}

/// A contestant that serves.
#[derive(Debug)]
pub(crate) struct Standing {
    /// Its process.
    pub(crate) process: Process,
    /// Where it serves by TLS, if it was asked to.
    pub(crate) secure: SocketAddr,
    /// Its folder.
    pub(crate) folder: TempDir,
}

impl Arena {
    /// Takes two cores, if they can be chosen, and starts the origin.
    pub(crate) fn open() -> Result<Self, LoadError> {
        Self::on(machine::two_cores())
    }

    /// Starts the origin, and lets everybody run where the system likes.
    pub(crate) fn anywhere() -> Result<Self, LoadError> {
        Self::on(None)
    }

    fn on(cores: Option<Cores>) -> Result<Self, LoadError> {
        if let Some(cores) = cores {
            machine::pin_to(cores.load)?;
        }
        let folder = TempDir::with_prefix("riskgate-load-").map_err(LoadError::io("make a folder"))?;
        let address = process::free_address()?;
        let load = cores.map(|cores| cores.load);
        let origin = Process::start("the origin", &origin::command(address)?, load, address, folder.path())?;
        Ok(Self { cores, origin, folder })
    }

    /// The cores, if they could be chosen.
    pub(crate) fn cores(&self) -> Option<Cores> {
        self.cores
    }

    /// The origin.
    pub(crate) fn origin(&self) -> &Process {
        &self.origin
    }

    /// Starts a contestant alone on the proxy's core, in front of some origin.
    pub(crate) fn start(
        &self,
        contestant: &dyn Contestant,
        origin: SocketAddr,
    ) -> Result<Standing, LoadError> {
        let folder = TempDir::new_in(self.folder.path()).map_err(LoadError::io("make a folder"))?;
        let [listen, secure] = process::free_addresses()?;
        let seat = Seat { listen, secure, origin, folder: folder.path() };
        let core = self.cores.map(|cores| cores.proxy);
        let command = contestant.command(&seat)?;
        let process = Process::start(contestant.name(), &command, core, listen, folder.path())?;
        Ok(Standing { process, secure, folder })
    }

    /// Ends it all.
    pub(crate) fn close(self) -> Result<(), LoadError> {
        self.origin.stop()
    }
}

impl Standing {
    /// Asks the contestant to end; its folder stays until it is dropped.
    pub(crate) fn stop(self) -> Result<TempDir, LoadError> {
        self.process.stop()?;
        Ok(self.folder)
    }
}
