//! A look at the frames of HTTP/2 that a client sends: those that carry nothing cost the gate work and the client next
//! to none, so there is an allowance of them. Requests and bodies are bounded elsewhere and cost nothing here.
//!
//! Only the nine bytes before each frame are looked at, and the clock only when the allowance is spent.

use std::io;

use super::HTTP2_PREFACE;
use crate::clock::Clock;
use crate::facts::time::Tick;

/// Counts the frames of one connection, as they come.
#[derive(Debug)]
pub(super) struct Frames {
    heads: Heads,
    allowance: Allowance,
}

/// Finds the head of each frame in what goes one way.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// Bytes that belong to no head of a frame and are still to come.
    skip: usize,
    head: [u8; HEAD],
    /// How much of the head has come.
    known: usize,
}

/// What a frame says of itself.
pub(super) struct FrameHead {
    length: usize,
    pub(super) kind: u8,
    flags: u8,
}

/// How many frames without content a client may still send.
#[derive(Debug)]
struct Allowance {
    left: u64,
    /// Bytes sent to the client that have not added to what is left.
    sent: usize,
    filled: Tick,
    clock: Clock,
}

/// Length, type, flags and stream (RFC 9113, section 4.1).
const HEAD: usize = 9;
/// At once: some for each request that there can be at once, and then some.
const MOST: u64 = 1_000;
/// Again in each second.
const EACH_SECOND: u64 = 200;
/// For each so many bytes that a client is sent it may send one: it grants room for more of them, or gives them up. The
/// answers to four pings are not as long.
const BYTES: usize = 64;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;

impl Frames {
    /// From the beginning of a connection on.
    pub(super) fn new(clock: Clock) -> Self {
        let allowance = Allowance { left: MOST, sent: 0, filled: clock.tick(), clock };
        Self { heads: Heads { skip: HTTP2_PREFACE.len(), ..Heads::default() }, allowance }
    }

    /// The client sent these bytes. The error ends the connection.
    pub(super) fn heard(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some(head) = self.heads.next(&mut bytes) {
            let content = match head.kind {
                HEADERS => true,
                DATA => head.length > 0 || head.flags & END_STREAM != 0,
                _ => false,
            };
            if !content {
                self.allowance.spend()?;
            }
        }
        Ok(())
    }

    /// The client was sent so many bytes.
    pub(super) fn told(&mut self, bytes: usize) {
        self.allowance.earn(bytes);
    }
}

impl Heads {
    /// The next head that is complete, of what is left of these bytes.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<FrameHead> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            *bytes = bytes.get(skipped..).unwrap_or_default();
            let (first, rest) = bytes.split_first()?;
            if let Some(place) = self.head.get_mut(self.known) {
                *place = *first;
            }
            *bytes = rest;
            self.known += 1;
            if self.known == HEAD {
                self.known = 0;
                let [high, middle, low, kind, flags, ..] = self.head;
                self.skip = u32::from_be_bytes([0, high, middle, low]) as usize;
                return Some(FrameHead { length: self.skip, kind, flags });
            }
        }
    }

    /// Leaves so many bytes of the content to somebody else, who has to take them before the next head is asked for.
    /// Whether there are as many.
    pub(super) fn keep(&mut self, bytes: usize) -> bool {
        let enough = self.skip >= bytes;
        self.skip -= if enough { bytes } else { 0 };
        enough
    }
}

impl Allowance {
    fn spend(&mut self) -> io::Result<()> {
        if self.left == 0 {
            let now = self.clock.tick();
            let passed = now.elapsed().saturating_sub(self.filled.elapsed()).as_millis();
            self.left = u64::try_from(passed).unwrap_or(u64::MAX).saturating_mul(EACH_SECOND) / 1000;
            self.left = self.left.min(MOST);
            if self.left == 0 {
                return Err(io::Error::other("a flood of frames without content"));
            }
            self.filled = now;
        }
        self.left -= 1;
        Ok(())
    }

    fn earn(&mut self, bytes: usize) {
        self.sent += bytes;
        self.left = self.left.saturating_add((self.sent / BYTES) as u64).min(MOST);
        self.sent %= BYTES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let length = u32::try_from(length).unwrap().to_be_bytes();
        let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        [&head[..], &vec![0; usize::from(length[3])]].concat()
    }

    fn begun() -> Frames {
        let mut frames = Frames::new(Clock::start());
        frames.heard(HTTP2_PREFACE).unwrap();
        frames
    }

    /// How many frames of a kind pass, out of far more than the allowance.
    fn passed(frames: &mut Frames, frame: &[u8]) -> u64 {
        (0..100 * MOST).take_while(|_| frames.heard(frame).is_ok()).count() as u64
    }

    #[test]
    fn a_flood_of_frames_without_content_ends() {
        // PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION, one that nobody knows, and empty DATA.
        for (kind, length) in [(2, 5), (3, 4), (4, 0), (6, 8), (8, 4), (9, 0), (77, 3), (DATA, 0)] {
            let passed = passed(&mut begun(), &frame(kind, 0, length));
            assert!((MOST..10 * MOST).contains(&passed), "{passed} frames of kind {kind}");
        }
    }

    #[test]
    fn requests_and_bodies_pass_in_any_number_however_they_are_cut() {
        let mut frames = begun();
        let stream = [frame(HEADERS, 4, 30), frame(DATA, 0, 200), frame(DATA, END_STREAM, 0)].concat();
        for length in [1, 7, 9, 10, 64, stream.len()] {
            for _ in 0..MOST {
                stream.chunks(length).try_for_each(|part| frames.heard(part)).unwrap();
            }
        }
        assert_eq!(frames.allowance.left, MOST);
    }

    #[test]
    fn who_takes_much_may_grant_room_often() {
        let (mut frames, grant) = (begun(), frame(8, 0, 4));
        for _ in 0..100 * MOST {
            frames.told(2 * BYTES);
            frames.heard(&grant).and_then(|()| frames.heard(&grant)).unwrap();
        }
    }
}
