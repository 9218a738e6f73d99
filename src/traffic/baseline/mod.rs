//! What is usual for each country and for each route, and when there is far more than that.
//!
//! Requests only count; a request that reads what is usual loads a few words. All learning is done by the rotating
//! task, in [`Baseline::learn`]. Memory follows from the number of keys, which is fixed. Nothing here knows what a
//! key stands for, or decides what to do about a surge.

pub(super) mod memory;
mod odds;
mod study;
mod tally;
#[cfg(test)]
mod tests;
mod week;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::memory::{Family, Kept, MemoryError};
use self::study::Study;
pub(super) use self::study::Turn;
use self::tally::Tally;
use self::week::{GRAIN, HOURS, SAMPLE_SECONDS, Week};
use crate::facts::time::{Now, Tick, Wall};

/// How long an interval may take to be a sample.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);

/// How busy a country or a route is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pulse {
    /// Requests/s in the last 10 s.
    pub rate: f64,
    /// Requests/s that are usual at this hour of the week; the rate, until that is known.
    pub usual: f64,
    /// How many times the usual rate the rate is, with one request/s added to both; 1 until that is known.
    pub surge: f64,
    /// How improbable the last 10 s or the last minute are: `a` is at most 1 in 10^a. From 0 to [`Pulse::MOST`].
    pub anomaly: f64,
}

/// The baselines of a fixed number of keys.
pub(super) struct Baseline {
    tally: Tally,
    signs: Box<[Sign]>,
    studies: Mutex<Studies>,
}

struct Studies {
    /// When the running interval began.
    began: Tick,
    each: Vec<Study>,
}

/// What is usual and how improbable now is, as the bits of two `f32`, so that they fit together.
struct Sign(AtomicU64);

/// Whether a key of which nothing was kept was silent all the time or was not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    Silent,
    New,
}

/// A surge now.
pub(super) struct Surging {
    pub(super) index: usize,
    pub(super) turn: Turn,
}

impl Pulse {
    /// The highest anomaly there is.
    pub const MOST: f64 = odds::MOST;

    /// Nothing comes, and nothing is known.
    pub const NONE: Self = Self { rate: 0.0, usual: 0.0, surge: 1.0, anomaly: 0.0 };
}

impl Baseline {
    pub(super) fn new(len: usize, now: Tick) -> Self {
        let each = (0..len).map(|_| Study::new()).collect();
        Self {
            tally: Tally::new(len, now),
            signs: (0..len).map(|_| Sign::unknown()).collect(),
            studies: Mutex::new(Studies { began: now, each }),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.signs.len()
    }

    pub(super) fn count(&self, index: usize) {
        self.tally.count(index);
    }

    pub(super) fn rate(&self, index: usize, now: Tick) -> f64 {
        self.tally.rate(index, now)
    }

    pub(super) fn pulse(&self, index: usize, now: Tick) -> Pulse {
        let rate = self.rate(index, now);
        match self.signs.get(index).and_then(Sign::read) {
            Some((usual, anomaly)) => Pulse { rate, usual, surge: (rate + GRAIN) / (usual + GRAIN), anomaly },
            None => Pulse { rate, usual: rate, ..Pulse::NONE },
        }
    }

    /// Puts totals aside for rates.
    pub(super) fn rotate(&self, now: Tick) {
        self.tally.step(now);
    }

    /// Looks at every key; and learns, if an interval is over. Answers what there is to say about surges.
    pub(super) fn learn(&self, now: Now) -> Vec<Surging> {
        let mut studies = self.studies();
        let elapsed = now.tick.elapsed().saturating_sub(studies.began.elapsed());
        // Of an interval that ends before it began nothing is known either.
        let lost = elapsed > LONGEST_INTERVAL || now.tick < studies.began;
        let over = elapsed >= Duration::from_secs(SAMPLE_SECONDS);
        if over || lost {
            studies.began = now.tick;
        }
        let mut surging = Vec::new();
        for (index, (study, sign)) in studies.each.iter_mut().zip(&self.signs).enumerate() {
            let total = self.tally.total(index);
            let turn = if lost {
                study.skip(total);
                None
            } else if over {
                study.complete(total, elapsed.as_secs_f64(), now.wall)
            } else {
                study.look(total)
            };
            sign.write(study.usual(), study.anomaly());
            surging.extend(turn.map(|turn| Surging { index, turn }));
        }
        surging
    }

    /// The keys that surge.
    pub(super) fn surging(&self) -> Vec<Surging> {
        let each = |(index, study): (usize, &Study)| Some(Surging { index, turn: study.surging()? });
        self.studies().each.iter().enumerate().filter_map(each).collect()
    }

    /// What is to be kept, by name.
    pub(super) fn kept(&self, name: impl Fn(usize) -> String, absent: Absent) -> Family {
        let studies = self.studies();
        let mut watched = [0; HOURS];
        for study in &studies.each {
            watched.iter_mut().zip(study.week().seen()).for_each(|(most, seen)| *most = (*seen).max(*most));
        }
        let week = |(index, study): (usize, &Study)| {
            let week = study.week();
            let kept = week.kept();
            let seen = if *week.seen() == watched { Vec::new() } else { kept.seen };
            let silent = absent == Absent::Silent && week.is_silent();
            (!silent).then(|| (name(index), Kept { seen, ..kept }))
        };
        let weeks = studies.each.iter().enumerate().filter_map(week).collect();
        Family { watched: watched.to_vec(), weeks }
    }

    /// The weeks of all keys as they were kept `age` milliseconds ago, for [`Self::recall`].
    pub(super) fn recalled(
        &self,
        family: &Family,
        name: impl Fn(usize) -> String,
        absent: Absent,
        age: u64,
    ) -> Result<Vec<Week>, MemoryError> {
        let watched = week::watched(&family.watched, age)?;
        let week = |index| match (family.weeks.get(&name(index)), absent) {
            (Some(kept), _) if kept.seen.is_empty() => {
                Week::recall(&Kept { seen: family.watched.clone(), ..kept.clone() }, age)
            }
            (Some(kept), _) => Week::recall(kept, age),
            (None, Absent::Silent) => Ok(Week::silent(watched)),
            (None, Absent::New) => Ok(Week::new()),
        };
        (0..self.len()).map(week).collect()
    }

    /// Goes on with these weeks.
    pub(super) fn recall(&self, weeks: Vec<Week>, wall: Wall) {
        let mut studies = self.studies();
        for ((study, sign), week) in studies.each.iter_mut().zip(&self.signs).zip(weeks) {
            study.recall(week, wall);
            sign.write(study.usual(), study.anomaly());
        }
    }

    /// Bytes of totals, whatever comes.
    pub(super) fn tally_bytes(&self) -> usize {
        self.tally.bytes()
    }

    /// Bytes of what is known, whatever comes.
    pub(super) fn study_bytes(&self) -> usize {
        self.len() * (size_of::<Study>() + size_of::<Sign>())
    }

    fn studies(&self) -> MutexGuard<'_, Studies> {
        // Taken by background tasks only; each key is whole between any two statements.
        self.studies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many intervals as a time.
pub(super) fn lasted(intervals: u32) -> Duration {
    Duration::from_secs(u64::from(intervals) * SAMPLE_SECONDS)
}

impl Sign {
    fn unknown() -> Self {
        Self(AtomicU64::new(Self::encode(None, 0.0)))
    }

    fn encode(usual: Option<f64>, anomaly: f64) -> u64 {
        let usual = usual.map_or(f32::NAN, |usual| usual as f32);
        u64::from(usual.to_bits()) << 32 | u64::from((anomaly as f32).to_bits())
    }

    fn write(&self, usual: Option<f64>, anomaly: f64) {
        let bits = Self::encode(usual, anomaly);
        // Readers keep their copy as long as nothing changes.
        if self.0.load(Ordering::Relaxed) != bits {
            self.0.store(bits, Ordering::Relaxed);
        }
    }

    fn read(&self) -> Option<(f64, f64)> {
        let bits = self.0.load(Ordering::Relaxed);
        let usual = f32::from_bits((bits >> 32) as u32);
        (!usual.is_nan()).then(|| (f64::from(usual), f64::from(f32::from_bits(bits as u32))))
    }
}
