//! What operators and functions do with values, exactly as the interpreter does it. Pure, and without an arena.

use std::cmp::Ordering;
use std::fmt::Write;

use super::node::{Arithmetic, Comparison, Function, TextTest, Unary};
use super::run::Val;

/// Compares two values. Values of types that cannot be compared are unequal, and neither is less.
pub(super) fn compare(how: Comparison, left: Val<'_>, right: Val<'_>) -> bool {
    match (left, right) {
        (Val::Int(left), Val::Int(right)) => how.holds(left.cmp(&right)),
        (Val::Text(left), Val::Text(right)) => how.holds(left.cmp(right)),
        (Val::Float(left), Val::Float(right)) => floats(how, left, right),
        (Val::Int(left), Val::Float(right)) => floats(how, left as f64, right),
        (Val::Float(left), Val::Int(right)) => floats(how, left, right as f64),
        (Val::Bool(left), Val::Bool(right)) => match how {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            how => how.holds(left.cmp(&right)),
        },
        (Val::Unit, Val::Unit) => how == Comparison::Equal,
        (Val::Unit | Val::Bool(_) | Val::Int(_) | Val::Float(_) | Val::Text(_), _) => {
            how == Comparison::NotEqual
        }
    }
}

/// The language compares floats within the precision of the larger one, so that `0.1 + 0.2 == 0.3`.
pub(super) fn floats(how: Comparison, x: f64, y: f64) -> bool {
    floats_apart(how, x, y).unwrap_or_else(|| close_floats(how, x, y))
}

/// Numbers that are clearly apart compare as they are, which spares the division. None that is not finite is.
#[inline]
pub(super) fn floats_apart(how: Comparison, x: f64, y: f64) -> Option<bool> {
    let apart = (x - y).abs() > 4.0 * f64::EPSILON * x.abs().max(y.abs()).max(1.0);
    apart.then(|| how.holds(if x < y { Ordering::Less } else { Ordering::Greater }))
}

fn close_floats(how: Comparison, x: f64, y: f64) -> bool {
    let scale = if x * y == 0.0 { 1.0 } else { x.abs().max(y.abs()) };
    if scale == 0.0 {
        // What is no number, beside 0: the language takes them for equal.
        return matches!(how, Comparison::Equal | Comparison::LessOrEqual | Comparison::GreaterOrEqual);
    }
    match how {
        Comparison::Equal => (x - y).abs() / scale <= f64::EPSILON,
        Comparison::NotEqual => (x - y).abs() / scale > f64::EPSILON,
        Comparison::Less => (y - x) / scale > f64::EPSILON,
        Comparison::LessOrEqual => (y - x) / scale > -f64::EPSILON,
        Comparison::Greater => (x - y) / scale > f64::EPSILON,
        Comparison::GreaterOrEqual => (x - y) / scale > -f64::EPSILON,
    }
}

/// Calculates. The error is `None` if there is no such operator for these types.
pub(super) fn calculate<'e>(
    how: Arithmetic,
    left: Val<'e>,
    right: Val<'e>,
) -> Result<Val<'e>, Option<String>> {
    match (left, right) {
        (Val::Int(left), Val::Int(right)) => integers(how, left, right).map(Val::Int).map_err(Some),
        (Val::Float(left), Val::Float(right)) => reals(how, left, right),
        (Val::Int(left), Val::Float(right)) => reals(how, left as f64, right),
        (Val::Float(left), Val::Int(right)) if how == Arithmetic::Power => {
            Ok(Val::Float(left.powi(i32::try_from(right).unwrap_or(i32::MAX))))
        }
        (Val::Float(left), Val::Int(right)) => reals(how, left, right as f64),
        _ => Err(None),
    }
}

fn integers(how: Arithmetic, x: i64, y: i64) -> Result<i64, String> {
    let failed = |what: &str| format!("{what}: {x} {} {y}", how.symbol());
    match how {
        Arithmetic::Add => x.checked_add(y).ok_or_else(|| failed("addition overflow")),
        Arithmetic::Subtract => x.checked_sub(y).ok_or_else(|| failed("subtraction overflow")),
        Arithmetic::Multiply => x.checked_mul(y).ok_or_else(|| failed("multiplication overflow")),
        Arithmetic::Divide if y == 0 => Err(failed("division by zero")),
        Arithmetic::Divide => x.checked_div(y).ok_or_else(|| failed("division overflow")),
        Arithmetic::Modulo => x.checked_rem(y).ok_or_else(|| failed("modulo division by zero or overflow")),
        Arithmetic::Power if y < 0 => Err(failed("integer raised to a negative power")),
        Arithmetic::Power => {
            let power = u32::try_from(y).ok().and_then(|power| x.checked_pow(power));
            power.ok_or_else(|| failed("exponential overflow"))
        }
    }
}

fn reals<'e>(how: Arithmetic, x: f64, y: f64) -> Result<Val<'e>, Option<String>> {
    Ok(Val::Float(match how {
        Arithmetic::Add => x + y,
        Arithmetic::Subtract => x - y,
        Arithmetic::Multiply => x * y,
        Arithmetic::Divide => x / y,
        Arithmetic::Modulo => x % y,
        Arithmetic::Power => x.powf(y),
    }))
}

/// Whether a number lies in a range of a `switch`.
pub(super) fn within(value: Val<'_>, from: i64, to: i64, inclusive: bool) -> bool {
    match value {
        Val::Int(number) => from <= number && (number < to || (inclusive && number == to)),
        Val::Float(number) => {
            let (from, to) = (from as f64, to as f64);
            from <= number && (number < to || (inclusive && number <= to))
        }
        Val::Unit | Val::Bool(_) | Val::Text(_) => false,
    }
}

/// A function of one value; `None` if there is none for its type.
pub(super) fn unary(how: Unary, of: Val<'_>) -> Result<Option<Val<'_>>, String> {
    let length = |length: usize| Some(Val::Int(i64::try_from(length).unwrap_or(i64::MAX)));
    Ok(match (how, of) {
        (Unary::Trim, Val::Text(text)) => Some(Val::Text(text.trim())),
        (Unary::Length, Val::Text(text)) => length(characters(text)),
        (Unary::Bytes, Val::Text(text)) => length(text.len()),
        (Unary::IsEmpty, Val::Text(text)) => Some(Val::Bool(text.is_empty())),
        (Unary::Float, Val::Float(_)) | (Unary::Int, Val::Int(_)) => Some(of),
        (Unary::Float, Val::Int(number)) => Some(Val::Float(number as f64)),
        (Unary::Negate, Val::Float(number)) => Some(Val::Float(-number)),
        (Unary::Negate, Val::Int(number)) => match number.checked_neg() {
            Some(number) => Some(Val::Int(number)),
            None => return Err("integer overflow".to_owned()),
        },
        (Unary::Absolute, Val::Float(number)) => Some(Val::Float(number.abs())),
        (Unary::Absolute, Val::Int(number)) => match number.checked_abs() {
            Some(number) => Some(Val::Int(number)),
            None => return Err(format!("negation overflow: -{number}")),
        },
        (Unary::Floor, Val::Float(number)) => Some(Val::Float(number.floor())),
        (Unary::Ceiling, Val::Float(number)) => Some(Val::Float(number.ceil())),
        (Unary::Round, Val::Float(number)) => Some(Val::Float(number.round())),
        (Unary::Int, Val::Float(number)) => {
            if number > i64::MAX as f64 || number < i64::MIN as f64 {
                return Err(format!("integer overflow: to_int({number})"));
            }
            Some(Val::Int(number.trunc() as i64))
        }
        _ => None,
    })
}

/// A function of several values; `None` if there is none for their types.
pub(super) fn apply<'e>(how: Function, of: &[Val<'e>]) -> Option<Val<'e>> {
    match (how, of) {
        (Function::SubString, [Val::Text(text), Val::Int(start), Val::Int(length)]) => {
            Some(Val::Text(sub_string(text, *start, *length)))
        }
        (Function::SubString, [Val::Text(text), Val::Int(start)]) => {
            Some(Val::Text(sub_string(text, *start, i64::MAX)))
        }
        (Function::IndexOf, [Val::Text(text), Val::Text(part)]) => Some(Val::Int(index_of(text, part))),
        (Function::Min | Function::Max, [x, y]) => extreme(how, *x, *y),
        _ => None,
    }
}

/// The smaller or larger of two values. Of numbers of both types it is a float; what is no number is the second.
fn extreme<'e>(how: Function, x: Val<'e>, y: Val<'e>) -> Option<Val<'e>> {
    let (x, y) = match (x, y) {
        (Val::Int(x), Val::Float(_)) => (Val::Float(x as f64), y),
        (Val::Float(_), Val::Int(y)) => (x, Val::Float(y as f64)),
        same => same,
    };
    let ordering = match (x, y) {
        (Val::Int(x), Val::Int(y)) => Some(x.cmp(&y)),
        (Val::Float(x), Val::Float(y)) => x.partial_cmp(&y),
        (Val::Text(x), Val::Text(y)) => Some(x.cmp(y)),
        _ => return None,
    };
    let first = ordering
        .is_some_and(|ordering| if how == Function::Min { ordering.is_le() } else { ordering.is_ge() });
    Some(if first { x } else { y })
}

fn characters(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// In characters; -1 if there is none. In an empty text nothing is found, not even an empty part.
fn index_of(text: &str, part: &str) -> i64 {
    let found = match part.as_bytes() {
        [byte] => memchr::memchr(*byte, text.as_bytes()),
        part => memchr::memmem::find(text.as_bytes(), part).filter(|_| !text.is_empty()),
    };
    let before = found.and_then(|at| text.get(..at)).map(characters);
    before.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1)
}

/// Counts in characters; a negative start counts from the end; what lies outside is left out.
fn sub_string(text: &str, start: i64, length: i64) -> &str {
    if text.is_empty() || length <= 0 {
        return "";
    }
    let count = i64::try_from(characters(text)).unwrap_or(i64::MAX);
    let start = if start < 0 { (count + start).max(0) } else { start };
    if start >= count {
        return "";
    }
    let at = |index: i64| {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if text.len() as i64 == count {
            return index.min(text.len());
        }
        text.char_indices().nth(index).map_or(text.len(), |(at, _)| at)
    };
    text.get(at(start)..at(start.saturating_add(length))).unwrap_or("")
}

/// Appends a value as the language shows it.
pub(super) fn write(value: Val<'_>, out: &mut impl Write) {
    // Writing into memory cannot fail.
    let _ = match value {
        Val::Unit => Ok(()),
        Val::Bool(value) => write!(out, "{value}"),
        Val::Int(number) => write!(out, "{number}"),
        Val::Float(number) => out.write_str(&rhai::Dynamic::from_float(number).to_string()),
        Val::Text(text) => out.write_str(text),
    };
}

pub(super) fn not_boolean(found: Val<'_>) -> String {
    format!("data type incorrect: {} (expecting bool)", found.type_name())
}

impl Comparison {
    /// Whether things in that order compare so.
    #[inline]
    pub(super) const fn holds(self, ordering: Ordering) -> bool {
        (self as u8 >> (ordering as i8 + 1)) & 1 == 1
    }
}

impl Arithmetic {
    pub(super) const fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Power => "**",
        }
    }
}

impl TextTest {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Contains => "contains",
            Self::StartsWith => "starts_with",
            Self::EndsWith => "ends_with",
        }
    }
}

impl Unary {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Lower => "to_lower",
            Self::Upper => "to_upper",
            Self::Trim => "trim",
            Self::Length => "len",
            Self::Bytes => "bytes",
            Self::IsEmpty => "is_empty",
            Self::Text => "to_string",
            Self::Float => "to_float",
            Self::Int => "to_int",
            Self::Negate => "-",
            Self::Absolute => "abs",
            Self::Floor => "floor",
            Self::Ceiling => "ceiling",
            Self::Round => "round",
        }
    }
}

impl Function {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::SubString => "sub_string",
            Self::IndexOf => "index_of",
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}

#[cfg(test)]
pub(super) const ALL: [Comparison; 6] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::LessOrEqual,
    Comparison::Greater,
    Comparison::GreaterOrEqual,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_short_cut_right(x: f64, y: f64) -> bool {
        ALL.into_iter().all(|how| floats(how, x, y) == close_floats(how, x, y))
    }

    proptest! {
        #[test]
        fn floats_that_are_apart_compare_as_the_language_says(x in proptest::num::f64::ANY, y in proptest::num::f64::ANY) {
            prop_assert!(is_short_cut_right(x, y), "{x:?} {y:?}");
        }

        #[test]
        fn so_do_floats_that_are_close(x in proptest::num::f64::ANY, steps in -40_i64..40) {
            let y = f64::from_bits(x.to_bits().wrapping_add_signed(steps));
            prop_assert!(is_short_cut_right(x, y), "{x:?} {y:?}");
            prop_assert!(is_short_cut_right(y, x), "{y:?} {x:?}");
        }
    }

    #[test]
    fn so_do_the_floats_at_the_edges() {
        let tiny = [0.0, -0.0, f64::MIN_POSITIVE, f64::EPSILON, 4.0 * f64::EPSILON, 1.0, 1e-300, 5e-324];
        let edges = [f64::MAX, f64::MIN, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -1.0, 1e300];
        let all = || tiny.into_iter().chain(edges);
        assert!(all().all(|x| all().all(|y| is_short_cut_right(x, y))));
    }
}
