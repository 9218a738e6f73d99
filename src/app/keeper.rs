//! Keeps what is usual in the state file: read at start, written now and then and at the end.
//!
//! Nothing here stops a gate: without the file it learns afresh. A file that cannot be used is reported once; it is
//! reported again only when it was good in between.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::Config;
use crate::state::{self, StateError};
use crate::traffic::Traffic;

/// How often the file is written; as much may be lost in a crash.
const EVERY: Duration = Duration::from_secs(300);

/// Knows where the file is.
pub(super) struct Keeper {
    path: PathBuf,
    traffic: Arc<Traffic>,
    clock: Clock,
    /// Whether the last attempt to write failed.
    failing: AtomicBool,
    /// Whether another gate keeps it now.
    retired: AtomicBool,
}

impl Keeper {
    /// Recalls what was kept; `None` if nothing is to be kept.
    pub(super) fn of(config: &Config, traffic: &Arc<Traffic>, clock: Clock) -> Option<Arc<Self>> {
        let settings = &config.traffic;
        let (path, traffic) = (settings.state.clone(), Arc::clone(traffic));
        let keeper =
            Self { path, traffic, clock, failing: AtomicBool::new(false), retired: AtomicBool::new(false) };
        settings.remember.then(|| {
            keeper.recall();
            Arc::new(keeper)
        })
    }

    fn recall(&self) {
        let recalled = state::read(&self.path).and_then(|memory| {
            let Some(memory) = memory else { return Ok(None) };
            let recalled = self.traffic.recall(&memory, self.clock.now().wall);
            recalled.map_err(|error| StateError::unknown(&self.path, &error))?;
            Ok(Some(memory.known()))
        });
        match recalled {
            Ok(Some((countries, routes))) => info!(countries, routes, "it is known what is usual"),
            Ok(None) => {}
            Err(error) => warn!("what is usual is learned afresh: {error}"),
        }
    }

    /// Writes it no more: another gate does.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    /// Writes it now. Blocks.
    pub(super) fn save(&self) {
        if self.retired.load(Ordering::SeqCst) {
            return;
        }
        match state::write(&self.path, &self.traffic.memory_of_usual(self.clock.now().wall)) {
            Ok(()) => self.failing.store(false, Ordering::Relaxed),
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    warn!("what is usual is not kept: {error}");
                }
            }
        }
    }

    /// Writes it at once, so that one knows early if that fails, and now and then, for ever.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            let keeper = Arc::clone(&self);
            if tokio::task::spawn_blocking(move || keeper.save()).await.is_err() {
                warn!("what is usual is not kept: writing it has panicked");
            }
            sleep(EVERY).await;
        }
    }
}
