//! The body of a request as it leaves, framed as its head says. A piece is written whole, or its connection is given up: it
//! may have gone out in part, and is never repeated.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::CONTENT_LENGTH;
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora::{Error, ErrorType, Result};

use super::hands::Hand;
use super::send;

/// Where a body goes.
pub(super) struct Outgoing {
    hand: Hand,
    framing: Framing,
    time: Option<Duration>,
}

#[derive(Debug)]
enum Framing {
    /// So many bytes are to come.
    Length(u64),
    /// As many as there are.
    Chunks,
}

/// A piece that is being written. It goes on where it was whenever it is polled.
pub(super) type Writing = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

impl Outgoing {
    /// The body of a request with this head. A piece that is not taken in so much time is given up.
    pub(super) fn of(head: &RequestHeader, hand: Hand, time: Option<Duration>) -> Result<Self> {
        Ok(Self { hand, framing: Framing::of(head)?, time })
    }

    /// Begins to write a piece, and the end if it is the last.
    pub(super) fn write(&mut self, piece: Bytes, is_end: bool) -> Result<Writing> {
        let mut bytes = self.framing.frame(piece, is_end)?;
        let (mut hand, time) = (self.hand.clone(), self.time);
        Ok(Box::pin(async move { send(&mut hand, &mut bytes, time).await }))
    }

    /// Whether an origin that has all that was written knows that this was all.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.framing, Framing::Length(0))
    }

    /// The connection, if nobody else holds it.
    pub(super) fn release(self) -> Option<Stream> {
        self.hand.release()
    }
}

impl Framing {
    fn of(head: &RequestHeader) -> Result<Self> {
        let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
        let Some(length) = lengths.next() else { return Ok(Self::Chunks) };
        let digits = length.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        match (digits.and_then(|digits| digits.parse().ok()), lengths.next()) {
            (Some(length), None) => Ok(Self::Length(length)),
            (None, _) | (_, Some(_)) => Err(broken("a length that is none")),
        }
    }

    fn frame(&mut self, piece: Bytes, is_end: bool) -> Result<impl Buf + Send + use<>> {
        let (first, last): (String, &'static [u8]) = match self {
            Self::Length(left) => {
                let count = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                *left = left.checked_sub(count).ok_or_else(|| broken("more than its length"))?;
                if is_end && *left > 0 {
                    return Err(broken("less than its length"));
                }
                (String::new(), b"")
            }
            // One of no length would be the end.
            Self::Chunks if piece.is_empty() => (String::new(), if is_end { b"0\r\n\r\n" } else { b"" }),
            Self::Chunks => {
                (format!("{:X}\r\n", piece.len()), if is_end { b"\r\n0\r\n\r\n" } else { b"\r\n" })
            }
        };
        Ok(Bytes::from(first).chain(piece).chain(last))
    }
}

/// The client's body is not what its head says.
fn broken(what: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, what).into_down()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(length: &[&str]) -> Result<Framing> {
        let mut head = RequestHeader::build("POST", b"/", None).unwrap();
        for length in length {
            head.append_header(CONTENT_LENGTH, *length).unwrap();
        }
        Framing::of(&head)
    }

    fn framed(framing: &mut Framing, piece: &'static str, is_end: bool) -> Option<String> {
        let mut framed = framing.frame(Bytes::from_static(piece.as_bytes()), is_end).ok()?;
        Some(String::from_utf8(framed.copy_to_bytes(framed.remaining()).to_vec()).unwrap())
    }

    #[test]
    fn chunks_have_their_length_and_only_the_end_has_none() {
        let mut chunks = framing(&[]).unwrap();
        for (piece, is_end, expected) in [
            ("0123456789abcdef", false, "10\r\n0123456789abcdef\r\n"),
            ("", false, ""),
            ("a", true, "1\r\na\r\n0\r\n\r\n"),
            ("", true, "0\r\n\r\n"),
        ] {
            assert_eq!(framed(&mut chunks, piece, is_end).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_body_with_a_length_is_neither_longer_nor_shorter() {
        let mut five = framing(&["5"]).unwrap();
        assert_eq!(framed(&mut five, "abc", false).as_deref(), Some("abc"));
        assert_eq!(framed(&mut five, "de", false).as_deref(), Some("de"));
        assert_eq!(framed(&mut five, "", true).as_deref(), Some(""));
        assert_eq!(framed(&mut five, "f", false), None);
        assert_eq!(framed(&mut framing(&["5"]).unwrap(), "abc", true), None);
    }

    #[test]
    fn a_length_that_could_be_read_in_two_ways_is_none() {
        for lengths in [&["5", "5"][..], &["5", "6"], &["+5"], &["5, 5"], &["-1"], &["0x5"], &[""]] {
            assert!(framing(lengths).is_err(), "{lengths:?}");
        }
    }
}
