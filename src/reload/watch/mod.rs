//! Notices that files may have changed, and says so when they have become quiet.
//!
//! An event never says what changed: every wake-up means "read it all and compare". Folders die, are replaced and
//! swapped, so the set of watches is renewed at every wake-up, and a poll stands behind it for file systems that
//! tell nothing. If watching fails, the poll alone goes on. Nothing here reads a file's content.

mod debounce;
mod interest;
mod lookout;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

pub use self::debounce::Pace;
use self::debounce::{Debounce, Step};
use self::lookout::Lookout;
use super::sources::SourcePaths;

/// Why the files should be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Something happened in the watched folders, and then it was quiet.
    Files,
    /// Nothing was heard for a while.
    Poll,
    /// The process was told to by a signal.
    Signal,
    /// Somebody asked for it.
    Request,
}

/// Watches the files that a snapshot is made from. Start it before the first read, so that no change is missed.
#[derive(Debug)]
pub struct Watch {
    lookout: Arc<Mutex<Lookout>>,
    bell: Arc<Bell>,
    debounce: Debounce,
    /// A wake-up that was not handed out yet.
    due: Option<Cause>,
}

/// Asks a [`Watch`] to wake up at once, from any thread. Cheap to clone; asking twice before it woke is asking once.
#[derive(Clone, Debug)]
pub struct Trigger(Arc<Bell>);

impl Watch {
    /// Watches these files from now on. Never fails: without watches there is still the poll.
    pub fn start(paths: &SourcePaths, pace: Pace) -> Self {
        let bell = Arc::new(Bell::default());
        let ring = Arc::clone(&bell);
        let lookout = Lookout::new(paths.clone(), move || ring.ring(FILES));
        Self { lookout: Arc::new(Mutex::new(lookout)), bell, debounce: Debounce::new(pace), due: None }
    }

    /// Wakes this watch up.
    pub fn trigger(&self) -> Trigger {
        Trigger(Arc::clone(&self.bell))
    }

    /// Watches other files from now on: the configuration names new ones. Call it before reading them.
    pub async fn follow(&mut self, paths: &SourcePaths) {
        let paths = paths.clone();
        self.with_lookout(move |lookout| lookout.follow(paths)).await;
    }

    /// Returns when the files should be looked at, and why. A trigger answers at once; events answer when they have
    /// become quiet. What happens after it returned is answered by the next call, so nothing is lost in between,
    /// nor if the future is dropped.
    pub async fn changed(&mut self) -> Cause {
        let cause = match self.due {
            Some(cause) => cause,
            None => self.wait().await,
        };
        self.due = Some(cause);
        self.with_lookout(Lookout::renew).await;
        self.due = None;
        cause
    }

    async fn wait(&mut self) -> Cause {
        loop {
            let rung = self.bell.rung.swap(0, Ordering::AcqRel);
            let now = Instant::now();
            if rung & FILES != 0 {
                self.debounce.event(now);
            }
            let step = match rung {
                _ if rung & SIGNAL != 0 => Step::Due(Cause::Signal),
                _ if rung & REQUEST != 0 => Step::Due(Cause::Request),
                _ => self.debounce.step(now),
            };
            match step {
                Step::Due(cause) => {
                    self.debounce.reset();
                    return cause;
                }
                Step::Wait(until) => tokio::select! {
                    () = self.bell.heard.notified() => {}
                    () = sleep_until(until) => {}
                },
            }
        }
    }

    /// Looking at folders may block on a slow disk, so it happens beside the runtime.
    async fn with_lookout(&self, look: impl FnOnce(&mut Lookout) + Send + 'static) {
        let lookout = Arc::clone(&self.lookout);
        let looked = tokio::task::spawn_blocking(move || {
            look(&mut lookout.lock().unwrap_or_else(PoisonError::into_inner));
        });
        if let Err(error) = looked.await {
            tracing::warn!(%error, "watching files failed, changes are found by polling");
        }
    }
}

impl Trigger {
    /// The process got a signal.
    pub fn signal(&self) {
        self.0.ring(SIGNAL);
    }

    /// Somebody asked, such as an operator through the admin API.
    pub fn request(&self) {
        self.0.ring(REQUEST);
    }
}

/// One lower-case word, for logs and metrics.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Files => "files",
            Self::Poll => "poll",
            Self::Signal => "signal",
            Self::Request => "request",
        })
    }
}

/// What was rung since somebody last listened: a few bits, so no stream of events can pile up.
#[derive(Debug, Default)]
struct Bell {
    rung: AtomicU8,
    heard: Notify,
}

const FILES: u8 = 1;
const SIGNAL: u8 = 2;
const REQUEST: u8 = 4;

impl Bell {
    fn ring(&self, what: u8) {
        self.rung.fetch_or(what, Ordering::AcqRel);
        self.heard.notify_one();
    }
}
