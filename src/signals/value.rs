//! The values that signals have, in the types that scripts know.
//!
//! Text is borrowed from the request where it stands, so reading costs no allocation. A value can be written to
//! JSON and read back to exactly the same value: that is what makes a record enough to judge again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::facts::json::is_plain;

/// Text of scripts and configuration, such as a reason id: cheap to clone.
pub type Text = rhai::ImmutableString;

/// The most bytes of one text signal. It leaves scripts room to work below the bound on their strings, so that no
/// request can make a script fail by its size.
pub const MAX_TEXT: usize = 32 * 1024;

/// The type of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A 64-bit signed integer.
    Int,
    /// A 64-bit float, always finite.
    Float,
    /// A string.
    Text,
}

/// What a signal read.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value<'a> {
    /// `true` or `false`.
    Bool(bool),
    /// A 64-bit signed integer.
    Int(i64),
    /// A 64-bit float.
    Float(f64),
    /// A string.
    Text(Cow<'a, str>),
    /// All values of a signal with an argument by argument, when a script computes the argument.
    Table(Arc<BTreeMap<String, Value<'static>>>),
}

impl Kind {
    /// What script authors call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float",
            Self::Text => "string",
        }
    }

    /// What is read when there is nothing to read.
    pub fn empty(self) -> Value<'static> {
        match self {
            Self::Bool => Value::Bool(false),
            Self::Int => Value::Int(0),
            Self::Float => Value::Float(0.0),
            Self::Text => Value::Text(Cow::Borrowed("")),
        }
    }

    /// Reads back what was written as JSON; `None` if it is of another type.
    pub fn from_json(self, json: &serde_json::Value) -> Option<Value<'static>> {
        if let serde_json::Value::Object(entries) = json {
            let table = entries.iter().map(|(name, value)| Some((name.clone(), self.from_json(value)?)));
            return table.collect::<Option<_>>().map(|table| Value::Table(Arc::new(table)));
        }
        match self {
            Self::Bool => json.as_bool().map(Value::Bool),
            Self::Int => json.as_i64().map(Value::Int),
            Self::Float => json.as_f64().map(Value::Float),
            Self::Text => json.as_str().map(|text| Value::Text(Cow::Owned(text.to_owned()))),
        }
    }
}

impl<'a> Value<'a> {
    /// A rate or ratio; what is not a number reads as 0.
    pub fn float(value: f64) -> Self {
        Self::Float(if value.is_finite() { value } else { 0.0 })
    }

    /// A string.
    /// One longer than [`MAX_TEXT`] is cut; the gate refuses requests that have one, but judges them first.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        let text = text.into();
        Self::Text(if text.len() <= MAX_TEXT { text } else { cut(text) })
    }

    /// All entries of a signal with an argument. The first entry of a name counts.
    pub fn table(entries: impl Iterator<Item = (String, Value<'static>)>) -> Self {
        let mut table = BTreeMap::new();
        for (name, value) in entries {
            table.entry(name).or_insert(value);
        }
        Self::Table(Arc::new(table))
    }

    /// The same value, borrowed from this one.
    pub fn borrowed(&self) -> Value<'_> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
            Self::Table(table) => Value::Table(Arc::clone(table)),
        }
    }

    /// Appends it as JSON.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) if is_plain(text.as_bytes()) => {
                out.reserve(text.len() + 2);
                out.push(b'"');
                out.extend_from_slice(text.as_bytes());
                out.push(b'"');
            }
            Self::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Self::Float(value) if value.to_bits() == 0 => out.extend_from_slice(b"0.0"),
            // Writing these types into memory cannot fail.
            value => drop(serde_json::to_writer(out, value)),
        }
    }

    /// The same value, borrowing nothing.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Float(value) => Value::Float(value),
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Table(table) => Value::Table(table),
        }
    }
}

#[cold]
fn cut(text: Cow<'_, str>) -> Cow<'_, str> {
    let end = text.floor_char_boundary(MAX_TEXT);
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(..end).unwrap_or(text)),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        let Value::Text(text) = Value::text("\u{e9}".repeat(MAX_TEXT)) else { panic!("no text") };
        assert_eq!(text.len(), MAX_TEXT);
        let Value::Text(text) = Value::text(format!("x{}", "\u{e9}".repeat(MAX_TEXT))) else {
            panic!("no text")
        };
        assert_eq!(text.len(), MAX_TEXT - 1);
    }

    proptest! {
        #[test]
        fn a_value_survives_json(float in any::<f64>(), int in any::<i64>(), text in "(\\PC|[\0-\x1f\"])*") {
            for (kind, value) in [
                (Kind::Float, Value::float(float)),
                (Kind::Int, Value::Int(int)),
                (Kind::Text, Value::text(text.as_str())),
                (Kind::Bool, Value::Bool(int > 0)),
                (Kind::Text, Value::table([(text.clone(), Value::text("x"))].into_iter())),
            ] {
                let json = serde_json::to_string(&value).unwrap();
                let mut written = Vec::new();
                value.write_json(&mut written);
                prop_assert_eq!(&written, json.as_bytes());
                let back = kind.from_json(&serde_json::from_str(&json).unwrap());
                prop_assert_eq!(back, Some(value));
            }
        }
    }
}
