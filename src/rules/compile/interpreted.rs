//! Calls from compiled functions to those that only the interpreter can run.
//!
//! Only plain values go there and come back, so neither side sees the other's inside. What the call does counts
//! towards the bound on operations of the whole run.

use rhai::{Dynamic, ImmutableString};

use super::node::{Interpreted, Place};
use super::run::{Found, Frame, Halt, Val};

impl<'e> Frame<'e> {
    #[inline(never)]
    pub(super) fn interpret(&mut self, of: &'e Interpreted) -> Found<Val<'e>> {
        let Interpreted { function, args } = of;
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(dynamic(self.eval(arg)?));
        }
        let (result, operations) = self.interpreter.call_within(self.operations, function, values);
        self.operations = operations;
        match result {
            Ok(value) => match self.plain(&value) {
                Some(value) => Ok(value),
                // The check at load has followed the types: this cannot be.
                None => self.fail(format!("`{function}` has no plain value"), Place::default()),
            },
            Err(error) => {
                self.error = Some(Box::new(error));
                Err(Halt::Failed)
            }
        }
    }

    fn plain(&self, value: &Dynamic) -> Option<Val<'e>> {
        if let Some(text) = value.read_lock::<ImmutableString>() {
            return Some(Val::Text(self.arena.alloc_str(&text)));
        }
        if value.is_unit() {
            return Some(Val::Unit);
        }
        let (int, float) = (value.as_int().map(Val::Int), value.as_float().map(Val::Float));
        int.or(float).or_else(|_| value.as_bool().map(Val::Bool)).ok()
    }
}

fn dynamic(value: Val<'_>) -> Dynamic {
    match value {
        Val::Unit => Dynamic::UNIT,
        Val::Bool(value) => value.into(),
        Val::Int(number) => number.into(),
        Val::Float(number) => number.into(),
        Val::Text(text) => text.into(),
    }
}
