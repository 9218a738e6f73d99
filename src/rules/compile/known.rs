//! Questions about a value to which one side is known at load: sets, texts, prefixes.
//!
//! What can be prepared is: a short text is one number, and a long one is looked at only if its cheap part fits.
//! The answers are those of the plain comparison.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::node::Comparison;
use super::operators;
use super::run::Val;

/// Up to how many members a set is looked through; beyond, it is hashed.
const FEW: usize = 8;
/// The longest text that fits into a number together with its length.
const SHORT: usize = 7;

type Hashed<T> = HashSet<T, foldhash::fast::FixedState>;

/// Texts of a constant list.
#[derive(Debug)]
pub(super) enum KnownTexts {
    /// Each as one number; see [`packed`].
    Short(Box<[u64]>),
    Few(Box<[Box<str>]>),
    Hashed(Hashed<Box<str>>),
}

impl KnownTexts {
    pub(super) fn new(mut texts: Vec<Box<str>>) -> Self {
        texts.sort();
        texts.dedup();
        match texts.len() {
            0..=FEW if texts.iter().all(|text| text.len() <= SHORT) => {
                Self::Short(texts.iter().map(|text| packed(text)).collect())
            }
            0..=FEW => Self::Few(texts.into()),
            _ => Self::Hashed(texts.into_iter().collect()),
        }
    }

    #[inline]
    pub(super) fn contains(&self, text: &str) -> bool {
        match self {
            Self::Short(known) => {
                if text.len() > SHORT {
                    return false;
                }
                let text = packed(text);
                known.iter().fold(false, |found, known| found | (*known == text))
            }
            Self::Few(_) | Self::Hashed(_) => self.contains_long(text),
        }
    }

    // Kept apart, because calls would make the short way longer.
    #[inline(never)]
    fn contains_long(&self, text: &str) -> bool {
        match self {
            Self::Short(_) => false,
            Self::Few(known) => known.iter().any(|known| equal(known, text)),
            Self::Hashed(known) => known.contains(text),
        }
    }
}

/// Integers of a constant list.
#[derive(Debug)]
pub(super) enum KnownInts {
    Few(Box<[i64]>),
    /// All of them, and the same hashed.
    Hashed(Box<[i64]>, Hashed<i64>),
}

impl KnownInts {
    pub(super) fn new(mut numbers: Vec<i64>) -> Self {
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.len() <= FEW {
            return Self::Few(numbers.into());
        }
        let hashed = numbers.iter().copied().collect();
        Self::Hashed(numbers.into(), hashed)
    }

    #[inline]
    pub(super) fn contains(&self, number: i64) -> bool {
        match self {
            Self::Few(known) => known.iter().fold(false, |found, known| found | (*known == number)),
            Self::Hashed(_, known) => known.contains(&number),
        }
    }

    /// A float is in a list of integers if it equals one of them.
    pub(super) fn contains_float(&self, number: f64) -> bool {
        let (Self::Few(known) | Self::Hashed(known, _)) = self;
        known.iter().any(|known| operators::floats(Comparison::Equal, *known as f64, number))
    }
}

/// A constant float that numbers are compared with.
#[derive(Debug)]
pub(super) struct KnownFloat {
    /// What is less, and what is greater, whatever is made of the precision.
    below: f64,
    above: f64,
    how: Comparison,
    with: f64,
}

impl KnownFloat {
    pub(super) fn new(how: Comparison, with: f64) -> Self {
        let margin = 8.0 * f64::EPSILON * with.abs().max(1.0);
        Self { below: with - margin, above: with + margin, how, with }
    }

    /// Whether a number that is clearly apart compares so. None that is not finite is.
    #[inline]
    pub(super) fn at_once(&self, number: f64) -> Option<bool> {
        if number < self.below && number >= f64::MIN {
            Some(self.how.holds(Ordering::Less))
        } else if number > self.above && number <= f64::MAX {
            Some(self.how.holds(Ordering::Greater))
        } else {
            None
        }
    }

    /// Whether a value compares so.
    pub(super) fn compares(&self, value: Val<'_>) -> bool {
        match value {
            Val::Float(number) => operators::floats(self.how, number, self.with),
            other => operators::compare(self.how, other, Val::Float(self.with)),
        }
    }
}

/// A constant text that others are compared with.
#[derive(Debug)]
pub(super) struct KnownText(Box<str>);

impl KnownText {
    pub(super) fn new(text: Box<str>) -> Self {
        Self(text)
    }

    #[inline]
    pub(super) fn is(&self, text: &str) -> bool {
        equal(&self.0, text)
    }
}

/// A constant text that others may start with.
#[derive(Debug)]
pub(super) struct Prefix {
    /// The first bytes, and which bits of them count.
    head: u64,
    mask: u64,
    text: Box<str>,
}

impl Prefix {
    pub(super) fn new(text: Box<str>) -> Self {
        let mut head = [0; 8];
        head.iter_mut().zip(text.bytes()).for_each(|(byte, of)| *byte = of);
        let mut mask = [0; 8];
        mask.iter_mut().take(text.len()).for_each(|byte| *byte = u8::MAX);
        Self { head: u64::from_le_bytes(head), mask: u64::from_le_bytes(mask), text }
    }

    #[inline]
    pub(super) fn begins(&self, text: &str) -> bool {
        match text.as_bytes().first_chunk::<8>() {
            Some(head) => {
                (u64::from_le_bytes(*head) ^ self.head) & self.mask == 0
                    && (self.text.len() <= 8 || self.begins_long(text))
            }
            None => self.begins_long(text),
        }
    }

    #[inline(never)]
    fn begins_long(&self, text: &str) -> bool {
        text.starts_with(&*self.text)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// Constant texts that others may end with.
#[derive(Debug)]
pub(super) struct Endings {
    /// A bit for each byte that is the last of one of them; all bits if one has none.
    last: [u64; 4],
    texts: Box<[Box<str>]>,
}

impl Endings {
    pub(super) fn new(texts: Vec<Box<str>>) -> Self {
        let mut last = [0; 4];
        for text in &texts {
            match text.as_bytes().last() {
                Some(byte) => last
                    .iter_mut()
                    .skip(usize::from(byte / 64))
                    .take(1)
                    .for_each(|word| *word |= 1 << (byte % 64)),
                None => last = [u64::MAX; 4],
            }
        }
        Self { last, texts: texts.into() }
    }

    #[inline]
    pub(super) fn end(&self, text: &str) -> bool {
        let last = text.as_bytes().last().copied().unwrap_or_default();
        let known = self.last.get(usize::from(last / 64)).is_some_and(|word| word >> (last % 64) & 1 == 1);
        known && self.end_fully(text)
    }

    #[inline(never)]
    fn end_fully(&self, text: &str) -> bool {
        self.texts.iter().any(|end| text.ends_with(&**end))
    }
}

/// Texts of one length that differ mostly differ in their first byte, which is cheaper to ask than all of them.
#[inline]
fn equal(known: &str, text: &str) -> bool {
    known.len() == text.len() && known.as_bytes().first() == text.as_bytes().first() && known == text
}

/// The bytes and the length of a text of at most [`SHORT`] bytes.
#[inline]
fn packed(text: &str) -> u64 {
    text.bytes().fold(text.len() as u64, |packed, byte| (packed << 8) | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_prepared_answers_as_plain_comparison_does(
            known in proptest::collection::vec("[a\0é]{0,4}|[ab]{0,12}", 0..12),
            text in "[a\0é]{0,4}|[ab]{0,12}",
        ) {
            let set = KnownTexts::new(known.iter().map(|text| text.as_str().into()).collect());
            prop_assert_eq!(set.contains(&text), known.contains(&text));
            for known in &known {
                let (is, prefix) = (KnownText::new(known.as_str().into()), Prefix::new(known.as_str().into()));
                prop_assert_eq!(is.is(&text), *known == text);
                prop_assert_eq!(prefix.begins(&text), text.starts_with(known));
            }
            let ends = known.iter().any(|known| text.ends_with(known));
            prop_assert_eq!(Endings::new(known.iter().map(|text| text.as_str().into()).collect()).end(&text), ends);
        }

        #[test]
        fn a_float_that_is_apart_compares_as_any(x in any::<f64>(), y in any::<f64>(), steps in -90_i64..90, edge in 0..9_usize) {
            let edge = [0.0, f64::MAX, f64::MIN, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1.0, 100.0, 5e-324][edge];
            let near = f64::from_bits(y.to_bits().wrapping_add_signed(steps));
            for how in operators::ALL {
                for (x, y) in [(x, y), (near, y), (y, near), (edge, y), (y, edge), (edge, edge)] {
                    let known = KnownFloat::new(how, y);
                    let plain = operators::floats(how, x, y);
                    prop_assert!(known.at_once(x).is_none_or(|holds| holds == plain), "{x:?} {how:?} {y:?}");
                    prop_assert_eq!(known.compares(Val::Float(x)), plain);
                }
            }
        }

        #[test]
        fn a_set_of_integers_has_its_members(known in proptest::collection::vec(-9_i64..9, 0..14), number in -9_i64..9) {
            let set = KnownInts::new(known.clone());
            prop_assert_eq!(set.contains(number), known.contains(&number));
            prop_assert_eq!(set.contains_float(number as f64), known.contains(&number));
        }
    }
}
