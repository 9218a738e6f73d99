//! What is counted, in the form in which it is kept over a restart: pieces of a bounded size, one after the other.
//!
//! Keys are in it as they are in memory, as hashes under a [`Secret`](super::Secret). A count is kept with the interval that
//! it belongs to, so that a window goes on sliding while no gate runs. What no longer has a place is dropped.

use serde::{Deserialize, Serialize};

use super::cell::Moment;
use super::settings::Interval;
use crate::facts::time::Tick;

/// A piece of what is counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// What it is of.
    pub(super) of: String,
    pub(super) rows: Rows,
}

/// What may be kept where it is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// All of it: what is told credentials apart by does not leave memory.
    All,
    /// All but what is counted per credential, since a weak one could be guessed from its hash.
    WithoutCredentials,
}

/// The moment at which it was kept, and the moment at which it is recalled, both since the same beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lapse {
    /// When it was kept.
    pub saved: Tick,
    /// When it is recalled.
    pub now: Tick,
}

/// The rows of a piece.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Rows {
    /// Counts by the hash of the key, or by the number of the country.
    Counts(Vec<Count>),
    /// What clients share, by the number of the key.
    Pools(Vec<PoolRow>),
    /// Words of a counter: its step, how many places it has, and the places in use.
    Words { step: u64, places: u64, rows: Vec<WordRow> },
}

/// Counts of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Count {
    pub(super) key: u64,
    /// In the interval before the running one.
    pub(super) previous: u64,
    /// In the running one.
    pub(super) current: u64,
}

/// A pool of a fair limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PoolRow {
    pub(super) key: u64,
    /// Admitted, refused, clients, and samples over the long interval; the key is of no meaning.
    pub(super) counts: [Count; 4],
    pub(super) held: u64,
    pub(super) known: u64,
}

/// A place of a counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WordRow {
    pub(super) place: u32,
    pub(super) tag: u32,
    pub(super) words: Vec<u32>,
}

/// Rows of a piece, at most.
const PIECE: usize = 4_096;

/// Hands on rows, in pieces.
pub(super) fn hand_on<R, E>(
    of: &str,
    rows: impl Iterator<Item = R>,
    wrap: impl Fn(Vec<R>) -> Rows,
    sink: &mut dyn FnMut(&Kept) -> Result<(), E>,
) -> Result<(), E> {
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        let piece = rows.by_ref().take(PIECE).collect();
        sink(&Kept { of: of.to_owned(), rows: wrap(piece) })?;
    }
    Ok(())
}

impl Lapse {
    /// What is left of a count over this interval; `None` if it has left the window.
    pub(super) fn age(self, count: Count, interval: Interval) -> Option<Count> {
        let epoch = |tick| Moment::at(interval, tick).epoch;
        let aged = match epoch(self.now).checked_sub(epoch(self.saved)) {
            Some(0) => count,
            Some(1) => Count { previous: count.current, current: 0, ..count },
            Some(_) => return None,
            // The clock was set back by less than a window: nothing is older than it was.
            None if epoch(self.saved) - epoch(self.now) == 1 => count,
            None => return None,
        };
        (aged.previous + aged.current > 0).then_some(aged)
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::{at, interval};
    use super::*;

    #[test]
    fn a_count_moves_on_with_the_clock_and_a_clock_set_back_makes_nothing_older() {
        let count = Count { key: 7, previous: 3, current: 5 };
        let aged = |now| Lapse { saved: at(100.0), now: at(now) }.age(count, interval(10));
        assert_eq!(aged(109.0), Some(count));
        assert_eq!(aged(110.0), Some(Count { key: 7, previous: 5, current: 0 }));
        assert_eq!(aged(99.0), Some(count));
        assert_eq!((aged(120.0), aged(89.0)), (None, None));
        let idle = Count { current: 0, ..count };
        assert_eq!(Lapse { saved: at(100.0), now: at(110.0) }.age(idle, interval(10)), None);
    }

    #[test]
    fn rows_come_in_pieces_of_a_bounded_size() {
        let mut sizes = Vec::new();
        let rows = (0..PIECE as u64 + 1).map(|key| Count { key, ..Count::default() });
        let mut sink = |kept: &Kept| {
            let Rows::Counts(rows) = &kept.rows else { panic!("other rows") };
            sizes.push(rows.len());
            Ok::<(), ()>(())
        };
        hand_on("x", rows, Rows::Counts, &mut sink).unwrap();
        hand_on("x", std::iter::empty(), Rows::Counts, &mut sink).unwrap();
        assert_eq!(sizes, [PIECE, 1]);
    }
}
