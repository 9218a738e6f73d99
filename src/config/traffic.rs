//! `[traffic]`: how much memory and how long a memory the counting of requests has.

use std::path::PathBuf;
use std::time::Duration;

use super::kinds::{FilePath, Flag, Number, Period};
use super::limits::{Sharing, sharing_of};
use super::reader::{Fallback, Key, Layout, Section};
use crate::traffic::Weight;

/// How requests are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Who gets what a limit admits, if it does not say so itself.
    pub sharing: Sharing,
    /// Slots of each table of clients.
    pub slots: usize,
    /// Over how long limits are held that have no window of their own.
    pub window: Duration,
    /// Places of each declared counter.
    pub counter_slots: usize,
    /// Shares of a fair limit that a client with a credential has.
    pub credential_weight: u16,
    /// Whether what is usual and what was counted are kept over a restart.
    pub remember: bool,
    /// The file that what is usual is kept in.
    pub state: PathBuf,
    /// The file that what was counted is kept in.
    pub counts: PathBuf,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "traffic",
    heading: "[traffic]",
    doc: "How requests are counted. Each client, network or route that was counted lately takes a slot of 16 bytes; \
          when more than half of them are taken, the rarest begin to be taken for each other, which makes limits \
          stricter and not laxer. Countries are exact. The rates that scripts read are always those of the last \
          10 s. What is usual for each country and route, at each hour of the week, and what limits and counters have \
          counted are kept over a restart and an upgrade.",
    keys: &[&WINDOW, &FAIR, &CREDENTIAL_WEIGHT, &SLOTS, &COUNTER_SLOTS, &REMEMBER, &STATE, &COUNTS],
    reserved: &[],
};

const WINDOW: Key<Period> = Key {
    name: "window",
    kind: Period { from: Duration::from_secs(1), to: Duration::from_secs(300) },
    fallback: Fallback::Is("\"10s\""),
    doc: "Over how long limits are held that have no window of their own.",
};

const FAIR: Key<Flag> = Key {
    name: "fair",
    kind: Flag,
    fallback: Fallback::Is("true"),
    doc: "Whether clients share a limit per country, network or route when it is not enough, rather than the first to \
          come getting it all. Holds for what scripts throttle, and for limits that have no `fair` of their own.",
};

const CREDENTIAL_WEIGHT: Key<Number<u16>> = Key {
    name: "credential_weight",
    kind: Number { from: 1, to: Weight::MOST },
    fallback: Fallback::Is("1"),
    doc: "How many times what others get a client gets of a fair limit while its requests carry a credential, as `token` \
          of `[client]` says. The gate does not know whether a credential is good: whoever makes one up gains this much, \
          and no more with several.",
};

const SLOTS: Key<Number<usize>> = Key {
    name: "slots",
    kind: Number { from: 1_024, to: 16_777_216 },
    fallback: Fallback::Is("262_144"),
    doc: "Slots for the rates of clients, for each window of limits (16 bytes each, and for keys near their limit up to \
          8 MiB, or 8 bytes each if that is more), and for the clients of fair limits (18 bytes each). Up to half of them may be in use before keys are counted together. `1_400_000` keep a million \
          clients apart, all but 2 in 100 of them exactly, in 56 MiB for the limits over one window, fair ones and others.",
};

const COUNTER_SLOTS: Key<Number<usize>> = Key {
    name: "counter_slots",
    kind: Number { from: 1_024, to: 16_777_216 },
    fallback: Fallback::Is("262_144"),
    doc: "Places of each counter of `[counters]`, of 60 bytes each. About nine in ten can be filled before keys with few \
          events are forgotten.",
};

const REMEMBER: Key<Flag> = Key {
    name: "remember",
    kind: Flag,
    fallback: Fallback::Is("true"),
    doc: "Whether what is usual and what was counted are kept over a restart and an upgrade. Otherwise everybody \
          starts afresh each time.",
};

const STATE: Key<FilePath> = Key {
    name: "state",
    kind: FilePath,
    fallback: Fallback::Is("\"data/traffic.state\""),
    doc: "The file that what is usual is kept in, by one gate only. Rates of countries and routes; no address is in it.",
};

const COUNTS: Key<FilePath> = Key {
    name: "counts",
    kind: FilePath,
    fallback: Fallback::Absent,
    doc: "The file that what limits and counters have counted is kept in, by one gate only, for the length of their \
          windows; without this key it is beside `state`, with `.counts` at its end. Truncated addresses are in it as hashes, with the secret that they are hashed under. What is \
          counted per credential is not in it, unless it is in memory (`tmpfs`, such as `/run/riskgate/traffic.counts`).",
};

/// Reads `[traffic]`.
pub(super) fn read(section: &Section<'_>) -> Option<Traffic> {
    let (window, fair) = (section.read(&WINDOW), section.read(&FAIR));
    let weight = section.read(&CREDENTIAL_WEIGHT);
    let (slots, counter_slots) = (section.read(&SLOTS), section.read(&COUNTER_SLOTS));
    let remember = section.read(&REMEMBER);
    let (state, counts) = (section.read(&STATE), section.optional(&COUNTS));
    let (state, counts) = files(section, state?, counts?)?;
    Some(Traffic {
        window: window?,
        sharing: sharing_of(fair?),
        slots: slots?,
        counter_slots: counter_slots?,
        credential_weight: weight?,
        remember: remember?,
        state,
        counts,
    })
}

/// The files that things are kept in, if they are two.
fn files(section: &Section<'_>, state: PathBuf, counts: Option<PathBuf>) -> Option<(PathBuf, PathBuf)> {
    let counts = counts.unwrap_or_else(|| state.with_extension("counts"));
    let mut is_good = true;
    for (key, path) in [(&STATE, &state), (&COUNTS, &counts)] {
        if path.file_name().is_none() {
            let Key { name, .. } = key;
            let hint = format!("name a file in it, such as `data/traffic.{name}`");
            section.complain(key, format!("`{name}` names a folder"), hint);
            is_good = false;
        }
    }
    if is_good && state == counts {
        section.complain(&STATE, "`state` and `counts` name the same file", "give each a file of its own");
        is_good = false;
    }
    is_good.then_some((state, counts))
}
