//! The file being read: turns byte ranges into lines and columns, and gathers what is wrong with it.
//!
//! Every reader reports here and reads on, so that one pass finds everything. Nothing here decides whether a
//! value is good.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;

use crate::facts::problem::{Position, Problem};

/// A range of bytes in the text.
pub(super) type Span = Range<usize>;

/// A file's text and the problems found in it so far.
pub(super) struct Source<'a> {
    file: &'a Path,
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Source<'a> {
    /// A file in which nothing is wrong yet.
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, problems: RefCell::new(Vec::new()) }
    }

    /// Reports an error at `span`, or about the file as a whole.
    pub(super) fn error(&self, span: Option<Span>, message: impl Into<String>, hint: Option<String>) {
        self.report(span, Problem::error(self.file, message), hint);
    }

    /// Reports something worth a look that does not stop the load.
    pub(super) fn warning(&self, span: Option<Span>, message: impl Into<String>, hint: Option<String>) {
        self.report(span, Problem::warning(self.file, message), hint);
    }

    fn report(&self, span: Option<Span>, problem: Problem, hint: Option<String>) {
        let problem = match span.map(|span| self.position(&span)) {
            Some(Position { line, column, width }) => problem.at(line, column).spanning(width),
            None => problem,
        };
        self.problems.borrow_mut().push(match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
    }

    /// Where `span` begins, and how much of it is on that line.
    pub(super) fn position(&self, span: &Span) -> Position {
        let (before, rest) = self.text.split_at(boundary(self.text, span.start));
        let line = before.rsplit('\n').next().unwrap_or("");
        let meant = rest.split_at(boundary(rest, span.end.saturating_sub(before.len()))).0;
        let width = meant.lines().next().unwrap_or("").chars().count();
        Position {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            width: width.max(1),
        }
    }

    /// All problems, in the order of the file; those about the whole file come last.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| {
            problem.position().map_or((usize::MAX, 0), |Position { line, column, .. }| (line, column))
        });
        problems
    }
}

/// The nearest place at or before `at` that does not split a character.
fn boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str, span: Span) -> (usize, usize, usize) {
        let Position { line, column, width } = Source::new(Path::new("x"), text).position(&span);
        (line, column, width)
    }

    #[test]
    fn places_count_lines_and_characters_from_one() {
        assert_eq!(position("a = 1\nbé = 22\n", 6..9), (2, 1, 2));
        assert_eq!(position("a = 1\nbé = 22\n", 12..14), (2, 6, 2));
    }

    #[test]
    fn a_span_over_several_lines_ends_with_its_first() {
        assert_eq!(position("a = [\n1,\n2]", 4..11), (1, 5, 1));
    }

    #[test]
    fn a_span_outside_the_text_is_its_end() {
        assert_eq!(position("é", 1..9), (1, 1, 1));
        assert_eq!(position("ab", Span { start: 7, end: 3 }), (1, 3, 1));
    }
}
