//! Searching one text for constants that many tests ask about.
//!
//! Every `contains` of a constant on the same signal or variable of a script belongs to one search. The first test
//! that is reached looks for all of them in one pass; the others read what it found.

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};
use bumpalo::Bump;

/// From how many constants on one pass is faster than looking for each.
const MANY: usize = 3;
/// Up to how many constants a table of all states is made: a few megabytes at the very most.
const TABLE: usize = 1_000;

/// What a search is for.
#[derive(Debug)]
pub(super) enum Search {
    /// Few constants: each is looked for when it is asked about.
    Each(Box<[Box<str>]>),
    /// Many: all at once.
    All(Box<All>),
}

#[derive(Debug)]
pub(super) struct All {
    /// Whether there is any, which is the usual question, and usually there is none.
    any: AhoCorasick,
    /// Which ones.
    each: AhoCorasick,
    needles: usize,
}

/// What was found in which text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Finding<'e> {
    text: Option<&'e str>,
    /// A bit for each constant; nothing if none was found.
    bits: &'e [u64],
}

impl Search {
    pub(super) fn new(needles: &[Box<str>]) -> Self {
        if needles.len() >= MANY
            && let Some(all) = All::new(needles)
        {
            return Self::All(Box::new(all));
        }
        Self::Each(needles.into())
    }

    /// How many constants it is for.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Each(needles) => needles.len(),
            Self::All(all) => all.needles,
        }
    }

    /// Whether the constant of that number is in the text; `finding` is what this search found last.
    #[inline]
    pub(super) fn has<'e>(
        &self,
        finding: &mut Finding<'e>,
        text: &'e str,
        needle: usize,
        arena: &'e Bump,
    ) -> bool {
        match self {
            Self::Each(needles) => needles.get(needle).is_some_and(|needle| text.contains(&**needle)),
            Self::All(all) => {
                if !finding.is_of(text) {
                    *finding = all.find(text, arena);
                }
                finding.has(needle)
            }
        }
    }
}

impl All {
    fn new(needles: &[Box<str>]) -> Option<Self> {
        let kind = (needles.len() <= TABLE).then_some(AhoCorasickKind::DFA);
        let needle_bytes = || needles.iter().map(|needle| needle.as_bytes());
        let build = |matches| AhoCorasickBuilder::new().kind(kind).match_kind(matches).build(needle_bytes());
        let any = build(MatchKind::LeftmostFirst).ok()?;
        Some(Self { any, each: build(MatchKind::Standard).ok()?, needles: needles.len() })
    }

    #[cold]
    #[inline(never)]
    fn find<'e>(&self, text: &'e str, arena: &'e Bump) -> Finding<'e> {
        if !self.any.is_match(text) {
            return Finding { text: Some(text), bits: &[] };
        }
        let bits = arena.alloc_slice_fill_copy(self.needles.div_ceil(64), 0_u64);
        for found in self.each.find_overlapping_iter(text) {
            let needle = found.pattern().as_usize();
            if let Some(word) = bits.get_mut(needle / 64) {
                *word |= 1 << (needle % 64);
            }
        }
        Finding { text: Some(text), bits }
    }
}

impl Finding<'_> {
    /// Whether this was found in that very text. Two borrowed texts at the same place are the same text.
    #[inline]
    fn is_of(&self, text: &str) -> bool {
        self.text.is_some_and(|of| std::ptr::eq(of, text))
    }

    /// Whether that constant is in the text that was searched last, if one was.
    #[inline]
    pub(super) fn known(&self, needle: usize) -> Option<bool> {
        self.text.map(|_| self.has(needle))
    }

    #[inline]
    fn has(&self, needle: usize) -> bool {
        self.bits.get(needle / 64).is_some_and(|word| word >> (needle % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_search_finds_what_contains_finds(
            needles in proptest::collection::vec("[abé]{0,3}", 1..80),
            texts in proptest::collection::vec("[abcé]{0,40}", 1..4),
        ) {
            let needles: Vec<Box<str>> = needles.into_iter().map(Into::into).collect();
            let (search, arena) = (Search::new(&needles), Bump::new());
            let mut finding = Finding::default();
            for text in &texts {
                for (at, needle) in needles.iter().enumerate() {
                    let text = arena.alloc_str(text);
                    prop_assert_eq!(search.has(&mut finding, text, at, &arena), text.contains(&**needle));
                }
            }
        }
    }
}
