//! `[counters.NAME]`: events that scripts count, or distinct values, per client, country, network, route or credential.

use std::collections::BTreeMap;
use std::time::Duration;

use super::kinds::{OneOf, Period, is_name, name_hint};
use super::reader::{Document, Fallback, Key, Kind, Layout, Value};
use crate::traffic::{Combination, Counted, Dimension};

/// What one counter counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Whose events are counted together.
    pub per: Combination,
    /// What is counted.
    pub kind: Counted,
    /// How far back it looks.
    pub window: Duration,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "counters",
    heading: "[counters.NAME]",
    doc: "What scripts count with `risk.count(name)`, or `risk.count(name, item)` if it is distinct items, and read with \
          `req.count(name)`.",
    keys: &[&PER_KEY, &KIND, &WINDOW],
    reserved: &[],
};

const PER_KEY: Key<Together> = Key {
    name: "per",
    kind: Together(OneOf(&[
        ("client", Dimension::Client),
        ("country", Dimension::Country),
        ("asn", Dimension::Asn),
        ("route", Dimension::Route),
        ("token", Dimension::Token),
    ])),
    fallback: Fallback::Required,
    doc: "Whose events are counted together. A list tells combinations apart, such as each client on each route. What a \
          `token` is, `[client] token` says.",
};

const KIND: Key<OneOf<Counted>> = Key {
    name: "kind",
    kind: OneOf(&[("events", Counted::Events), ("distinct", Counted::Distinct)]),
    fallback: Fallback::Is("\"events\""),
    doc: "What is counted: every event, or each distinct item once.",
};

const WINDOW: Key<Period> = Key {
    name: "window",
    kind: Period { from: Duration::from_secs(1), to: Duration::from_secs(86_400) },
    fallback: Fallback::Required,
    doc: "How far back it looks.",
};

/// One word, or a list of them.
struct Together(OneOf<Dimension>);

impl Kind for Together {
    type Value = Combination;

    fn expects(&self) -> String {
        format!("{}, or a list of these", self.0.expects().replace(" or ", ", "))
    }

    fn read(&self, value: &Value<'_>) -> Option<Combination> {
        let Some(elements) = value.elements() else {
            return if value.toml().as_str().is_some() {
                self.0.read(value).map(Combination::from)
            } else {
                value.mismatch(self, None)
            };
        };
        let read: Vec<_> = elements.iter().map(|element| self.0.read(element)).collect();
        let dimensions: Vec<Dimension> = read.into_iter().collect::<Option<_>>()?;
        if dimensions
            .iter()
            .enumerate()
            .any(|(at, dimension)| dimensions.iter().take(at).any(|d| d == dimension))
        {
            return value.refuse(format!("{} names something twice", value.subject()), None);
        }
        Combination::new(&dimensions)
            .or_else(|| value.mismatch(self, Some("name one at least: `[\"client\"]`".into())))
    }
}

/// Reads every `[counters.NAME]`.
pub(super) fn read(document: &Document<'_>) -> Option<BTreeMap<String, Counter>> {
    let read = document.members(&LAYOUT)?.into_iter().map(|(name, value)| {
        let section = value.section(&LAYOUT, format!("[counters.{}]", name.text.escape_debug()));
        let counter = section.and_then(|section| {
            let (per, kind, window) = (section.read(&PER_KEY), section.read(&KIND), section.read(&WINDOW));
            Some(Counter { per: per?, kind: kind?, window: window? })
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
