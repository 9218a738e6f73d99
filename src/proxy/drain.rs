//! Draining: stopping without cutting a request off.
//!
//! Pingora sleeps its whole grace period, whether anybody is still served or not, and then drops every task.
//! Here listeners stop at once, idle connections close, and the process ends as soon as the last request is
//! done, or when the grace period is over. What must be flushed is flushed by whoever called `Server::run`,
//! after it returned.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};

/// Whether the server drains, and how many requests it still serves. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<State>);

/// One request being served. Keep it in the request's context; dropping it ends the request.
#[derive(Debug)]
pub struct InFlight(Drain);

#[derive(Debug, Default)]
struct State {
    begun: watch::Sender<bool>,
    served: AtomicUsize,
    empty: Notify,
}

/// Turns a signal, or a call of [`Drain::begin`], into a drain. Goes into Pingora's `RunArgs`.
#[derive(Debug)]
pub struct Stop {
    drain: Drain,
    grace: Duration,
    signals: Signals,
}

/// Whether the process's signals are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signals {
    /// SIGTERM, SIGINT and SIGQUIT drain; a second one of them ends the process at once.
    Heard,
    /// Only [`Drain::begin`] does, as in tests with several servers.
    Ignored,
}

impl Drain {
    /// Nothing drains and nothing is served.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts to drain; again and again is the same.
    pub fn begin(&self) {
        self.0.begun.send_replace(true);
    }

    /// Whether it drains.
    pub fn has_begun(&self) -> bool {
        *self.0.begun.borrow()
    }

    /// What Pingora's listeners look at.
    pub fn watch(&self) -> ShutdownWatch {
        self.0.begun.subscribe()
    }

    /// Counts a request until the guard is dropped.
    pub fn enter(&self) -> InFlight {
        self.0.served.fetch_add(1, Ordering::SeqCst);
        InFlight(self.clone())
    }

    /// How many requests are being served.
    pub fn in_flight(&self) -> usize {
        self.0.served.load(Ordering::SeqCst)
    }

    /// Resolves once [`Drain::begin`] was called.
    pub async fn begun(&self) {
        // The sender lives as long as this borrow, so waiting cannot fail.
        let _ = self.watch().wait_for(|begun| *begun).await;
    }

    /// Resolves once no request is being served.
    pub async fn empty(&self) {
        loop {
            // Listen before looking, or the last request could end in between.
            let mut last = pin!(self.0.empty.notified());
            last.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            last.await;
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let State { served, empty, .. } = &*self.0.0;
        if served.fetch_sub(1, Ordering::SeqCst) == 1 {
            empty.notify_waiters();
        }
    }
}

impl Stop {
    /// Waits at most `grace` for requests once `drain` has begun.
    pub fn new(drain: Drain, grace: Duration, signals: Signals) -> Self {
        Self { drain, grace, signals }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Stop {
    async fn recv(&self) -> ShutdownSignal {
        tokio::select! {
            () = self.drain.begun() => {}
            () = self.signals.next() => self.drain.begin(),
        }
        tracing::debug!(in_flight = self.drain.in_flight(), "draining");
        tokio::select! {
            () = self.drain.empty() => {}
            () = tokio::time::sleep(self.grace) => {
                tracing::warn!(in_flight = self.drain.in_flight(), "the grace period is over, requests are cut off");
            }
            () = self.signals.next() => {}
        }
        // Graceful, with all of Pingora's times at zero: other services are told, and nothing is waited for.
        ShutdownSignal::GracefulTerminate
    }
}

impl Signals {
    /// The next signal; never, if they are not heard or the system does not let us listen.
    async fn next(self) {
        let kinds = match self {
            Self::Heard => [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()],
            Self::Ignored => return std::future::pending().await,
        };
        let [term, int, quit] = kinds.map(|kind| signal(kind).ok());
        tokio::select! {
            () = delivered(term) => {}
            () = delivered(int) => {}
            () = delivered(quit) => {}
        }
    }
}

async fn delivered(signal: Option<Signal>) {
    match signal {
        Some(mut signal) => {
            // It ends only together with the runtime.
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_idle_server_stops_at_once() {
        let drain = Drain::new();
        let stop = Stop::new(drain.clone(), Duration::from_secs(3600), Signals::Ignored);
        drop(drain.enter());
        drain.begin();
        assert!(matches!(stop.recv().await, ShutdownSignal::GracefulTerminate));
    }

    #[tokio::test]
    async fn a_busy_server_waits_for_its_last_request() {
        let drain = Drain::new();
        let stop = Stop::new(drain.clone(), Duration::from_secs(3600), Signals::Ignored);
        let requests = [drain.enter(), drain.enter()];
        drain.begin();
        assert!(drain.has_begun() && *drain.watch().borrow());
        let stopped = stop.recv();
        tokio::pin!(stopped);
        tokio::select! {
            biased;
            _ = &mut stopped => panic!("two requests are served"),
            () = std::future::ready(()) => {}
        }
        drop(requests);
        stopped.await;
        assert_eq!(drain.in_flight(), 0);
    }

    #[tokio::test]
    async fn the_grace_period_ends_the_wait() {
        let drain = Drain::new();
        let stop = Stop::new(drain.clone(), Duration::ZERO, Signals::Ignored);
        let _stuck = drain.enter();
        drain.begin();
        stop.recv().await;
        assert_eq!(drain.in_flight(), 1);
    }
}
