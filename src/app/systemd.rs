//! What systemd is told, if it started the process and listens (`NOTIFY_SOCKET`): that the gate serves, reads everything
//! again, stops, or that another process goes on in its place.

use sd_notify::NotifyState;
use tracing::warn;

use crate::proxy::drain::Signals;

/// Tells systemd, if the process is the gate's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Systemd {
    told: bool,
}

impl Systemd {
    /// Whoever does not hear signals is a guest in another program, which may have something else to say.
    pub(super) fn of(signals: Signals) -> Self {
        Self { told: signals == Signals::Heard }
    }

    /// Clients are served, and what was to be read is read.
    pub(super) fn ready(self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// Everything is being read again; [`Systemd::ready`] follows.
    pub(super) fn reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }

    /// The gate stops.
    pub(super) fn stopping(self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// The process of that number goes on in place of this one.
    pub(super) fn succeeded_by(self, pid: u32) {
        self.tell(&[NotifyState::MainPid(pid)]);
    }

    fn tell(self, states: &[NotifyState<'_>]) {
        if self.told
            && let Err(error) = sd_notify::notify(states)
        {
            warn!("systemd cannot be told how the gate is: {error}");
        }
    }
}
