//! What several sections say alike: whose requests are counted together, and how many may pass.

use std::time::Duration;

use super::kinds::{Flag, OneOf, PerSecond, Period};
use super::reader::{Fallback, Key, Section};
pub use crate::traffic::{Per, Sharing};

/// How many requests may pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Requests per second, more than 0.
    pub rate: f64,
    /// Over how long the rate is held; the window of `[traffic]` if absent.
    pub window: Option<Duration>,
    /// Who gets what there is; as `[traffic]` says if absent.
    pub sharing: Option<Sharing>,
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

/// Whether a limit is fair.
pub(super) const FAIR: Key<Flag> = Key {
    name: "fair",
    kind: Flag,
    fallback: Fallback::Absent,
    doc: "Whether clients share what there is when it is not enough, rather than the first to come getting it all; \
          as `[traffic]` says if absent.",
};

/// Reads [`FAIR`].
pub(super) fn sharing(section: &Section<'_>) -> Option<Option<Sharing>> {
    Some(section.optional(&FAIR)?.map(sharing_of))
}

/// What `fair` means.
pub(super) const fn sharing_of(fair: bool) -> Sharing {
    if fair { Sharing::Fair } else { Sharing::FirstCome }
}
