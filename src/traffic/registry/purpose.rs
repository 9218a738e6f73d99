//! What a window of limits is for, as it is shown and as it is kept.

use std::fmt;

use crate::traffic::settings::Interval;

/// What a window is for.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// All limits over this interval that are neither fair nor per country.
    Shared(Interval),
    /// One limit per country, by name.
    Countries(String, Interval),
}

impl Purpose {
    /// To be shown.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Shared(interval) => format!("limits over {interval}"),
            Self::Countries(name, _) => format!("countries of limit `{name}`"),
        }
    }
}

/// What it is kept as.
impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared(interval) => write!(f, "limits over {interval}"),
            Self::Countries(name, interval) => write!(f, "countries of limit {name} over {interval}"),
        }
    }
}
