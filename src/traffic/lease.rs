//! Leases: places under a key that a thread has counted in advance, so that threads under one key need not meet in
//! memory for each request.
//!
//! A thread that soon comes back to a key takes twice as many places as the last time, and uses them up without a look at
//! anything that others write. All of them are counted, so nothing passes beyond a quota; what is never used makes
//! a count too high, within the bounds of [`Leases::most`], and is given back when the thread comes back to the key. A
//! lease runs for a 64th of the window at most, and ends with its interval. Small quotas, clients who come rarely
//! and keys near a limit have none. Nothing here counts: [`window`](super::window) and [`fair`](super::fair) do.

use std::cell::Cell;
use std::ops::Range;

use super::cell::Moment;
use super::settings::Interval;
use super::subject::Key;
use crate::facts::client::Prefix;
use crate::facts::place::Asn;
use crate::facts::time::Tick;

/// The leases of one thread. A key whose place is taken by another's lease has none.
pub(super) struct Leases {
    slots: Box<[Slot]>,
    /// Who came lately: a client with the same place here as another one pushes it out.
    seen: Box<[Cell<u64>]>,
    workers: u64,
}

/// Who has a lease. Compared as a whole: neither a key with the same hash nor a limit that came later, with another
/// number in its keys, finds what is not its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Lessee {
    key: Key,
    quota: u64,
    /// What it is one of, and the network; all fields are words, which are compared as they were written.
    kind: u64,
}

/// What a place is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// All that one client's request counts under a limit.
    Client,
    /// What a pool admits, whoever comes.
    Pool,
    /// What a network has of a pool.
    Network,
}

/// What a thread finds when it comes to a key.
pub(super) enum Draw<'a> {
    /// A place that is counted already.
    Spare(Spare<'a>),
    /// None; some may be taken now.
    Renewal(Renewal<'a>),
    /// None, and no room to keep any.
    Nothing,
}

/// A place that is counted already.
pub(super) struct Spare<'a> {
    slot: &'a Slot,
    serial: u32,
    /// Its number among what was counted of the key.
    pub(super) number: u64,
}

/// The right to take places in advance.
pub(super) struct Renewal<'a> {
    slot: &'a Slot,
    serial: u32,
    now: u64,
    /// The key was not here before.
    is_first: bool,
}

/// Places that were counted and not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unused {
    /// The interval in which they were counted.
    pub(super) epoch: u64,
    /// Their numbers among what was counted.
    pub(super) numbers: Range<u64>,
}

struct Slot {
    /// Nobody, if there was none yet.
    lessee: Cell<Option<Lessee>>,
    /// It runs from here
    from: Cell<u64>,
    /// to here, in nanoseconds.
    until: Cell<u64>,
    /// The number after that of the last place.
    end: Cell<u64>,
    /// How many places were taken at once.
    size: Cell<u32>,
    left: Cell<u32>,
    /// Changes with the lessee.
    serial: Cell<u32>,
}

/// Leases that a thread may have at a time.
const SLOTS: usize = 256;
/// Clients that a thread knows again.
const SEEN: usize = 512;
/// A lease runs for this part of a window.
const PARTS: u64 = 64;
/// The most places in a lease.
const MOST: u64 = 64;
/// All leases of a key together have no more than this part of its quota,
const OF_QUOTA: u64 = 1_024;
/// of what is counted of it,
const OF_COUNTED: u64 = 32;
/// and of what is free.
const OF_ROOM: u64 = 16;

impl Leases {
    /// No leases yet, of one of so many threads.
    pub(super) fn new(workers: usize) -> Self {
        let seen = (0..SEEN).map(|_| Cell::new(0)).collect();
        Self { slots: (0..SLOTS).map(|_| Slot::new()).collect(), seen, workers: (workers as u64).max(1) }
    }

    /// What the leases of one thread take.
    pub(super) const fn bytes() -> usize {
        SLOTS * size_of::<Slot>() + SEEN * size_of::<u64>()
    }

    /// Whether there can be leases under such a quota.
    pub(super) fn suit(&self, quota: u64) -> bool {
        quota >= 2 * OF_QUOTA * self.workers
    }

    /// The most places of a lease under `quota`, while so many are counted of the key and so many are free.
    pub(super) fn most(&self, quota: u64, counted: u64, room: u64) -> u64 {
        let all = (quota / OF_QUOTA).min(counted / OF_COUNTED).min(room / OF_ROOM);
        (all / self.workers).min(MOST)
    }

    /// Whether this client came lately. Who did not has nothing to draw, and need not be looked for.
    #[inline]
    pub(super) fn knows(&self, client: &Prefix) -> bool {
        let hash = mixed(Key::of_client(client, 0), 1);
        let place = self.seen.get((hash >> (64 - SEEN.ilog2())) as usize);
        place.is_some_and(|place| place.replace(hash) == hash)
    }

    /// Uses up a place, if there is one.
    #[inline]
    pub(super) fn draw(&self, lessee: &Lessee, now: Tick) -> Draw<'_> {
        let Some(slot) = self.slots.get(lessee.home()) else { return Draw::Nothing };
        let now = now.as_nanos();
        let is_first = slot.lessee.get() != Some(*lessee);
        if is_first {
            if !slot.is_free(now) {
                return Draw::Nothing;
            }
            slot.begin(*lessee, now);
        } else if let Some(left) = slot.left.get().checked_sub(1)
            && (slot.from.get()..slot.until.get()).contains(&now)
        {
            slot.left.set(left);
            let number = slot.end.get().saturating_sub(u64::from(left) + 1);
            return Draw::Spare(Spare { slot, serial: slot.serial.get(), number });
        }
        Draw::Renewal(Renewal { slot, serial: slot.serial.get(), now, is_first })
    }
}

impl Lessee {
    #[inline]
    pub(super) fn new(of: Of, key: Key, quota: u64, asn: Asn) -> Self {
        Self { key, quota, kind: u64::from(asn.number()) << 2 | of as u64 }
    }

    /// Its slot.
    #[inline]
    fn home(&self) -> usize {
        (mixed(self.key, self.kind & 3) >> (64 - SLOTS.ilog2())) as usize
    }
}

fn mixed(key: Key, kind: u64) -> u64 {
    let bits = key.bits();
    let words = (bits as u64 ^ (bits >> 64) as u64).wrapping_add(kind) ^ key.tag().rotate_left(20);
    words.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Spare<'_> {
    /// Keeps it for another request.
    pub(super) fn put_back(&self) {
        if self.slot.serial.get() == self.serial {
            self.slot.left.set(self.slot.left.get() + 1);
        }
    }
}

impl Renewal<'_> {
    /// Whether there is something to settle besides one place.
    pub(super) fn matters(&self, interval: Interval) -> bool {
        !self.is_first && (self.slot.left.get() > 0 || self.wish(interval) > 1)
    }

    /// How many places would be taken now.
    fn wish(&self, interval: Interval) -> u64 {
        if self.is_first || !self.holds() {
            return 1;
        }
        let (soon, size) = (2 * (interval.nanos() / PARTS), u64::from(self.slot.size.get()));
        let wish = match self.now.checked_sub(self.slot.from.get()) {
            Some(gone) if gone < soon && self.slot.left.get() == 0 => 2 * size,
            Some(gone) if gone < soon => size / 2,
            // Rarely, or the clock went back.
            Some(_) | None => 1,
        };
        wish.max(1)
    }

    /// How many places to take now, and what is left of the last lease, which is over. That is no longer there then.
    pub(super) fn settle(&self, interval: Interval) -> (u64, Option<Unused>) {
        let (wish, left) = (self.wish(interval), u64::from(self.slot.left.get()));
        if left == 0 || self.is_first || !self.holds() {
            return (wish, None);
        }
        self.slot.left.set(0);
        let (epoch, end) = (self.slot.from.get() / interval.nanos(), self.slot.end.get());
        (wish, Some(Unused { epoch, numbers: end.saturating_sub(left)..end }))
    }

    /// Keeps all but the first of `places` that were counted now, the last with the number before `end`: where nobody
    /// asks for numbers, that is `places`.
    pub(super) fn sign(&self, places: u64, end: u64, moment: Moment) {
        if !self.holds() || (self.is_first && places == 1) {
            // Nothing is left to keep, and that the key was here is known.
            return;
        }
        let runs = moment.remaining.min(moment.interval.nanos() / PARTS);
        self.slot.from.set(self.now);
        self.slot.until.set(self.now + runs);
        self.slot.end.set(end);
        self.slot.size.set(places as u32);
        self.slot.left.set(places.saturating_sub(1) as u32);
    }

    /// Whether nobody else has got the slot meanwhile.
    fn holds(&self) -> bool {
        self.slot.serial.get() == self.serial
    }
}

impl Unused {
    /// How many.
    pub(super) fn places(&self) -> u64 {
        self.numbers.end - self.numbers.start
    }
}

impl Slot {
    fn new() -> Self {
        Self {
            lessee: Cell::new(None),
            from: Cell::new(0),
            until: Cell::new(0),
            end: Cell::new(0),
            size: Cell::new(0),
            left: Cell::new(0),
            serial: Cell::new(0),
        }
    }

    /// Whether another key may have it: places that were not used are kept until their interval is over, so that
    /// each interval of a key has no more of them than one lease of each thread.
    fn is_free(&self, now: u64) -> bool {
        let (from, until) = (self.from.get(), self.until.get());
        // A lease that is shorter than usual has ended with its interval.
        let over = || from.saturating_add((until - from).saturating_mul(PARTS + 1));
        self.left.get() == 0 || now < from || now >= over()
    }

    fn begin(&self, lessee: Lessee, now: u64) {
        self.lessee.set(Some(lessee));
        self.from.set(now);
        self.until.set(now);
        self.size.set(1);
        self.left.set(0);
        self.serial.set(self.serial.get().wrapping_add(1));
    }
}

#[cfg(test)]
mod tests;
