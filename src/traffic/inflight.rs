//! Requests in flight: at most so many at once for each client, country, network or route.
//!
//! A request takes a place under each of its caps and gives it back when the [`Held`] that keeps its places is
//! dropped, however the request ends. Places are counted in sketches of a fixed size, so a key may be taken for
//! fuller than it is, never for emptier: no two requests can share a last place, and a country counts for no other.
//! How many places there are is not part of a cap; it comes with each [`Claim`]. Nothing here knows why or when a
//! request ends.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use pingora_limits::inflight::{Guard, Inflight};
use serde::Serialize;

use super::Part;
use super::settings::TrafficError;
use super::subject::{Key, Per, Subject};
use crate::facts::place::CountryCode;
use crate::facts::time::Tick;

/// At most so many requests at once: 1 to [`Most::MAX`]. There is no number that means "none": that is a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Most(u32);

/// A cap's identity: caps that are equal in all of it are one cap, before and after a reload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CapSpec {
    /// What it is for: a reason's id, `level.high`, `country`.
    pub name: String,
    /// What it tells apart.
    pub per: Per,
}

/// A limit of requests in flight. Made by [`Traffic::caps`](super::Traffic::caps); it counts while anybody holds it
/// or a request is under it.
pub struct Cap {
    spec: CapSpec,
    bank: Arc<Bank>,
    /// Tells the caps apart that share the bank.
    tag: u32,
    /// How long a request lasts, in nanoseconds: a moving average; 0 while none has ended.
    typical: AtomicU64,
    /// How many requests are under it, of all keys together.
    held: AtomicUsize,
}

/// One cap that a request has to pass, with the number of places that applies to it.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// The cap.
    pub cap: &'a Arc<Cap>,
    /// Its places, for this request.
    pub most: Most,
}

/// The places of a request in flight. Dropping it gives them back.
#[derive(Debug)]
#[must_use = "the request is in flight while this is kept"]
pub struct Held {
    places: Vec<Place>,
    since: Option<Tick>,
}

/// Why a request may not join those in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Which of the claims was refused.
    pub claim: usize,
    /// How many places it has.
    pub most: Most,
    /// When a place is likely to be free, see [`Cap::likely_free`].
    pub retry_after: Duration,
}

struct Place {
    cap: Arc<Cap>,
    _guard: Guard,
}

/// The sketches that caps count in.
struct Bank {
    first: Inflight,
    others: Box<[Inflight]>,
    hasher: RandomState,
}

/// Remembers caps while they are in use, as the registry does limits. Its lock is taken at load only.
#[derive(Default)]
pub(super) struct Caps {
    shelves: Mutex<Shelves>,
}

#[derive(Default)]
struct Shelves {
    caps: Vec<Weak<Cap>>,
    shared: Weak<Bank>,
    next_tag: u32,
}

/// What [`Inflight`] takes: 4 rows of 8,192 counters.
const SKETCH_BYTES: usize = 4 * 8_192 * size_of::<isize>();
/// Sketches of the bank that all caps share which are not per country; a key is counted in one of them. With 10,000
/// keys in flight about 3 in 100,000 of them look fuller by one, with 65,000 about 1 in 40.
const SHARED: usize = 16;
/// About 3 seedings in 100 let some country count for another; so often another one is tried.
const TRIES: usize = 32;
/// What is told at least, and while no request has ended yet.
const SOON: Duration = Duration::from_secs(1);
/// What is told at most.
const LATE: Duration = Duration::from_secs(60);

impl Most {
    /// The largest number of places.
    pub const MAX: u32 = 1_000_000;

    /// A number of places; 0 and what is above [`Self::MAX`] are refused.
    pub fn new(places: u32) -> Result<Self, TrafficError> {
        if (1..=Self::MAX).contains(&places) { Ok(Self(places)) } else { Err(TrafficError::Most(places)) }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Cap {
    /// Its identity.
    pub fn spec(&self) -> &CapSpec {
        &self.spec
    }

    /// When a place is likely to be free again if `most` are taken: if requests last as long as lately, the first
    /// of them ends after the `most`-th part of that. 1 s to 60 s; 1 s while it is not known how long they last.
    pub fn likely_free(&self, most: Most) -> Duration {
        let typical = Duration::from_nanos(self.typical.load(Ordering::Relaxed));
        (typical / most.get()).clamp(SOON, LATE)
    }

    /// How many requests are under it now, of all keys together. For display.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn take(self: &Arc<Self>, subject: &Subject, most: Most) -> Option<Place> {
        let guard = self.bank.count(&subject.key(self.spec.per, self.tag));
        // Rows are counted one after the other, so two that race for the last place may each be first in some row,
        // and both see it free. Whoever reads all rows after this fence, and after its own counting, sees the other
        // unless the other will see it.
        fence(Ordering::SeqCst);
        let taken = guard.get();
        (taken <= most.get() as isize).then(|| {
            self.held.fetch_add(1, Ordering::Relaxed);
            Place { cap: Arc::clone(self), _guard: guard }
        })
    }

    /// Learns how long a request was under it. Of two at once, one may be lost.
    fn lasted(&self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let known = self.typical.load(Ordering::Relaxed);
        let typical = if known == 0 { time } else { known - known / 8 + time / 8 };
        self.typical.store(typical, Ordering::Relaxed);
    }
}

impl Held {
    /// Takes a place under each of `claims`, or under none. No claims: nothing is held. A cap that is listed twice
    /// takes two places.
    pub(super) fn take(subject: &Subject, claims: &[Claim<'_>], now: Tick) -> Result<Self, Full> {
        let place = |(at, claim): (usize, &Claim<'_>)| {
            let Claim { cap, most } = *claim;
            let full = || Full { claim: at, most, retry_after: cap.likely_free(most) };
            cap.take(subject, most).ok_or_else(full)
        };
        let places = claims.iter().enumerate().map(place).collect::<Result<_, _>>()?;
        Ok(Self { places, since: Some(now) })
    }

    /// Holds nothing.
    pub const fn nothing() -> Self {
        Self { places: Vec::new(), since: None }
    }

    /// Whether there is anything to give back.
    pub fn is_nothing(&self) -> bool {
        self.places.is_empty()
    }

    /// Gives the places back, and tells the caps how long it had them.
    pub fn end(self, now: Tick) {
        let Some(since) = self.since else { return };
        let time = now.elapsed().saturating_sub(since.elapsed());
        self.places.iter().for_each(|place| place.cap.lasted(time));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.cap.held.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Bank {
    /// For keys that nobody knows beforehand.
    fn of_keys() -> Self {
        Self::of((1..SHARED).map(|_| Inflight::new()).collect())
    }

    /// For countries: in one sketch, in which each code is counted exactly.
    fn of_countries() -> Self {
        let mut bank = Self::of(Box::default());
        for _ in 1..TRIES {
            if bank.tells_countries_apart() {
                break;
            }
            bank = Self::of(Box::default());
        }
        bank
    }

    fn of(others: Box<[Inflight]>) -> Self {
        Self { first: Inflight::new(), others, hasher: RandomState::new() }
    }

    fn count(&self, key: &Key) -> Guard {
        let at = self.hasher.hash_one(key) as usize % (self.others.len() + 1);
        self.others.get(at).unwrap_or(&self.first).incr(key, 1).0
    }

    /// Counts each code once, looks whether each reads 1, and undoes it.
    fn tells_countries_apart(&self) -> bool {
        let count = |code| self.count(&Key::of_country(code, 0));
        let guards: Vec<Guard> = CountryCode::all().map(count).collect();
        guards.iter().all(|guard| guard.get() == 1)
    }

    fn bytes(&self) -> usize {
        (self.others.len() + 1) * SKETCH_BYTES
    }
}

impl Caps {
    /// A handle for each of `specs`, in their order.
    pub(super) fn caps(&self, specs: &[CapSpec]) -> Vec<Arc<Cap>> {
        let mut shelves = self.shelves();
        specs.iter().map(|spec| shelves.cap(spec)).collect()
    }

    /// What the sketches in use take.
    pub(super) fn memory(&self) -> Vec<Part> {
        let shelves = self.shelves();
        let shared = shelves.shared.upgrade();
        let shared = shared.map(|bank| Part { what: "requests in flight".to_owned(), bytes: bank.bytes() });
        let own = shelves.caps.iter().filter_map(Weak::upgrade).filter(|cap| cap.spec.per == Per::Country);
        let own = own.map(|cap| Part {
            what: format!("requests in flight of `{}`", cap.spec.name),
            bytes: cap.bank.bytes(),
        });
        shared.into_iter().chain(own).collect()
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        // Shelves are consistent between any two statements, so a panic elsewhere does not spoil them.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    fn cap(&mut self, spec: &CapSpec) -> Arc<Cap> {
        self.caps.retain(|cap| cap.strong_count() > 0);
        if let Some(known) = self.caps.iter().filter_map(Weak::upgrade).find(|cap| cap.spec == *spec) {
            return known;
        }
        let (bank, tag) = match spec.per {
            Per::Country => (Arc::new(Bank::of_countries()), 0),
            Per::Client | Per::Asn | Per::Route => {
                self.next_tag = self.next_tag.wrapping_add(1);
                (self.shared(), self.next_tag)
            }
        };
        let cap = Arc::new(Cap {
            spec: spec.clone(),
            bank,
            tag,
            typical: AtomicU64::new(0),
            held: AtomicUsize::new(0),
        });
        self.caps.push(Arc::downgrade(&cap));
        cap
    }

    fn shared(&mut self) -> Arc<Bank> {
        self.shared.upgrade().unwrap_or_else(|| {
            let bank = Arc::new(Bank::of_keys());
            self.shared = Arc::downgrade(&bank);
            bank
        })
    }
}

impl fmt::Debug for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cap").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.cap.spec).finish()
    }
}

#[cfg(test)]
mod tests;
