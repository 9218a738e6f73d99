//! `[traffic]`: how much memory and how long a memory the counting of requests has.

use std::time::Duration;

use super::kinds::{Number, Period};
use super::reader::{Fallback, Key, Layout, Section};

/// How requests are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Hash functions of each estimator.
    pub hashes: usize,
    /// Slots of each hash function for rates of clients.
    pub slots: usize,
    /// Over how long limits are held that have no window of their own.
    pub window: Duration,
    /// Places of each declared counter.
    pub counter_slots: usize,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "traffic",
    heading: "[traffic]",
    doc: "How requests are counted. Clients share slots: more slots cost memory (8 bytes each, times `hashes`, \
          times three generations) and let fewer clients be taken for each other. Countries are exact. The \
          rates that scripts read are always those of the last 10 s.",
    keys: &[&WINDOW, &HASHES, &SLOTS, &COUNTER_SLOTS],
    reserved: &[],
};

const WINDOW: Key<Period> = Key {
    name: "window",
    kind: Period { from: Duration::from_secs(1), to: Duration::from_secs(300) },
    fallback: Fallback::Is("\"10s\""),
    doc: "Over how long limits are held that have no window of their own.",
};

const HASHES: Key<Number<usize>> = Key {
    name: "hashes",
    kind: Number { from: 1, to: 8 },
    fallback: Fallback::Is("4"),
    doc: "Hash functions of each estimator.",
};

const SLOTS: Key<Number<usize>> = Key {
    name: "slots",
    kind: Number { from: 1_024, to: 4_194_304 },
    fallback: Fallback::Is("65_536"),
    doc: "Slots of each hash function for the rates of clients, and for limits.",
};

const COUNTER_SLOTS: Key<Number<usize>> = Key {
    name: "counter_slots",
    kind: Number { from: 1_024, to: 16_777_216 },
    fallback: Fallback::Is("262_144"),
    doc: "Places of each counter of `[counters]`, of 60 bytes each. About nine in ten can be filled before keys with few \
          events are forgotten.",
};

/// Reads `[traffic]`.
pub(super) fn read(section: &Section<'_>) -> Option<Traffic> {
    let (window, hashes) = (section.read(&WINDOW), section.read(&HASHES));
    let (slots, counter_slots) = (section.read(&SLOTS), section.read(&COUNTER_SLOTS));
    Some(Traffic { window: window?, hashes: hashes?, slots: slots?, counter_slots: counter_slots? })
}
