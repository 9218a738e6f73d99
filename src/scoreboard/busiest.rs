//! The busiest clients, in a sketch of fixed size: Space-Saving (Metwally, Agrawal, El Abbadi 2005) in small sets.
//!
//! A client belongs to one set, which has room for eight; a newcomer takes the place of the one with the least weight
//! and goes on with that weight, so that whoever sends more than an eighth of his set's requests is in it, and a crowd
//! that comes once pushes nobody busy out. What is told of a client is only what was counted since it came in: never
//! more than the truth. Pseudonyms are keyed hashes, so nobody chooses his set.

use crate::decision::Outcome;
use crate::facts::client::Pseudonym;
use crate::facts::place::CountryCode;

use super::counts::Outcomes;

/// How many clients are kept of each second.
pub const KEPT: usize = 128;

const WAYS: usize = 8;
const SETS: usize = 64;

/// The sketch.
pub(super) struct Busiest(Box<[Set]>);

/// Clients that share a place; weight 0 is nobody.
#[derive(Clone, Default)]
#[repr(align(64))]
struct Set {
    names: [u64; WAYS],
    weights: [u32; WAYS],
    counts: [Outcomes; WAYS],
    countries: [CountryCode; WAYS],
}

impl Default for Busiest {
    fn default() -> Self {
        Self(vec![Set::default(); SETS].into())
    }
}

impl Busiest {
    pub(super) fn count(&mut self, client: Pseudonym, country: CountryCode, outcome: Outcome) {
        let name = client.bits();
        if let Some(set) = self.0.get_mut(name as usize % SETS) {
            set.count(name, country, outcome);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.fill(Set::default());
    }

    /// Everybody who is in it, with his country when he was last seen.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Pseudonym, CountryCode, &Outcomes)> {
        self.0.iter().flat_map(Set::iter)
    }
}

impl Set {
    fn count(&mut self, name: u64, country: CountryCode, outcome: Outcome) {
        // An empty place has name 0, and is as good as any for a client of that name.
        let known = self.names.iter().position(|known| *known == name);
        let way = known.unwrap_or_else(|| self.lightest());
        let (Some(known), Some(weight), Some(counts), Some(place)) = (
            self.names.get_mut(way),
            self.weights.get_mut(way),
            self.counts.get_mut(way),
            self.countries.get_mut(way),
        ) else {
            return;
        };
        if *known != name {
            (*known, *counts) = (name, Outcomes::default());
        }
        *weight = weight.saturating_add(1);
        *place = country;
        counts.count(outcome);
    }

    fn lightest(&self) -> usize {
        let ways = self.weights.iter().enumerate();
        ways.min_by_key(|(_, weight)| **weight).map_or(0, |(way, _)| way)
    }

    fn iter(&self) -> impl Iterator<Item = (Pseudonym, CountryCode, &Outcomes)> {
        let places = self.names.iter().zip(&self.countries).zip(&self.counts);
        let places = places.filter(|(_, counts)| !counts.is_zero());
        places.map(|((name, country), counts)| (Pseudonym::from_bits(*name), *country, counts))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn name(number: u64) -> Pseudonym {
        // As even as the hashes that they are.
        Pseudonym::from_bits(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32))
    }

    fn seen(sketch: &Busiest) -> HashMap<Pseudonym, u64> {
        sketch.iter().map(|(client, _, counts)| (client, counts.offered())).collect()
    }

    #[test]
    fn few_clients_are_counted_exactly() {
        let mut sketch = Busiest::default();
        for round in 0..100_u64 {
            (0..100).filter(|client| round < *client).for_each(|client| {
                sketch.count(name(client), CountryCode::UNKNOWN, Outcome::Throttled);
            });
        }
        let seen = seen(&sketch);
        assert_eq!(seen.len(), 99);
        (1..100).for_each(|client| assert_eq!(seen[&name(client)], client));
    }

    #[test]
    fn a_crowd_that_comes_once_pushes_nobody_busy_out() {
        let mut sketch = Busiest::default();
        for request in 0..100_000_u64 {
            // One request in a hundred is of one of two busy clients.
            let client = if request % 100 == 0 { request / 100 % 2 } else { 1_000 + request };
            sketch.count(name(client), CountryCode::UNKNOWN, Outcome::Allowed);
        }
        let seen = seen(&sketch);
        for client in [0, 1] {
            let counted = seen[&name(client)];
            // It may have lost its place while it was new.
            assert!((450..=500).contains(&counted), "{counted}");
        }
    }

    #[test]
    fn what_is_told_is_never_more_than_the_truth() {
        let mut sketch = Busiest::default();
        let mut truth: HashMap<Pseudonym, u64> = HashMap::new();
        let mut random = 1_u64;
        for _ in 0..200_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Few clients send much, many send little.
            let uniform = (random >> 11) as f64 / (1_u64 << 53) as f64;
            let client = name((1.0 / uniform.max(1e-6)) as u64);
            sketch.count(client, CountryCode::UNKNOWN, Outcome::Allowed);
            *truth.entry(client).or_default() += 1;
        }
        let seen = seen(&sketch);
        assert!(seen.iter().all(|(client, counted)| counted <= &truth[client]));
        let mut busiest: Vec<_> = truth.into_iter().collect();
        busiest.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (client, count) in busiest.iter().take(20) {
            let counted = seen.get(client).copied().unwrap_or(0);
            assert!(counted * 100 >= count * 95, "{counted} of {count}");
        }
    }

    #[test]
    fn it_is_as_large_as_it_is_said_to_be() {
        assert_eq!(SETS * size_of::<Set>(), 16 * 1024);
    }
}
