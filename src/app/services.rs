//! What runs beside requests: time, keys, signals and reloads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tracing::{info, warn};

use super::build::Builder;
use super::keeper::Keeper;
use super::parts::random_keys;
use super::systemd::Systemd;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::proxy::Identity;
use crate::proxy::acme::Issuer;
use crate::proxy::drain::Signals;
use crate::proxy::upstream::fleet::Fleet;
use crate::reload::{KeepUp, Requests};
use crate::scoreboard::Scoreboard;
use crate::traffic::{Source, Stage, Surge, Traffic};

/// How often idle connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// Moves windows on, tells of surges, keeps what is usual, rotates keys, closes idle connections, and listens for
/// SIGHUP.
pub(super) struct Housekeeping {
    pub(super) clock: Clock,
    pub(super) traffic: Arc<Traffic>,
    pub(super) scoreboard: Arc<Scoreboard>,
    pub(super) identity: Arc<Identity>,
    pub(super) metrics: Arc<Metrics>,
    /// Where what is usual is kept, if it is.
    pub(super) keeper: Option<Arc<Keeper>>,
    pub(super) key_rotation: Duration,
    pub(super) requests: Requests,
    pub(super) signals: Signals,
    /// Whether a SIGHUP came before [`Housekeeping`] could listen.
    pub(super) early_hangup: Arc<AtomicBool>,
}

/// How often the scoreboard begins a new slice.
const SLICE: Duration = Duration::from_secs(1);

/// Remembers a SIGHUP that comes before anybody listens; unheard, it would end the process, or be lost.
pub(super) fn early_hangup(signals: Signals) -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    if signals == Signals::Heard
        && let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&flag))
    {
        warn!("SIGHUP is not heard: {error}");
    }
    flag
}

/// The event of a surge that begins or ends.
fn log_surge(surge: &Surge) {
    let (of, name) = match &surge.source {
        Source::Country(country) => ("country", country.as_str()),
        Source::Route(route) => ("route", &**route),
    };
    let to_tenth = |number: f64| (number * 10.0).round() / 10.0;
    let (now, usual) = (to_tenth(surge.pulse.rate), to_tenth(surge.pulse.usual));
    let (anomaly, seconds) = (to_tenth(surge.pulse.anomaly), surge.lasted.as_secs());
    match surge.stage {
        Stage::Began => warn!(of, name, now, usual, anomaly, "a surge has begun"),
        Stage::Ended => info!(of, name, now, usual, seconds, "a surge has ended"),
        Stage::Accepted => warn!(
            of,
            name, now, seconds, "a surge has lasted for three days: what is usual is learned afresh"
        ),
        Stage::Lasts => {}
    }
}

/// Keeps the snapshot up to date.
pub(super) struct Reloading(Mutex<Option<KeepUp<Builder>>>);

impl Reloading {
    pub(super) fn new(keep_up: KeepUp<Builder>) -> Self {
        Self(Mutex::new(Some(keep_up)))
    }
}

/// Orders certificates.
pub(super) struct Issuing(Mutex<Option<Issuer>>);

impl Issuing {
    pub(super) fn new(issuer: Issuer) -> Self {
        Self(Mutex::new(Some(issuer)))
    }
}

#[async_trait]
impl BackgroundService for Housekeeping {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            _ = shutdown.changed() => {}
            () = self.rotate_windows() => {}
            () = self.keep_usual() => {}
            () = self.turn_scoreboard() => {}
            () = self.rotate_keys() => {}
            () = self.sweep_connections() => {}
            () = self.hear_hangups() => {}
        }
    }
}

impl Housekeeping {
    async fn rotate_windows(&self) {
        let mut ticks = interval(self.traffic.rotate_every());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = self.clock.now();
            self.traffic.rotate(now.tick);
            for surge in self.traffic.learn(now) {
                self.metrics.surged(&surge);
                log_surge(&surge);
            }
        }
    }

    async fn keep_usual(&self) {
        match &self.keeper {
            Some(keeper) => Arc::clone(keeper).keep().await,
            None => std::future::pending().await,
        }
    }

    async fn turn_scoreboard(&self) {
        let mut ticks = interval(SLICE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            self.scoreboard.turn(&self.requests.live().pin(), self.clock.now().tick);
        }
    }

    async fn rotate_keys(&self) {
        let mut ticks = interval_at(Instant::now() + self.key_rotation, self.key_rotation);
        loop {
            ticks.tick().await;
            match random_keys() {
                Ok(keys) => self.identity.rotate(keys),
                Err(error) => warn!("no random keys, the old ones stay in use: {error}"),
            }
        }
    }

    /// A connection that a server has closed is noticed when it is needed, or here.
    async fn sweep_connections(&self) {
        let mut ticks = interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let snapshot = self.requests.live().pin();
            if let Some(fleet) = Fleet::of(&snapshot) {
                fleet.sweep(self.clock.tick());
            }
        }
    }

    /// SIGHUP reloads.
    async fn hear_hangups(&self) {
        if self.signals == Signals::Ignored {
            return std::future::pending().await;
        }
        match signal(SignalKind::hangup()) {
            Ok(mut hangups) => {
                if self.early_hangup.load(Ordering::SeqCst) {
                    self.reload().await;
                }
                while hangups.recv().await.is_some() {
                    self.reload().await;
                }
            }
            Err(error) => warn!("SIGHUP is not heard: {error}"),
        }
        std::future::pending().await
    }
}

impl Housekeeping {
    /// Reloads, and tells systemd when it begins and ends; a SIGHUP that comes meanwhile asks for another one.
    async fn reload(&self) {
        let systemd = Systemd::of(self.signals);
        systemd.reloading();
        self.requests.hang_up().await;
        systemd.ready();
    }
}

#[async_trait]
impl BackgroundService for Reloading {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let keep_up = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keep_up) = keep_up {
            tokio::select! {
                _ = shutdown.changed() => {}
                () = keep_up.run() => {}
            }
        }
    }
}

#[async_trait]
impl BackgroundService for Issuing {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let issuer = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(issuer) = issuer {
            tokio::select! {
                _ = shutdown.changed() => {}
                () = issuer.run() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::facts::place::CountryCode;
    use crate::traffic::Pulse;

    /// Keeps what is written to it.
    #[derive(Clone, Default)]
    struct Ear(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Ear {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the log says of a surge of this stage.
    fn logged(source: Source, stage: Stage) -> String {
        let ear = Ear::default();
        let heard = ear.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).without_time().with_target(false);
        let pulse = Pulse { rate: 40.04, usual: 0.21, surge: 33.9, anomaly: 19.96 };
        let surge = Surge { source, stage, pulse, lasted: Duration::from_secs(340) };
        tracing::subscriber::with_default(log.with_writer(move || ear.clone()).finish(), || {
            log_surge(&surge);
        });
        String::from_utf8(heard.0.lock().unwrap().clone()).unwrap().trim().to_owned()
    }

    #[test]
    fn a_surge_is_an_event_when_it_begins_and_when_it_ends() {
        let iceland = || Source::Country(CountryCode::parse("IS").unwrap());
        for (source, stage, said) in [
            (
                iceland(),
                Stage::Began,
                "WARN a surge has begun of=\"country\" name=\"IS\" now=40.0 usual=0.2 anomaly=20.0",
            ),
            (
                Source::Route("search".into()),
                Stage::Ended,
                "INFO a surge has ended of=\"route\" name=\"search\" now=40.0 usual=0.2 seconds=340",
            ),
            (iceland(), Stage::Lasts, ""),
        ] {
            assert_eq!(logged(source, stage), said);
        }
        assert!(logged(iceland(), Stage::Accepted).contains("for three days"));
    }
}
