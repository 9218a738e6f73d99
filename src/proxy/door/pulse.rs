//! What a connection is doing, as its transport and the gate both see it: the transport notes when a request begins
//! to arrive, the gate when its head is read and when it has ended. From both follows how long a head may take.

use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

/// The phase of a connection. Shared by its transport, which runs the clock, and the gate, which stops it.
#[derive(Debug, Default)]
pub struct Pulse {
    phase: AtomicU8,
    /// What was answered to a head that no request came of; 0 if there was none.
    unread: AtomicU16,
}

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
        match self.phase.load(Ordering::Relaxed) {
            HEAD => Phase::Head,
            BUSY => Phase::Busy,
            _ => Phase::Idle,
        }
    }

    /// Something came: after a rest, that is a new request.
    pub(super) fn heard(&self) {
        if self.phase() == Phase::Idle {
            self.phase.store(HEAD, Ordering::Relaxed);
        }
    }

    /// Something is sent. An error of HTTP/1 while no request is served answers a head that could not be read: such a
    /// request never gets to the gate.
    pub(super) fn spoke(&self, bytes: &[u8]) {
        if self.phase() != Phase::Busy
            && let Some(rest) = bytes.strip_prefix(b"HTTP/1.1 ")
            && let Some(status @ 400..500) = rest.get(..3).and_then(number)
        {
            self.unread.store(status, Ordering::Relaxed);
        }
    }

    /// What a head that could not be read was answered with, if there was one.
    pub fn unread(&self) -> Option<u16> {
        Some(self.unread.load(Ordering::Relaxed)).filter(|status| *status != 0)
    }

    /// The head of a request was read.
    pub fn began(&self) {
        self.phase.store(BUSY, Ordering::Relaxed);
    }

    /// The only request of the connection has ended.
    pub fn rested(&self) {
        self.phase.store(IDLE, Ordering::Relaxed);
    }
}

fn number(digits: &[u8]) -> Option<u16> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_no_request_asked_for_answers_a_head_that_could_not_be_read() {
        let pulse = Pulse::default();
        for other in ["", "HTTP/1.1 ", "HTTP/1.1 200 OK", "HTTP/1.1 503 Service", "HTTP/1.1 4x0", "400"] {
            pulse.spoke(other.as_bytes());
            assert_eq!(pulse.unread(), None, "{other}");
        }
        pulse.began();
        pulse.spoke(b"HTTP/1.1 400 Bad Request\r\n");
        assert_eq!(pulse.unread(), None, "the gate's own answer");
        pulse.rested();
        pulse.spoke(b"HTTP/1.1 400 Bad Request\r\n");
        assert_eq!(pulse.unread(), Some(400));
    }

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
