//! A sliding window over keys: how often was this key counted in the interval before now?
//!
//! Each key has a [`Cell`], found by its hash in a [`Table`], or for countries by the number of the country, which is
//! exact. A cell moves on by itself when it is touched, so that a window has no shared step that a request could
//! meet; [`Window::rotate`], called by a background task, only sweeps up what is out of date. Must not decide
//! anything: it reads and counts.

use std::sync::atomic::{AtomicU64, Ordering};

use super::cell::{Cell, Moment};
use super::reading::Reading;
use super::settings::{Interval, Shape};
use super::subject::Key;
use super::table::{Place, Table};
use crate::facts::place::CountryCode;
use crate::facts::time::Tick;

/// Counts keys over a sliding interval. Shared by all threads.
pub(super) struct Window {
    interval: Interval,
    cells: Cells,
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
}

enum Found<'a> {
    Cell(&'a Cell),
    Nothing(&'a Table, Place),
}

impl Window {
    /// A window for any number of keys, counted in fixed memory.
    pub(super) fn of_keys(interval: Interval, shape: Shape, now: Tick) -> Self {
        Self::new(interval, Cells::Keys(Table::new(shape)), now)
    }

    /// A window for countries, counted exactly.
    pub(super) fn of_countries(interval: Interval, now: Tick) -> Self {
        let cells = (0..CountryCode::COUNT).map(|_| Cell::default()).collect();
        Self::new(interval, Cells::Countries { cells, stray: Cell::default() }, now)
    }

    fn new(interval: Interval, cells: Cells, now: Tick) -> Self {
        Self { interval, cells, rotated: AtomicU64::new(Moment::at(interval, now).epoch) }
    }

    /// Bytes of counters, however many keys there are.
    pub(super) fn bytes(&self) -> usize {
        match &self.cells {
            Cells::Keys(table) => table.bytes(),
            Cells::Countries { cells, .. } => size_of_val(&**cells),
        }
    }

    /// Counts one.
    pub(super) fn count(&self, key: Key, now: Tick) {
        self.add(key, 1, now);
    }

    /// Counts several at once, at most 4096; answers how many were counted in this interval before.
    pub(super) fn add(&self, key: Key, events: u64, now: Tick) -> u64 {
        let moment = Moment::at(self.interval, now);
        self.found(key).cell(moment).add(events, moment)
    }

    /// What was counted for this key.
    pub(super) fn read(&self, key: Key, now: Tick) -> Reading {
        self.glance(key, now).reading
    }

    /// Looks at a key with the option to count it where it was looked at.
    pub(super) fn glance(&self, key: Key, now: Tick) -> Glance<'_> {
        let (moment, found) = (Moment::at(self.interval, now), self.found(key));
        let reading = match &found {
            Found::Cell(cell) => cell.read(moment),
            Found::Nothing(..) => Cell::default().read(moment),
        };
        Glance { reading, moment, found }
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

    fn found(&self, key: Key) -> Found<'_> {
        match &self.cells {
            Cells::Keys(table) => {
                let place = table.place(key);
                table.find(place).map_or(Found::Nothing(table, place), Found::Cell)
            }
            Cells::Countries { cells, stray } => Found::Cell(cells.get(key.index()).unwrap_or(stray)),
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
    /// Counts one if it still fits into `quota`; otherwise nothing stays counted, and what was read is the error.
    /// Of threads that race for the last place, at most one gets it.
    pub(super) fn take(&self, quota: u64) -> Result<(), Reading> {
        self.found.cell(self.moment).take(quota, self.moment).map(|_| ())
    }

    /// Uncounts what was taken, in the interval in which it was counted.
    pub(super) fn give_back(&self) {
        self.found.cell(self.moment).give_back(self.moment.epoch);
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::at;
    use super::*;

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
        for window in [
            Window::of_countries(Interval::TEN_SECONDS, at(0.0)),
            Window::of_keys(Interval::TEN_SECONDS, Shape::new(1_024).unwrap(), at(0.0)),
        ] {
            let (first, second) =
                (window.glance(country("DE"), at(6.0)), window.glance(country("DE"), at(6.0)));
            assert_eq!(first.take(1), Ok(()));
            assert_eq!(second.take(1).map_err(|before| before.current), Err(1));
            first.give_back();
            assert_eq!(second.take(1), Ok(()));
            assert_eq!(window.read(country("DE"), at(6.0)).estimate(), 1.0);
            assert_eq!(window.read(country("FR"), at(6.0)).estimate(), 0.0);
        }
    }

    #[test]
    fn rotation_forgets_nothing_that_still_counts_and_nothing_depends_on_it() {
        let window = Window::of_keys(Interval::TEN_SECONDS, Shape::new(1_024).unwrap(), at(0.0));
        (0..100).for_each(|_| window.count(country("DE"), at(15.0)));
        assert_eq!(window.read(country("DE"), at(25.0)).estimate(), 50.0);
        window.rotate(at(25.0));
        assert_eq!(window.read(country("DE"), at(25.0)).estimate(), 50.0);
        assert_eq!(window.read(country("DE"), at(31.0)).estimate(), 0.0);
    }
}
