//! A panic in one request is that request's alone: it is answered as a fault of the gate, everything that it held is given
//! back, and the process goes on. Each one is a mistake in the gate, or in a signal of the program that it is part of.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use pingora::{Error, ErrorType, Result};

use super::Gate;

/// Something has panicked. What it said is for nobody's eyes: it may quote what a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Panicked;

/// What an error is called that is a panic, so that nobody else is blamed for it, wherever it happened.
pub(super) const PANIC: ErrorType = ErrorType::Custom("a panic");

/// Runs a future to its end, or to its panic. It is pinned where it is made, since it is large, and moving it would cost
/// more than all that is done here.
pub(super) async fn caught<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, Panicked> {
    std::future::poll_fn(|context| {
        // A future that has panicked is not looked at again, and what it shares with others survives that.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

/// Does something to its end, or to its panic.
pub(super) fn caught_at_once<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    // As above.
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked)
}

impl Gate {
    /// Does what a filter has to do. A panic in it is a failure of the request, which is answered and recorded as such.
    pub(super) fn unharmed<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        caught_at_once(work).unwrap_or_else(|panicked| Err(self.broken(panicked)))
    }

    /// Counts a panic; what its request fails with.
    pub(super) fn broken(&self, _: Panicked) -> Box<Error> {
        self.drain.broke_off();
        Error::new(PANIC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    #[tokio::test]
    async fn a_future_ends_as_it_would_or_with_its_panic() {
        assert_eq!(caught(pin!(async { 1 })).await, Ok(1));
        let later = pin!(async {
            tokio::task::yield_now().await;
            panic!("later");
        });
        assert_eq!(caught(later).await.map(|(): ()| 2), Err(Panicked));
    }

    #[test]
    fn what_is_done_at_once_ends_as_it_would_or_with_its_panic() {
        assert_eq!(caught_at_once(|| 1), Ok(1));
        assert_eq!(caught_at_once(|| panic!("at once")).map(|(): ()| 2), Err(Panicked));
    }
}
