//! What a connection is doing, as its transport and the gate both see it: the transport notes when a request begins
//! to arrive, the gate when its head is read and when it has ended. From both follows how long a head may take.

use std::sync::atomic::{AtomicU8, Ordering};

/// The phase of a connection. Shared by its transport, which runs the clock, and the gate, which stops it.
#[derive(Debug, Default)]
pub struct Pulse(AtomicU8);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A handshake or the head of a request is on its way, and has only so much time.
    Head,
    /// A request is being served, or several at once.
    Busy,
    /// Nothing since the last answer.
    Idle,
}

const HEAD: u8 = 0;
const BUSY: u8 = 1;
const IDLE: u8 = 2;

impl Pulse {
    /// What the connection is doing.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) {
            HEAD => Phase::Head,
            BUSY => Phase::Busy,
            _ => Phase::Idle,
        }
    }

    /// Something came: after a rest, that is a new request.
    pub(super) fn heard(&self) {
        if self.phase() == Phase::Idle {
            self.0.store(HEAD, Ordering::Relaxed);
        }
    }

    /// The head of a request was read.
    pub fn began(&self) {
        self.0.store(BUSY, Ordering::Relaxed);
    }

    /// The only request of the connection has ended.
    pub fn rested(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_begin_a_head_only_after_a_rest() {
        let pulse = Pulse::default();
        assert_eq!(pulse.phase(), Phase::Head, "a new connection owes a head");
        pulse.began();
        pulse.heard();
        assert_eq!(pulse.phase(), Phase::Busy, "a body, or another stream");
        pulse.rested();
        assert_eq!(pulse.phase(), Phase::Idle);
        pulse.heard();
        assert_eq!(pulse.phase(), Phase::Head);
    }
}
