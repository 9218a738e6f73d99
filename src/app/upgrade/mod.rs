//! Zero-downtime upgrade: a gate that starts takes over the listening sockets of the one that runs.
//!
//! ```text
//!  the gate that starts                          the gate that runs
//!  has read and checked everything
//!  riskgate upgrade 1                       ->   writes what is usual into its state file
//!                                           <-   counts, with memory that holds what was counted
//!  ok                                       ->
//!                                           <-   clients, with a socket
//!  ok                                       ->   ...
//!                                           <-   all
//!  accepts; from here on both do
//!  serving                                  ->   stops accepting, and writes its state no more
//!                                           <-   farewell
//!                                                answers who is connected, and ends
//! ```
//!
//! They meet at a Unix socket that only their user can reach. Whatever breaks before `serving` changes nothing for the gate
//! that runs. The files of Unix sockets are the old gate's until then, and the new one's afterwards.

mod bequest;
mod handover;
mod place;
mod predecessor;
mod wire;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) use bequest::Bequest;
pub(super) use handover::{Handover, Heirloom};
pub(super) use place::Place;
pub(super) use predecessor::Predecessor;

/// What the gate that starts says first; the number is that of the language.
const HELLO: &str = "riskgate upgrade 1";
/// It has the socket.
const OK: &str = "ok";
/// What was counted comes with it.
const COUNTS: &str = "counts";
/// There are no more sockets.
const ALL: &str = "all";
/// Clients can connect to the gate that starts.
const SERVING: &str = "serving";
/// The gate that ran accepts no more.
const FAREWELL: &str = "farewell";

/// How long one of them waits for a word of the other.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the gate that starts may take from its last socket to serving.
const START: Duration = Duration::from_secs(60);

/// Why no gate can be taken over.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpgradeError {
    /// The place where both meet cannot be used.
    #[error("`upgrade_socket` in `[server]`: `{}`: {error}", path.display())]
    Place {
        /// The socket, or its folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others could put something else there.
    #[error(
        "`upgrade_socket` in `[server]`: others can write to `{}`; make a folder that only the gate's user can enter \
         (`chmod 700`)",
        .0.display()
    )]
    Public(PathBuf),
    /// The gate that runs does not do its part.
    #[error(
        "the gate that runs, at `{}`, does not hand over: {error}; it serves on, stop it to start without it",
        path.display()
    )]
    Refused {
        /// Where it listens.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Nobody asked to take it over.
    #[error("a gate runs already, at `{}`; `riskgate run --upgrade` takes over from it without dropping a request", .0.display())]
    Runs(PathBuf),
    /// There is no place to meet.
    #[error("`--upgrade` needs `upgrade_socket` in `[server]`, in both gates' configurations")]
    NoPlace,
}

impl UpgradeError {
    fn place(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Self::Place { path: path.to_path_buf(), error }
    }

    fn refused(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Self::Refused { path: path.to_path_buf(), error }
    }
}
