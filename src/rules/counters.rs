//! The counters that scripts may name, and how each is to be counted.
//!
//! One place says what is wrong with a `risk.count`, for the check at load and for both ways of running a script.

use crate::actions::Say;
use crate::traffic::Counted;

/// A counter that `[counters]` declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// What it counts.
    pub kind: Counted,
}

/// What is wrong with counting, and what to write instead.
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) hint: String,
}

/// What is wrong with counting in this way, if the counter is known.
pub(super) fn wrong_kind(counters: &[Declared], counter: &str, has_item: bool) -> Option<Wrong> {
    let declared = counters.iter().find(|declared| declared.name == counter)?;
    let (message, hint) = match (declared.kind, has_item) {
        (Counted::Events, false) | (Counted::Distinct, true) => return None,
        (Counted::Events, true) => (
            format!("`{counter}` counts events, not distinct values"),
            format!("write `risk.count(\"{counter}\")`, or declare it with `kind = \"distinct\"`"),
        ),
        (Counted::Distinct, false) => (
            format!("`{counter}` counts distinct values, and there is none"),
            format!("write `risk.count(\"{counter}\", item)`"),
        ),
    };
    Some(Wrong { message, hint })
}

/// Why a script may not say this, at run time.
pub(super) fn refusal(counters: &[Declared], say: &Say) -> Option<String> {
    let Say::Count { counter, item } = say else { return None };
    if !counters.iter().any(|declared| declared.name == counter.as_str()) {
        return Some(format!("unknown counter `{counter}`: declare it in `[counters]`"));
    }
    wrong_kind(counters, counter, item.is_some()).map(|wrong| format!("{}: {}", wrong.message, wrong.hint))
}

/// A counter of events.
#[cfg(test)]
impl From<&str> for Declared {
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), kind: Counted::Events }
    }
}

#[cfg(test)]
impl Declared {
    /// A counter of distinct values.
    pub(crate) fn distinct(name: &str) -> Self {
        Self { name: name.to_owned(), kind: Counted::Distinct }
    }
}
