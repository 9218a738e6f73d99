//! Turns: what costs much time, such as a handshake, is done in steps that stand in line, so that whatever else is ready is
//! done between any two. Without this, a crowd of handshakes would all be done before the next request of anybody.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::sync::Semaphore;
use tokio::task::yield_now;

/// So many steps at once, for all connections.
#[derive(Debug)]
pub struct Turns(Semaphore);

impl Turns {
    /// As many at once as there are threads.
    pub fn new(threads: usize) -> Self {
        Self(Semaphore::new(threads.max(1)))
    }

    /// Does `work`, whose every step waits for its turn. A step that waits for the client takes nobody's turn.
    pub(super) async fn take<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            {
                // It is never closed, and a step without a turn would be no harm.
                let _turn = self.0.acquire().await;
                // Whoever is ready on this thread comes first, while the turn keeps others from crowding in.
                yield_now().await;
                if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
                    return done;
                }
            }
            // Nothing is awaited between the step, which said what it waits for, and this.
            let mut waited = false;
            poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending })
                .await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;
    use tokio::sync::Notify;
    use tokio::task::LocalSet;

    #[tokio::test]
    async fn others_come_between_any_two_steps() {
        let (turns, steps, worst) = (Rc::new(Turns::new(1)), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let local = LocalSet::new();
        for _ in 0..50 {
            let (turns, steps) = (Rc::clone(&turns), Rc::clone(&steps));
            local.spawn_local(async move { turns.take(async { steps.set(steps.get() + 1) }).await });
        }
        let (seen, most) = (Rc::clone(&steps), Rc::clone(&worst));
        let other = async move {
            let mut last = 0;
            while seen.get() < 50 {
                yield_now().await;
                most.set(most.get().max(seen.get() - last));
                last = seen.get();
            }
        };
        local.run_until(other).await;
        assert_eq!((steps.get(), worst.get()), (50, 1));
    }

    #[tokio::test]
    async fn who_waits_for_a_client_takes_nobodys_turn() {
        let (turns, client) = (Turns::new(1), Notify::new());
        let slow = turns.take(client.notified());
        let quick = async {
            for _ in 0..10 {
                turns.take(yield_now()).await;
            }
            client.notify_one();
        };
        tokio::join!(slow, quick);
    }
}
