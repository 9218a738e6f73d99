//! Questions about one signal: what most conditions are made of.
//!
//! Each reads the signal where the request has it and compares it with something prepared at load. The usual answer is
//! found at once; what takes a search, and signals of another type than the vocabulary says, are asked fully.

use super::known::{Endings, KnownFloat, KnownText, KnownTexts, Prefix};
use super::node::{Comparison, Node, Place, Rule, Source};
use super::operators;
use super::run::{Found, Frame, Val};
use crate::signals::Value;

/// A question about one signal.
#[derive(Debug)]
pub(super) enum Ask {
    /// Whether it is true; or false, if that is what is asked.
    Holds { of: Source, negated: bool },
    /// Whether it equals a constant text.
    Is { of: Source, negated: bool, text: Box<KnownText> },
    /// How it compares with a constant integer.
    Int { of: Source, how: Comparison, with: i64 },
    /// How it compares with a constant float.
    Float { of: Source, with: Box<KnownFloat> },
    /// Whether it is one of constant texts.
    OneOf { of: Source, set: Box<KnownTexts> },
    /// Whether it starts with a constant.
    Starts { of: Source, with: Box<Prefix>, place: Place },
    /// Whether it ends with one of constants.
    Ends { of: Source, with: Box<Endings>, place: Place },
    /// Whether it contains a constant, one of those that a search is for.
    Find { of: Source, search: u32, needle: u32, place: Place },
}

impl Ask {
    /// The answer, if it takes no more than a look.
    #[inline(always)]
    fn at_once(&self, frame: &Frame<'_>) -> Option<bool> {
        match self {
            Self::Holds { of: Source::Need(slot, _), negated } => match frame.values.get(*slot as usize)? {
                Value::Bool(value) => Some(value != negated),
                Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::Table(_) => None,
            },
            Self::Int { of: Source::Need(slot, _), how, with } => match frame.values.get(*slot as usize)? {
                Value::Int(number) => Some(how.holds(number.cmp(with))),
                Value::Bool(_) | Value::Float(_) | Value::Text(_) | Value::Table(_) => None,
            },
            Self::Float { of: Source::Need(slot, _), with } => match frame.values.get(*slot as usize)? {
                Value::Float(number) => with.at_once(*number),
                Value::Bool(_) | Value::Int(_) | Value::Text(_) | Value::Table(_) => None,
            },
            Self::Is { of, negated, text } => frame.text(*of).map(|of| text.is(of) != *negated),
            Self::OneOf { of, set } => frame.text(*of).map(|of| set.contains(of)),
            Self::Starts { of, with, .. } => frame.text(*of).map(|of| with.begins(of)),
            Self::Ends { of, with, .. } => frame.text(*of).map(|of| with.end(of)),
            // The search is about this signal alone, so what it found is about it.
            Self::Find { search, needle, .. } => {
                frame.findings.get(*search as usize)?.known(*needle as usize)
            }
            Self::Holds { of: Source::Lower(_), .. }
            | Self::Int { of: Source::Lower(_), .. }
            | Self::Float { of: Source::Lower(_), .. } => None,
        }
    }
}

impl<'e> Frame<'e> {
    /// The answer to a question.
    #[inline(never)]
    pub(super) fn ask(&mut self, ask: &'e Ask) -> Found<bool> {
        match ask.at_once(self) {
            Some(answer) => Ok(answer),
            None => self.ask_fully(ask),
        }
    }

    /// Rules one after the other.
    pub(super) fn rules(&mut self, rules: &'e [Rule]) -> Found<()> {
        for rule in rules {
            let holds = match rule.ask.at_once(self) {
                Some(answer) => answer,
                None => self.ask_fully(&rule.ask)?,
            };
            if holds {
                self.run(&rule.then)?;
            }
        }
        Ok(())
    }

    /// The same for the value of the last one.
    pub(super) fn value_of_rules(&mut self, rules: &'e [Rule]) -> Found<Val<'e>> {
        let Some((last, others)) = rules.split_last() else { return Ok(Val::Unit) };
        self.rules(others)?;
        if self.ask(&last.ask)? { self.eval(&last.then) } else { Ok(Val::Unit) }
    }

    #[inline(never)]
    fn ask_fully(&mut self, ask: &'e Ask) -> Found<bool> {
        match ask {
            Ask::Holds { of, negated } => {
                let value = self.signal(*of);
                self.truth(value).map(|value| value != *negated)
            }
            Ask::Is { of, negated, text } => {
                Ok(matches!(self.signal(*of), Val::Text(of) if text.is(of)) != *negated)
            }
            Ask::Int { of, how, with } => Ok(operators::compare(*how, self.signal(*of), Val::Int(*with))),
            Ask::Float { of, with } => Ok(with.compares(self.signal(*of))),
            Ask::OneOf { of, set } => Ok(matches!(self.signal(*of), Val::Text(of) if set.contains(of))),
            Ask::Starts { of, with, place } => match self.signal(*of) {
                Val::Text(of) => Ok(with.begins(of)),
                other => self.no_function("starts_with", &[other, Val::Text(with.text())], *place),
            },
            Ask::Ends { of, with, place } => {
                let of = self.signal(*of);
                self.ends(of, with, *place)
            }
            Ask::Find { of, search, needle, place } => {
                let of = self.signal(*of);
                self.find(of, *search as usize, &[*needle as usize], *place)
            }
        }
    }
}

/// The question that a condition is, if it is one about a signal.
pub(super) fn question(condition: Node) -> Result<Ask, Node> {
    match condition {
        Node::Ask(ask) => Ok(ask),
        Node::Signal(of) => Ok(Ask::Holds { of, negated: false }),
        other => Err(other),
    }
}
