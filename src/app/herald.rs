//! Tells others how the gate is: the gate that ran before, that it may go; systemd, that this one serves or stops; and the
//! gate that comes after, where the sockets are.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::keeper::Keeper;
use super::systemd::Systemd;
use super::upgrade::{Handover, Heirloom, Predecessor};
use crate::proxy::drain::{Drain, Signals, Stage};

/// Waits for each stage of the gate, and tells.
pub(super) struct Herald {
    drain: Drain,
    systemd: Systemd,
    /// The gate that this one takes over from.
    predecessor: Mutex<Option<Predecessor>>,
    /// Waits for the gate that takes over from this one.
    handover: Option<Handover>,
}

#[async_trait]
impl BackgroundService for Herald {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            _ = shutdown.changed() => {}
            () = self.tell() => {}
        }
    }
}

impl Herald {
    pub(super) fn new(
        drain: &Drain,
        signals: Signals,
        predecessor: Option<Predecessor>,
        heirloom: Option<Heirloom>,
        keeper: Option<&Arc<Keeper>>,
    ) -> Self {
        let handover = heirloom.map(|heirloom| Handover::new(heirloom, keeper.cloned(), drain.clone()));
        let (systemd, predecessor) = (Systemd::of(signals), Mutex::new(predecessor));
        Self { drain: drain.clone(), systemd, predecessor, handover }
    }

    async fn tell(&self) {
        self.drain.reached(Stage::Open).await;
        let predecessor = self.predecessor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(predecessor) = predecessor {
            match spawn_blocking(|| predecessor.relieve()).await {
                Ok(Ok(())) => info!("taken over from the gate that ran before"),
                Ok(Err(error)) => warn!("{error}"),
                Err(_) => warn!("the gate that ran before was not told; stop it"),
            }
        }
        self.systemd.ready();
        tokio::join!(self.hand_over(), self.stop());
    }

    async fn hand_over(&self) {
        if let Some(handover) = &self.handover {
            handover.wait(self.systemd).await;
        }
    }

    async fn stop(&self) {
        self.drain.reached(Stage::Leaving).await;
        if !*self.drain.handed_over().borrow() {
            self.systemd.stopping();
        }
    }
}
