//! Puts the lines of several workers in the order in which they were made.
//!
//! Each worker's lines are in order already, and a gate with one busy worker has nothing to merge. Otherwise lines are
//! copied, through one buffer, so that what waits takes no more memory for it.

use super::batch::Batch;
use crate::facts::time::Tick;

/// Whether lines lie in the order in which they were made.
pub(super) fn is_in_order(batches: &[Batch]) -> bool {
    batches.iter().flat_map(Batch::moments).is_sorted()
}

/// Calls `write` with all lines in order, in batches that are full at `enough` bytes, each with the number of lines that
/// follow it.
pub(super) fn in_order(batches: &[Batch], enough: usize, mut write: impl FnMut(&Batch, usize)) {
    let lines = batches.iter().enumerate().flat_map(|(batch, lines)| {
        lines.moments().enumerate().map(move |(line, moment)| (moment, batch as u32, line as u32))
    });
    let mut lines: Vec<(Tick, u32, u32)> = lines.collect();
    // Stable, and quick, since it is made of a few sorted runs.
    lines.sort_by_key(|(moment, ..)| *moment);
    let mut merged = Batch::default().open(enough);
    for (at, (_, batch, line)) in lines.iter().enumerate() {
        if let Some(batch) = batches.get(*batch as usize) {
            merged.copy(batch, *line as usize);
        }
        let later = lines.len() - at - 1;
        if merged.bytes().len() >= enough || later == 0 {
            write(&merged, later);
            merged = merged.cleared(enough);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::*;
    use super::*;

    fn batch(seconds: &[u64]) -> Batch {
        let mut batch = Batch::default();
        for second in seconds {
            let note =
                Note::numbered(*second as usize).made(Tick::from_elapsed(Duration::from_secs(*second)));
            batch.add(&note).unwrap();
        }
        batch
    }

    #[test]
    fn lines_of_several_workers_become_one_sequence() {
        let batches = [batch(&[1, 4]), batch(&[5]), batch(&[2, 3, 6]), batch(&[])];
        assert!(!is_in_order(&batches));
        assert!(is_in_order(&batches[..2]) && is_in_order(&[]));
        let mut written = Vec::new();
        let two_lines = batches[0].bytes().len();
        in_order(&batches, two_lines, |merged, later| {
            assert!(is_in_order(std::slice::from_ref(merged)));
            written.push((String::from_utf8(merged.bytes().to_vec()).unwrap(), later));
        });
        let expected = [(1, 4), (3, 2), (5, 0)].map(|(first, later)| {
            ([first, first + 1].map(|number| Note::numbered(number).line()).concat(), later)
        });
        assert_eq!(written, expected);
    }
}
