//! Fair limits: when a country, network or route is over its limit, its clients share what there is.
//!
//! Each key has a [`Pool`](pool::Pool) with what it admitted and how hard it presses; each client and each client's
//! network has a cell with what it was admitted in that pool. All of it is fixed memory, and only what was admitted is counted,
//! so that hammering a closed door changes nothing. What a request may do is decided in [`share`] alone; this file
//! reads the cells for it and counts in them.

mod ahead;
mod keep;
mod pool;
#[cfg(test)]
mod retries;
mod share;
#[cfg(test)]
mod simulation;
mod wait;

use std::sync::Arc;
use std::time::Duration;

pub(super) use self::ahead::Entry;
use self::pool::{Pool, Pools};
use self::share::{Claim, ceiling};
pub(super) use self::wait::Wait;
use super::cell::{Cell, Moment};
use super::promise::{Outlook, Promise, Promises, Visit};
use super::reading::Reading;
use super::secret::Secret;
use super::settings::{Interval, Shape};
use super::subject::{Key, Per, Subject};
use super::table::{Place, Table};
use crate::facts::time::Tick;

/// What a fair limit counts: its pools, and the members of them.
pub(super) struct Fair {
    per: Per,
    pools: Pools,
    members: Arc<Members>,
    promises: Promises,
}

/// Clients and networks in pools; all fair limits over one interval share them.
pub(super) struct Members {
    interval: Interval,
    /// What was admitted to each client and each network.
    cells: Table,
    /// Samples of what was admitted to each network over a long interval: what is usual.
    usual: Table,
    long: Interval,
}

/// A request that was looked at and is not counted yet.
pub(super) struct Glance<'a> {
    members: &'a Members,
    pool: &'a Pool,
    reading: Reading,
    moment: Moment,
    now: Tick,
    quota: u64,
    client: Place,
    network_key: Key,
    network: Place,
    visit: Visit<'a>,
    pressed: Option<Pressed<'a>>,
}

/// What is known of a request in a pool that is not calm.
#[derive(Clone, Copy)]
struct Pressed<'a> {
    claim: Claim,
    own: Reading,
    network: Reading,
    held: f32,
    weight: f32,
    /// The place that is kept for the client.
    promise: Option<Promise<'a>>,
    /// Whom else places are kept for.
    outlook: Outlook,
}

/// A pool that is over its limit, for display.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Crowd {
    /// The number of the key.
    pub(super) number: u64,
    pub(super) quota: f64,
    pub(super) admitted: f64,
    pub(super) refused: f64,
    /// The most that one client may have in a window.
    pub(super) share: f64,
}

/// A network's usual part is that of the last hour or more.
const LONG: u64 = 360;
/// One in so many admitted requests is a sample of what is usual.
const SAMPLED: u64 = 8;
/// Networks that have more than this of their usual part are no sample, or a crowd could make itself usual.
const ORDINARY: f32 = 1.0;
/// Before there is experience, a network's usual part is one in so many.
const NETWORKS: f32 = 8.0;
/// Experience is this part of a quota, in samples.
const EXPERIENCE: f32 = 1.0 / 512.0;
/// A quota below this is steered too softly to tell shares apart: places that are kept decide as well.
const FINE: f32 = 232.0;
/// A share below this is too coarse to wait for: a place is waited for instead.
const SMALL: f32 = 12.0;

impl Members {
    pub(super) fn new(interval: Interval, shape: Shape, secret: &Secret) -> Self {
        let usual = Shape::new(shape.slots() / 8).unwrap_or(shape);
        Self {
            interval,
            cells: Table::new(shape, secret.hashing(&format!("members over {interval}"))),
            usual: Table::new(usual, secret.hashing(&format!("usual members over {interval}"))),
            long: interval.times(LONG),
        }
    }

    pub(super) fn interval(&self) -> Interval {
        self.interval
    }

    pub(super) fn bytes(&self) -> usize {
        self.cells.bytes() + self.usual.bytes()
    }

    /// Lets requests of a network stand for what is usual.
    fn sample(&self, network: Key, samples: u64, long: Moment) {
        self.usual.claim(self.usual.place(network), long).add(samples, long);
    }

    pub(super) fn rotate(&self, now: Tick) {
        self.cells.sweep(Moment::at(self.interval, now));
        self.usual.sweep(Moment::at(self.long, now));
    }
}

impl Fair {
    pub(super) fn new(per: Per, members: Arc<Members>) -> Self {
        let pools = match per {
            Per::Country => Pools::of_countries(),
            Per::Client | Per::Asn | Per::Route => Pools::of_keys(),
        };
        Self { per, pools, members, promises: Promises::new() }
    }

    pub(super) fn promises(&self) -> &Promises {
        &self.promises
    }

    /// Bytes of its pools.
    pub(super) fn bytes(&self) -> usize {
        self.pools.bytes()
    }

    pub(super) fn rotate(&self, now: Tick) {
        let Members { interval, long, .. } = *self.members;
        self.pools.sweep(Moment::at(interval, now), Moment::at(long, now));
    }

    /// What was admitted in this key's pool.
    pub(super) fn read(&self, key: Key, now: Tick) -> Reading {
        let moment = Moment::at(self.members.interval, now);
        self.pools.of(key, moment).admitted.read(moment)
    }

    /// Looks at a request in the pool of `key`.
    pub(super) fn glance(&self, key: Key, subject: &Subject, quota: u64, now: Tick) -> Glance<'_> {
        let members = &*self.members;
        let moment = Moment::at(members.interval, now);
        let pool = self.pools.of(key, moment);
        let network_key = subject.network(self.per, key);
        let client = members.cells.place(subject.member(self.per, key));
        let mut glance = Glance {
            members,
            pool,
            reading: pool.admitted.read(moment),
            moment,
            now,
            quota,
            client,
            network_key,
            network: members.cells.place(network_key),
            visit: self.promises.visit(key.number(), client.hash(), moment),
            pressed: None,
        };
        let admitted = glance.reading.estimate() as f32;
        let calm = Claim::is_calm(quota as f32, admitted, pool.held(moment));
        if calm && self.promises.is_quiet(key.number(), moment) {
            pool.rest(quota as f32, moment);
            return glance;
        }
        glance.pressed = Some(glance.press(admitted, subject.weight.shares()));
        glance
    }

    /// Every pool that is over its limit.
    pub(super) fn crowds(&self, now: Tick) -> impl Iterator<Item = Crowd> {
        let moment = Moment::at(self.members.interval, now);
        self.pools.numbered().filter_map(move |(number, pool)| {
            let held = pool.held(moment);
            let (admitted, refused) =
                (pool.admitted.read(moment).estimate(), pool.refused.read(moment).estimate());
            (refused > 0.5).then(|| {
                let quota = pool.quota();
                let typical = pool.typical();
                let claim = Claim { quota, admitted: 0.0, typical, own: 1.0, taken: 0.0, growth: 0.0 };
                Crowd { number, quota: quota.into(), admitted, refused, share: claim.share(held).into() }
            })
        })
    }
}

impl<'a> Glance<'a> {
    /// Reads what decides in a pool that is not calm.
    fn press(&self, admitted: f32, shares: u16) -> Pressed<'a> {
        let Self { pool, moment, .. } = *self;
        let (own, network) = (self.read(self.client), self.read(self.network));
        let (quota, weight) = (self.quota as f32, f32::from(shares));
        let taken = own.estimate() as f32;
        let promise = self.visit.promise();
        let outlook = self.visit.outlook(promise.as_ref());
        let claim = Claim {
            quota,
            admitted,
            typical: pool.typical(),
            own: (taken + 0.5) / weight,
            taken,
            growth: self.growth(&network),
        };
        let held = pool.steer(&claim, moment);
        Pressed { claim, own, network, held, weight, promise, outlook }
    }

    /// How many times its usual part of the pool the network has, counting this request by half.
    fn growth(&self, network: &Reading) -> f32 {
        let quota = self.quota as f32;
        let experience = EXPERIENCE * quota;
        let long = self.long();
        let samples = |cell: &Cell| cell.read(long).estimate() as f32;
        let usual = &self.members.usual;
        let known = usual.find(usual.place(self.network_key)).map_or(0.0, samples);
        let part = (known + experience) / (samples(&self.pool.samples) + NETWORKS * experience);
        (network.estimate() as f32 + 0.5) / (quota * part)
    }

    fn read(&self, place: Place) -> Reading {
        let found = self.members.cells.find(place);
        found.map_or_else(|| Cell::default().read(self.moment), |cell| cell.read(self.moment))
    }

    /// Why the request has to wait, if it has to.
    pub(super) fn refusal(&self) -> Option<Wait> {
        let Some(pressed) = &self.pressed else { return None };
        let fits = || self.free(pressed) == Some(Duration::ZERO);
        let Pressed { claim, held, .. } = pressed;
        let passes = if pressed.is_promised(self.moment) {
            self.reading.admits(ceiling(self.quota)) && (pressed.is_coarse() || claim.passes(*held))
        } else if pressed.is_alone(&self.reading) {
            self.reading.admits(self.quota) && (pressed.outlook == Outlook::EMPTY || fits())
        } else {
            self.reading.admits(ceiling(self.quota))
                && claim.passes(*held)
                && (pressed.needs_no_room() || fits())
        };
        (!passes).then(|| self.wait(pressed))
    }

    /// Notes that the request was refused here.
    pub(super) fn refuse(&self) {
        self.pool.refused.add(1, self.moment);
        self.pool.notice(self.quota as f32);
    }

    /// Counts the request, if it still fits.
    pub(super) fn take(&self) -> Result<(), Wait> {
        let alone = self.pressed.as_ref().is_some_and(|pressed| pressed.is_alone(&self.reading));
        let most = if alone { self.quota } else { ceiling(self.quota) };
        let taken = self.pool.admitted.take(most, self.moment);
        let before = taken.map_err(|full| Wait { share: self.quota, ..Wait::of(&full, most) })?;
        if let Some(promise) = self.pressed.as_ref().and_then(|pressed| pressed.promise) {
            self.visit.redeem(&promise);
        }
        self.count_client(1);
        self.cell(self.network).add(1, self.moment);
        let ordinary = |pressed: &Pressed| pressed.claim.growth < ORDINARY;
        if before.is_multiple_of(SAMPLED) && self.pressed.as_ref().is_none_or(ordinary) {
            self.sample(1);
        }
        Ok(())
    }

    fn count_client(&self, places: u64) {
        if self.cell(self.client).add(places, self.moment) == 0 {
            self.pool.clients.add(1, self.moment);
        }
    }

    /// Lets admitted requests stand for what is usual.
    #[cold]
    fn sample(&self, samples: u64) {
        let long = self.long();
        self.members.sample(self.network_key, samples, long);
        self.pool.samples.add(samples, long);
    }

    /// Uncounts what was taken.
    pub(super) fn give_back(&self) {
        self.uncount(1, self.moment.epoch);
    }

    fn uncount(&self, places: u64, epoch: u64) {
        self.pool.admitted.give_back(places, epoch);
        self.cell(self.client).give_back(places, epoch);
        self.cell(self.network).give_back(places, epoch);
    }

    fn long(&self) -> Moment {
        Moment::at(self.members.long, self.now)
    }

    fn cell(&self, place: Place) -> &Cell {
        self.members.cells.claim(place, self.moment)
    }
}

impl Pressed<'_> {
    /// Whether shares are so small that a place is waited for, and kept.
    fn is_coarse(&self) -> bool {
        let Claim { quota, own, .. } = self.claim;
        quota < FINE || own < 1.0 || Claim { growth: 0.0, ..self.claim }.share(self.held) < SMALL
    }

    /// Whether the client need not leave room for those who were told to come: pressure does that where it is fine, and
    /// where its network is what it waits for.
    fn needs_no_room(&self) -> bool {
        self.claim.quota >= FINE || self.claim.is_for_its_network()
    }

    /// Whether it is time for the client's promise.
    fn is_promised(&self, moment: Moment) -> bool {
        self.promise.is_some_and(|promise| promise.is_due(moment))
    }

    /// Whether nobody else was admitted.
    fn is_alone(&self, pool: &Reading) -> bool {
        (self.own.previous, self.own.current) == (pool.previous, pool.current)
    }
}
