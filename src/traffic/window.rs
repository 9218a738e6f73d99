//! A sliding window over keys: how often was this key counted in the interval before now?
//!
//! Each key has a [`Cell`], found by its hash in a [`Table`], or for countries by the number of the country, which is
//! exact. A cell moves on by itself when it is touched, so that a window has no shared step that a request could
//! meet; [`Window::rotate`], called by a background task, only sweeps up what is out of date. A window of limits
//! also has [`Trails`] for those keys that may reach their quota, since a cell alone only estimates.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::cell::{Cell, Moment};
use super::kept::{Count, Kept, Lapse, Rows, hand_on};
use super::lease::{Leases, Renewal};
use super::reading::Reading;
use super::secret::Hashing;
use super::settings::{Interval, Shape};
use super::subject::Key;
use super::table::{Place, Table};
use super::trail::{Spot, Trails, unnoticed};
use crate::facts::place::CountryCode;
use crate::facts::time::Tick;

/// Counts keys over a sliding interval. Shared by all threads.
pub(super) struct Window {
    interval: Interval,
    cells: Cells,
    /// Nowhere if no limits are told by it.
    trails: Option<Trails>,
    /// The interval that ran at the last rotation.
    rotated: AtomicU64,
}

enum Cells {
    Keys(Table),
    Countries { cells: Box<[Cell]>, stray: Cell },
}

/// A key that was looked at and is not counted yet.
pub(super) struct Glance<'a> {
    /// What was counted before.
    pub(super) reading: Reading,
    moment: Moment,
    found: Found<'a>,
    trail: Option<(&'a Trails, Spot)>,
}

enum Found<'a> {
    Cell(&'a Cell),
    Nothing(&'a Table, Place),
}

impl Window {
    /// A window for any number of keys, counted in fixed memory.
    pub(super) fn of_keys(interval: Interval, shape: Shape, hashing: Hashing, now: Tick) -> Self {
        Self::new(interval, Cells::Keys(Table::new(shape, hashing)), None, now)
    }

    /// The same, for limits.
    pub(super) fn of_limited_keys(interval: Interval, shape: Shape, hashing: Hashing, now: Tick) -> Self {
        let trails = Trails::hashed(shape.trails());
        Self::new(interval, Cells::Keys(Table::new(shape, hashing)), Some(trails), now)
    }

    /// A window for countries, counted exactly, for a limit.
    pub(super) fn of_countries(interval: Interval, now: Tick) -> Self {
        let cells = (0..CountryCode::COUNT).map(|_| Cell::default()).collect();
        let trails = Trails::own(CountryCode::COUNT);
        Self::new(interval, Cells::Countries { cells, stray: Cell::default() }, Some(trails), now)
    }

    fn new(interval: Interval, cells: Cells, trails: Option<Trails>, now: Tick) -> Self {
        Self { interval, cells, trails, rotated: AtomicU64::new(Moment::at(interval, now).epoch) }
    }

    /// Where a tick lies.
    pub(super) fn moment(&self, now: Tick) -> Moment {
        Moment::at(self.interval, now)
    }

    /// Bytes of counters, however many keys there are.
    pub(super) fn bytes(&self) -> usize {
        let cells = match &self.cells {
            Cells::Keys(table) => table.bytes(),
            Cells::Countries { cells, .. } => size_of_val(&**cells),
        };
        cells + self.trails.as_ref().map_or(0, Trails::bytes)
    }

    /// Counts one.
    pub(super) fn count(&self, key: Key, now: Tick) {
        self.add(key, 1, now);
    }

    /// Counts several at once, at most 4096; answers how many were counted in this interval before.
    pub(super) fn add(&self, key: Key, events: u64, now: Tick) -> u64 {
        let moment = Moment::at(self.interval, now);
        self.found(key).0.cell(moment).add(events, moment)
    }

    /// What was counted for this key.
    pub(super) fn read(&self, key: Key, now: Tick) -> Reading {
        self.glance(key, now).reading
    }

    /// Looks at a key with the option to count it where it was looked at.
    pub(super) fn glance(&self, key: Key, now: Tick) -> Glance<'_> {
        let (moment, (found, trail)) = (Moment::at(self.interval, now), self.found(key));
        let reading = match &found {
            Found::Cell(cell) => cell.read(moment),
            Found::Nothing(..) => Cell::default().read(moment),
        };
        Glance { reading, moment, found, trail }
    }

    /// Sweeps up what is out of date. To be called a few times in each interval, not for a request.
    pub(super) fn rotate(&self, now: Tick) {
        let moment = Moment::at(self.interval, now);
        self.rotated.store(moment.epoch, Ordering::Relaxed);
        match &self.cells {
            Cells::Keys(table) => table.sweep(moment),
            Cells::Countries { cells, .. } => cells.iter().for_each(|cell| cell.sweep(moment.epoch)),
        }
    }

    /// Hands on what still counts. Trails are not kept: until there are new ones, a limit is told by its counts alone.
    pub(super) fn keep<E>(
        &self,
        of: &str,
        now: Tick,
        sink: &mut dyn FnMut(&Kept) -> Result<(), E>,
    ) -> Result<(), E> {
        let epoch = Moment::at(self.interval, now).epoch;
        match &self.cells {
            Cells::Keys(table) => hand_on(of, table.counts(epoch), Rows::Counts, sink),
            Cells::Countries { cells, .. } => {
                let count = |(cell, key): (&Cell, u64)| {
                    let (previous, current) = cell.counts(epoch);
                    (previous + current > 0).then_some(Count { key, previous, current })
                };
                hand_on(of, cells.iter().zip(0..).filter_map(count), Rows::Counts, sink)
            }
        }
    }

    /// Counts once more what was kept; how many keys that is.
    pub(super) fn recall(&self, rows: &Rows, lapse: Lapse) -> usize {
        let Rows::Counts(counts) = rows else { return 0 };
        let moment = Moment::at(self.interval, lapse.now);
        let aged = counts.iter().filter_map(|count| lapse.age(*count, self.interval));
        aged.map(|count| match &self.cells {
            Cells::Keys(table) => table.recall(count, moment),
            Cells::Countries { cells, .. } => {
                let cell = usize::try_from(count.key).ok().and_then(|number| cells.get(number));
                if let Some(cell) = cell {
                    cell.recall(count.previous, count.current, moment);
                }
            }
        })
        .count()
    }

    /// The cell of a key, and where its trail is.
    fn found(&self, key: Key) -> (Found<'_>, Option<(&Trails, Spot)>) {
        let trails = self.trails.as_ref();
        match &self.cells {
            Cells::Keys(table) => {
                let place = table.place(key);
                let found = table.find(place).map_or(Found::Nothing(table, place), Found::Cell);
                (found, trails.map(|trails| (trails, trails.at_hash(place.hash()))))
            }
            Cells::Countries { cells, stray } => {
                let found = Found::Cell(cells.get(key.index()).unwrap_or(stray));
                (found, trails.map(|trails| (trails, trails.numbered(key.index()))))
            }
        }
    }
}

impl<'a> Found<'a> {
    /// The cell to count in.
    fn cell(&self, moment: Moment) -> &'a Cell {
        match self {
            Self::Cell(cell) => cell,
            Self::Nothing(table, place) => table.claim(*place, moment),
        }
    }
}

impl Glance<'_> {
    /// How long to wait until one more fits into `quota`; `None` if it fits now.
    pub(super) fn refusal(&self, quota: u64) -> Option<Duration> {
        if self.used() < quota {
            // Even if all of it is still in the window.
            return None;
        }
        let known = self.trail.and_then(|(trails, spot)| trails.wait(spot, quota, self.moment));
        match known {
            Some(0) => None,
            Some(nanos) => Some(Duration::from_nanos(nanos)),
            None => (!self.reading.admits(quota)).then(|| self.reading.wait(quota)),
        }
    }

    /// How many more fit into `quota` now.
    pub(super) fn room(&self, quota: u64) -> u64 {
        let known =
            self.noticed(quota).and_then(|(trails, spot)| trails.room(spot, quota, self.used(), self.moment));
        known.unwrap_or_else(|| self.reading.room(quota))
    }

    /// How many more fit into `quota` after so many more windows, up to one, if nothing is counted until then.
    pub(super) fn room_after(&self, quota: u64, windows: f32) -> f32 {
        let moment = self.moment.after(windows);
        let known =
            self.noticed(quota).and_then(|(trails, spot)| trails.room(spot, quota, self.used(), moment));
        known.map_or_else(|| quota as f32 + 0.5 - self.reading.after(windows), |room| room as f32)
    }

    /// Counts one if it still fits into `quota`; otherwise nothing stays counted, and how long to wait is the error.
    /// Of threads that race for the last place, at most one gets it.
    pub(super) fn take(&self, quota: u64) -> Result<(), Duration> {
        let cell = self.found.cell(self.moment);
        let Some((trails, spot)) = self.noticed(quota) else {
            return cell.take(quota, self.moment).map(|_| ()).map_err(|full| full.wait(quota));
        };
        // Counted before it is known to fit, so that whoever comes at the same moment sees it.
        let before = Reading { current: cell.add(1, self.moment), ..self.reading };
        let wait = match trails.take(spot, quota, &before, self.moment) {
            Some(Ok(())) => return Ok(()),
            Some(Err(nanos)) => Duration::from_nanos(nanos),
            None if before.admits(quota) => {
                trails.record(spot, 1, quota, &before, self.moment);
                return Ok(());
            }
            None => before.wait(quota),
        };
        cell.give_back(1, self.moment.epoch);
        Err(wait)
    }

    /// Counts one as [`Self::take`] does; and more in advance, if this thread comes often and there is much room.
    pub(super) fn take_ahead(
        &self,
        quota: u64,
        leases: &Leases,
        renewal: &Renewal<'_>,
    ) -> Result<(), Duration> {
        let (wish, unused) = renewal.settle(self.moment.interval);
        if let Some(unused) = unused {
            self.uncount(unused.places(), unused.epoch, quota);
        }
        let places = if wish > 1 { wish.min(leases.most(quota, self.used(), self.ample(quota))) } else { 1 };
        if places > 1 && self.take_some(places, quota) {
            renewal.sign(places, places, self.moment);
            return Ok(());
        }
        self.take(quota)?;
        renewal.sign(1, 1, self.moment);
        Ok(())
    }

    /// Counts several, if there is still room for them.
    fn take_some(&self, places: u64, quota: u64) -> bool {
        let cell = self.found.cell(self.moment);
        let Some((trails, spot)) = self.noticed(quota) else {
            return cell.take_some(places, quota, self.moment).is_ok();
        };
        let before = Reading { current: cell.add(places, self.moment), ..self.reading };
        // Others may have been fast since it was looked at.
        let room = trails.room(spot, quota, before.previous + before.current, self.moment);
        if room.is_none_or(|room| room < 2 * places) {
            cell.give_back(places, self.moment.epoch);
            return false;
        }
        trails.record(spot, places, quota, &before, self.moment);
        true
    }

    /// How many fit into `quota` without a look at the trail of each: none if that is not known.
    fn ample(&self, quota: u64) -> u64 {
        match self.noticed(quota) {
            Some((trails, spot)) => trails.room(spot, quota, self.used(), self.moment).unwrap_or(0),
            None => unnoticed(quota).saturating_sub(self.used()),
        }
    }

    /// Uncounts what was taken, in the interval in which it was counted.
    pub(super) fn give_back(&self, quota: u64) {
        self.uncount(1, self.moment.epoch, quota);
    }

    fn uncount(&self, events: u64, epoch: u64, quota: u64) {
        self.found.cell(self.moment).give_back(events, epoch);
        if let Some((trails, spot)) = self.noticed(quota) {
            trails.give_back(spot, events);
        }
    }

    /// What was counted in the interval before and in this one: never less than in the window.
    fn used(&self) -> u64 {
        self.reading.previous + self.reading.current
    }

    /// Where the trail is of a key that may reach `quota`.
    fn noticed(&self, quota: u64) -> Option<(&Trails, Spot)> {
        self.trail.filter(|_| self.used() >= unnoticed(quota))
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::at;
    use super::*;

    fn of_keys() -> Window {
        let hashing = crate::traffic::Secret::known().hashing("test");
        Window::of_keys(Interval::TEN_SECONDS, Shape::new(1_024).unwrap(), hashing, at(0.0))
    }

    fn country(code: &str) -> Key {
        Key::of_country(CountryCode::parse(code).unwrap(), 0)
    }

    #[test]
    fn every_country_is_counted_exactly_whatever_the_others_do() {
        let window = Window::of_countries(Interval::TEN_SECONDS, at(0.0));
        let keys = || CountryCode::all().map(|code| Key::of_country(code, 0)).zip(1u64..);
        keys().for_each(|(key, n)| (0..n).for_each(|_| window.count(key, at(1.0))));
        keys().for_each(|(key, n)| assert_eq!(window.read(key, at(2.0)).current, n));
        window.rotate(at(11.0));
        keys().for_each(|(key, n)| assert_eq!(window.read(key, at(11.0)).previous, n));
    }

    #[test]
    fn a_key_is_counted_where_it_was_looked_at() {
        for window in [Window::of_countries(Interval::TEN_SECONDS, at(0.0)), of_keys()] {
            let (first, second) =
                (window.glance(country("DE"), at(6.0)), window.glance(country("DE"), at(6.0)));
            assert_eq!(first.take(1), Ok(()));
            // Nine seconds if it is only known that it came in the first ten.
            assert!(second.take(1).is_err_and(|wait| (9..10).contains(&wait.as_secs())));
            first.give_back(1);
            assert_eq!(second.take(1), Ok(()));
            assert_eq!(window.read(country("DE"), at(6.0)).estimate(), 1.0);
            assert_eq!(window.read(country("FR"), at(6.0)).estimate(), 0.0);
        }
    }

    #[test]
    fn rotation_forgets_nothing_that_still_counts_and_nothing_depends_on_it() {
        let window = of_keys();
        (0..100).for_each(|_| window.count(country("DE"), at(15.0)));
        assert_eq!(window.read(country("DE"), at(25.0)).estimate(), 50.0);
        window.rotate(at(25.0));
        assert_eq!(window.read(country("DE"), at(25.0)).estimate(), 50.0);
        assert_eq!(window.read(country("DE"), at(31.0)).estimate(), 0.0);
    }
}
