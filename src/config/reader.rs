//! Reads tables by their layout: which keys there are, what each expects, and what holds when it is absent.
//!
//! A [`Layout`] is the single place that names a section's keys; reading, the complaint about an unknown key
//! and the reference manual are all made from it, so they cannot disagree. Reading never stops at a problem:
//! it reports to the [`Source`] and returns `None`, and whoever asked asks for the rest before giving up.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::{Source, Span};
use crate::facts::problem::nearest;

/// What a key expects and how it is read.
pub(super) trait Kind {
    /// What reading makes.
    type Value;

    /// What is expected, to follow "must be": `an integer from 0 to 9`.
    fn expects(&self) -> String;

    /// Reads the value, or reports what is wrong with it and is `None`.
    fn read(&self, value: &Value<'_>) -> Option<Self::Value>;
}

/// One key of a section.
pub(super) struct Key<K> {
    pub(super) name: &'static str,
    pub(super) kind: K,
    pub(super) fallback: Fallback,
    pub(super) doc: &'static str,
}

/// What holds when a key is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fallback {
    /// The section is refused.
    Required,
    /// The thing does not exist.
    Absent,
    /// This value, in TOML.
    Is(&'static str),
}

/// What the reference manual says about a key, whatever it expects.
pub(super) trait Entry {
    fn name(&self) -> &'static str;
    fn expects(&self) -> String;
    fn fallback(&self) -> Fallback;
    fn doc(&self) -> &'static str;
}

/// A section: its place in the file and all of its keys.
pub(super) struct Layout {
    /// The table at the root of the file.
    pub(super) table: &'static str,
    /// How users write it: `[server]`.
    pub(super) heading: &'static str,
    pub(super) doc: &'static str,
    pub(super) keys: &'static [&'static dyn Entry],
    /// Keys that a later version will know: their name, why they are refused now, and what to do instead.
    pub(super) reserved: &'static [(&'static str, &'static str, &'static str)],
}

/// A value in the file, and what to call it in a complaint.
pub(super) struct Value<'a> {
    source: &'a Source<'a>,
    written: &'a Spanned<DeValue<'a>>,
    subject: String,
}

/// A key in the file that its writer chose: the name of a list, a counter, a country.
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) span: Span,
}

/// A table being read.
pub(super) struct Section<'a> {
    source: &'a Source<'a>,
    layout: &'static Layout,
    title: String,
    table: Option<&'a DeTable<'a>>,
    span: Option<Span>,
}

/// The whole file being read.
pub(super) struct Document<'a> {
    pub(super) source: &'a Source<'a>,
    root: &'a DeTable<'a>,
}

impl<K: Kind> Entry for Key<K> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn expects(&self) -> String {
        self.kind.expects()
    }

    fn fallback(&self) -> Fallback {
        self.fallback
    }

    fn doc(&self) -> &'static str {
        self.doc
    }
}

impl<'a> Document<'a> {
    /// Opens a file and reports every table at its root that none of `layouts` has.
    pub(super) fn open(source: &'a Source<'a>, root: &'a DeTable<'a>, layouts: &[&'static Layout]) -> Self {
        for word in words(root) {
            if !layouts.iter().any(|layout| layout.table == word.text) {
                let meant = nearest(word.text, layouts.iter().map(|layout| layout.table));
                let meant = meant.and_then(|table| layouts.iter().find(|layout| layout.table == table));
                let hint = meant.map_or_else(
                    || "the sections are listed in docs/configuration.md".to_owned(),
                    |layout| format!("did you mean `{}`?", layout.heading),
                );
                source.error(
                    Some(word.span),
                    format!("unknown section `{}`", word.text.escape_debug()),
                    Some(hint),
                );
            }
        }
        Self { source, root }
    }

    /// The table of a `[section]`; where it is absent, every key falls back.
    pub(super) fn section(&self, layout: &'static Layout) -> Option<Section<'a>> {
        let written = self.root.get(layout.table);
        match written {
            Some(written) if written.get_ref().is_array() => self.value(layout, written).refuse(
                format!("there can be only one `{}`", layout.heading),
                Some(format!("write `{}` with one bracket, once", layout.heading)),
            ),
            Some(written) => self.value(layout, written).section(layout, layout.heading.to_owned()),
            None => Some(Section {
                source: self.source,
                layout,
                title: layout.heading.to_owned(),
                table: None,
                span: None,
            }),
        }
    }

    /// The tables of a `[[section]]`, in order.
    pub(super) fn sections(&self, layout: &'static Layout) -> Option<Vec<Section<'a>>> {
        let Some(written) = self.root.get(layout.table) else {
            return Some(Vec::new());
        };
        let value = self.value(layout, written);
        let Some(tables) = written.get_ref().as_array() else {
            return value.refuse(
                format!("`{}` must be a list of tables", layout.table),
                Some(format!("write `{}` above it, with two brackets", layout.heading)),
            );
        };
        let open = |written| self.value(layout, written).section(layout, layout.heading.to_owned());
        let sections: Vec<_> = tables.iter().map(open).collect();
        sections.into_iter().collect()
    }

    /// The members of a section whose keys are names that the user chose, in order.
    pub(super) fn members(&self, layout: &'static Layout) -> Option<Vec<(Word<'a>, Value<'a>)>> {
        let Some(written) = self.root.get(layout.table) else {
            return Some(Vec::new());
        };
        let Some(table) = written.get_ref().as_table() else {
            return self.value(layout, written).refuse(
                format!("`{}` must be a table", layout.table),
                Some(format!("write `{}`", layout.heading)),
            );
        };
        let members = words(table).into_iter().filter_map(|word| {
            let written = table.get(word.text)?;
            let subject = format!("`{}` in `{}`", word.text.escape_debug(), layout.heading);
            Some((word, Value { source: self.source, written, subject }))
        });
        Some(members.collect())
    }

    /// The names that the user chose in a section; `None` if it is no table, which reading it reports.
    pub(super) fn names(&self, layout: &'static Layout) -> Option<Vec<Word<'a>>> {
        match self.root.get(layout.table) {
            Some(written) => written.get_ref().as_table().map(words),
            None => Some(Vec::new()),
        }
    }

    /// Where a section is, if it is in the file.
    pub(super) fn span(&self, layout: &'static Layout) -> Option<Span> {
        self.root.get(layout.table).map(Spanned::span)
    }

    fn value(&self, layout: &'static Layout, written: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        Value { source: self.source, written, subject: format!("`{}`", layout.heading) }
    }
}

impl<'a> Section<'a> {
    /// Reads a key, or what it falls back to. `None` means that a problem was reported.
    pub(super) fn read<K: Kind>(&self, key: &Key<K>) -> Option<K::Value> {
        self.optional(key)?.or_else(|| {
            if self.misspells(key.name) {
                return None;
            }
            let message = format!("`{}` is missing in `{}`", key.name, self.title);
            let hint = format!("add `{} = ...`: {}", key.name, key.kind.expects());
            self.source.error(self.span.clone(), message, Some(hint));
            None
        })
    }

    /// Reads a key that may be absent: `Some(None)` if it is, `None` if a problem was reported.
    pub(super) fn optional<K: Kind>(&self, key: &Key<K>) -> Option<Option<K::Value>> {
        debug_assert!(
            self.layout.keys.iter().any(|entry| entry.name() == key.name),
            "`{}` has no entry",
            key.name
        );
        if let Some(value) = self.value(key.name) {
            return key.kind.read(&value).map(Some);
        }
        match key.fallback {
            Fallback::Required | Fallback::Absent => Some(None),
            Fallback::Is(text) => {
                let written = DeValue::parse(text).ok()?;
                let value =
                    Value { source: self.source, written: &written, subject: format!("`{}`", key.name) };
                key.kind.read(&value).map(Some)
            }
        }
    }

    /// Whether the file has the key.
    pub(super) fn has<K>(&self, key: &Key<K>) -> bool {
        self.value(key.name).is_some()
    }

    /// Reports a problem with what a key says, where it says it, or else where the section is.
    pub(super) fn complain<K>(&self, key: &Key<K>, message: impl Into<String>, hint: impl Into<String>) {
        self.source.error(self.span_of(key), message, Some(hint.into()));
    }

    /// Where a key's value is, or else where the section is.
    pub(super) fn span_of<K>(&self, key: &Key<K>) -> Option<Span> {
        self.value(key.name).map(|value| value.written.span()).or_else(|| self.span.clone())
    }

    /// The file being read.
    pub(super) fn source(&self) -> &'a Source<'a> {
        self.source
    }

    /// Where the section begins, if it is in the file.
    pub(super) fn span(&self) -> Option<Span> {
        self.span.clone()
    }

    fn value(&self, name: &'static str) -> Option<Value<'a>> {
        let written = self.table?.get(name)?;
        Some(Value { source: self.source, written, subject: format!("`{name}`") })
    }

    /// Whether an unknown key, which was reported, was probably meant to be this one.
    fn misspells(&self, name: &str) -> bool {
        let names = || self.layout.keys.iter().map(|entry| entry.name());
        let unknown =
            |text: &str| !names().any(|known| known == text) && nearest(text, names()) == Some(name);
        self.table.is_some_and(|table| words(table).iter().any(|word| unknown(word.text)))
    }

    fn report_unknown_keys(&self, table: &'a DeTable<'a>) {
        let names = || self.layout.keys.iter().map(|entry| entry.name());
        for Word { text, span } in words(table) {
            if names().any(|name| name == text) {
                continue;
            }
            if let Some((_, why, instead)) = self.layout.reserved.iter().find(|(name, ..)| *name == text) {
                self.source.error(Some(span), *why, Some((*instead).to_owned()));
                continue;
            }
            let hint = match nearest(text, names()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("it knows `{}`", names().collect::<Vec<_>>().join("`, `")),
            };
            let message = format!("unknown key `{}` in `{}`", text.escape_debug(), self.title);
            self.source.error(Some(span), message, Some(hint));
        }
    }
}

impl<'a> Value<'a> {
    /// What TOML says it is.
    pub(super) fn toml(&self) -> &'a DeValue<'a> {
        self.written.get_ref()
    }

    /// The text of a string; anything else is reported as not what `kind` expects.
    pub(super) fn text<K: Kind>(&self, kind: &K) -> Option<&'a str> {
        self.toml().as_str().or_else(|| self.mismatch(kind, None))
    }

    /// Reports that this is not what `kind` expects.
    pub(super) fn mismatch<T, K: Kind>(&self, kind: &K, hint: Option<String>) -> Option<T> {
        self.refuse(
            format!("{} must be {}, found {}", self.subject, kind.expects(), found(self.toml())),
            hint,
        )
    }

    /// Reports a problem with this value.
    pub(super) fn refuse<T>(&self, message: impl Into<String>, hint: Option<String>) -> Option<T> {
        self.source.error(Some(self.span()), message, hint);
        None
    }

    /// Reports a problem without showing the line, which holds a secret.
    pub(super) fn refuse_unshown<T>(&self, message: &str, hint: &str) -> Option<T> {
        let line = self.source.position(&self.span()).line;
        self.source.error(None, format!("{} at line {line} {message}", self.subject), Some(hint.to_owned()));
        None
    }

    /// What to call this value in a message.
    pub(super) fn subject(&self) -> &str {
        &self.subject
    }

    /// The file being read.
    pub(super) fn source(&self) -> &'a Source<'a> {
        self.source
    }

    /// Where it is.
    pub(super) fn span(&self) -> Span {
        self.written.span()
    }

    /// Element by element, if it is a list.
    pub(super) fn elements(&self) -> Option<Vec<Value<'a>>> {
        let list = self.toml().as_array()?;
        let subject = || format!("an entry of {}", self.subject);
        Some(list.iter().map(|written| Value { source: self.source, written, subject: subject() }).collect())
    }

    /// Reads it as a table called `title`.
    pub(super) fn section(&self, layout: &'static Layout, title: String) -> Option<Section<'a>> {
        let Some(table) = self.toml().as_table() else {
            return self
                .refuse(format!("{} must be a table, found {}", self.subject, found(self.toml())), None);
        };
        let section =
            Section { source: self.source, layout, title, table: Some(table), span: Some(self.span()) };
        section.report_unknown_keys(table);
        Some(section)
    }
}

/// The keys of a table in the order of the file.
fn words<'a>(table: &'a DeTable<'a>) -> Vec<Word<'a>> {
    let mut words: Vec<_> =
        table.keys().map(|key| Word { text: key.get_ref().as_ref(), span: key.span() }).collect();
    words.sort_by_key(|word| word.span.start);
    words
}

/// What a value is, as a person would say it.
fn found(value: &DeValue<'_>) -> String {
    let shorten = |text: &str| text.chars().take(40).collect::<String>().escape_debug().to_string();
    match value {
        DeValue::String(text) if text.is_empty() => "an empty text".into(),
        DeValue::String(text) => format!("the text `{}`", shorten(text)),
        DeValue::Integer(number) => format!("the number `{}`", shorten(&number.to_string())),
        DeValue::Float(number) => format!("the number `{}`", shorten(&number.to_string())),
        DeValue::Boolean(flag) => format!("`{flag}`"),
        DeValue::Datetime(_) => "a date or time".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}
