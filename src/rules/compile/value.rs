//! Values while a program runs. They are copied, never owned: texts live in the request, the program or the arena.

use super::node::Constant;
use crate::actions::Given;
use crate::signals::Value;

/// A value while a program runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Val<'e> {
    Unit,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'e str),
}

impl<'e> Val<'e> {
    #[inline]
    pub(super) fn of(value: &'e Value<'_>) -> Self {
        match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::Float(value) => Self::Float(*value),
            Value::Text(text) => Self::Text(text),
            // Only `Named` reads tables.
            Value::Table(_) => Self::Unit,
        }
    }

    pub(super) fn given(self) -> Given {
        match self {
            Self::Text(text) => Given::Text(text.into()),
            Self::Int(number) => Given::Int(number),
            Self::Float(number) => Given::Float(number),
            Self::Bool(value) => Given::Bool(value),
            Self::Unit => Given::Other("()"),
        }
    }

    /// What the engine calls its type.
    pub(super) fn type_name(self) -> &'static str {
        match self {
            Self::Unit => "()",
            Self::Bool(_) => "bool",
            Self::Int(_) => "i64",
            Self::Float(_) => "f64",
            Self::Text(_) => "string",
        }
    }
}

impl From<Val<'_>> for Constant {
    fn from(value: Val<'_>) -> Self {
        match value {
            Val::Unit => Self::Unit,
            Val::Bool(value) => Self::Bool(value),
            Val::Int(value) => Self::Int(value),
            Val::Float(value) => Self::Float(value),
            Val::Text(text) => Self::Text(text.into()),
        }
    }
}

impl Constant {
    #[inline]
    pub(super) fn value(&self) -> Val<'_> {
        match self {
            Self::Unit => Val::Unit,
            Self::Bool(value) => Val::Bool(*value),
            Self::Int(value) => Val::Int(*value),
            Self::Float(value) => Val::Float(*value),
            Self::Text(text) => Val::Text(text),
        }
    }
}
