//! Which counters there are: found again by identity at each load, forgotten when nobody holds them.
//!
//! Snapshots hold the handles, the shelf only remembers them weakly. Its lock is taken at load and by the rotating
//! task, never for a request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::combination::{Dimension, Hashing, Token};
use super::{Counter, CounterSpec};
use crate::facts::time::Tick;
use crate::traffic::Part;
use crate::traffic::kept::{Kept, Lapse, Range};
use crate::traffic::secret::Secret;

/// Remembers counters while they are in use.
pub(in crate::traffic) struct Shelf {
    hashing: Arc<Hashing>,
    slots: usize,
    counters: Mutex<Vec<Weak<Counter>>>,
}

impl Shelf {
    /// Nothing yet; keys are hashed under `secret`, and counters have `slots` places.
    pub(in crate::traffic) fn new(secret: &Secret, slots: usize) -> Self {
        Self { hashing: Arc::new(Hashing::new(secret)), slots, counters: Mutex::default() }
    }

    /// A handle for each of `specs`, in their order.
    pub(in crate::traffic) fn counters(&self, specs: &[CounterSpec], now: Tick) -> Vec<Arc<Counter>> {
        let mut shelf = self.shelf();
        shelf.retain(|counter| counter.strong_count() > 0);
        let handle = |spec: &CounterSpec| {
            let mut known = shelf.iter().filter_map(Weak::upgrade);
            known.find(|known| known.spec() == spec).unwrap_or_else(|| {
                let counter = Counter::new(spec.clone(), Arc::clone(&self.hashing), self.slots, now);
                let counter = Arc::new(counter);
                shelf.push(Arc::downgrade(&counter));
                counter
            })
        };
        specs.iter().map(handle).collect()
    }

    /// A name for a credential.
    pub(in crate::traffic) fn token(&self, credential: &[u8]) -> Token {
        self.hashing.token(credential)
    }

    /// Hands on what every counter in use has counted.
    pub(in crate::traffic) fn keep<E>(
        &self,
        range: Range,
        sink: &mut dyn FnMut(&Kept) -> Result<(), E>,
    ) -> Result<(), E> {
        let counters = self.in_use();
        let mut kept = counters.iter().filter(|counter| match range {
            Range::All => true,
            Range::WithoutCredentials => !counter.spec().per.has(Dimension::Token),
        });
        kept.try_for_each(|counter| counter.keep(sink))
    }

    /// Counts once more what was kept of a counter; how many keys that is.
    pub(in crate::traffic) fn recall(&self, kept: &Kept, lapse: Lapse) -> usize {
        let counters = self.in_use();
        let named = counters.iter().find(|counter| counter.spec().to_string() == kept.of);
        named.map_or(0, |counter| counter.recall(&kept.rows, lapse))
    }

    /// Rotates every counter in use.
    pub(in crate::traffic) fn rotate(&self, now: Tick) {
        self.in_use().iter().for_each(|counter| counter.rotate(now));
    }

    /// What every counter in use takes.
    pub(in crate::traffic) fn memory(&self) -> Vec<Part> {
        let part = |counter: &Arc<Counter>| Part {
            what: format!("counter `{}`", counter.spec().name),
            bytes: counter.bytes(),
        };
        self.in_use().iter().map(part).collect()
    }

    /// The counters in use; the lock is not held while they are worked on.
    fn in_use(&self) -> Vec<Arc<Counter>> {
        self.shelf().iter().filter_map(Weak::upgrade).collect()
    }

    fn shelf(&self) -> MutexGuard<'_, Vec<Weak<Counter>>> {
        // It is consistent between any two statements, so a panic elsewhere does not spoil it.
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
