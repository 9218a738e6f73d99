//! Requests of a fair limit that were counted in advance, by [`lease`](crate::traffic::lease).
//!
//! While a pool is calm, a thread takes places ahead for whoever comes often: for a client all that its requests count, so
//! that all three counts stay alike and who is alone is known to be; for the pool and for a network one count each, if
//! others than this client are there. A pool that is not calm counts one by one, but for places that were taken
//! just before.

use std::ops::Range;

use super::{Fair, Glance, Members, SAMPLED, Wait};
use crate::facts::place::Asn;
use crate::facts::time::Tick;
use crate::traffic::cell::{Cell, Moment};
use crate::traffic::lease::{Draw, Leases, Lessee, Of, Renewal, Spare};
use crate::traffic::reading::Reading;
use crate::traffic::subject::{Key, Subject};

/// A request that comes to a pool.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack of one call; a box would be an allocation"
)]
pub(in crate::traffic) enum Entry<'a> {
    /// What it counts in the pool is counted.
    Admitted(Admitted<'a>),
    /// It was looked at, and nothing is counted.
    Looked(Glance<'a>, Option<Ahead<'a>>),
}

/// A request with a place in the pool, of a client that comes rarely.
pub(in crate::traffic) struct Admitted<'a> {
    fair: &'a Fair,
    subject: &'a Subject,
    leases: &'a Leases,
    key: Key,
    quota: u64,
    now: Tick,
    spare: Spare<'a>,
    client: Option<Renewal<'a>>,
}

/// What may be counted in advance.
pub(in crate::traffic) struct Ahead<'a> {
    leases: &'a Leases,
    client: Option<Renewal<'a>>,
    pool: Option<Renewal<'a>>,
}

impl Fair {
    /// Uses up a place that was counted for this client, if there is one.
    #[inline]
    pub(in crate::traffic) fn draw<'a>(
        &self,
        key: Key,
        subject: &Subject,
        quota: u64,
        now: Tick,
        leases: &'a Leases,
    ) -> Draw<'a> {
        let member = subject.member(self.per, key);
        leases.draw(&Lessee::new(Of::Client, member, quota, subject.asn), now)
    }

    /// Looks at a request in the pool of `key`, unless there is a place for it. `client` is what [`Self::draw`] had instead
    /// of a place.
    pub(in crate::traffic) fn enter<'a>(
        &'a self,
        key: Key,
        subject: &'a Subject,
        quota: u64,
        now: Tick,
        (leases, client): (&'a Leases, Option<Renewal<'a>>),
    ) -> Entry<'a> {
        let pool = match leases.draw(&Lessee::new(Of::Pool, key, quota, Asn::UNKNOWN), now) {
            Draw::Spare(spare) if !self.comes_often(key, subject, quota, now, (leases, client.as_ref())) => {
                return Entry::Admitted(Admitted {
                    fair: self,
                    subject,
                    leases,
                    key,
                    quota,
                    now,
                    spare,
                    client,
                });
            }
            Draw::Spare(spare) => {
                spare.put_back();
                None
            }
            Draw::Renewal(renewal) => Some(renewal),
            Draw::Nothing => None,
        };
        Entry::Looked(self.glance(key, subject, quota, now), Some(Ahead { leases, client, pool }))
    }

    /// Whether all that this client counts should be counted in advance.
    fn comes_often(
        &self,
        key: Key,
        subject: &Subject,
        quota: u64,
        now: Tick,
        (leases, client): (&Leases, Option<&Renewal<'_>>),
    ) -> bool {
        let Members { cells, interval, .. } = &*self.members;
        if !client.is_some_and(|client| client.matters(*interval)) {
            return false;
        }
        let own = cells.find(cells.place(subject.member(self.per, key)));
        let own = own.map_or(0, |cell| counted(cell, Moment::at(*interval, now)));
        leases.most(quota, own, quota) > 1
    }
}

#[cfg(test)]
impl Fair {
    /// How many clients were admitted in this interval to the pool of `key`.
    pub(in crate::traffic) fn clients(&self, key: Key, now: Tick) -> u64 {
        let moment = Moment::at(self.members.interval, now);
        self.pools.of(key, moment).clients.read(moment).current
    }
}

impl Entry<'_> {
    /// Why the request has to wait, if it has to.
    pub(in crate::traffic) fn refusal(&self) -> Option<Wait> {
        match self {
            Self::Admitted(_) => None,
            Self::Looked(glance, _) => glance.refusal(),
        }
    }

    /// Counts the request, if it still fits.
    pub(in crate::traffic) fn take(&self) -> Result<(), Wait> {
        match self {
            Self::Admitted(admitted) => {
                admitted.take();
                Ok(())
            }
            Self::Looked(glance, None) => glance.take(),
            Self::Looked(glance, Some(ahead)) => glance.take_ahead(ahead),
        }
    }

    /// Uncounts what was taken.
    pub(in crate::traffic) fn give_back(&self) {
        match self {
            Self::Admitted(admitted) => admitted.give_back(),
            Self::Looked(glance, _) => glance.give_back(),
        }
    }

    /// Leaves what was counted in advance to others, since it will not be taken.
    pub(in crate::traffic) fn leave(&self) {
        match self {
            Self::Admitted(admitted) => admitted.spare.put_back(),
            Self::Looked(..) => {}
        }
    }

    /// Notes that the request was refused here.
    pub(in crate::traffic) fn refuse(&self) {
        match self {
            Self::Admitted(_) => {}
            Self::Looked(glance, _) => glance.refuse(),
        }
    }
}

impl Admitted<'_> {
    fn take(&self) {
        let Fair { members, pools, per, .. } = self.fair;
        let moment = Moment::at(members.interval, self.now);
        if self.own(moment).add(1, moment) == 0 {
            pools.of(self.key, moment).clients.add(1, moment);
        }
        let network = self.subject.network(*per, self.key);
        members.count_network(network, self.quota, self.leases, (moment, self.now));
        if self.spare.number.is_multiple_of(SAMPLED) {
            members.sample(network, 1, Moment::at(members.long, self.now));
        }
        if let Some(client) = &self.client {
            client.sign(1, 1, moment);
        }
    }

    fn give_back(&self) {
        let Fair { members, pools, per, .. } = self.fair;
        let moment = Moment::at(members.interval, self.now);
        let network = members.cells.place(self.subject.network(*per, self.key));
        pools.of(self.key, moment).admitted.give_back(1, moment.epoch);
        self.own(moment).give_back(1, moment.epoch);
        members.cells.claim(network, moment).give_back(1, moment.epoch);
    }

    fn own(&self, moment: Moment) -> &Cell {
        let Fair { members, per, .. } = self.fair;
        members.cells.claim(members.cells.place(self.subject.member(*per, self.key)), moment)
    }
}

impl Members {
    /// Counts one for a network, and more in advance if it comes often.
    fn count_network(&self, network: Key, quota: u64, leases: &Leases, (moment, now): (Moment, Tick)) {
        let lessee = Lessee::new(Of::Network, network, quota, Asn::UNKNOWN);
        let renewal = match leases.draw(&lessee, now) {
            Draw::Spare(_) => return,
            Draw::Renewal(renewal) => Some(renewal),
            Draw::Nothing => None,
        };
        let cell = self.cells.claim(self.cells.place(network), moment);
        let Some(renewal) = renewal else {
            cell.add(1, moment);
            return;
        };
        let (wish, unused) = renewal.settle(moment.interval);
        if let Some(unused) = unused {
            cell.give_back(unused.places(), unused.epoch);
        }
        let most = || leases.most(quota, counted(cell, moment), quota);
        let places = if wish > 1 { wish.min(most()).max(1) } else { 1 };
        cell.add(places, moment);
        renewal.sign(places, places, moment);
    }
}

impl Glance<'_> {
    /// Counts the request, if it still fits; and more in advance, if there is much room.
    fn take_ahead(&self, ahead: &Ahead<'_>) -> Result<(), Wait> {
        let (client, pool) = self.settle(ahead);
        if self.pressed.is_none() && client.max(pool) > 1 {
            // Read again: what was given back is no longer counted.
            let (admitted, own) = (self.pool.admitted.read(self.moment), self.read(self.client));
            // A pool that leaves this much free stays calm.
            let room = (self.quota - self.quota / 32).saturating_sub(admitted.estimate() as u64);
            let most = |reading: &Reading| ahead.leases.most(self.quota, reading.estimate() as u64, room);
            if self.take_for_client(ahead, client.min(most(&own))) {
                return Ok(());
            }
            // Who is alone is not counted apart from the pool, and should be known to be alone.
            let has_company = 2 * own.current < admitted.current;
            if has_company && self.take_for_pool(ahead, pool.min(most(&admitted))) {
                return Ok(());
            }
        }
        self.take()?;
        [&ahead.client, &ahead.pool]
            .into_iter()
            .flatten()
            .for_each(|renewal| renewal.sign(1, 1, self.moment));
        Ok(())
    }

    /// Gives back what was not used of leases that are over. How many places this client and this pool ask for.
    fn settle(&self, ahead: &Ahead<'_>) -> (u64, u64) {
        let settle = |renewal: &Option<Renewal<'_>>| {
            renewal.as_ref().map_or((1, None), |renewal| renewal.settle(self.moment.interval))
        };
        let ((client, of_client), (pool, of_pool)) = (settle(&ahead.client), settle(&ahead.pool));
        let long = self.long();
        if let Some(unused) = of_client {
            self.uncount(unused.places(), unused.epoch);
            let usual = &self.members.usual;
            if let Some(cell) = usual.find(usual.place(self.network_key)) {
                cell.give_back(samples(&unused.numbers), long.epoch);
            }
            self.pool.samples.give_back(samples(&unused.numbers), long.epoch);
        }
        if let Some(unused) = of_pool {
            self.pool.admitted.give_back(unused.places(), unused.epoch);
            self.pool.samples.give_back(samples(&unused.numbers), long.epoch);
        }
        (client, pool)
    }

    /// Counts `places`, of which this request takes one, in the pool, for its client and for its network.
    fn take_for_client(&self, ahead: &Ahead<'_>, places: u64) -> bool {
        let (Some(renewal), Some(numbers)) = (&ahead.client, self.take_some(places)) else { return false };
        self.count_client(places);
        self.cell(self.network).add(places, self.moment);
        self.sample(samples(&numbers));
        renewal.sign(places, numbers.end, self.moment);
        true
    }

    /// Counts `places` in the pool, of which this request takes one; one for its client and its network.
    fn take_for_pool(&self, ahead: &Ahead<'_>, places: u64) -> bool {
        let (Some(renewal), Some(numbers)) = (&ahead.pool, self.take_some(places)) else { return false };
        self.count_client(1);
        self.members.count_network(self.network_key, self.quota, ahead.leases, (self.moment, self.now));
        self.pool.samples.add(samples(&numbers), self.long());
        if numbers.start.is_multiple_of(SAMPLED) {
            self.members.sample(self.network_key, 1, self.long());
        }
        renewal.sign(places, numbers.end, self.moment);
        true
    }

    /// Counts several at once in the pool; their numbers, if all of them fit.
    fn take_some(&self, places: u64) -> Option<Range<u64>> {
        if places < 2 {
            return None;
        }
        let before = self.pool.admitted.take_some(places, self.quota, self.moment).ok()?;
        Some(before..before + places)
    }
}

/// How many of requests with these numbers are samples.
fn samples(numbers: &Range<u64>) -> u64 {
    numbers.end.div_ceil(SAMPLED) - numbers.start.div_ceil(SAMPLED)
}

fn counted(cell: &Cell, moment: Moment) -> u64 {
    cell.read(moment).estimate() as u64
}
