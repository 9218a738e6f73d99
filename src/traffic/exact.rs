//! A sketch in which no country ever counts for another.
//!
//! A count-min sketch over-counts a key only if it meets other keys in every row, and with only 676 possible codes
//! that can be tried out when it is built: seeds under which some code meets others everywhere are rejected. Must
//! not be used for keys that were not tried.

use pingora_limits::estimator::Estimator;

use super::settings::Shape;
use super::subject::Key;
use crate::facts::place::CountryCode;

/// About 1 of 38 seedings is rejected.
pub(super) const SHAPE: Shape = Shape::fixed(4, 8_192);

/// That all of these are rejected has a probability of 10^-50.
const TRIES: usize = 32;

/// A zeroed sketch that counts each of the 676 codes exactly.
pub(super) fn countries() -> Estimator {
    let mut sketch = seeded();
    for _ in 1..TRIES {
        if tells_all_apart(&sketch) {
            break;
        }
        sketch = seeded();
    }
    sketch
}

fn seeded() -> Estimator {
    Estimator::new(SHAPE.hashes(), SHAPE.slots())
}

/// Adds each code once, looks whether each reads 1, and undoes it.
fn tells_all_apart(sketch: &Estimator) -> bool {
    let keys = || CountryCode::all().map(|code| Key::of_country(code, 0));
    keys().for_each(|key| {
        sketch.incr(key, 1);
    });
    let exact = keys().all(|key| sketch.get(key) == 1);
    keys().for_each(|key| sketch.decr(key, 1));
    exact
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_is_counted_exactly_whatever_the_others_do() {
        for _ in 0..20 {
            let sketch = countries();
            for (n, code) in CountryCode::all().enumerate() {
                sketch.incr(Key::of_country(code, 0), 1 + 1_000 * n as isize);
            }
            for (n, code) in CountryCode::all().enumerate() {
                assert_eq!(sketch.get(Key::of_country(code, 0)), 1 + 1_000 * n as isize, "{code}");
            }
        }
    }

    #[test]
    fn a_sketch_starts_at_zero() {
        let sketch = countries();
        assert!(CountryCode::all().all(|code| sketch.get(Key::of_country(code, 0)) == 0));
    }

    #[test]
    fn a_sketch_that_is_too_small_is_noticed() {
        assert!(!tells_all_apart(&Estimator::new(4, 512)));
    }
}
