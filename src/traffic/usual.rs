//! What is usual for each country: a slow average of its rate, learned from its own traffic.
//!
//! An average with a half-life of one hour takes one sample per completed window. A sample counts for at most twice
//! the usual rate, so that an attack cannot make itself usual faster than doubling it once an hour. Until there was
//! half an hour to learn from, nothing is unusual. It is written by the rotating task and read by everybody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::settings::Interval;
use super::subject::Key;
use super::window::Window;
use crate::facts::place::CountryCode;

const HALF_LIFE_SECONDS: f64 = 3_600.0;
const EVIDENCE_SECONDS: f64 = 1_800.0;

/// Added to both sides of a comparison, in requests/s, so that few requests against fewer are no surge.
const GRAIN: f64 = 1.0;

/// Each country's usual rate.
pub(super) struct Usual {
    /// Requests/s as the bits of an `f64`, by [`CountryCode::index`].
    rates: Box<[AtomicU64]>,
    interval: Interval,
    /// How many windows were sampled.
    samples: AtomicU64,
    /// The interval in which the last sample was taken, or after which the first one is due.
    epoch: Mutex<u64>,
}

impl Usual {
    /// Learns from `countries`, beginning with its next whole interval.
    pub(super) fn new(countries: &Window) -> Self {
        Self {
            rates: CountryCode::all().map(|_| AtomicU64::new(0.0_f64.to_bits())).collect(),
            interval: countries.interval(),
            samples: AtomicU64::new(0),
            // The interval that runs now may have begun long before there was anything to count.
            epoch: Mutex::new(countries.completed().epoch + 1),
        }
    }

    /// Takes a sample if an interval was completed since the last call. One that was missed stays missed.
    pub(super) fn learn(&self, countries: &Window) {
        let mut sampled = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        let completed = countries.completed();
        let jumped_back = completed.epoch + 1 < *sampled;
        if completed.epoch <= *sampled && !jumped_back {
            return;
        }
        if completed.epoch == *sampled + 1 {
            let samples = self.samples.load(Ordering::Relaxed) + 1;
            for (code, slot) in CountryCode::all().zip(&self.rates) {
                let rate = completed.count(Key::of_country(code, 0)) as f64 / self.interval.seconds();
                let usual = f64::from_bits(slot.load(Ordering::Relaxed));
                slot.store(self.blend(usual, rate, samples).to_bits(), Ordering::Relaxed);
            }
            self.samples.store(samples, Ordering::Relaxed);
        }
        *sampled = completed.epoch;
    }

    /// The usual rate of `country`, whose rate is `now`: the same, until there is evidence.
    pub(super) fn rate(&self, country: CountryCode, now: f64) -> f64 {
        match self.rates.get(country.index()) {
            Some(slot) if self.has_evidence(self.samples.load(Ordering::Relaxed)) => {
                f64::from_bits(slot.load(Ordering::Relaxed))
            }
            Some(_) | None => now,
        }
    }

    /// How many times the usual rate `now` is; 1 if that is not known.
    pub(super) fn surge(&self, country: CountryCode, now: f64) -> f64 {
        (now + GRAIN) / (self.rate(country, now) + GRAIN)
    }

    /// Bytes, however many countries send requests.
    pub(super) fn bytes(&self) -> usize {
        self.rates.len() * size_of::<AtomicU64>()
    }

    fn has_evidence(&self, samples: u64) -> bool {
        samples as f64 * self.interval.seconds() >= EVIDENCE_SECONDS
    }

    /// The plain mean of the first samples, which then turns into an exponential average of bounded samples.
    fn blend(&self, usual: f64, rate: f64, samples: u64) -> f64 {
        let seen = if self.has_evidence(samples) { rate.min(2.0 * usual + GRAIN) } else { rate };
        let decay = 1.0 - (-self.interval.seconds() / HALF_LIFE_SECONDS).exp2();
        usual + (seen - usual) * decay.max(1.0 / samples as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::time::Tick;
    use std::time::Duration;

    const WINDOWS_PER_HOUR: u64 = 360;

    struct Town {
        countries: Window,
        usual: Usual,
        windows: u64,
    }

    impl Town {
        fn new() -> Self {
            let countries = Window::of_countries(Interval::TEN_SECONDS, Tick::from_elapsed(Duration::ZERO));
            Self { usual: Usual::new(&countries), countries, windows: 0 }
        }

        /// One window with this many requests, and the rotation after it.
        fn window(&mut self, requests: u64) {
            for _ in 0..requests {
                self.countries.count(Key::of_country(andorra(), 0), self.now());
            }
            self.windows += 1;
            self.countries.rotate(self.now());
            self.usual.learn(&self.countries);
            self.usual.learn(&self.countries);
        }

        fn now(&self) -> Tick {
            Tick::from_elapsed(Duration::from_secs(10 * self.windows))
        }
    }

    fn andorra() -> CountryCode {
        CountryCode::parse("AD").unwrap()
    }

    #[test]
    fn nothing_is_unusual_before_there_is_evidence() {
        let mut town = Town::new();
        for _ in 0..WINDOWS_PER_HOUR / 2 {
            town.window(20);
            assert_eq!(town.usual.surge(andorra(), 500.0), 1.0);
            assert_eq!(town.usual.rate(andorra(), 500.0), 500.0);
        }
        town.window(20);
        assert!((town.usual.rate(andorra(), 500.0) - 2.0).abs() < 1e-9);
        assert!((town.usual.surge(andorra(), 500.0) - 167.0).abs() < 1e-9);
    }

    #[test]
    fn three_requests_instead_of_one_are_no_surge() {
        let mut town = Town::new();
        for window in 0..WINDOWS_PER_HOUR {
            town.window(window % 2);
        }
        assert!(town.usual.surge(andorra(), 0.3) < 1.3);
        assert!(town.usual.surge(andorra(), 40.0) > 35.0);
    }

    #[test]
    fn half_of_the_past_is_forgotten_in_an_hour() {
        let mut town = Town::new();
        for _ in 0..4 * WINDOWS_PER_HOUR {
            town.window(100);
        }
        for _ in 0..WINDOWS_PER_HOUR {
            town.window(0);
        }
        assert!((town.usual.rate(andorra(), 0.0) - 5.0).abs() < 0.1);
    }

    #[test]
    fn an_attack_is_not_usual_for_hours() {
        let mut town = Town::new();
        for _ in 0..2 * WINDOWS_PER_HOUR {
            town.window(2);
        }
        for _ in 0..WINDOWS_PER_HOUR {
            town.window(400);
        }
        assert!(town.usual.rate(andorra(), 0.0) < 2.0, "{}", town.usual.rate(andorra(), 0.0));
        assert!(town.usual.surge(andorra(), 40.0) > 15.0);
    }

    #[test]
    fn windows_that_nobody_completed_teach_nothing() {
        let mut town = Town::new();
        for _ in 0..WINDOWS_PER_HOUR {
            town.window(20);
        }
        town.windows += 1_000;
        town.window(20);
        assert!((town.usual.rate(andorra(), 0.0) - 2.0).abs() < 1e-9);
    }
}
