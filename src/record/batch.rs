//! A batch: records as whole lines in one buffer, so that one write call puts them all on disk.
//!
//! A record that is not one line of JSON of bearable length never enters, and a record whose serialisation
//! panics is one lost record, not the end of the log. Buffers are used again and stay as small as they began.

use std::panic::{AssertUnwindSafe, catch_unwind};

use uuid::Uuid;

use super::{Entry, MAX_LINE};

/// What one waiting record may have, in bytes; a longer one counts for several.
pub(super) const SHARE: usize = 1024;
/// Room for the line that fills a batch.
const MARGIN: usize = 4 * 1024;

/// Whole lines, in the order in which they came.
#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// The id of each line, and where it ends, its newline included.
    lines: Vec<(Uuid, u32)>,
}

/// A record that cannot be a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnfitError {
    #[error("it is longer than {MAX_LINE} bytes")]
    TooLong,
    #[error("it is not a JSON object on one line")]
    NotOneLine,
    #[error("its serialisation panicked")]
    Panicked,
}

impl Batch {
    /// The bytes that it takes to know a line.
    pub(super) const INDEX: usize = size_of::<(Uuid, u32)>();

    /// The bytes of memory that a batch takes which is full at `enough` bytes.
    pub(super) const fn capacity(enough: usize) -> usize {
        enough + MARGIN
    }

    /// Makes an empty batch ready for `enough` bytes and a line.
    pub(super) fn open(mut self, enough: usize) -> Self {
        self.bytes.reserve_exact(Self::capacity(enough));
        self
    }

    /// Empties it for another use.
    pub(super) fn cleared(mut self, enough: usize) -> Self {
        self.bytes.clear();
        self.bytes.shrink_to(Self::capacity(enough));
        self.lines.clear();
        self.lines.shrink_to(enough / 512);
        self
    }

    /// Gives back what a long line took in vain.
    pub(super) fn fit_snugly(&mut self, enough: usize) {
        if self.bytes.capacity() > self.bytes.len().max(Self::capacity(enough)) {
            self.bytes.shrink_to(Self::capacity(enough));
        }
    }

    /// Adds a line, or leaves the batch as it was.
    pub(super) fn add(&mut self, entry: &impl Entry) -> Result<(), UnfitError> {
        let start = self.bytes.len();
        let written = catch_unwind(AssertUnwindSafe(|| entry.write_json(&mut self.bytes)));
        let fit = match written {
            Ok(()) => fit(self.bytes.get(start..).unwrap_or_default()),
            Err(_panic) => Err(UnfitError::Panicked),
        };
        match (fit, u32::try_from(self.bytes.len() + 1)) {
            (Ok(()), Ok(end)) => {
                self.bytes.push(b'\n');
                self.lines.push((entry.id(), end));
                Ok(())
            }
            (fit, _) => {
                self.bytes.truncate(start);
                fit.and(Err(UnfitError::TooLong))
            }
        }
    }

    /// Takes the last line away.
    pub(super) fn undo(&mut self) {
        self.lines.pop();
        self.bytes.truncate(self.end());
    }

    /// For how many waiting records it counts.
    pub(super) fn shares(&self) -> usize {
        self.lines.len().max(self.bytes.len().div_ceil(SHARE))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// How many lines lie wholly within the first `written` bytes.
    pub(super) fn lines_within(&self, written: usize) -> usize {
        self.lines.partition_point(|(_, end)| *end as usize <= written)
    }

    /// Each line with its id, without the newline.
    pub(super) fn records(&self) -> impl Iterator<Item = (Uuid, &[u8])> {
        let mut start = 0;
        self.lines.iter().map(move |(id, end)| {
            let end = *end as usize;
            let line = self.bytes.get(start..end - 1).unwrap_or_default();
            start = end;
            (*id, line)
        })
    }

    fn end(&self) -> usize {
        self.lines.last().map_or(0, |(_, end)| *end as usize)
    }
}

fn fit(line: &[u8]) -> Result<(), UnfitError> {
    match line {
        long if long.len() >= MAX_LINE => Err(UnfitError::TooLong),
        [b'{', .., b'}'] if !has_newline(line) => Ok(()),
        _ => Err(UnfitError::NotOneLine),
    }
}

/// Looks at all of it, without branches: for a line of usual length that is faster than to search.
fn has_newline(line: &[u8]) -> bool {
    line.iter().fold(0, |found, &byte| found | u8::from(byte == b'\n')) != 0
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn lines_keep_their_order_and_their_ids() {
        let mut batch = Batch::default();
        let notes = [Note::numbered(1), Note::numbered(2)];
        notes.iter().for_each(|note| batch.add(note).unwrap());
        assert_eq!(batch.bytes(), [notes[0].line(), notes[1].line()].concat().as_bytes());
        let ids: Vec<Uuid> = batch.records().map(|(id, _)| id).collect();
        assert_eq!(ids, [notes[0].id(), notes[1].id()]);
        let first = notes[0].line().len();
        assert_eq!(batch.records().next().unwrap().1, notes[0].line().trim_end().as_bytes());
        assert_eq!([0, first - 1, first, 2 * first].map(|n| batch.lines_within(n)), [0, 0, 1, 2]);
    }

    #[test]
    fn what_is_not_one_line_stays_out() {
        let mut batch = Batch::default();
        batch.add(&Note::numbered(1)).unwrap();
        let before = batch.bytes().to_vec();
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_LINE));
        let bad =
            [("", UnfitError::NotOneLine), ("{\n}", UnfitError::NotOneLine), (&long, UnfitError::TooLong)];
        for (text, error) in bad {
            assert_eq!(batch.add(&Note::saying(text)), Err(error));
        }
        assert_eq!(batch.add(&Note::panicking()), Err(UnfitError::Panicked));
        assert_eq!((batch.bytes(), batch.len()), (before.as_slice(), 1));
    }

    #[test]
    fn a_line_that_is_taken_away_leaves_no_trace_and_no_memory() {
        let mut batch = Batch::default().open(100);
        batch.add(&Note::numbered(1)).unwrap();
        let before = batch.bytes().to_vec();
        batch.add(&Note::saying(&format!("{{\"a\":\"{}\"}}", "x".repeat(100_000)))).unwrap();
        assert_eq!((batch.len(), batch.shares()), (2, 98));
        batch.undo();
        batch.fit_snugly(100);
        assert_eq!((batch.bytes(), batch.len(), batch.shares()), (before.as_slice(), 1, 1));
        assert!(batch.bytes.capacity() <= Batch::capacity(100));
    }
}
