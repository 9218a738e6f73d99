//! `[reload]`: how the gate notices that a file changed.

use std::time::Duration;

use super::kinds::{Flag, Period};
use super::reader::{Fallback, Key, Layout, Section};

/// How changes are noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Whether folders are watched and polled; SIGHUP and the admin API always work.
    pub watch: bool,
    /// How long it must be quiet before a change is read.
    pub debounce: Duration,
    /// How often everything is compared in case an event was missed.
    pub poll: Duration,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "reload",
    heading: "[reload]",
    doc: "How the gate notices that scripts, lists, databases or this file changed.",
    keys: &[&WATCH, &DEBOUNCE, &POLL],
    reserved: &[],
};

const WATCH: Key<Flag> = Key {
    name: "watch",
    kind: Flag,
    fallback: Fallback::Is("true"),
    doc: "Whether changes are noticed without being told. SIGHUP and `POST /api/reload` always work.",
};

const DEBOUNCE: Key<Period> = Key {
    name: "debounce",
    kind: Period { from: Duration::from_millis(10), to: Duration::from_secs(10) },
    fallback: Fallback::Is("\"300ms\""),
    doc: "How long it must be quiet before a change is read.",
};

const POLL: Key<Period> = Key {
    name: "poll",
    kind: Period { from: Duration::from_secs(1), to: Duration::from_secs(3600) },
    fallback: Fallback::Is("\"30s\""),
    doc: "How often everything is compared in case an event was missed.",
};

/// Reads `[reload]`.
pub(super) fn read(section: &Section<'_>) -> Option<Reload> {
    let (watch, debounce, poll) = (section.read(&WATCH), section.read(&DEBOUNCE), section.read(&POLL));
    Some(Reload { watch: watch?, debounce: debounce?, poll: poll? })
}
