//! What a connection is doing, as its transport and the gate both see it: the transport notes when a request begins
//! to arrive, the gate when its head is read and when it has ended. From both follows how long a head may take.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};

use super::ending::Ending;

/// The phase of a connection. Shared by its transport, which runs the clock, and the gate, which stops it.
#[derive(Debug, Default)]
pub struct Pulse {
    phase: AtomicU8,
    /// Whether a request came, and nothing that made the gate end the connection.
    useful: AtomicBool,
    shared: AtomicBool,
    /// What was answered to a head that no request came of; 0 if there was none.
    unread: AtomicU16,
    /// Bytes that came since the head of the running request.
    came: AtomicU64,
    /// Bytes of its body; [`UNKNOWN`] if it does not say.
    body: AtomicU64,
    /// Why the gate ends the connection: one more than its place among [`Ending::ALL`], 0 if it does not.
    ending: AtomicU8,
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
const UNKNOWN: u64 = u64::MAX;
/// More than any body has.
const NO_BODY: u64 = 1 << 63;

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

    /// A head is to be read, behind which so many bytes came already; `None` if it is not known where it ends.
    pub(super) fn handed_over(&self, beyond: Option<usize>) {
        self.came.store(beyond.map_or(NO_BODY, |beyond| beyond as u64), Ordering::Relaxed);
        self.body.store(UNKNOWN, Ordering::Relaxed);
    }

    /// So many bytes came.
    pub(super) fn came(&self, bytes: usize) {
        self.came.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Several requests come at once from now on, as HTTP/2 has it.
    pub(super) fn share(&self) {
        self.shared.store(true, Ordering::Relaxed);
    }

    /// Whether several requests come at once.
    pub(super) fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    /// Whether the connection, which has ended, came to nothing.
    pub(super) fn was_wasted(&self) -> bool {
        !self.useful.load(Ordering::Relaxed)
    }

    /// Whether of the request that has ended its whole body came, and nothing behind it.
    pub(super) fn has_whole_body(&self) -> bool {
        let body = self.body.load(Ordering::Relaxed);
        body != UNKNOWN && body == self.came.load(Ordering::Relaxed)
    }

    /// The gate ends the connection for this reason, unless there was one before.
    pub(super) fn ends(&self, why: Ending) {
        if why.is_a_flood() {
            self.useful.store(false, Ordering::Relaxed);
        }
        let _ = self.ending.compare_exchange(0, why as u8 + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The gate ends the connection, since there was no handshake in time; to its transport a hello is a head.
    pub(super) fn ends_in_handshake(&self) {
        self.ending.store(Ending::Handshake as u8 + 1, Ordering::Relaxed);
    }

    /// Why the gate ends the connection, if it does.
    pub(super) fn ending(&self) -> Option<Ending> {
        let at = usize::from(self.ending.load(Ordering::Relaxed)).checked_sub(1)?;
        Ending::ALL.get(at).copied()
    }

    /// The head of a request was read; its body, if it has one, is so long.
    pub fn began(&self, body: Option<u64>) {
        self.phase.store(BUSY, Ordering::Relaxed);
        self.useful.store(true, Ordering::Relaxed);
        self.body.store(body.unwrap_or(UNKNOWN), Ordering::Relaxed);
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
        pulse.began(Some(0));
        pulse.spoke(b"HTTP/1.1 400 Bad Request\r\n");
        assert_eq!(pulse.unread(), None, "the gate's own answer");
        pulse.rested();
        pulse.spoke(b"HTTP/1.1 400 Bad Request\r\n");
        assert_eq!(pulse.unread(), Some(400));
    }

    #[test]
    fn a_body_is_whole_when_as_much_came_as_it_has_and_no_more() {
        let pulse = Pulse::default();
        for (beyond, body, came, whole) in [
            (Some(0), Some(0), 0, true),
            (Some(0), Some(5), 5, true),
            (Some(2), Some(5), 3, true),
            (Some(2), Some(5), 2, false),
            (Some(1), Some(0), 0, false),
            (Some(0), Some(5), 6, false),
            (Some(5), None, 0, false),
            (None, Some(5), 5, false),
        ] {
            pulse.handed_over(beyond);
            assert!(!pulse.has_whole_body(), "nothing is known of a head that nobody has read");
            pulse.began(body);
            pulse.came(came);
            assert_eq!(pulse.has_whole_body(), whole, "{beyond:?} {body:?} {came}");
        }
    }

    #[test]
    fn the_first_reason_to_end_is_the_reason_but_a_hello_is_no_head() {
        let pulse = Pulse::default();
        assert_eq!(pulse.ending(), None);
        pulse.ends(Ending::Head);
        pulse.ends(Ending::Stalled);
        assert_eq!(pulse.ending(), Some(Ending::Head));
        pulse.ends_in_handshake();
        assert_eq!(pulse.ending(), Some(Ending::Handshake));
        for why in Ending::ALL {
            let pulse = Pulse::default();
            pulse.ends(why);
            assert_eq!(pulse.ending(), Some(why));
        }
    }

    #[test]
    fn a_connection_without_a_request_or_with_a_flood_was_wasted() {
        let pulse = Pulse::default();
        pulse.heard();
        pulse.handed_over(Some(0));
        assert!(pulse.was_wasted());
        pulse.began(Some(0));
        pulse.rested();
        assert!(!pulse.was_wasted());
        pulse.ends(Ending::Frames);
        assert!(pulse.was_wasted());
    }

    #[test]
    fn bytes_begin_a_head_only_after_a_rest() {
        let pulse = Pulse::default();
        assert_eq!(pulse.phase(), Phase::Head, "a new connection owes a head");
        pulse.began(Some(0));
        pulse.heard();
        assert_eq!(pulse.phase(), Phase::Busy, "a body, or another stream");
        pulse.rested();
        assert_eq!(pulse.phase(), Phase::Idle);
        pulse.heard();
        assert_eq!(pulse.phase(), Phase::Head);
    }
}
