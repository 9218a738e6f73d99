//! A panic in one request is that request's alone: it is answered as a fault of the gate, everything that it held is given
//! back, and the process goes on. Each one is a mistake in the gate, or in a signal of the program that it is part of.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Something has panicked. What it said is for nobody's eyes: it may quote what a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Panicked;

/// Runs a future to its end, or to its panic. What it had is dropped by then.
pub(super) async fn caught<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
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

    #[tokio::test]
    async fn a_future_ends_as_it_would_or_with_its_panic() {
        assert_eq!(caught(async { 1 }).await, Ok(1));
        let later = caught(async {
            tokio::task::yield_now().await;
            panic!("later");
        });
        assert_eq!(later.await.map(|(): ()| 2), Err(Panicked));
    }
}
