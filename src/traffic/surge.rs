//! A surge, to be told: a country or a route that sends far more than is usual for it.

use std::sync::Arc;
use std::time::Duration;

use super::baseline::{Pulse, Turn, lasted};
use crate::facts::place::CountryCode;

/// What may surge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A country.
    Country(CountryCode),
    /// A configured route, by its name.
    Route(Arc<str>),
}

/// How far a surge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It was not there before.
    Began,
    /// It goes on.
    Lasts,
    /// A minute was quiet.
    Ended,
    /// It went on for three days: what is usual is learned anew.
    Accepted,
}

/// One surge.
#[derive(Clone, Debug, PartialEq)]
pub struct Surge {
    /// Who surges.
    pub source: Source,
    /// How far it is.
    pub stage: Stage,
    /// How busy it is.
    pub pulse: Pulse,
    /// For how long it has lasted, to ten seconds.
    pub lasted: Duration,
}

impl Surge {
    pub(super) fn new(source: Source, turn: Turn, pulse: Pulse) -> Self {
        let (stage, intervals) = match turn {
            Turn::Began => (Stage::Began, 0),
            Turn::Lasts { intervals } => (Stage::Lasts, intervals),
            Turn::Ended { intervals } => (Stage::Ended, intervals),
            Turn::Accepted { intervals } => (Stage::Accepted, intervals),
        };
        Self { source, stage, pulse, lasted: lasted(intervals) }
    }
}
