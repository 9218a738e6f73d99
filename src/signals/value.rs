//! The values that signals have, in the types that scripts know.
//!
//! Text is cheap to clone, so one reading serves every rule. A value can be written to JSON and read back to
//! exactly the same value: that is what makes a record enough to judge again.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

/// Text that is cheap to clone.
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
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A 64-bit signed integer.
    Int(i64),
    /// A 64-bit float.
    Float(f64),
    /// A string.
    Text(Text),
    /// All values of a signal with an argument by argument, when a script computes the argument.
    Table(Arc<BTreeMap<String, Value>>),
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
    pub fn empty(self) -> Value {
        match self {
            Self::Bool => Value::Bool(false),
            Self::Int => Value::Int(0),
            Self::Float => Value::Float(0.0),
            Self::Text => Value::Text(Text::default()),
        }
    }

    /// Reads back what was written as JSON; `None` if it is of another type.
    pub fn from_json(self, json: &serde_json::Value) -> Option<Value> {
        if let serde_json::Value::Object(entries) = json {
            let table = entries.iter().map(|(name, value)| Some((name.clone(), self.from_json(value)?)));
            return table.collect::<Option<_>>().map(|table| Value::Table(Arc::new(table)));
        }
        match self {
            Self::Bool => json.as_bool().map(Value::Bool),
            Self::Int => json.as_i64().map(Value::Int),
            Self::Float => json.as_f64().map(Value::Float),
            Self::Text => json.as_str().map(|text| Value::Text(text.into())),
        }
    }
}

impl Value {
    /// A rate or ratio; what is not a number reads as 0.
    pub fn float(value: f64) -> Self {
        Self::Float(if value.is_finite() { value } else { 0.0 })
    }

    /// A string.
    /// One longer than [`MAX_TEXT`] is cut; the gate refuses requests that have one, but judges them first.
    pub fn text(text: &str) -> Self {
        let end = text.floor_char_boundary(MAX_TEXT);
        Self::Text(text.get(..end).unwrap_or(text).into())
    }

    /// All entries of a signal with an argument. The first entry of a name counts.
    pub fn table(entries: impl Iterator<Item = (String, Value)>) -> Self {
        let mut table = BTreeMap::new();
        for (name, value) in entries {
            table.entry(name).or_insert(value);
        }
        Self::Table(Arc::new(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        let Value::Text(text) = Value::text(&"\u{e9}".repeat(MAX_TEXT)) else { panic!("no text") };
        assert_eq!(text.len(), MAX_TEXT);
        let Value::Text(text) = Value::text(&format!("x{}", "\u{e9}".repeat(MAX_TEXT))) else {
            panic!("no text")
        };
        assert_eq!(text.len(), MAX_TEXT - 1);
    }

    proptest! {
        #[test]
        fn a_value_survives_json(float in any::<f64>(), int in any::<i64>(), text in "\\PC*") {
            for (kind, value) in [
                (Kind::Float, Value::float(float)),
                (Kind::Int, Value::Int(int)),
                (Kind::Text, Value::text(&text)),
                (Kind::Bool, Value::Bool(int > 0)),
                (Kind::Text, Value::table([(text.clone(), Value::text("x"))].into_iter())),
            ] {
                let json = serde_json::to_string(&value).unwrap();
                let back = kind.from_json(&serde_json::from_str(&json).unwrap());
                prop_assert_eq!(back, Some(value));
            }
        }
    }
}
