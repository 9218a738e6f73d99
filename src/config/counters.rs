//! `[counters.NAME]`: events that scripts count, per client, country, network or route.

use std::collections::BTreeMap;
use std::time::Duration;

use super::kinds::{OneOf, Period, is_name, name_hint};
use super::limits::{PER, Per};
use super::reader::{Document, Fallback, Key, Layout};

/// What one counter counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Whose events are counted together.
    pub per: Per,
    /// How far back it looks.
    pub window: Duration,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "counters",
    heading: "[counters.NAME]",
    doc: "Events that scripts count with `risk.count(name)` and read with `req.count(name)`.",
    keys: &[&PER_KEY, &WINDOW],
    reserved: &[],
};

const PER_KEY: Key<OneOf<Per>> =
    Key { name: "per", kind: PER, fallback: Fallback::Required, doc: "Whose events are counted together." };

const WINDOW: Key<Period> = Key {
    name: "window",
    kind: Period { from: Duration::from_secs(1), to: Duration::from_secs(86_400) },
    fallback: Fallback::Required,
    doc: "How far back it looks.",
};

/// Reads every `[counters.NAME]`.
pub(super) fn read(document: &Document<'_>) -> Option<BTreeMap<String, Counter>> {
    let read = document.members(&LAYOUT)?.into_iter().map(|(name, value)| {
        let section = value.section(&LAYOUT, format!("[counters.{}]", name.text.escape_debug()));
        let counter = section.and_then(|section| {
            let (per, window) = (section.read(&PER_KEY), section.read(&WINDOW));
            Some(Counter { per: per?, window: window? })
        });
        if !is_name(name.text) {
            let message = format!("`{}` cannot name a counter", name.text.escape_debug());
            document.source.error(Some(name.span), message, Some(name_hint(name.text)));
            return None;
        }
        Some((name.text.to_owned(), counter?))
    });
    read.collect::<Vec<_>>().into_iter().collect()
}
