//! A panic in one request is that request's alone: it is answered as a fault of the gate, everything that it held is given
//! back, and the process goes on. Each one is a mistake in the gate, or in a signal of the program that it is part of.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// Something has panicked. What it said is for nobody's eyes: it may quote what a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Panicked;

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
}
