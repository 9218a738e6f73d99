//! The line of those who dawdle: what comes from them wakes nobody before it is their turn.
//!
//! To wake a connection is to ask everything that its request waits for. Thousands that are woken for a byte each are as
//! many such steps before the next request of anybody. So the socket of a client that dawdles puts a [`Ticket`] into the
//! line of its thread, and one after the other is woken, with whatever else is ready done between any two. A turn is not
//! held: whoever makes no use of it keeps nobody waiting.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Formatter};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::clock::Clock;
use crate::facts::time::Tick;
use crate::workers::PerWorker;

/// A line for each worker.
pub struct Lines(PerWorker<Arc<Line>>);

/// Those who stand in one line.
struct Line {
    standing: Mutex<VecDeque<Standing>>,
    somebody: Notify,
    /// Whether a task calls them.
    is_served: AtomicBool,
    clock: Clock,
}

struct Standing {
    ticket: Arc<Ticket>,
    since: Tick,
}

/// What one socket wakes instead of its connection, which is woken in its turn.
pub(super) struct Ticket {
    line: Arc<Line>,
    holder: Mutex<Holder>,
}

struct Holder {
    place: Place,
    /// Whom to wake.
    task: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nothing has come.
    Away,
    /// Something has.
    Standing,
    /// It is this one's turn.
    Called,
}

/// Nobody is to stand for longer, however much else there is to do.
const LONG: Duration = Duration::from_millis(100);
/// So many are called at once while the first has stood for longer.
const SEVERAL: usize = 8;

impl Lines {
    /// For so many workers.
    pub fn new(workers: NonZeroUsize, clock: Clock) -> Self {
        Self(PerWorker::new(workers, || Arc::new(Line::new(clock))))
    }

    /// A ticket for the line of the calling worker, which has to be in a runtime.
    pub(super) fn ticket(&self) -> Arc<Ticket> {
        let line = self.0.own();
        if !line.is_served.swap(true, Ordering::Relaxed) {
            tokio::spawn(Arc::clone(line).serve());
        }
        Ticket::new(Arc::clone(line))
    }
}

impl Debug for Lines {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Lines").field(&self.0.len()).finish()
    }
}

impl Line {
    fn new(clock: Clock) -> Self {
        let (standing, somebody, is_served) = (Mutex::default(), Notify::new(), AtomicBool::new(false));
        Self { standing, somebody, is_served, clock }
    }

    /// Calls one after the other, for ever.
    async fn serve(self: Arc<Self>) {
        loop {
            self.somebody.notified().await;
            while self.call(self.clock.tick()) {
                // Whoever was called, and whatever else is ready, comes first.
                yield_now().await;
            }
        }
    }

    fn stand(&self, ticket: Arc<Ticket>, since: Tick) {
        let is_first = {
            let mut standing = lock(&self.standing);
            standing.push_back(Standing { ticket, since });
            standing.len() == 1
        };
        if is_first {
            self.somebody.notify_one();
        }
    }

    /// Calls who stands longest, or several. Whether anybody was there.
    fn call(&self, now: Tick) -> bool {
        let count = self.due(now);
        for _ in 0..count {
            let first = lock(&self.standing).pop_front();
            if let Some(Standing { ticket, .. }) = first {
                ticket.call();
            }
        }
        count > 0
    }

    /// How many are to be called now.
    fn due(&self, now: Tick) -> usize {
        let stood = |first: &Standing| now.elapsed().saturating_sub(first.since.elapsed());
        match lock(&self.standing).front().map(stood) {
            None => 0,
            Some(stood) if stood > LONG => SEVERAL,
            Some(_) => 1,
        }
    }
}

impl Ticket {
    fn new(line: Arc<Line>) -> Arc<Self> {
        let holder = Mutex::new(Holder { place: Place::Away, task: None });
        Arc::new(Self { line, holder })
    }

    /// Whether it is this one's turn, which is over then. The caller is who is woken from now on.
    pub(super) fn poll_turn(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut holder = lock(&self.holder);
        match &mut holder.task {
            Some(task) => task.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        if holder.place == Place::Called {
            holder.place = Place::Away;
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Something has come.
    fn stand(self: &Arc<Self>, now: Tick) {
        let mut holder = lock(&self.holder);
        if holder.place == Place::Away {
            holder.place = Place::Standing;
            drop(holder);
            self.line.stand(Arc::clone(self), now);
        }
    }

    fn call(&self) {
        let task = {
            let mut holder = lock(&self.holder);
            holder.place = Place::Called;
            holder.task.clone()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Wake for Ticket {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.stand(self.line.clock.tick());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
