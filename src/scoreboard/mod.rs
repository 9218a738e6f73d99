//! The scoreboard: what became of the requests of the last ten seconds, by country, client, route, reason and limit.
//!
//! For operators who look on; nothing that judges reads it. Each worker counts into tables of its own, under a lock
//! that nobody else wants but the housekeeper for the time of a swap, once a second. What was counted goes into a
//! history of ten slices, one a second, which readers add up. Memory follows from configuration, never from
//! traffic: clients are kept in a sketch of the busiest, by pseudonym. Not a place for an address.

mod busiest;
mod counts;
mod history;
mod routes;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::decision::{Decision, Outcome};
use crate::facts::client::Pseudonym;
use crate::facts::place::CountryCode;
use crate::facts::time::Tick;
use crate::snapshot::{Generation, Snapshot};
use crate::workers::PerWorker;
use counts::{Counts, Known};
use history::History;

pub use busiest::KEPT as CLIENTS_KEPT;
pub use counts::Outcomes;
pub use history::{Busy, Standings, Table};
pub use routes::{RouteNumbers, SPARE_ROUTES};

/// Counts for operators who look on. Made once, shared by all threads and all snapshots.
pub struct Scoreboard {
    shards: PerWorker<Mutex<Shard>>,
    history: Mutex<Kept>,
}

/// What became of one request, once that is known.
pub struct Event<'a> {
    /// Where it came from.
    pub country: CountryCode,
    /// The number of the route that it takes, if any.
    pub route: Option<usize>,
    /// Who sent it.
    pub client: Pseudonym,
    /// What was decided.
    pub decision: &'a Decision,
    /// What happened.
    pub outcome: Outcome,
    /// The limit that turned it away, if one did.
    pub refused_by: Option<&'a str>,
}

/// What one worker counted since the last turn.
struct Shard {
    known: Arc<Known>,
    counts: Counts,
}

/// What the housekeeper keeps between turns.
struct Kept {
    generation: Generation,
    known: Arc<Known>,
    /// Empty tables, to be given to a worker for its full ones.
    spare: Counts,
    history: History,
}

impl Scoreboard {
    /// Nothing was counted yet. `routes` is how many routes are told apart; what has a higher number is not counted.
    pub fn new(workers: NonZeroUsize, routes: usize, snapshot: &Snapshot, now: Tick) -> Self {
        let known = Arc::new(Known::of(snapshot));
        let empty = || Counts::new(routes, &known);
        let shards =
            PerWorker::new(workers, || Mutex::new(Shard { known: Arc::clone(&known), counts: empty() }));
        let (spare, history) = (empty(), History::new(now));
        let kept = Kept { generation: snapshot.generation(), known: Arc::clone(&known), spare, history };
        Self { shards, history: Mutex::new(kept) }
    }

    /// Counts one request. On the path of every request: no allocation, and no waiting but for a swap.
    pub fn count(&self, event: &Event<'_>) {
        let mut shard = lock(self.shards.own());
        let Shard { known, counts } = &mut *shard;
        counts.count(event, known);
    }

    /// Ends a slice of time. To be called about once a second, off the path of requests. What a new snapshot can say
    /// is counted from the next turn on.
    pub fn turn(&self, snapshot: &Snapshot, now: Tick) {
        let mut kept = lock(&self.history);
        let kept = &mut *kept;
        if kept.generation != snapshot.generation() {
            (kept.generation, kept.known) = (snapshot.generation(), Arc::new(Known::of(snapshot)));
        }
        for shard in self.shards.iter() {
            kept.spare.fit(&kept.known);
            let known = {
                let mut shard = lock(shard);
                std::mem::swap(&mut shard.counts, &mut kept.spare);
                std::mem::replace(&mut shard.known, Arc::clone(&kept.known))
            };
            kept.history.add(&kept.spare, &known);
            kept.spare.clear();
        }
        kept.history.turn(now);
    }

    /// What became of the requests of the last ten whole slices.
    pub fn standings(&self) -> Standings {
        lock(&self.history).history.standings()
    }
}

/// Tables are whole between any two statements, so a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
