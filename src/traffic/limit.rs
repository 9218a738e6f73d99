//! Limits: at most so many requests a second for each client, country, network or route.
//!
//! A limit counts only what it admitted itself, under an identity that survives reloads, so that a limit on logins
//! is not used up by downloads. A limit whose key is shared by many clients is fair unless the operator says
//! otherwise, see [`fair`](super::fair). Others per country have an exact window each; all others share one window
//! per interval, with the limit's number hashed into the key: memory then grows with the number of distinct
//! intervals, not of limits. The rate is not part of a limit; it comes with each [`Check`](super::Check), since a
//! script may compute it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::admission::Left;
use super::fair::{Crowd, Fair};
use super::promise::Promises;
use super::reading::Reading;
use super::settings::{Interval, TrafficError};
use super::subject::{Key, Per, Subject};
use super::window::Window;
use super::{Crowded, Whose};
use crate::facts::time::Tick;

/// Requests per second: above 0, up to 1,000,000,000. There is no rate that means "none": that is a block.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Rate(f64);

/// A limit's identity: limits that are equal in all of it are one limit, before and after a reload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LimitSpec {
    /// What it is for: a reason's id, `level.high`, `country`.
    pub name: String,
    /// What it tells apart.
    pub per: Per,
    /// The interval that it slides over.
    pub window: Interval,
    /// Who gets what there is, when it is not enough.
    pub sharing: Sharing,
}

/// Who gets what there is, when it is not enough. Of no meaning for limits per client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// Each client its part: who asks for little gets it all, the others as much as each other.
    #[default]
    Fair,
    /// Whoever comes first.
    FirstCome,
}

/// A limit that counts. Made by [`Traffic::limits`](super::Traffic::limits); counts live while anybody holds it.
pub struct Limit {
    spec: LimitSpec,
    tally: Tally,
    tag: u32,
}

/// How a limit counts.
pub(super) enum Tally {
    /// One count for each key.
    Window(Arc<Window>),
    /// The same for keys that clients share first come, first served, with places that are kept for those who come back.
    Line(Arc<Window>, Promises),
    /// And one for each of its clients and networks.
    Fair(Box<Fair>),
}

impl Rate {
    /// A rate; zero, negative, not-a-number and infinite ones are refused.
    pub fn new(per_second: f64) -> Result<Self, TrafficError> {
        if per_second > 0.0 && per_second <= 1e9 {
            Ok(Self(per_second))
        } else {
            Err(TrafficError::Rate(per_second))
        }
    }

    /// Requests per second.
    pub const fn per_second(self) -> f64 {
        self.0
    }

    /// Whole requests per `interval`, rounded to nearest and at least 1: a rate below one request per interval
    /// admits one per interval. Choose a longer interval for slower limits. At most 250,000,000, which is as far as
    /// one key is counted.
    pub fn quota(self, interval: Interval) -> u64 {
        // Rounded by hand: `round` is a call on processors that every build has to run on.
        (self.0 * interval.seconds() + 0.5).clamp(1.0, 250e6) as u64
    }
}

impl LimitSpec {
    /// Whether it has a window of its own.
    pub(super) fn is_exact(&self) -> bool {
        match self.per {
            Per::Country => !self.is_fair(),
            Per::Client | Per::Asn | Per::Route => false,
        }
    }

    /// Whether its keys are shared by clients that get a fair part each.
    pub fn is_fair(&self) -> bool {
        match (self.per, self.sharing) {
            (Per::Client, Sharing::Fair | Sharing::FirstCome) | (_, Sharing::FirstCome) => false,
            (Per::Country | Per::Asn | Per::Route, Sharing::Fair) => true,
        }
    }
}

impl Limit {
    /// `tag` tells limits apart, also those that share a table.
    pub(super) fn new(spec: LimitSpec, tally: Tally, tag: u32) -> Self {
        Self { spec, tally, tag }
    }

    /// Its identity.
    pub fn spec(&self) -> &LimitSpec {
        &self.spec
    }

    /// Admitted requests per second of this subject's bucket, over the interval before now.
    pub fn admitted_rate(&self, subject: &Subject, now: Tick) -> f64 {
        self.reading(subject, now).per_second()
    }

    /// What it has admitted of this subject's bucket.
    pub(super) fn reading(&self, subject: &Subject, now: Tick) -> Reading {
        let key = self.key(subject);
        match &self.tally {
            Tally::Window(window) | Tally::Line(window, _) => window.read(key, now),
            Tally::Fair(fair) => fair.read(key, now),
        }
    }

    /// What it would still let through of this subject's bucket.
    pub(super) fn left(&self, subject: &Subject, quota: u64, now: Tick) -> Left {
        let key = self.key(subject);
        let (reading, remaining, wait) = match &self.tally {
            Tally::Window(window) | Tally::Line(window, _) => {
                let glance = window.glance(key, now);
                (glance.reading, glance.room(quota), glance.refusal(quota))
            }
            Tally::Fair(fair) => {
                let reading = fair.read(key, now);
                (reading, reading.room(quota), Some(reading.wait(quota)))
            }
        };
        let more = Duration::from_nanos(reading.remaining);
        Left { remaining, reset: if remaining == 0 { wait.unwrap_or(more) } else { more } }
    }

    /// Every key that is over this limit, if it is a fair one.
    pub(super) fn crowded(&self, now: Tick) -> Vec<Crowded> {
        let Some(fair) = self.fair() else { return Vec::new() };
        let per_second = |events: f64| events / self.spec.window.seconds();
        let crowded = |crowd: Crowd| {
            Some(Crowded {
                limit: self.spec.name.clone(),
                whose: Whose::of(self.spec.per, crowd.number)?,
                rate: per_second(crowd.quota),
                admitted: per_second(crowd.admitted),
                throttled: per_second(crowd.refused),
                fair_share: per_second(crowd.share),
            })
        };
        fair.crowds(now).filter_map(crowded).collect()
    }

    pub(super) fn fair(&self) -> Option<&Fair> {
        match &self.tally {
            Tally::Window(_) | Tally::Line(..) => None,
            Tally::Fair(fair) => Some(fair),
        }
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) fn promises(&self) -> Option<&Promises> {
        match &self.tally {
            Tally::Window(_) => None,
            Tally::Line(_, promises) => Some(promises),
            Tally::Fair(fair) => Some(fair.promises()),
        }
    }

    pub(super) fn key(&self, subject: &Subject) -> Key {
        subject.key(self.spec.per, self.tag)
    }
}

/// `limit login per client over 10s, fair`
impl fmt::Display for LimitSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, per, window, sharing } = self;
        let sharing = match sharing {
            Sharing::Fair => "fair",
            Sharing::FirstCome => "first come",
        };
        write!(f, "limit {name} per {} over {window}, {sharing}", per.as_str())
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit").field("spec", &self.spec).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_positive_number() {
        for bad in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e9 + 1.0] {
            assert!(Rate::new(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Rate::new(0.0).unwrap_err().to_string(),
            "a rate of `0` requests/s is no limit, choose one above 0 and up to 1000000000, or block"
        );
    }

    #[test]
    fn a_quota_is_whole_and_at_least_one() {
        let day = Interval::new(Duration::from_secs(86_400)).unwrap();
        for (rate, interval, quota) in [
            (20.0, Interval::TEN_SECONDS, 200),
            (0.25, Interval::TEN_SECONDS, 3),
            (0.001, Interval::TEN_SECONDS, 1),
            (f64::MIN_POSITIVE, Interval::SHORTEST, 1),
            (1e9, day, 250_000_000),
        ] {
            assert_eq!(Rate::new(rate).unwrap().quota(interval), quota, "{rate}");
        }
    }
}
