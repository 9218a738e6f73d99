//! Reloading: from changed files to a published snapshot, off the request path.
//!
//! [`Live`] is the one place where the snapshot in use is found; a request pins it. A [`Reloader`] waits for
//! changes, reads everything that a snapshot is made from, has it built and checked by a [`Build`], and only then
//! publishes it under a new number. Otherwise the last good one stays, and log, metrics and admin say why.

pub mod sources;
pub mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::facts::problem::Problem;
use crate::facts::time::Wall;
use crate::metrics::Metrics;
use crate::snapshot::{Generation, Snapshot};
use sources::{Digest, SourcePaths, Sources};
use watch::{Cause, Trigger, Watch};

/// The snapshot in use, and how the last reload went.
pub struct Live {
    snapshot: ArcSwap<Snapshot>,
    last: ArcSwap<Last>,
}

/// How the last reload went.
#[derive(Clone, Debug)]
pub struct Last {
    /// When.
    pub at: Wall,
    /// With what result.
    pub outcome: ReloadOutcome,
    /// The snapshot in use after it.
    pub generation: Generation,
    /// What is worth a look about the snapshot in use, such as changes that wait for a restart.
    pub notes: Vec<Problem>,
}

/// What became of a reload.
#[derive(Clone, Debug, PartialEq)]
pub enum ReloadOutcome {
    /// A new snapshot is in use.
    Published(Generation),
    /// Nothing had changed.
    Unchanged,
    /// The candidate was refused; the last good snapshot stays in use.
    Refused(Vec<Problem>),
}

/// Makes snapshots out of sources. The assembly knows the configuration; this floor does not.
pub trait Build: Send + 'static {
    /// Where the sources are now. Looks into the configuration, which may name others than before, and whose
    /// former ones may be gone.
    fn paths(&mut self) -> SourcePaths;

    /// Builds and checks a candidate, its policy cases included.
    fn build(&mut self, sources: &Sources) -> Result<Built, Vec<Problem>>;

    /// What to do when a candidate that this built was published.
    fn published(&mut self, snapshot: &Snapshot, metrics: &Metrics);

    /// What to do when somebody asked for a reload, and nothing had changed.
    fn unchanged(&mut self);
}

/// What came of building.
pub enum Built {
    /// A snapshot that may be published, and what to tell the operator about it.
    Candidate(Box<Snapshot>, Vec<Problem>),
    /// The sources themselves say that others are needed; read again from [`Build::paths`].
    ReadAgain,
}

/// Keeps [`Live`] up to date.
pub struct Reloader<B> {
    live: Arc<Live>,
    builder: B,
    metrics: Arc<Metrics>,
    clock: Clock,
    sources: Sources,
    /// What was told about the snapshot in use.
    notes: Vec<Problem>,
    refused: Option<Refused>,
}

/// The last refusal, until it is mended.
struct Refused {
    /// What was refused, if it could be read.
    digest: Option<Digest>,
    problems: Vec<Problem>,
}

/// Half-written files are given this long to become whole.
const PAUSE: Duration = Duration::from_millis(20);
/// A configuration may name other files, which are then read; it cannot do so for ever.
const MAX_READS: usize = 4;

impl Live {
    /// The snapshot in use, for as long as the caller holds it.
    pub fn pin(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// How the last reload went.
    pub fn last(&self) -> Arc<Last> {
        self.last.load_full()
    }
}

impl ReloadOutcome {
    /// `published`, `unchanged` or `refused`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Published(_) => "published",
            Self::Unchanged => "unchanged",
            Self::Refused(_) => "refused",
        }
    }
}

impl<B: Build> Reloader<B> {
    /// Loads for the first time. There is no last good snapshot to fall back to, so every problem is returned.
    pub fn start(
        mut builder: B,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let (sources, snapshot, notes) = load(&mut builder, clock)?;
        let generation = Generation(1);
        let snapshot = Arc::new(snapshot.numbered(generation));
        builder.published(&snapshot, &metrics);
        metrics.know(&snapshot);
        let at = clock.now().wall;
        let outcome = ReloadOutcome::Published(generation);
        metrics.reloaded(outcome.as_str(), generation, at);
        let last = ArcSwap::from_pointee(Last { at, outcome, generation, notes: notes.clone() });
        let live = Arc::new(Live { snapshot: ArcSwap::new(snapshot), last });
        Ok((Self { live, builder, metrics, clock, sources, notes: notes.clone(), refused: None }, notes))
    }

    /// Where the snapshot in use is found.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Where the sources are.
    pub fn paths(&mut self) -> SourcePaths {
        self.builder.paths()
    }

    /// Reads everything again, and publishes it if it is new and good. Blocks; call it off the request path.
    pub fn reload(&mut self, cause: Cause) -> ReloadOutcome {
        let begun = self.clock.now().tick.elapsed();
        let Some(outcome) = self.attempt(cause) else {
            return ReloadOutcome::Unchanged;
        };
        let (generation, now) = (self.live.pin().generation(), self.clock.now());
        let (at, took_ms) = (now.wall, now.tick.elapsed().saturating_sub(begun).as_millis());
        match &outcome {
            ReloadOutcome::Published(_) => info!(%generation, %cause, took_ms, "published"),
            ReloadOutcome::Unchanged => info!(%generation, %cause, took_ms, "nothing has changed"),
            ReloadOutcome::Refused(problems) => {
                for problem in problems {
                    warn!(%generation, %cause, "refused, generation {generation} stays in use: {problem}");
                }
            }
        }
        self.metrics.reloaded(outcome.as_str(), generation, at);
        let notes = self.notes.clone();
        self.live.last.store(Arc::new(Last { at, outcome: outcome.clone(), generation, notes }));
        outcome
    }

    /// What came of it; `None` if there is nothing to tell, because nothing has changed since the last attempt.
    fn attempt(&mut self, cause: Cause) -> Option<ReloadOutcome> {
        let forced = matches!(cause, Cause::Signal | Cause::Request);
        for _ in 0..MAX_READS {
            let previous = (!forced).then_some(&self.sources);
            let read = Sources::read(&self.builder.paths(), previous, &wall(self.clock), &mut pause);
            let sources = match read {
                Ok(sources) => sources,
                Err(problems) => return self.refuse(None, problems, forced),
            };
            let digest = sources.digest();
            if digest == self.sources.digest() {
                // Also the way back from a refused edit to what is in use.
                self.sources = sources;
                if forced {
                    self.builder.unchanged();
                }
                return (self.refused.take().is_some() || forced).then_some(ReloadOutcome::Unchanged);
            }
            if !forced && self.refused.as_ref().is_some_and(|refused| refused.digest == Some(digest)) {
                return None;
            }
            match self.builder.build(&sources) {
                Ok(Built::Candidate(snapshot, notes)) => {
                    return Some(self.publish(sources, *snapshot, notes));
                }
                Ok(Built::ReadAgain) => {}
                Err(problems) => return self.refuse(Some(digest), problems, forced),
            }
        }
        let problems = restless(&mut self.builder);
        self.refuse(None, problems, forced)
    }

    fn publish(&mut self, sources: Sources, snapshot: Snapshot, notes: Vec<Problem>) -> ReloadOutcome {
        let generation = Generation(self.live.pin().generation().0 + 1);
        let snapshot = Arc::new(snapshot.numbered(generation));
        self.metrics.know(&snapshot);
        self.live.snapshot.store(Arc::clone(&snapshot));
        self.builder.published(&snapshot, &self.metrics);
        (self.sources, self.refused) = (sources, None);
        for note in notes.iter().filter(|note| !self.notes.contains(note)) {
            warn!(%generation, "{note}");
        }
        self.notes = notes;
        ReloadOutcome::Published(generation)
    }

    /// The same refusal again is not told again, unless somebody asked.
    fn refuse(
        &mut self,
        digest: Option<Digest>,
        problems: Vec<Problem>,
        forced: bool,
    ) -> Option<ReloadOutcome> {
        let known = self.refused.as_ref().is_some_and(|refused| refused.problems == problems);
        self.refused = Some(Refused { digest, problems: problems.clone() });
        (!known || forced).then_some(ReloadOutcome::Refused(problems))
    }
}

/// Asks for a reload and waits for its result.
#[derive(Clone)]
pub struct Requests {
    live: Arc<Live>,
    trigger: Trigger,
    wanted: Arc<AtomicU64>,
    done: tokio::sync::watch::Receiver<u64>,
}

impl Requests {
    /// Where the snapshot in use is found.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Reloads now, as SIGHUP asks for; how it went.
    pub async fn hang_up(&self) -> Arc<Last> {
        self.after(Trigger::signal).await
    }

    /// Reloads now; how it went.
    pub async fn reload(&self) -> Arc<Last> {
        self.after(Trigger::request).await
    }

    async fn after(&self, ask: impl Fn(&Trigger)) -> Arc<Last> {
        let number = self.wanted.fetch_add(1, Ordering::SeqCst) + 1;
        ask(&self.trigger);
        let mut done = self.done.clone();
        // An error means that nothing is reloaded any more; the last result is then the true one.
        let _ = done.wait_for(|done| *done >= number).await;
        self.live.last()
    }
}

/// The task that keeps [`Live`] up to date, and the way to ask it.
pub struct KeepUp<B> {
    reloader: Reloader<B>,
    watch: Watch,
    attention: Attention,
    wanted: Arc<AtomicU64>,
    done: tokio::sync::watch::Sender<u64>,
}

/// What a reload is begun for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// For changed files, and when somebody asks.
    Files,
    /// Only when somebody asks.
    RequestsOnly,
}

impl<B: Build> KeepUp<B> {
    /// Joins a reloader with what wakes it.
    pub fn new(reloader: Reloader<B>, watch: Watch, attention: Attention) -> (Self, Requests) {
        let (done, receiver) = tokio::sync::watch::channel(0);
        let wanted = Arc::new(AtomicU64::new(0));
        let live = Arc::clone(&reloader.live);
        let requests =
            Requests { live, trigger: watch.trigger(), wanted: Arc::clone(&wanted), done: receiver };
        (Self { reloader, watch, attention, wanted, done }, requests)
    }

    /// Waits for changes and reloads, for ever.
    pub async fn run(self) {
        let Self { mut reloader, mut watch, attention, wanted, done } = self;
        loop {
            let cause = watch.changed().await;
            if attention == Attention::RequestsOnly && matches!(cause, Cause::Files | Cause::Poll) {
                continue;
            }
            let serving = wanted.load(Ordering::SeqCst);
            // Watched before they are read, so that no change falls between the two.
            let Some((back, paths)) = beside(reloader, Reloader::paths).await else { return };
            watch.follow(&paths).await;
            let Some((back, _)) = beside(back, move |reloader| reloader.reload(cause)).await else { return };
            reloader = back;
            done.send_replace(serving);
        }
    }
}

/// Does what may block beside the runtime, and hands the reloader back; `None` if it broke off.
async fn beside<B: Build, T: Send + 'static>(
    mut reloader: Reloader<B>,
    work: impl FnOnce(&mut Reloader<B>) -> T + Send + 'static,
) -> Option<(Reloader<B>, T)> {
    let worked = tokio::task::spawn_blocking(move || {
        let result = work(&mut reloader);
        (reloader, result)
    });
    let worked = worked.await.ok();
    if worked.is_none() {
        error!("a reload broke off, and nothing is reloaded any more; restart to mend it, and report this");
    }
    worked
}

fn load<B: Build>(builder: &mut B, clock: Clock) -> Result<(Sources, Snapshot, Vec<Problem>), Vec<Problem>> {
    for _ in 0..MAX_READS {
        let sources = Sources::read(&builder.paths(), None, &wall(clock), &mut pause)?;
        match builder.build(&sources)? {
            Built::Candidate(snapshot, notes) => return Ok((sources, *snapshot, notes)),
            Built::ReadAgain => {}
        }
    }
    Err(restless(builder))
}

fn restless(builder: &mut impl Build) -> Vec<Problem> {
    let file = builder.paths().config.unwrap_or_default();
    let problem = Problem::error(file, "the configuration keeps naming other files");
    vec![problem.hint("is something rewriting it?")]
}

fn wall(clock: Clock) -> impl Fn() -> Wall {
    move || clock.now().wall
}

fn pause() {
    std::thread::sleep(PAUSE);
}
