//! The waiting room: requests that a limit refuses for now and may delay, in the order in which they came.
//!
//! Each [`Lane`] has a line. Only the first of a line asks its limits again, the others are woken when it is their turn,
//! and who comes later stands behind them. A [`Place`] leaves its line when it is dropped, however its request ends.
//! How many wait at a limit is bounded, and the lock is held for a step, never while somebody waits. Knows neither
//! clocks nor limits: it is handed the time, and what limits have said.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::facts::time::Tick;
use crate::traffic::{Lane, Rejection};

/// Where requests wait, at all limits.
#[derive(Default)]
pub struct WaitingRoom {
    lines: Mutex<Lines>,
    /// How many are in it, to be looked at without the lock.
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Lines {
    lines: HashMap<Lane, Line>,
    /// How many wait at each limit where somebody does.
    limits: HashMap<String, usize>,
    next: u64,
}

/// Who waits in one lane; at least one does.
struct Line {
    /// In the order in which they came, which is that of their numbers.
    waiters: VecDeque<Waiter>,
    /// What the first of a line was told last, and when.
    told: Rejection,
    at: Tick,
}

struct Waiter {
    number: u64,
    turn: Arc<Notify>,
}

/// A place in a line. Dropping it leaves the line.
pub struct Place<'r> {
    room: &'r WaitingRoom,
    lane: Lane,
    limit: String,
    number: u64,
    turn: Arc<Notify>,
}

/// Nobody asks a limit more often than this.
const SHORTEST: Duration = Duration::from_millis(1);

impl WaitingRoom {
    /// How many requests wait, as far as this thread can see.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// What to tell a request that comes to this lane now, if somebody waits there: it would be its turn when all
    /// before it had theirs.
    pub fn behind(&self, lane: Lane, now: Tick) -> Option<Rejection> {
        self.lines().lines.get(&lane).map(|line| line.forecast(line.waiters.len(), now))
    }

    /// A place at the end of the line in this lane, for a request that was `told` to wait; `None` if `most` wait at the
    /// limit of that name already.
    pub fn join(
        &self,
        lane: Lane,
        limit: &str,
        most: usize,
        told: Rejection,
        now: Tick,
    ) -> Option<Place<'_>> {
        let mut lines = self.lines();
        let here = lines.limits.get(limit).copied().unwrap_or(0);
        if here >= most {
            return None;
        }
        lines.limits.insert(limit.to_owned(), here + 1);
        lines.next += 1;
        let (number, turn) = (lines.next, Arc::new(Notify::new()));
        let line = lines.lines.entry(lane);
        let line = line.or_insert_with(|| Line { waiters: VecDeque::new(), told, at: now });
        line.waiters.push_back(Waiter { number, turn: Arc::clone(&turn) });
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Some(Place { room: self, lane, limit: limit.to_owned(), number, turn })
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        // Nothing that is done with it can panic half way.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// When it is the turn of one who has so many before it, if they pass at the pace of the limit.
    fn forecast(&self, before: usize, now: Tick) -> Rejection {
        let Rejection { retry_after, quota, window, .. } = self.told;
        let due = retry_after.saturating_sub(since(self.at, now));
        let pace = window.duration() / u32::try_from(quota).unwrap_or(u32::MAX).max(1);
        let others = pace.saturating_mul(u32::try_from(before).unwrap_or(u32::MAX));
        // A place is kept for the first of the line at most.
        let kept = Duration::ZERO;
        Rejection { retry_after: due.saturating_add(others).max(SHORTEST), kept, ..self.told }
    }

    fn position(&self, number: u64) -> Option<usize> {
        self.waiters.binary_search_by_key(&number, |waiter| waiter.number).ok()
    }
}

impl Place<'_> {
    /// Whether it is in this lane.
    pub fn is_in(&self, lane: Lane) -> bool {
        self.lane == lane
    }

    /// Waits until it is time to ask the limits again: the first of a line for as long as it was `told`, any other for
    /// its turn. False if `left` is over before that.
    pub async fn wait(&self, told: Rejection, now: Tick, left: Duration) -> bool {
        if self.is_first(told, now) {
            sleep(told.retry_after.max(SHORTEST)).await;
            true
        } else {
            timeout(left, self.turn.notified()).await.is_ok()
        }
    }

    /// When it will be its turn.
    pub fn forecast(&self, now: Tick) -> Option<Rejection> {
        let lines = self.room.lines();
        let line = lines.lines.get(&self.lane)?;
        Some(line.forecast(line.position(self.number)?, now))
    }

    /// Whether it is the first of its line; what it was told then holds for all who come.
    fn is_first(&self, told: Rejection, now: Tick) -> bool {
        let mut lines = self.room.lines();
        let Some(line) = lines.lines.get_mut(&self.lane) else { return true };
        let first = line.position(self.number) == Some(0);
        if first {
            (line.told, line.at) = (told, now);
        }
        first
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lines = self.room.lines();
        if let Entry::Occupied(mut entry) = lines.lines.entry(self.lane) {
            let line = entry.get_mut();
            let position = line.position(self.number);
            position.map(|position| line.waiters.remove(position));
            match line.waiters.front() {
                Some(next) if position == Some(0) => next.turn.notify_one(),
                Some(_) => {}
                None => drop(entry.remove()),
            }
        }
        match lines.limits.get_mut(&self.limit) {
            Some(here) if *here > 1 => *here -= 1,
            Some(_) | None => drop(lines.limits.remove(&self.limit)),
        }
        self.room.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn since(then: Tick, now: Tick) -> Duration {
    now.elapsed().saturating_sub(then.elapsed())
}

#[cfg(test)]
mod tests;
