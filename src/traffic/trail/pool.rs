//! Where trails are: one for each country, or for any number of keys a few, for those that need them.
//!
//! A key's trail is one of four side by side, in two places. Who comes later takes one whose key is idle, or else one
//! whose key uses less of its quota. A key without a trail is limited by its two counts alone, so that nothing is lost but precision.

use std::sync::atomic::Ordering;

use super::{Head, Trail, unnoticed};
use crate::traffic::cell::Moment;
use crate::traffic::reading::Reading;

/// Trails of keys.
pub(in crate::traffic) struct Trails {
    trails: Box<[Trail]>,
    ways: usize,
}

/// Where a key's trail is, and how it is told from others there.
#[derive(Clone, Copy)]
pub(in crate::traffic) struct Spot {
    homes: [usize; 2],
    owner: u64,
}

/// Trails side by side among which a key finds its own.
const WAYS: usize = 4;

impl Trails {
    /// One for each of the first `count` numbers.
    pub(in crate::traffic) fn own(count: usize) -> Self {
        Self { trails: (0..count).map(|_| Trail::new()).collect(), ways: 1 }
    }

    /// So many, for any number of keys.
    pub(in crate::traffic) fn hashed(count: usize) -> Self {
        Self { trails: (0..count).map(|_| Trail::new()).collect(), ways: WAYS }
    }

    pub(in crate::traffic) fn bytes(&self) -> usize {
        size_of_val(&*self.trails)
    }

    /// The spot of a key with this number.
    pub(in crate::traffic) fn numbered(&self, number: usize) -> Spot {
        Spot { homes: [number; 2], owner: number as u64 + 1 }
    }

    /// The spot of a key with this hash.
    pub(in crate::traffic) fn at_hash(&self, hash: u64) -> Spot {
        let homes = (self.trails.len() + 1).saturating_sub(self.ways) as u64;
        let home = |bits: u64| (((bits >> 32) * homes) >> 32) as usize;
        // Other bits than those by which keys share the lines of a table.
        let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Spot { homes: [home(mixed), home(mixed << 32)], owner: hash }
    }

    /// Nanoseconds until one more fits into `quota`; `None` if no trail knows. To be asked only when a quota may have
    /// been counted in the last two windows.
    pub(in crate::traffic) fn wait(&self, spot: Spot, quota: u64, moment: Moment) -> Option<u64> {
        self.find(spot)?.wait(quota, moment)
    }

    /// How many more fit into `quota` now; `None` if no trail knows. `used` is the most
    /// that was counted in the last two windows.
    pub(in crate::traffic) fn room(&self, spot: Spot, quota: u64, used: u64, moment: Moment) -> Option<u64> {
        self.find(spot)?.room(quota, used, moment)
    }

    /// Counts one if it fits, or says how long not; `None` if no trail knows, and nothing is counted then. `before` is
    /// what was counted in the last two windows, at most.
    pub(in crate::traffic) fn take(
        &self,
        spot: Spot,
        quota: u64,
        before: &Reading,
        moment: Moment,
    ) -> Option<Result<(), u64>> {
        let used = before.previous + before.current;
        let trail = self.find(spot).or_else(|| self.settle(spot, quota, used, moment))?;
        if used < quota {
            trail.record(quota, before.current, moment);
            return Some(Ok(()));
        }
        trail.take(quota, before.current, moment)
    }

    /// Counts `events`, a small part of `quota`, whether they fit or not, if the key has a trail.
    pub(in crate::traffic) fn record(
        &self,
        spot: Spot,
        events: u64,
        quota: u64,
        before: &Reading,
        moment: Moment,
    ) {
        if let Some(trail) = self.find(spot) {
            trail.record_some(events, quota, before.current, moment);
        }
    }

    /// Uncounts so many.
    pub(in crate::traffic) fn give_back(&self, spot: Spot, events: u64) {
        if let Some(trail) = self.find(spot) {
            trail.give_back(events);
        }
    }

    fn find(&self, spot: Spot) -> Option<&Trail> {
        self.reach(spot).find(|trail| trail.owner.load(Ordering::Acquire) == spot.owner)
    }

    /// A trail for a key that has none, if there is one that is needed less.
    #[cold]
    fn settle(&self, spot: Spot, quota: u64, used: u64, moment: Moment) -> Option<&Trail> {
        let youth = if used <= unnoticed(quota) { 0 } else { Head::YOUNG };
        let head = Head::new(quota, youth, moment.epoch);
        let groups = used >> head.shift;
        let is_free = |trail: &&Trail| trail.owner.load(Ordering::Relaxed) == 0 || trail.is_idle(moment);
        let needed_less = |trail: &&Trail| groups > 0 && !trail.is_busier(groups, moment);
        let trail = self.reach(spot).find(is_free).or_else(|| self.reach(spot).find(needed_less))?;
        let before = trail.owner.load(Ordering::Relaxed);
        // Nobody's while it changes hands.
        trail.owner.compare_exchange(before, 0, Ordering::Acquire, Ordering::Relaxed).ok()?;
        trail.head.store(head.word(), Ordering::Relaxed);
        trail.owner.store(spot.owner, Ordering::Release);
        Some(trail)
    }

    fn reach(&self, spot: Spot) -> impl Iterator<Item = &Trail> {
        let side_by_side = |home| self.trails.get(home..home + self.ways).unwrap_or_default();
        spot.homes.into_iter().flat_map(side_by_side)
    }
}
