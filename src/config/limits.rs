//! What several sections say alike: whose requests are counted together, and how many may pass.

use std::time::Duration;

use super::kinds::{OneOf, PerSecond, Period};
use super::reader::{Fallback, Key};
pub use crate::traffic::Per;

/// How many requests may pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Requests per second, more than 0.
    pub rate: f64,
    /// Over how long the rate is held; the window of `[traffic]` if absent.
    pub window: Option<Duration>,
}

/// The words for [`Per`].
pub(super) const PER: OneOf<Per> =
    OneOf(&[("client", Per::Client), ("country", Per::Country), ("asn", Per::Asn), ("route", Per::Route)]);

/// Requests per second.
pub(super) const RATE: PerSecond = PerSecond;

/// The optional window of a limit.
pub(super) const WINDOW: Key<Period> = Key {
    name: "window",
    kind: Period { from: Duration::from_secs(1), to: Duration::from_secs(3600) },
    fallback: Fallback::Absent,
    doc: "Over how long the rate is held; the window of `[traffic]` if absent.",
};
