//! Dawdlers: clients whose requests come a few bytes at a time.
//!
//! Each piece costs the gate as much as a whole request, and thousands of them may be ready at once. So whoever dawdles
//! stands in line before its next piece is read, and whatever else is ready is done between any two; what comes meanwhile
//! is read with it. A client that sends a request in one go, or large pieces, is never held up.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use super::line::{Lines, Ticket};

/// How one connection's requests come.
pub(super) struct Dawdle {
    lines: Arc<Lines>,
    /// Little pieces of this request, one after the other, that were waited for.
    pieces: u8,
    /// Nothing was there when it was last looked for.
    waited: bool,
    /// Made when it first dawdles.
    ticket: Option<Arc<Ticket>>,
}

/// A piece of fewer bytes is little: less than the smallest segment that a network has to carry.
const LITTLE: usize = 512;
/// So many little pieces may come in one request: its head, and the end of its body.
const USUAL: u8 = 2;

impl Dawdle {
    pub(super) fn new(lines: Arc<Lines>) -> Self {
        Self { lines, pieces: 0, waited: false, ticket: None }
    }

    /// A request is over, or several come at once from now on.
    pub(super) fn rest(&mut self) {
        self.pieces = 0;
    }

    /// Reads by `read`. Of a client that dawdles only what is there already, or what has come when it is its turn.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        read: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let came = if self.pieces > USUAL {
            let Self { lines, ticket, waited, .. } = self;
            let ticket = ticket.get_or_insert_with(|| lines.ticket());
            let turn = ticket.poll_turn(cx);
            if *waited {
                ready!(turn);
            }
            read(&mut Context::from_waker(&Waker::from(Arc::clone(ticket))))
        } else {
            read(cx)
        };
        self.waited |= came.is_pending();
        came
    }

    /// So many bytes were read.
    pub(super) fn came(&mut self, bytes: usize) {
        if bytes >= LITTLE {
            self.pieces = 0;
        } else if self.waited {
            self.pieces = self.pieces.saturating_add(1);
        }
        self.waited = false;
    }
}

impl Debug for Dawdle {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self { pieces, waited, .. } = self;
        out.debug_struct("Dawdle").field("pieces", pieces).field("waited", waited).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use std::num::NonZeroUsize;

    fn dawdle() -> Dawdle {
        Dawdle::new(Arc::new(Lines::new(NonZeroUsize::MIN, Clock::start())))
    }

    /// Whether it is looked for what came.
    fn is_free(dawdle: &mut Dawdle) -> bool {
        dawdle.poll(&mut Context::from_waker(Waker::noop()), |_| Poll::Ready(())).is_ready()
    }

    /// There is nothing to read; who is to be woken when there is.
    fn wait(dawdle: &mut Dawdle) -> Option<Waker> {
        let mut waker = None;
        let read = |cx: &mut Context<'_>| {
            waker = Some(cx.waker().clone());
            Poll::<()>::Pending
        };
        assert!(dawdle.poll(&mut Context::from_waker(Waker::noop()), read).is_pending());
        waker
    }

    /// Pieces that were waited for.
    fn come(dawdle: &mut Dawdle, pieces: &[usize]) {
        for piece in pieces {
            wait(dawdle);
            dawdle.came(*piece);
        }
    }

    #[tokio::test]
    async fn who_sends_little_by_little_stands_in_line() {
        let (mut dawdle, mut other) = (dawdle(), dawdle());
        other.lines = Arc::clone(&dawdle.lines);
        for one in [&mut dawdle, &mut other] {
            come(one, &[1, 1, 1]);
            assert!(is_free(one), "what is there already is read at once");
            let socket = wait(one).unwrap();
            assert!(wait(one).is_none() && !is_free(one), "nobody looks before it is its turn");
            socket.wake();
        }
        assert!(!is_free(&mut dawdle) && !is_free(&mut other));
        for one in [&mut dawdle, &mut other] {
            std::future::poll_fn(|cx| one.poll(cx, |_| Poll::Ready(()))).await;
            one.came(1);
            assert!(is_free(one));
        }
    }

    #[tokio::test]
    async fn whole_heads_and_large_pieces_are_never_held_up() {
        let mut dawdle = dawdle();
        for _ in 0..100 {
            come(&mut dawdle, &[200]);
            dawdle.rest();
        }
        wait(&mut dawdle);
        assert!(is_free(&mut dawdle));
        come(&mut dawdle, &[200, 1400, 1400, 100, 16_000, 300]);
        wait(&mut dawdle);
        assert!(is_free(&mut dawdle) && dawdle.ticket.is_none());
        // What comes faster than it is read does not dawdle.
        let mut fast = self::dawdle();
        (0..100).for_each(|_| fast.came(1));
        wait(&mut fast);
        assert!(is_free(&mut fast));
    }

    #[tokio::test]
    async fn who_dawdled_and_begins_anew_is_not_held_up() {
        let mut dawdle = dawdle();
        come(&mut dawdle, &[1, 1, 1]);
        wait(&mut dawdle);
        assert!(!is_free(&mut dawdle));
        dawdle.rest();
        assert!(is_free(&mut dawdle));
    }
}
