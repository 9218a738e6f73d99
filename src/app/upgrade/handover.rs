//! The gate that runs, waiting for one that takes over from it.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::Uid;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;
use tracing::{info, warn};

use super::bequest::Bequest;
use super::place::Place;
use super::{ALL, COUNTS, FAREWELL, HELLO, OK, PATIENCE, SERVING, START, UpgradeError, wire};
use crate::app::keeper::Keeper;
use crate::app::owner::Owner;
use crate::app::systemd::Systemd;
use crate::config::Server;
use crate::proxy::drain::{Drain, Stage};

/// Whoever comes again and again is not met more often than this.
const BREATH: Duration = Duration::from_millis(100);

/// What a gate that takes over is to get, and where.
pub(in crate::app) struct Heirloom {
    pub(in crate::app) place: Arc<Place>,
    pub(super) sockets: Vec<Bequest>,
}

/// Waits for a gate that takes over, and hands it the sockets.
pub(in crate::app) struct Handover {
    place: Arc<Place>,
    sockets: Mutex<Arc<[Bequest]>>,
    keeper: Option<Arc<Keeper>>,
    drain: Drain,
}

impl Heirloom {
    /// These sockets; `None` if nobody is to take over.
    pub(in crate::app) fn of(
        server: &Server,
        sockets: impl Iterator<Item = io::Result<Bequest>>,
        owner: Option<&Owner>,
    ) -> Result<Option<Self>, UpgradeError> {
        let Some(path) = &server.upgrade_socket else { return Ok(None) };
        let place = Arc::new(Place::prepare(path, owner)?);
        let sockets = sockets.collect::<io::Result<_>>().map_err(UpgradeError::place(path))?;
        Ok(Some(Self { place, sockets }))
    }
}

impl Handover {
    /// Hands this over, once there is somebody to take it.
    pub(in crate::app) fn new(heirloom: Heirloom, keeper: Option<Arc<Keeper>>, drain: Drain) -> Self {
        let Heirloom { place, sockets } = heirloom;
        Self { place, sockets: Mutex::new(sockets.into()), keeper, drain }
    }

    /// Takes its place, and waits until the sockets are handed over or the gate stops without it.
    pub(in crate::app) async fn wait(&self, systemd: Systemd) {
        let listener = self.place.listener().and_then(UnixListener::from_std);
        let taken = listener.and_then(|listener| self.place.take().map(|()| listener));
        match taken {
            Ok(listener) => tokio::select! {
                () = self.meet(&listener, systemd) => {}
                () = self.drain.reached(Stage::Draining) => {}
            },
            Err(error) => warn!("no other gate can take over from this one: `upgrade_socket`: {error}"),
        }
        *self.sockets.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new([]);
    }

    /// Meets one gate after the other, until one has taken over.
    async fn meet(&self, listener: &UnixListener, systemd: Systemd) {
        loop {
            let met = match listener.accept().await {
                Ok((stream, _)) => self.met(stream, systemd).await,
                Err(error) => Err(error),
            };
            match met {
                Ok(pid) => return info!(pid, "another gate has taken over"),
                Err(error) => warn!("another gate wanted to take over and did not, this one stays: {error}"),
            }
            sleep(BREATH).await;
        }
    }

    /// Talks to whoever came; which process goes on.
    async fn met(&self, stream: UnixStream, systemd: Systemd) -> io::Result<u32> {
        let peer = stream.peer_cred()?;
        if ![0, Uid::effective().as_raw()].contains(&peer.uid()) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"));
        }
        let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default();
        let stream = stream.into_std()?;
        let sockets = Arc::clone(&self.sockets.lock().unwrap_or_else(PoisonError::into_inner));
        let (keeper, drain) = (self.keeper.clone(), self.drain.clone());
        let talk = move || {
            offer(&stream, &sockets, keeper.as_deref())?;
            // If this process ended before systemd knows which one goes on, it would stop that one too.
            systemd.succeeded_by(pid);
            if let Some(keeper) = keeper {
                keeper.retire();
            }
            // Before listeners close, which would take the files of their sockets with them.
            sockets.iter().for_each(Bequest::is_theirs);
            drain.hand_over();
            // The other one serves in any case, and warns when nobody bids it farewell.
            let _ = wire::send(&stream, FAREWELL, None);
            Ok(pid)
        };
        tokio::task::spawn_blocking(talk).await.map_err(io::Error::other)?
    }
}

/// Hands over, as the module above describes it, until the other one serves. An error means that nothing has changed.
fn offer(stream: &StdStream, sockets: &[Bequest], keeper: Option<&Keeper>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    wire::expect(stream, HELLO)?;
    if let Some(keeper) = keeper {
        keeper.save();
        match keeper.hand_over() {
            Ok(memory) => {
                wire::send(stream, COUNTS, Some(memory.as_fd()))?;
                wire::expect(stream, OK)?;
            }
            Err(error) => warn!("what was counted is not handed over: {error}"),
        }
    }
    for bequest in sockets {
        wire::send(stream, bequest.said(), Some(bequest.socket()))?;
        wire::expect(stream, OK)?;
    }
    wire::send(stream, ALL, None)?;
    stream.set_read_timeout(Some(START))?;
    wire::expect(stream, SERVING)
}
