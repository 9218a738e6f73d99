//! Who wastes connections: networks whose connections end without a request, again and again.
//!
//! A handshake that is dropped or a flood that is ended costs the gate far more than to close a connection at once.
//! Each network may waste so many per second and some more in a burst; whoever has spent that is turned away until
//! there is some again. All of it is fixed memory: of many wasters, those are forgotten first who are nearest to their due.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::quality::RandomState;

use crate::facts::client::Prefix;
use crate::facts::time::Tick;

/// What each network has wasted.
#[derive(Debug)]
pub struct Wasters {
    /// Milliseconds that one wasted connection costs.
    each: u64,
    hasher: RandomState,
    /// A mark of the network, and the time up to which it has spent what it may: [`BURST`] ahead of the clock at most.
    spent: [Box<[AtomicU64; PLACES]>; 2],
}

/// Half of how many networks are remembered: each has two places where it may be.
const PLACES: usize = 4096;
/// A network may waste what it may in this time at once.
const BURST: Duration = Duration::from_secs(10);
/// Of a word: milliseconds, for 34 years; the rest is the mark.
const TIME_BITS: u32 = 40;
const TIME: u64 = (1 << TIME_BITS) - 1;

impl Wasters {
    /// Each network may waste so many connections per second; at least one, at most a thousand.
    pub fn new(per_second: u32) -> Self {
        let each = 1000 / u64::from(per_second.clamp(1, 1000));
        let places = || Box::new([const { AtomicU64::new(0) }; PLACES]);
        Self { each, hasher: RandomState::default(), spent: [places(), places()] }
    }

    /// Bytes that are held, whoever comes.
    pub const fn bytes() -> usize {
        2 * PLACES * size_of::<AtomicU64>()
    }

    /// Notes that a connection from there came to nothing. Nobody is blamed for connections of unknown origin.
    pub(super) fn waste(&self, network: Prefix, now: Tick) {
        if network.network().is_none() {
            return;
        }
        let (mark, [first, second]) = self.places(network);
        let (one, other) = (first.load(Ordering::Relaxed), second.load(Ordering::Relaxed));
        let (place, word) = match (one & !TIME == mark, other & !TIME == mark) {
            (true, _) => (first, one),
            (false, true) => (second, other),
            // Whoever is forgotten has spent less than the other.
            (false, false) if other & TIME < one & TIME => (second, 0),
            (false, false) => (first, 0),
        };
        let spent = (word & TIME).max(millis(now)) + self.each;
        // Of two at the same moment, one may go uncounted.
        place.store(mark | spent & TIME, Ordering::Relaxed);
    }

    /// Whether whoever is there has spent what it may.
    pub(super) fn have_spent(&self, network: Prefix, now: Tick) -> bool {
        let (mark, places) = self.places(network);
        let most = millis(now) + BURST.as_millis() as u64;
        places
            .into_iter()
            .map(|place| place.load(Ordering::Relaxed))
            .any(|word| word & !TIME == mark && word & TIME > most)
    }

    /// The mark of a network, and the two places where it may be.
    fn places(&self, network: Prefix) -> (u64, [&AtomicU64; 2]) {
        let hash = self.hasher.hash_one(network);
        let [first, second] = &self.spent;
        (hash & !TIME, [place(first, hash), place(second, hash >> 16)])
    }
}

fn place(places: &[AtomicU64; PLACES], hash: u64) -> &AtomicU64 {
    #[expect(clippy::indexing_slicing, reason = "modulo the number of places")]
    &places[hash as usize % PLACES]
}

fn millis(now: Tick) -> u64 {
    now.as_nanos() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(number: u32) -> Prefix {
        let address = std::net::Ipv4Addr::from(number << 8);
        Prefix::parse(&format!("{address}/24")).unwrap()
    }

    fn at(seconds: f64) -> Tick {
        Tick::from_elapsed(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn who_wastes_more_than_it_may_is_turned_away_until_it_may_again() {
        let wasters = Wasters::new(50);
        (0..500).for_each(|_| wasters.waste(network(1), at(1.0)));
        assert!(!wasters.have_spent(network(1), at(1.0)), "ten seconds' worth at once is a burst");
        wasters.waste(network(1), at(1.0));
        assert!(wasters.have_spent(network(1), at(1.0)) && !wasters.have_spent(network(2), at(1.0)));
        assert!(!wasters.have_spent(network(1), at(1.1)));
        // While it is turned away it wastes nothing; what it may waste is the same for ever.
        let mut wasted = 0;
        for millis in 1_100..101_100 {
            let now = at(f64::from(millis) / 1e3);
            if !wasters.have_spent(network(1), now) {
                wasters.waste(network(1), now);
                wasted += 1;
            }
        }
        assert!((4_990..=5_010).contains(&wasted), "{wasted}");
    }

    #[test]
    fn a_few_wasted_connections_are_nobodys_fault() {
        let wasters = Wasters::new(1);
        for second in 0..1_000 {
            wasters.waste(network(7), at(f64::from(second)));
            assert!(!wasters.have_spent(network(7), at(f64::from(second))));
        }
        let unknown = Prefix::UNKNOWN;
        (0..1_000).for_each(|_| wasters.waste(unknown, at(1.0)));
        assert!(!wasters.have_spent(unknown, at(1.0)));
    }

    #[test]
    fn a_crowd_of_others_does_not_make_a_waster_forgotten() {
        let wasters = Wasters::new(50);
        (0..600).for_each(|_| wasters.waste(network(1), at(1.0)));
        (2..50_000).for_each(|other| wasters.waste(network(other), at(1.0)));
        assert!(wasters.have_spent(network(1), at(1.0)));
        let blamed = (2..50_000).filter(|other| wasters.have_spent(network(*other), at(1.0))).count();
        assert_eq!(blamed, 0, "those who share its places");
    }
}
