//! What was learned, in the form in which it is kept over a restart.
//!
//! Rates by country and by the name of a route, nothing else: no client is in it. It comes back from a file that
//! anybody may have touched, so each number is looked at again by who recalls it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::place::CountryCode;

/// All that was learned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// When this was, in milliseconds since 1970.
    pub saved: u64,
    /// By two letters. A country that is absent was silent.
    pub(in crate::traffic) countries: Family,
    /// By name. A route that is absent is new.
    pub(in crate::traffic) routes: Family,
}

/// The weeks of many keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::traffic) struct Family {
    /// Samples taken in each hour of the week.
    pub(super) watched: Vec<u16>,
    pub(super) weeks: BTreeMap<String, Kept>,
}

/// One week.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::traffic) struct Kept {
    pub(super) recent: f32,
    pub(super) recent_seen: u16,
    pub(super) rates: Vec<f32>,
    /// Empty if it is what was watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) seen: Vec<u16>,
}

/// Why something cannot be recalled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// A week of more or less than 168 hours.
    #[error("a week in it does not have 168 hours")]
    Hours,
    /// A rate that none can be.
    #[error("a rate in it is negative, endless or no number")]
    Rate,
    /// Not two letters.
    #[error("`{0}` in it is no country")]
    Country(String),
}

impl Memory {
    /// Countries and routes, if all countries are some.
    pub(in crate::traffic) fn families(&self) -> Result<(&Family, &Family), MemoryError> {
        let stranger = self.countries.weeks.keys().find(|code| CountryCode::parse(code).is_none());
        stranger.map_or(Ok((&self.countries, &self.routes)), |code| Err(MemoryError::Country(code.clone())))
    }

    /// How many countries and routes anything is known about.
    pub fn known(&self) -> (usize, usize) {
        (self.countries.weeks.len(), self.routes.weeks.len())
    }
}
