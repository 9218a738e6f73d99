//! What fair limits have counted, over a restart: pools with their pressure, and what was admitted to their members.
//!
//! Promises are not kept: who was told a time before a restart finds no place kept, but as good a chance as anybody.

use super::{Fair, Members};
use crate::facts::time::Tick;
use crate::traffic::cell::Moment;
use crate::traffic::kept::{Count, Kept, Lapse, Rows, hand_on};
use crate::traffic::settings::Interval;
use crate::traffic::table::Table;

impl Fair {
    /// Hands on its pools.
    pub(in crate::traffic) fn keep<E>(
        &self,
        of: &str,
        now: Tick,
        sink: &mut dyn FnMut(&Kept) -> Result<(), E>,
    ) -> Result<(), E> {
        let Members { interval, long, .. } = *self.members;
        let (moment, long) = (Moment::at(interval, now), Moment::at(long, now));
        let rows = self.pools.numbered().filter_map(|(number, pool)| pool.row(number, moment, long));
        hand_on(of, rows, Rows::Pools, sink)
    }

    /// Goes on with pools that were kept; how many there are.
    pub(in crate::traffic) fn recall(&self, rows: &Rows, lapse: Lapse) -> usize {
        let Rows::Pools(rows) = rows else { return 0 };
        let Members { interval, long, .. } = *self.members;
        let pools = rows.iter().filter_map(|row| {
            let pool = self.pools.numbered_so(row.key, Moment::at(interval, lapse.now))?;
            pool.recall(row, lapse, interval, long);
            Some(())
        });
        pools.count()
    }
}

impl Members {
    /// Hands on what was admitted to clients and networks, and what is usual for networks.
    pub(in crate::traffic) fn keep<E>(
        &self,
        now: Tick,
        sink: &mut dyn FnMut(&Kept) -> Result<(), E>,
    ) -> Result<(), E> {
        self.tables().into_iter().try_for_each(|(of, table, interval)| {
            hand_on(&of, table.counts(Moment::at(interval, now).epoch), Rows::Counts, sink)
        })
    }

    /// Counts once more what was kept; how many keys that is.
    pub(in crate::traffic) fn recall(&self, kept: &Kept, lapse: Lapse) -> usize {
        let Rows::Counts(counts) = &kept.rows else { return 0 };
        let Some((_, table, interval)) = self.tables().into_iter().find(|(of, ..)| *of == kept.of) else {
            return 0;
        };
        let moment = Moment::at(interval, lapse.now);
        let aged = counts.iter().filter_map(|count: &Count| lapse.age(*count, interval));
        aged.map(|count| table.recall(count, moment)).count()
    }

    /// Each table, with its name and its interval.
    fn tables(&self) -> [(String, &Table, Interval); 2] {
        let Self { interval, cells, usual, long } = self;
        [
            (format!("members over {interval}"), cells, *interval),
            (format!("usual members over {interval}"), usual, *long),
        ]
    }
}
