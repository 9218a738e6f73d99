//! `[limits."NAME"]`: what a limit may delay, instead of refusing it at once.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::de::DeValue;

use super::kinds::{Number, Period, Written};
use super::reader::{Document, Fallback, Key, Layout, Value, Word};
use crate::traffic::Delay;

/// The longest that a request may be delayed.
const LONGEST: Duration = Duration::from_secs(30);

pub(super) const LAYOUT: Layout = Layout {
    table: "limits",
    heading: "[limits.\"NAME\"]",
    doc: "What a limit lets wait that it would refuse: `NAME` is a reason that a script throttles with, `level.medium`, \
          `level.high`, `level.critical`, `country`, or `country.KP` for one with a window or `fair` of its own. Without \
          this section nothing waits.",
    keys: &[&DELAY, &WAITING],
    reserved: &[],
};

const DELAY: Key<Period> = Key {
    name: "delay",
    kind: Period { from: Duration::from_millis(1), to: LONGEST },
    fallback: Fallback::Required,
    doc: "How long a request may wait, at all its limits together. One that would have to wait longer is refused at once.",
};

const WAITING: Key<Number<usize>> = Key {
    name: "waiting",
    kind: Number { from: 1, to: 100_000 },
    fallback: Fallback::Is("1_000"),
    doc: "How many requests may wait at once; the next one is refused.",
};

/// Reads every `[limits."NAME"]`. Whether there is such a limit is not known here.
pub(super) fn read(document: &Document<'_>) -> Option<BTreeMap<String, Written<Delay>>> {
    let read = document.members(&LAYOUT)?.into_iter().map(|(name, value)| {
        if let Some(rest) = unquoted(&value) {
            let whole = format!("{}.{rest}", name.text).escape_debug().to_string();
            let hint = format!("write `[limits.\"{whole}\"]`");
            return value.refuse(format!("the limit `{whole}` has a dot and no quotes"), Some(hint));
        }
        let section = value.section(&LAYOUT, format!("[limits.\"{}\"]", name.text.escape_debug()))?;
        let (longest, most) = (section.read(&DELAY), section.read(&WAITING));
        Some((name.text.to_owned(), written(document, &name, Delay { longest: longest?, most: most? })))
    });
    read.collect::<Vec<_>>().into_iter().collect()
}

/// The rest of the name, if TOML took what is before a dot for a table of its own.
fn unquoted(value: &Value<'_>) -> Option<String> {
    let mut members = value.toml().as_table()?.iter();
    let inner = members.find(|(_, inner)| matches!(inner.get_ref(), DeValue::Table(_)));
    inner.map(|(key, _)| key.get_ref().to_string())
}

fn written(document: &Document<'_>, name: &Word<'_>, value: Delay) -> Written<Delay> {
    Written { value, position: document.source.position(&name.span) }
}
