//! Draining: stopping without cutting a request off.
//!
//! Pingora sleeps its whole grace period, whether anybody is still served or not, and then drops every task.
//! Here a gate goes through [`Stage`]s: first it is no longer ready, then listeners stop, then idle connections close,
//! and the process ends as soon as the last request is done, or when the grace period is over. What must be flushed is
//! flushed by whoever called `Server::run`, after it returned.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

/// How far the server has come, and how many requests it still serves. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<State>);

/// How far a server has come. It only ever goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stage {
    /// Nobody accepts yet.
    #[default]
    Starting,
    /// Clients are served.
    Open,
    /// Clients are still served, but the server is not ready any more, and each answer closes its connection.
    Leaving,
    /// Another process accepts. Whoever is connected here may still send a request, whose answer closes the connection.
    HandedOver,
    /// Nobody is accepted, idle connections close, and requests end.
    Draining,
}

/// One request being served. Keep it in the request's context; dropping it ends the request.
#[derive(Debug)]
pub struct InFlight(Drain);

/// One connection of a client. Dropping it ends the connection.
#[derive(Debug)]
pub struct Connected(Drain);

#[derive(Debug, Default)]
struct State {
    stage: watch::Sender<Stage>,
    /// Whether answers close their connections, for the path of every request.
    parts: AtomicBool,
    /// The same for Pingora.
    parting: watch::Sender<bool>,
    /// Whether clients are not accepted.
    shut: watch::Sender<bool>,
    /// Whether another process accepts in its place.
    handed: watch::Sender<bool>,
    served: Count,
    connected: Count,
    /// Requests that a panic has ended.
    broken: AtomicU64,
}

/// How many there are, and who waits for the last one to go.
#[derive(Debug, Default)]
struct Count {
    number: AtomicUsize,
    none: Notify,
}

/// Turns a signal, or a call of [`Drain::begin`], into a drain. Goes into Pingora's `RunArgs`.
#[derive(Debug)]
pub struct Stop {
    drain: Drain,
    delay: Duration,
    grace: Duration,
    signals: Signals,
    /// Whether a signal came before the server listened to any; unheard, it would kill the process.
    early: Arc<AtomicBool>,
}

/// Whether the process's signals are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signals {
    /// SIGTERM, SIGINT and SIGQUIT drain; a second one of them ends the process at once.
    Heard,
    /// Only [`Drain::begin`] does, as in tests with several servers.
    Ignored,
}

/// After sockets were handed over there is no hurry: whoever is connected and asks within this time is answered. A
/// connection that is closed while a request is on its way would lose it.
const PARTING: Duration = Duration::from_secs(5);
/// How long connections are given to notice that they are to close, when no request is known of any more: the head of
/// one may have been read just now.
const SETTLE: Duration = Duration::from_millis(50);

impl Drain {
    /// Nothing drains and nothing is served.
    pub fn new() -> Self {
        Self::default()
    }

    /// Clients can connect from now on.
    pub fn open(&self) {
        self.advance(Stage::Open);
    }

    /// Is not ready any more, though it still serves.
    pub fn leave(&self) {
        self.advance(Stage::Leaving);
    }

    /// Leaves accepting to another process.
    pub fn hand_over(&self) {
        // First, so that whoever sees it stop can tell whether it was handed over, however late it looks.
        self.0.handed.send_replace(true);
        self.advance(Stage::HandedOver);
    }

    /// Starts to drain; again and again is the same.
    pub fn begin(&self) {
        self.advance(Stage::Draining);
    }

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        *self.0.stage.borrow()
    }

    /// Whether it drains.
    pub fn has_begun(&self) -> bool {
        self.stage() == Stage::Draining
    }

    /// Whether answers are to close their connections.
    pub fn parts(&self) -> bool {
        self.0.parts.load(Ordering::Relaxed)
    }

    /// What Pingora's connections look at: answers are to close them.
    pub fn parting(&self) -> ShutdownWatch {
        self.0.parting.subscribe()
    }

    /// What listeners for clients look at: nobody is to be accepted.
    pub fn shut(&self) -> ShutdownWatch {
        self.0.shut.subscribe()
    }

    /// What listeners look at that serve while requests end: another process accepts.
    pub fn handed_over(&self) -> ShutdownWatch {
        self.0.handed.subscribe()
    }

    /// Counts a request until the guard is dropped.
    pub fn enter(&self) -> InFlight {
        self.0.served.add();
        InFlight(self.clone())
    }

    /// Counts a connection until the guard is dropped.
    pub fn connect(&self) -> Connected {
        self.0.connected.add();
        Connected(self.clone())
    }

    /// How many requests are being served.
    pub fn in_flight(&self) -> usize {
        self.0.served.now()
    }

    /// Notes that a panic has ended a request.
    pub fn broke_off(&self) {
        self.0.broken.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests a panic has ended.
    pub fn broken_off(&self) -> u64 {
        self.0.broken.load(Ordering::Relaxed)
    }

    /// Resolves once it has come so far.
    pub async fn reached(&self, stage: Stage) {
        // The sender lives as long as this borrow, so waiting cannot fail.
        let _ = self.0.stage.subscribe().wait_for(|now| *now >= stage).await;
    }

    /// Resolves once [`Drain::begin`] was called.
    pub async fn begun(&self) {
        self.reached(Stage::Draining).await;
    }

    /// Resolves once no request is being served.
    pub async fn empty(&self) {
        self.0.served.none().await;
    }

    fn advance(&self, to: Stage) {
        let State { stage, parts, parting, shut, .. } = &*self.0;
        stage.send_if_modified(|now| {
            let later = *now < to;
            *now = (*now).max(to);
            later
        });
        if to >= Stage::Leaving {
            parts.store(true, Ordering::Relaxed);
            parting.send_replace(true);
        }
        if to >= Stage::HandedOver {
            shut.send_replace(true);
        }
    }
}

impl Count {
    fn add(&self) {
        self.number.fetch_add(1, Ordering::SeqCst);
    }

    fn end(&self) {
        if self.number.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.none.notify_waiters();
        }
    }

    fn now(&self) -> usize {
        self.number.load(Ordering::SeqCst)
    }

    async fn none(&self) {
        loop {
            // Listen before looking, or the last one could end in between.
            let mut last = pin!(self.none.notified());
            last.as_mut().enable();
            if self.now() == 0 {
                return;
            }
            last.await;
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // A panic that nobody has caught unwinds the task of the request's connection.
        if std::thread::panicking() {
            self.0.broke_off();
        }
        self.0.0.served.end();
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.0.connected.end();
    }
}

impl Stop {
    /// Waits at most `grace` for requests once `drain` has begun, which a signal makes it do after `delay`. Signals are
    /// heard from now on.
    pub fn new(drain: Drain, delay: Duration, grace: Duration, signals: Signals) -> Self {
        let early = Arc::new(AtomicBool::new(false));
        if signals == Signals::Heard {
            for signal in [SIGTERM, SIGINT, SIGQUIT] {
                if let Err(error) = flag::register(signal, Arc::clone(&early)) {
                    tracing::warn!("signal {signal} ends the process at once until it serves: {error}");
                }
            }
        }
        Self { drain, delay, grace, signals, early }
    }

    /// How long clients are still served before idle connections close.
    async fn linger(&self) {
        let Self { drain, delay, grace, .. } = self;
        if drain.stage() <= Stage::Leaving {
            tokio::select! {
                () = sleep(*delay) => return,
                () = drain.reached(Stage::HandedOver) => {}
            }
        }
        tokio::select! {
            () = sleep(PARTING.min(*grace)) => {}
            () = drain.0.connected.none() => {}
            () = drain.begun() => {}
        }
    }

    /// Resolves once no request is being served, nor about to be.
    async fn emptied(&self) {
        loop {
            self.drain.empty().await;
            tokio::select! {
                () = self.drain.0.connected.none() => {}
                () = sleep(SETTLE) => {}
            }
            if self.drain.in_flight() == 0 {
                return;
            }
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Stop {
    async fn recv(&self) -> ShutdownSignal {
        // Graceful, with all of Pingora's times at zero: other services are told, and nothing is waited for.
        const END: ShutdownSignal = ShutdownSignal::GracefulTerminate;
        let mut signals = Heard::of(self.signals);
        if self.early.load(Ordering::SeqCst) {
            self.drain.leave();
        }
        tokio::select! {
            () = self.drain.reached(Stage::Leaving) => {}
            () = signals.next() => self.drain.leave(),
        }
        tokio::select! {
            () = self.linger() => {}
            () = signals.next() => if self.drain.stage() == Stage::Leaving { return END },
        }
        self.drain.begin();
        tracing::debug!(in_flight = self.drain.in_flight(), "draining");
        tokio::select! {
            () = self.emptied() => {}
            () = sleep(self.grace) => {
                tracing::warn!(in_flight = self.drain.in_flight(), "the grace period is over, requests are cut off");
            }
            () = signals.next() => {}
        }
        END
    }
}

/// The signals that end the process, listened to from now on.
struct Heard([Option<Signal>; 3]);

impl Heard {
    /// None, if they are not to be heard or the system does not let us listen.
    fn of(signals: Signals) -> Self {
        Self(match signals {
            Signals::Heard => [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()]
                .map(|kind| signal(kind).ok()),
            Signals::Ignored => [None, None, None],
        })
    }

    /// The next one.
    async fn next(&mut self) {
        let [term, int, quit] = &mut self.0;
        tokio::select! {
            () = delivered(term) => {}
            () = delivered(int) => {}
            () = delivered(quit) => {}
        }
    }
}

async fn delivered(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            // It ends only together with the runtime.
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
