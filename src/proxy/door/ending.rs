//! Why a connection was ended by the gate rather than by its client, as far as it can be seen from here: by a deadline, by
//! too much of something, or by an error of HTTP/2, which the layers above only say to the client.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::frames::Heads;

/// Why a connection was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The whole head of a request did not come in time.
    Head,
    /// The handshake did not come to its end in time.
    Handshake,
    /// The client took nothing of what was sent to it.
    Stalled,
    /// Too many frames of HTTP/2 without content.
    Frames,
    /// Too many resets, or a head in too many frames: HTTP/2's `ENHANCE_YOUR_CALM`.
    Flood,
    /// Any other error of HTTP/2.
    Protocol,
}

/// How many connections were ended for each reason.
#[derive(Debug, Default)]
pub struct Endings([AtomicU64; Ending::ALL.len()]);

/// Looks for the word with which HTTP/2 ends a connection (GOAWAY) in what is sent.
#[derive(Debug, Default)]
pub(super) struct Goodbye {
    heads: Heads,
    /// That of a GOAWAY frame which is being sent.
    content: Option<Content>,
}

/// What has been sent of the content of a GOAWAY frame: the last stream, and the error.
#[derive(Debug, Default)]
struct Content {
    bytes: [u8; CONTENT],
    known: usize,
}

const GOAWAY: u8 = 7;
const CONTENT: usize = 8;
/// RFC 9113, section 7.
const NO_ERROR: u32 = 0;
const ENHANCE_YOUR_CALM: u32 = 11;

impl Ending {
    /// All reasons.
    pub const ALL: [Self; 6] =
        [Self::Head, Self::Handshake, Self::Stalled, Self::Frames, Self::Flood, Self::Protocol];

    /// What metrics call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Handshake => "handshake",
            Self::Stalled => "stalled",
            Self::Frames => "frames",
            Self::Flood => "flood",
            Self::Protocol => "protocol",
        }
    }

    /// Whether the client has overwhelmed the gate on purpose, or as if it had.
    pub(super) const fn is_a_flood(self) -> bool {
        match self {
            Self::Frames | Self::Flood => true,
            Self::Head | Self::Handshake | Self::Stalled | Self::Protocol => false,
        }
    }

    /// What an error in a GOAWAY frame means, if it is one.
    fn of(error: u32) -> Option<Self> {
        match error {
            NO_ERROR => None,
            ENHANCE_YOUR_CALM => Some(Self::Flood),
            _ => Some(Self::Protocol),
        }
    }
}

impl Endings {
    /// Counts one.
    pub(super) fn count(&self, why: Ending) {
        if let Some(count) = self.0.get(why as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// How many there were.
    pub fn of(&self, why: Ending) -> u64 {
        self.0.get(why as usize).map_or(0, |count| count.load(Relaxed))
    }
}

impl Goodbye {
    /// These bytes are sent; why the connection ends, if they say so.
    pub(super) fn told(&mut self, mut bytes: &[u8]) -> Option<Ending> {
        let mut why = None;
        while !bytes.is_empty() {
            if let Some(content) = &mut self.content {
                if let Some(error) = content.take(&mut bytes) {
                    why = why.or(Ending::of(error));
                    self.content = None;
                }
            } else if let Some(head) = self.heads.next(&mut bytes)
                && head.kind == GOAWAY
                && self.heads.keep(CONTENT)
            {
                self.content = Some(Content::default());
            }
        }
        why
    }
}

impl Content {
    /// Takes what belongs to it; the error, once all has come.
    fn take(&mut self, bytes: &mut &[u8]) -> Option<u32> {
        while self.known < CONTENT {
            let (first, rest) = bytes.split_first()?;
            if let Some(place) = self.bytes.get_mut(self.known) {
                *place = *first;
            }
            (*bytes, self.known) = (rest, self.known + 1);
        }
        let [.., a, b, c, d] = self.bytes;
        Some(u32::from_be_bytes([a, b, c, d]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        [&[0, 0, length, kind, 0, 0, 0, 0, 0], content].concat()
    }

    fn goaway(error: u8) -> Vec<u8> {
        frame(GOAWAY, &[&[0, 0, 0, 1, 0, 0, 0, error], &b"too_many_resets"[..]].concat())
    }

    #[test]
    fn a_goodbye_is_found_between_other_frames_however_it_is_cut() {
        let before = [frame(4, &[]), frame(0, &goaway(11)), frame(1, b"head")].concat();
        for (error, why) in [(0, None), (1, Some(Ending::Protocol)), (11, Some(Ending::Flood))] {
            let sent = [before.clone(), goaway(error), frame(6, b"riskgate")].concat();
            for length in [1, 2, 7, 9, 10, sent.len()] {
                let mut goodbye = Goodbye::default();
                let said: Vec<_> = sent.chunks(length).filter_map(|part| goodbye.told(part)).collect();
                assert_eq!(said, why.into_iter().collect::<Vec<_>>(), "{error} {length}");
            }
        }
    }

    #[test]
    fn a_goodbye_that_is_cut_short_says_nothing_and_loses_no_frame() {
        let mut goodbye = Goodbye::default();
        let sent = [frame(GOAWAY, &[0; 4]), goaway(11)].concat();
        assert_eq!(goodbye.told(&sent), Some(Ending::Flood));
    }

    #[test]
    fn each_reason_has_a_count_of_its_own() {
        let endings = Endings::default();
        for (times, why) in Ending::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| endings.count(why));
        }
        assert!(Ending::ALL.into_iter().enumerate().all(|(times, why)| endings.of(why) == times as u64));
    }
}
