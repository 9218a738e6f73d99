//! `[concurrency.NAME]`: how many requests may be in flight at once, per client, country, network or route.

use std::collections::BTreeMap;

use super::kinds::{Number, OneOf, is_name, name_hint};
use super::limits::{PER, Per};
use super::reader::{Document, Fallback, Key, Layout};
use crate::traffic::Most;

/// One limit of requests in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Whose requests are counted together.
    pub per: Per,
    /// How many of them at once.
    pub most: Most,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "concurrency",
    heading: "[concurrency.NAME]",
    doc: "How many requests may be in flight at once, for scripts to ask for with `risk.concurrency(name)`. A request \
          is in flight until its response has ended, or its connection if it was upgraded.",
    keys: &[&PER_KEY, &MOST],
    reserved: &[],
};

const PER_KEY: Key<OneOf<Per>> =
    Key { name: "per", kind: PER, fallback: Fallback::Required, doc: "Whose requests are counted together." };

const MOST: Key<Number<usize>> = Key {
    name: "most",
    kind: Number { from: 1, to: Most::MAX as usize },
    fallback: Fallback::Required,
    doc: "How many of them may be in flight; the next one is answered with 429.",
};

/// Reads every `[concurrency.NAME]`.
pub(super) fn read(document: &Document<'_>) -> Option<BTreeMap<String, Concurrency>> {
    let read = document.members(&LAYOUT)?.into_iter().map(|(name, value)| {
        let section = value.section(&LAYOUT, format!("[concurrency.{}]", name.text.escape_debug()));
        let limit = section.and_then(|section| {
            let (per, most) = (section.read(&PER_KEY), section.read(&MOST));
            let most = most.and_then(|most| Most::new(u32::try_from(most).ok()?).ok());
            Some(Concurrency { per: per?, most: most? })
        });
        if !is_name(name.text) {
            let message = format!("`{}` cannot name a concurrency limit", name.text.escape_debug());
            document.source.error(Some(name.span), message, Some(name_hint(name.text)));
            return None;
        }
        Some((name.text.to_owned(), limit?))
    });
    read.collect::<Vec<_>>().into_iter().collect()
}
