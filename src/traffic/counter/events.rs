//! Events of one key: a number for each lane.

use std::sync::atomic::{AtomicU32, Ordering};

use super::steps::{LANES, Lanes, Moment};
use super::table::Content;

/// Numbers of events.
pub(super) struct Events;

impl Events {
    /// Words of a key.
    pub(super) const WORDS: usize = LANES;

    /// Events in the window, the oldest step in part.
    pub(super) fn estimate(words: &[AtomicU32], moment: &Moment) -> f64 {
        let lanes = words.iter().enumerate();
        let fresh = lanes.filter(|(lane, _)| moment.fresh.has(*lane)).map(|(_, word)| whole(word));
        let oldest = words.get(moment.oldest).map_or(0, whole);
        fresh.sum::<u64>() as f64 + oldest as f64 * moment.weight
    }
}

impl Content for Events {
    /// The lane.
    type Mark = usize;

    fn write(words: &[AtomicU32], lane: usize) {
        if let Some(word) = words.get(lane) {
            word.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn unwrite(words: &[AtomicU32], lane: usize) {
        if let Some(word) = words.get(lane) {
            word.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn clear(words: &[AtomicU32], lanes: Lanes) {
        let used = |word: &&AtomicU32| word.load(Ordering::Relaxed) != 0;
        let of_lanes = words.iter().enumerate().filter(|(lane, _)| lanes.has(*lane));
        of_lanes.map(|(_, word)| word).filter(used).for_each(|word| word.store(0, Ordering::SeqCst));
    }

    fn weight(words: &[AtomicU32]) -> u64 {
        words.iter().map(whole).sum()
    }
}

/// Below zero only where an event was taken back after its place had changed hands.
fn whole(word: &AtomicU32) -> u64 {
    u64::from(word.load(Ordering::SeqCst).cast_signed().max(0).unsigned_abs())
}
