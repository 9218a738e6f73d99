//! Who is measured. A contestant knows how to start itself in a seat; the bench does the rest alike for all.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::error::LoadError;

/// A program that proxies requests to the origin.
pub(crate) trait Contestant {
    /// What the table calls it.
    fn name(&self) -> &str;

    /// A command that serves in this seat, in the foreground, with one thread for requests.
    fn command(&self, seat: &Seat<'_>) -> Result<Command, LoadError>;

    /// How to install what it needs and this machine does not have.
    fn missing(&self) -> Option<&'static str> {
        None
    }

    /// Its name and version, if it is a program of others.
    fn version(&self) -> Option<String> {
        None
    }

    /// What it does with a request, which is probed before it is measured.
    fn work(&self) -> Work {
        Work::Any
    }

    /// Whether this contestant may give such an answer. Anything else ends the bench.
    fn may_answer(&self, status: u16) -> bool {
        status == 200
    }

    /// How many requests it had recorded when it ended, if it keeps a record.
    fn recorded(&self, _folder: &Path) -> Option<u64> {
        None
    }
}

/// What a contestant does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// The reference policy, and it records every request.
    Reference {
        /// The header that tells the origin the score.
        score: &'static str,
    },
    /// None, or work of its own.
    Any,
}

/// Where a contestant serves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat<'a> {
    /// Where it has to listen.
    pub(crate) listen: SocketAddr,
    /// Where it has to listen for TLS, if it is asked to.
    pub(crate) secure: SocketAddr,
    /// Where it has to send requests.
    pub(crate) origin: SocketAddr,
    /// An empty folder of its own; gone after the turn.
    pub(crate) folder: &'a Path,
}
