//! What is usual in each hour of the week for one country or route, and how sure that is.
//!
//! Each of the 168 hours has a mean of the rates seen in it, over about its last four visits. Between the middles of
//! two hours the expectation goes over from one to the other, and where little was seen it leans on the mean of the
//! last hours. A sample may pull no further than from half to twice of what is expected, and not up at all during a
//! surge, so that an attack does not teach. Hours are UTC.

use super::memory::{Kept, MemoryError};
use crate::facts::time::Wall;

/// Hours of a week.
pub(super) const HOURS: usize = 168;

/// Seconds that one sample is for.
pub(super) const SAMPLE_SECONDS: u64 = 10;

/// Added to both sides of a comparison, in requests/s, so that few requests against fewer are no surge.
pub(super) const GRAIN: f64 = 1.0;

/// Samples of one visit of an hour.
const VISIT: f64 = 360.0;
/// As many samples as an hour's mean remembers: those of four visits.
const REMEMBERED: u16 = 4 * 360;
/// The mean of the last hours forgets half of the past in this many samples: in an hour.
const RECENT_HALF_LIFE: f64 = 360.0;
/// How many visits the mean of the last hours counts for, where an hour was never seen ...
const PRIOR: f64 = 0.5;
/// ... which fades until it was visited so often: an evening after a busy day is still an evening.
const PRIOR_FADES: f64 = 2.0;
/// Visits, or hours, that have to be seen before anything is expected.
const EVIDENCE: f64 = 0.5;
/// How well a rate is known (see `odds`): from one visit at most, which leaves it open what the next one is like ...
const VAGUE: f64 = 4.0;
/// ... and when many visits were alike. One standard deviation is then a quarter of the rate.
const SURE: f64 = 16.0;
/// What was learned counts for half if the gate did not run for so long.
const FADES_MILLIS: f64 = 8.0 * 7.0 * 86_400_000.0;

/// The week of one key.
#[derive(Clone, Debug)]
pub(in crate::traffic) struct Week {
    /// Mean requests/s of each hour.
    rates: [f32; HOURS],
    /// How many samples each mean is made from, up to [`REMEMBERED`].
    seen: [u16; HOURS],
    /// Mean requests/s of the last hours.
    recent: f32,
    /// Samples in it.
    recent_seen: u16,
}

/// What is expected at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Expected {
    /// Requests/s.
    pub(super) rate: f64,
    /// How well it is known; see `odds`.
    pub(super) shape: f64,
}

/// What a sample may teach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lesson {
    /// A step towards it.
    Bounded,
    /// Nothing that would make a surge usual.
    NotUp,
}

impl Week {
    /// Nothing is known.
    pub(super) const fn new() -> Self {
        Self { rates: [0.0; HOURS], seen: [0; HOURS], recent: 0.0, recent_seen: 0 }
    }

    /// Nothing ever came, in what was watched.
    pub(super) fn silent(watched: [u16; HOURS]) -> Self {
        Self { seen: watched, ..Self::new() }
    }

    /// What is expected at `wall`; `None` until there is evidence.
    pub(super) fn expected(&self, wall: Wall) -> Option<Expected> {
        let (mut visits, mut known) = (0.0, 0.0);
        for (hour, share) in neighbours(wall) {
            let (rate, seen) = self.hour(hour);
            let weight = share * f64::from(seen) / VISIT;
            visits += weight;
            known += weight * rate;
        }
        let recent = f64::from(self.recent_seen) / VISIT;
        if visits.max(recent) < EVIDENCE {
            return None;
        }
        let prior = PRIOR * (recent / EVIDENCE).min(1.0) * (1.0 - visits / PRIOR_FADES).max(0.0);
        // One visit tells how much comes, only the next ones tell how much that varies.
        let repeated = (visits - 1.0).max(0.0);
        Some(Expected {
            rate: (known + prior * f64::from(self.recent)) / (visits + prior),
            shape: VAGUE + (SURE - VAGUE) * repeated / (repeated + PRIOR),
        })
    }

    /// Takes a sample: so many requests/s in the last [`SAMPLE_SECONDS`].
    pub(super) fn learn(&mut self, rate: f64, wall: Wall, lesson: Lesson) {
        let rate = match (self.expected(wall), lesson) {
            (None, Lesson::Bounded | Lesson::NotUp) => rate,
            (Some(expected), Lesson::NotUp) => rate.min(expected.rate),
            (Some(Expected { rate: usual, .. }), Lesson::Bounded) => {
                rate.clamp((usual / 2.0 - GRAIN).max(0.0), 2.0 * usual + GRAIN)
            }
        };
        let hour = hour_of(wall);
        if let (Some(mean), Some(seen)) = (self.rates.get_mut(hour), self.seen.get_mut(hour)) {
            *seen = (*seen + 1).min(REMEMBERED);
            *mean += ((rate - f64::from(*mean)) / f64::from(*seen)) as f32;
        }
        self.recent_seen = self.recent_seen.saturating_add(1);
        let decay = 1.0 - (-1.0 / RECENT_HALF_LIFE).exp2();
        let step = decay.max(1.0 / f64::from(self.recent_seen));
        self.recent += ((rate - f64::from(self.recent)) * step) as f32;
    }

    /// Whether anything was ever learned but that nothing comes; what is below a thousandth is not kept.
    pub(super) fn is_silent(&self) -> bool {
        self.rates.iter().chain([&self.recent]).all(|rate| *rate < 0.000_5)
    }

    /// How much was seen of each hour.
    pub(super) fn seen(&self) -> &[u16; HOURS] {
        &self.seen
    }

    /// What is kept over a restart.
    pub(super) fn kept(&self) -> Kept {
        let rounded = |rate: f32| (rate * 1e3).round() / 1e3;
        Kept {
            rates: self.rates.iter().copied().map(rounded).collect(),
            seen: self.seen.to_vec(),
            recent: rounded(self.recent),
            recent_seen: self.recent_seen,
        }
    }

    /// What was kept `age` milliseconds ago: the older, the less it counts for.
    pub(super) fn recall(kept: &Kept, age: u64) -> Result<Self, MemoryError> {
        const MOST: f32 = 1e9;
        let rates: [f32; HOURS] = kept.rates.as_slice().try_into().map_err(|_| MemoryError::Hours)?;
        let sane = |rate: &f32| (0.0..=MOST).contains(rate);
        if !rates.iter().chain([&kept.recent]).all(sane) {
            return Err(MemoryError::Rate);
        }
        let seen = watched(&kept.seen, age)?;
        let faded = (-(age as f64) / 3_600_000.0).exp2() * f64::from(kept.recent_seen);
        Ok(Self { rates, seen, recent: kept.recent, recent_seen: faded.round() as u16 })
    }

    fn hour(&self, hour: usize) -> (f64, u16) {
        let rate = self.rates.get(hour).copied().unwrap_or(0.0);
        (f64::from(rate), self.seen.get(hour).copied().unwrap_or(0))
    }
}

/// How much was seen of each hour, `age` milliseconds later.
pub(super) fn watched(seen: &[u16], age: u64) -> Result<[u16; HOURS], MemoryError> {
    let left = (-(age as f64) / FADES_MILLIS).exp2();
    let mut seen: [u16; HOURS] = seen.try_into().map_err(|_| MemoryError::Hours)?;
    seen.iter_mut().for_each(|seen| *seen = (f64::from((*seen).min(REMEMBERED)) * left).round() as u16);
    Ok(seen)
}

/// The hour of the week that `wall` lies in: 0 is Monday, 00:00 to 01:00 UTC.
fn hour_of(wall: Wall) -> usize {
    usize::from(wall.weekday() - 1) * 24 + usize::from(wall.hour())
}

/// The two hours whose middles `wall` lies between, and the share of each.
fn neighbours(wall: Wall) -> [(usize, f64); 2] {
    const MILLIS_PER_HOUR: u64 = 3_600_000;
    let hour = hour_of(wall);
    let past_middle = (wall.as_millis() % MILLIS_PER_HOUR) as f64 / MILLIS_PER_HOUR as f64 - 0.5;
    let other = if past_middle < 0.0 { hour + HOURS - 1 } else { hour + 1 } % HOURS;
    [(hour, 1.0 - past_middle.abs()), (other, past_middle.abs())]
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const WEEK: u64 = 168 * HOUR;
    /// 2026-11-23T00:00:00Z, a Monday.
    const MONDAY: u64 = 1_795_392_000_000;

    fn at(millis: u64) -> Wall {
        Wall::from_millis(MONDAY + millis)
    }

    /// A week that saw `rate` for so long.
    fn steady(rate: f64, millis: u64) -> Week {
        let mut week = Week::new();
        teach(&mut week, 0, millis, |_| rate, Lesson::Bounded);
        week
    }

    fn teach(week: &mut Week, from: u64, millis: u64, rate: impl Fn(u64) -> f64, lesson: Lesson) {
        for sample in 0..millis / 10_000 {
            let now = from + sample * 10_000;
            week.learn(rate(now), at(now), lesson);
        }
    }

    fn rate(week: &Week, millis: u64) -> f64 {
        week.expected(at(millis)).unwrap().rate
    }

    #[test]
    fn nothing_is_expected_before_half_an_hour_was_seen() {
        assert_eq!(Week::new().expected(at(0)), None);
        assert_eq!(steady(2.0, HOUR / 2 - 10_000).expected(at(0)), None);
        let known = steady(2.0, HOUR / 2).expected(at(HOUR / 2)).unwrap();
        assert!((known.rate - 2.0).abs() < 1e-6);
        assert_eq!(known.shape, VAGUE);
    }

    #[test]
    fn each_hour_of_the_week_is_learned_and_the_way_between_two_is_even() {
        let mut week = Week::new();
        // 10 requests/s from 8 to 9 on Monday, 2 at all other times.
        let shop = |now: u64| if now % WEEK / HOUR == 8 { 10.0 } else { 2.0 };
        teach(&mut week, 0, 4 * WEEK, shop, Lesson::Bounded);
        let next = 4 * WEEK;
        assert!((rate(&week, next + 8 * HOUR + HOUR / 2) - 10.0).abs() < 1.5);
        assert!((rate(&week, next + 9 * HOUR + HOUR / 2) - 2.0).abs() < 0.1);
        assert!((rate(&week, next + 9 * HOUR) - 5.6).abs() < 1.0);
        assert!((rate(&week, next + 32 * HOUR + HOUR / 2) - 2.0).abs() < 0.1, "tuesday is another day");
        assert!(week.expected(at(next)).unwrap().shape > 14.0);
    }

    #[test]
    fn a_sample_pulls_from_half_to_twice_and_a_surge_only_down() {
        let taught = |rate, lesson| {
            let mut week = steady(20.0, HOUR);
            week.learn(rate, at(HOUR), lesson);
            week.recent
        };
        assert_eq!(taught(1e6, Lesson::Bounded), taught(41.0, Lesson::Bounded));
        assert_eq!(taught(0.0, Lesson::Bounded), taught(9.0, Lesson::Bounded));
        assert_eq!(taught(1e6, Lesson::NotUp), taught(20.0, Lesson::Bounded));
        assert!(taught(0.0, Lesson::NotUp) < 20.0);
    }

    #[test]
    fn what_was_kept_is_recalled_and_fades() {
        let week = steady(3.0, 2 * WEEK);
        let recalled = Week::recall(&week.kept(), 0).unwrap();
        assert_eq!(recalled.expected(at(0)), week.expected(at(0)));
        let (short, long) =
            (Week::recall(&week.kept(), WEEK).unwrap(), Week::recall(&week.kept(), 52 * WEEK).unwrap());
        assert!((rate(&short, 0) - 3.0).abs() < 1e-3);
        assert_eq!(long.expected(at(0)), None, "a year ago is long ago");
    }

    #[test]
    fn what_cannot_be_a_week_is_not_recalled() {
        let kept = || steady(3.0, HOUR).kept();
        let short = Kept { rates: vec![1.0; 167], ..kept() };
        let long = Kept { seen: vec![1; 169], ..kept() };
        assert_eq!(Week::recall(&short, 0).unwrap_err(), MemoryError::Hours);
        assert_eq!(Week::recall(&long, 0).unwrap_err(), MemoryError::Hours);
        for bad in [-1.0, f32::NAN, f32::INFINITY, 2e9] {
            assert_eq!(Week::recall(&Kept { recent: bad, ..kept() }, 0).unwrap_err(), MemoryError::Rate);
        }
    }
}
