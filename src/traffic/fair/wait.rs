//! Until when a refused request has to wait, and for whom places are kept.
//!
//! Where shares are fine, a client waits until it is below its share; where a share is but a few requests, it waits for
//! a place, which is promised to it. There, pressure says too little: whoever has more than all could have alike leaves some room.

use std::time::Duration;

use super::pool::Line;
use super::share::{Claim, ceiling};
use super::{FINE, Glance, Pressed, SMALL};
use crate::traffic::promise::{Outlook, kept};
use crate::traffic::reading::Reading;

/// Why a request has to wait, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::traffic) struct Wait {
    /// When a retry passes.
    pub(in crate::traffic) time: Duration,
    /// What this client may have in a window.
    pub(in crate::traffic) share: u64,
    /// For how long a place is kept then; zero if none is.
    pub(in crate::traffic) kept: Duration,
}

/// A retry is told to wait until it is this far below its share, since shares move.
const MARGIN: f32 = 0.7;
/// Places are handed out to those who wait up to this part of what there is.
const USED: f32 = 0.75;
/// Below a quota of [`FINE`], who has more than all could have alike leaves this times the square root of the quota free,
/// for each octave,
const LEFT: f32 = 0.4;
/// up to so many octaves,
const MOST_OVER: f32 = 3.0;
/// and waits until it has this part of what it had, or what all could have.
const FADED: f32 = 0.5;

impl Wait {
    /// For one more of `quota`, where no place is kept.
    pub(in crate::traffic) fn alone(time: Duration, quota: u64) -> Self {
        Self { time, share: quota, kept: Duration::ZERO }
    }

    /// Until one more fits into `quota`, if nothing else is counted.
    pub(in crate::traffic) fn of(reading: &Reading, quota: u64) -> Self {
        Self { time: reading.wait(quota), share: quota, kept: Duration::ZERO }
    }
}

impl Glance<'_> {
    /// When there is a place that is kept for nobody; `None` if not within a window.
    pub(super) fn free(&self, pressed: &Pressed<'_>) -> Option<Duration> {
        let Claim { quota, own, .. } = pressed.claim;
        let over =
            if quota < FINE { (own / self.equal().max(1.0)).log2().clamp(0.0, MOST_OVER) } else { 0.0 };
        let most = quota + 0.5 - LEFT * over * quota.sqrt();
        pressed.outlook.free(self.moment.interval.duration(), |windows| most - self.reading.after(windows))
    }

    /// What each of those who are there had if all had the same.
    fn equal(&self) -> f32 {
        self.quota as f32 / (self.pool.clients.read(self.moment).estimate() as f32).max(1.0)
    }

    #[cold]
    pub(super) fn wait(&self, pressed: &Pressed<'_>) -> Wait {
        let Pressed { claim, own, network, held, weight, .. } = *pressed;
        if pressed.is_alone(&self.reading) && pressed.outlook == Outlook::EMPTY {
            return Wait::of(&self.reading, self.quota);
        }
        let window = self.moment.interval.duration();
        let share = claim.share(claim.pressure(held).max(held)) * weight;
        let whole = (share as u64).max(1);
        let told = |time, kept| Wait { time, share: whole, kept };
        if let Some(promise) = &pressed.promise {
            if !promise.is_due(self.moment) {
                return told(promise.wait(self.moment), kept(self.moment));
            }
            self.visit.take_back(promise);
        }
        let place = |line, places: f32| window.mul_f32(self.pool.queue(line, places * USED, self.moment));
        if claim.is_for_its_network() {
            let turn = place(Line::Crowd, network.estimate() as f32);
            let promised = self.visit.make(turn, turn, None);
            return told(turn, promised.map_or(Duration::ZERO, |_| kept(self.moment)));
        }
        // Everybody waits for a place, or this client for its share.
        let all = claim.passes(held) || claim.own <= MARGIN * share;
        let soonest = match share {
            _ if claim.quota < FINE => {
                own.wait(((self.equal() * weight).max(FADED * claim.taken) as u64).max(1))
            }
            _ if all => Duration::ZERO,
            share if share < SMALL => own.wait(whole),
            share => own.wait(((MARGIN * share) as u64).max(1)),
        };
        let full = self.full();
        let queues = all || share < SMALL;
        // Who was told a time has had a turn.
        let places = (queues && pressed.promise.is_none()).then_some(self.quota);
        match self.visit.make(soonest, full.max(self.free(pressed).unwrap_or(window)), places) {
            Some(time) => told(time, kept(self.moment)),
            None if queues => told(soonest.max(full).max(place(Line::Pool, claim.quota)), Duration::ZERO),
            None => told(soonest, Duration::ZERO),
        }
    }

    /// How long nobody fits in at all.
    fn full(&self) -> Duration {
        let most = ceiling(self.quota);
        if self.reading.admits(most) { Duration::ZERO } else { self.reading.wait(most) }
    }
}
