//! Distinct values of one key: linear counting (Whang, Vander-Zanden, Taylor 1990) over cells that remember when.
//!
//! A value's hash picks a cell, which notes in four bits the lane of the step in which it was last met; no value is
//! kept. How many values there were follows from how many cells were met within the window. The estimate is nearly
//! exact for a few values, within [`Precision::error`] up to [`Precision::reach`], and vague beyond.

use std::sync::atomic::{AtomicU32, Ordering};

use super::steps::{Lanes, Moment};
use super::table::Content;

/// Cells of distinct values.
pub(super) struct Distinct;

/// A cell, and the lane to note in it.
#[derive(Clone, Copy)]
pub(super) struct Met {
    cell: usize,
    lane: usize,
}

/// How well distinct values are counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// How many values are told apart well enough.
    pub reach: u64,
    /// The standard error up to there, as a part of one.
    pub error: f64,
}

/// Cells of a word.
const CELLS: usize = 8;
const BITS: usize = 4;
/// Cells that should still be empty, or the estimate is vague.
const SPARE: f64 = 8.0;

impl Distinct {
    /// Words of a key when there are many keys: 112 cells.
    pub(super) const WORDS: usize = 14;
    /// Words of a key when there are few: 1,792 cells.
    pub(super) const WORDS_OF_FEW: usize = 16 * Self::WORDS;

    /// Where a value with this hash is noted.
    pub(super) fn met(hash: u64, words: usize, lane: usize) -> Met {
        Met { cell: (((hash >> 32) * (words * CELLS) as u64) >> 32) as usize, lane }
    }

    /// Distinct values in the window, those of the oldest step in part.
    pub(super) fn estimate(words: &[AtomicU32], moment: &Moment) -> f64 {
        let (mut fresh, mut oldest) = (0, 0);
        for word in words {
            let mut rest = word.load(Ordering::Relaxed);
            while rest != 0 {
                match (rest & 15) as usize {
                    0 => {}
                    note if moment.fresh.has(note - 1) => fresh += 1,
                    note if note - 1 == moment.oldest => oldest += 1,
                    _ => {}
                }
                rest >>= BITS;
            }
        }
        let cells = (words.len() * CELLS) as f64;
        let least = values(cells, fresh);
        least + moment.weight * (values(cells, fresh + oldest) - least)
    }
}

impl Precision {
    /// Of linear counting with so many words.
    pub(super) fn of(words: usize) -> Self {
        let cells = (words * CELLS) as f64;
        let load = (cells / SPARE).ln();
        let error = (load.exp() - load - 1.0).sqrt() / (load * cells.sqrt());
        Self { reach: (cells * load) as u64, error }
    }
}

impl Content for Distinct {
    type Mark = Met;

    fn write(words: &[AtomicU32], met: Met) {
        let Some(word) = words.get(met.cell / CELLS) else { return };
        let shift = met.cell % CELLS * BITS;
        let note = (met.lane as u32 + 1) << shift;
        let noted = |bits: u32| (bits & 15 << shift != note).then_some(bits & !(15 << shift) | note);
        // An error says that it was noted before.
        let _ = word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, noted);
    }

    /// What was there before is not known any more; one value may stay too many.
    fn unwrite(_: &[AtomicU32], _: Met) {}

    fn clear(words: &[AtomicU32], lanes: Lanes) {
        let kept = |bits: u32| {
            let cell = |at: usize| bits & 15 << (at * BITS);
            let is_kept = |at: &usize| match cell(*at) >> (at * BITS) {
                0 => false,
                note => !lanes.has(note as usize - 1),
            };
            let kept = (0..CELLS).filter(is_kept).fold(0, |kept, at| kept | cell(at));
            (kept != bits).then_some(kept)
        };
        for word in words.iter().filter(|word| word.load(Ordering::Relaxed) != 0) {
            let _ = word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, kept);
        }
    }

    fn weight(words: &[AtomicU32]) -> u64 {
        let cells = |word: &AtomicU32| {
            let bits = word.load(Ordering::SeqCst);
            (0..CELLS).filter(|at| bits >> (at * BITS) & 15 != 0).count() as u64
        };
        words.iter().map(cells).sum()
    }
}

/// How many values meet so many of `cells`, most probably.
fn values(cells: f64, met: u32) -> f64 {
    cells * (cells / (cells - f64::from(met)).max(0.5)).ln()
}
