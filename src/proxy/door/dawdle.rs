//! Dawdlers: clients whose requests come a few bytes at a time.
//!
//! Each piece costs the gate as much as a whole request, and thousands of them may be ready at once. So whoever dawdles
//! stands in line before its next piece is read, and whatever else is ready is done between any two. A client that
//! sends a request in one go, or large pieces, is never held up.

use std::fmt::{self, Debug, Formatter};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::turns::Turns;

/// How one connection's requests come.
pub(super) struct Dawdle {
    turns: Arc<Turns>,
    /// Little pieces of this request, one after the other, that were waited for.
    pieces: u8,
    /// Nothing was there when it was last looked for.
    waited: bool,
    turn: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

/// A piece of fewer bytes is little: less than the smallest segment that a network has to carry.
const LITTLE: usize = 512;
/// So many little pieces may come in one request: its head, and the end of its body.
const USUAL: u8 = 2;

impl Dawdle {
    pub(super) fn new(turns: Arc<Turns>) -> Self {
        Self { turns, pieces: 0, waited: false, turn: None }
    }

    /// A request is over.
    pub(super) fn rest(&mut self) {
        self.pieces = 0;
    }

    /// To be asked before something is read: whether it is this one's turn.
    pub(super) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waited && self.pieces > USUAL {
            let Self { turns, turn, .. } = self;
            let turn = turn.get_or_insert_with(|| Box::pin(Arc::clone(turns).next()));
            ready!(turn.as_mut().poll(cx));
            self.turn = None;
        }
        Poll::Ready(())
    }

    /// There was nothing to read.
    pub(super) fn waits(&mut self) {
        self.waited = true;
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
    use std::task::Waker;

    fn dawdle() -> Dawdle {
        Dawdle::new(Arc::new(Turns::new(1)))
    }

    fn is_free(dawdle: &mut Dawdle) -> bool {
        dawdle.poll_turn(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// Pieces that were waited for.
    fn come(dawdle: &mut Dawdle, pieces: &[usize]) {
        for piece in pieces {
            dawdle.waits();
            dawdle.came(*piece);
        }
    }

    #[tokio::test]
    async fn who_sends_little_by_little_stands_in_line() {
        let (mut dawdle, mut other) = (dawdle(), dawdle());
        other.turns = Arc::clone(&dawdle.turns);
        for one in [&mut dawdle, &mut other] {
            come(one, &[1, 1, 1]);
            assert!(is_free(one), "what is there already is read at once");
            one.waits();
        }
        assert!(!is_free(&mut dawdle) && !is_free(&mut other));
        std::future::poll_fn(|cx| dawdle.poll_turn(cx)).await;
        dawdle.came(1);
        assert!(is_free(&mut dawdle));
        std::future::poll_fn(|cx| other.poll_turn(cx)).await;
    }

    #[test]
    fn whole_heads_and_large_pieces_are_never_held_up() {
        let mut dawdle = dawdle();
        for _ in 0..100 {
            come(&mut dawdle, &[200]);
            dawdle.rest();
        }
        dawdle.waits();
        assert!(is_free(&mut dawdle));
        come(&mut dawdle, &[200, 1400, 1400, 100, 16_000, 300]);
        dawdle.waits();
        assert!(is_free(&mut dawdle));
        // What comes faster than it is read does not dawdle.
        let mut fast = self::dawdle();
        (0..100).for_each(|_| fast.came(1));
        fast.waits();
        assert!(is_free(&mut fast));
    }
}
