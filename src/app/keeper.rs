//! Keeps over a restart what is usual and what was counted: read at start, written now and then and at the end.
//!
//! Nothing here stops a gate: without the files it starts afresh. A file that cannot be used is reported once; it is
//! reported again only when it was good in between.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::Config;
use crate::state::counts::Counts;
use crate::state::{self, StateError};
use crate::traffic::Traffic;

/// How often the files are written; as much may be lost in a crash.
const EVERY: Duration = Duration::from_secs(300);

/// Knows where the files are.
pub(super) struct Keeper {
    usual: Store,
    counts: Store,
    traffic: Arc<Traffic>,
    clock: Clock,
    /// Whether another gate keeps them now.
    retired: AtomicBool,
}

/// One of the files.
struct Store {
    path: PathBuf,
    what: &'static str,
    /// Whether the last attempt to write failed.
    failing: AtomicBool,
}

impl Keeper {
    /// Recalls what was kept; `None` if nothing is to be kept. `handed_over` are the counts of the gate that ran before.
    pub(super) fn of(
        config: &Config,
        traffic: &Arc<Traffic>,
        handed_over: Option<OwnedFd>,
        clock: Clock,
    ) -> Option<Arc<Self>> {
        let settings = &config.traffic;
        let keeper = Self {
            usual: Store::new(&settings.state, "what is usual"),
            counts: Store::new(&settings.counts, "what was counted"),
            traffic: Arc::clone(traffic),
            clock,
            retired: AtomicBool::new(false),
        };
        settings.remember.then(|| {
            keeper.recall_usual();
            keeper.recall_counts(handed_over);
            Arc::new(keeper)
        })
    }

    fn recall_usual(&self) {
        let path = &self.usual.path;
        let recalled = state::read(path).and_then(|memory| {
            let Some(memory) = memory else { return Ok(None) };
            let recalled = self.traffic.recall(&memory, self.clock.now().wall);
            recalled.map_err(|error| StateError::unknown(path, &error))?;
            Ok(Some(memory.known()))
        });
        match recalled {
            Ok(Some((countries, routes))) => info!(countries, routes, "it is known what is usual"),
            Ok(None) => {}
            Err(error) => warn!("what is usual is learned afresh: {error}"),
        }
    }

    fn recall_counts(&self, handed_over: Option<OwnedFd>) {
        let recalled = match handed_over {
            Some(memory) => {
                self.counting().recall_from(memory, Path::new("the gate that ran before")).map(Some)
            }
            None => self.counting().recall(&self.counts.path),
        };
        match recalled {
            Ok(Some(keys)) => return info!(keys, "counting goes on"),
            Ok(None) => {}
            Err(error) => warn!("counting starts afresh: {error}"),
        }
        // A gate that takes over at once has to know the secret.
        self.counts.wrote(self.counting().write(&self.counts.path));
    }

    /// Writes them no more: another gate does.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    /// Writes them now. Blocks.
    pub(super) fn save(&self) {
        if self.retired.load(Ordering::SeqCst) {
            return;
        }
        self.usual
            .wrote(state::write(&self.usual.path, &self.traffic.memory_of_usual(self.clock.now().wall)));
        self.counts.wrote(self.counting().write(&self.counts.path));
    }

    /// Counts for the gate that takes over. Blocks.
    pub(super) fn hand_over(&self) -> io::Result<OwnedFd> {
        self.counting().in_memory()
    }

    /// Writes them at once, so that one knows early if that fails, and now and then, for ever.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            let keeper = Arc::clone(&self);
            if tokio::task::spawn_blocking(move || keeper.save()).await.is_err() {
                warn!("neither what is usual nor what was counted is kept: writing it has panicked");
            }
            sleep(EVERY).await;
        }
    }

    fn counting(&self) -> Counts<'_> {
        Counts { traffic: &self.traffic, now: self.clock.tick() }
    }
}

impl Store {
    fn new(path: &Path, what: &'static str) -> Self {
        Self { path: path.to_path_buf(), what, failing: AtomicBool::new(false) }
    }

    /// Reports an error, if the last one is over.
    fn wrote(&self, result: Result<(), StateError>) {
        match result {
            Ok(()) => self.failing.store(false, Ordering::Relaxed),
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    warn!("{} is not kept: {error}", self.what);
                }
            }
        }
    }
}
