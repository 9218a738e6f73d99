//! A visit: the requests of one HTTP/1 connection, one after the other.
//!
//! Pingora's session and what is done with it take some 30 KiB. They are made when the head of a request is there and
//! are gone when it is answered, so a client that idles, or lets a head drip in, holds little more than its socket.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::ready;
use std::time::Duration;

use bytes::BytesMut;
use memchr::memchr_iter;
use pingora::apps::{HttpPersistentSettings, HttpServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use pingora_timeout::sleep;
use tokio::io::{AsyncRead, ReadBuf};

use super::pulse::Pulse;
use crate::proxy::drain::Drain;

/// Whom the requests are for, and until when they are waited for.
pub(super) struct Visit<'a, A> {
    pub(super) app: &'a Arc<A>,
    pub(super) pulse: &'a Pulse,
    pub(super) drain: &'a Drain,
    pub(super) parting: &'a ShutdownWatch,
    /// How long to wait for the next request.
    pub(super) keepalive: Duration,
}

/// What came of a head so far.
#[derive(Debug, Default)]
struct Head {
    bytes: BytesMut,
    /// As much of it was looked at.
    seen: usize,
}

/// Whether a head can be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// More has to come.
    Partial,
    /// It is whole; so many bytes behind it came as well.
    Whole { beyond: usize },
    /// No more has to come to refuse it.
    Hopeless,
}

/// What is read at once; most heads are shorter.
const AT_ONCE: usize = 4096;
/// A longer part of a head is looked at by the parser, which has its own bounds.
const MOST: usize = 8192;

impl<A: HttpServerApp + Send + Sync + 'static> Visit<'_, A> {
    /// Serves requests until the connection ends.
    pub(super) async fn serve(&self, stream: Stream) {
        let (mut stream, mut settings) = (stream, None);
        // Made once, since nearly every head is waited for.
        let mut begun = pin!(self.drain.begun());
        loop {
            // What came together with the request before, if anything did, is in the settings, where only the parser sees it.
            let head = if settings.is_none() || self.pulse.has_whole_body() {
                let head = self.head(&mut stream, begun.as_mut(), settings.is_some());
                let Some(head) = head.await else { return };
                head
            } else {
                BytesMut::new()
            };
            let session = self.session(stream, settings, head);
            let Some(reused) = self.app.process_new_http(session, self.parting).await else { return };
            (stream, settings) = reused.consume();
        }
    }

    fn session(
        &self,
        stream: Stream,
        settings: Option<HttpPersistentSettings>,
        head: BytesMut,
    ) -> ServerSession {
        let mut session = ServerSession::new_http1(stream);
        match settings {
            Some(settings) => settings.apply_to_session(&mut session),
            None => session.set_keepalive((!*self.parting.borrow()).then(|| self.keepalive.as_secs().max(1))),
        }
        if !head.is_empty() {
            session.set_pipelined_prefix(head);
        }
        session
    }

    /// The next head, once it can be read, and what came with it. `None` if the connection has ended or is to end, be it
    /// that the end has `begun` for all; a head that has begun is waited for as long as the transport does.
    async fn head(
        &self,
        stream: &mut Stream,
        mut begun: Pin<&mut impl Future<Output = ()>>,
        idle: bool,
    ) -> Option<BytesMut> {
        let mut head = Head::default();
        loop {
            tokio::select! {
                biased;
                read = head.read(stream) => match read {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                },
                () = begun.as_mut(), if head.bytes.is_empty() => return None,
                () = sleep(self.keepalive), if idle && head.bytes.is_empty() => return None,
            }
            match head.progress() {
                Progress::Partial => {}
                Progress::Whole { beyond } => {
                    self.pulse.handed_over(Some(beyond));
                    return Some(head.bytes);
                }
                Progress::Hopeless => {
                    self.pulse.handed_over(None);
                    return Some(head.bytes);
                }
            }
        }
    }
}

impl Head {
    /// Reads some more; 0 is the end. Nothing is held while nothing comes.
    async fn read(&mut self, stream: &mut Stream) -> io::Result<usize> {
        poll_fn(|cx| {
            let mut space = [const { MaybeUninit::uninit() }; AT_ONCE];
            let mut buffer = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
            self.bytes.extend_from_slice(buffer.filled());
            Ok(buffer.filled().len()).into()
        })
        .await
    }

    /// Looks at what came since it was last asked.
    fn progress(&mut self) -> Progress {
        let bytes = &*self.bytes;
        let text = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
        let new = self.seen.max(text);
        // An empty line may have begun before.
        let from = new.saturating_sub(2).max(text);
        let end = memchr_iter(b'\n', bytes.get(from..).unwrap_or_default()).find_map(|line| {
            match bytes.get(from + line + 1..).unwrap_or_default() {
                [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] => Some(rest.len()),
                _ => None,
            }
        });
        self.seen = bytes.len();
        match end {
            Some(beyond) => Progress::Whole { beyond },
            None if bytes.len() > MOST || bytes.iter().skip(new).any(is_foreign) => Progress::Hopeless,
            None => Progress::Partial,
        }
    }
}

/// Whether a byte is in no head.
fn is_foreign(byte: &u8) -> bool {
    byte.is_ascii_control() && !matches!(byte, b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known of a head after each part.
    fn progress(parts: &[&str]) -> Vec<Progress> {
        let mut head = Head::default();
        let parts = parts.iter().map(|part| {
            head.bytes.extend_from_slice(part.as_bytes());
            head.progress()
        });
        parts.collect()
    }

    #[test]
    fn a_head_is_whole_at_its_first_empty_line_however_it_comes() {
        let head = "\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for end in ["", "body", "GET / HTTP/1.1\r\n\r\n"] {
            let all = format!("{head}{end}");
            assert_eq!(progress(&[&all]), [Progress::Whole { beyond: end.len() }]);
            for cut in 0..head.len() {
                let (first, rest) = all.split_at(cut);
                let expected = [Progress::Partial, Progress::Whole { beyond: end.len() }];
                assert_eq!(progress(&[first, rest]), expected, "{first:?}");
            }
        }
        for (bare, beyond) in [("GET / HTTP/1.1\n\nab", 2), ("GET / HTTP/1.1\r\n\na", 1), ("a\n\r\n", 0)] {
            assert_eq!(progress(&[bare]), [Progress::Whole { beyond }]);
        }
    }

    #[test]
    fn what_can_be_no_head_or_is_too_long_is_not_waited_for() {
        assert_eq!(progress(&["\u{16}\u{3}\u{1}"]), [Progress::Hopeless]);
        assert_eq!(progress(&["GET /", "\0"]), [Progress::Partial, Progress::Hopeless]);
        assert_eq!(progress(&["a:\tb \u{e9}"]), [Progress::Partial]);
        assert_eq!(progress(&[&"a".repeat(MOST), "a"]), [Progress::Partial, Progress::Hopeless]);
    }
}
