//! Running a program: each node to its value, with the meaning that the interpreter gives it.
//!
//! Texts are borrowed from the request, from the program, or from an arena that is emptied after each call, so a
//! judgement that hits nothing allocates nothing. A condition goes through [`Frame::test`], which never makes a
//! value of it.

use bumpalo::Bump;
use bumpalo::collections::Vec as ArenaVec;

use super::node::{Arithmetic, Body, Comparison, Constant, Function, Node, Place, TextTest, Unary};
use super::operators;
pub(super) use super::value::Val;
use crate::actions::{Say, Verb};
use crate::decision::ScriptError;
use crate::rules::sandbox::{Bounds, Interpreter};
use crate::signals::{RequestContext, Value};

/// Why a node has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// `return`; the value is in [`Frame::returned`].
    Return,
    Break,
    Continue,
    /// The request is trusted.
    Allowed,
    /// The script failed; why is in [`Frame::error`].
    Failed,
}

/// What a script sees of the world, and what it has said.
pub(super) struct Frame<'e> {
    pub(super) functions: &'e [Body],
    pub(super) request: &'e RequestContext,
    /// In `assess`, where there is none yet, the request's once more: nothing reads it.
    pub(super) response: &'e RequestContext,
    pub(super) counters: &'e [String],
    pub(super) bounds: &'e Bounds,
    pub(super) interpreter: &'e Interpreter<'e>,
    pub(super) arena: &'e Bump,
    pub(super) locals: ArenaVec<'e, Val<'e>>,
    pub(super) base: usize,
    pub(super) depth: usize,
    pub(super) operations: u64,
    pub(super) returned: Val<'e>,
    pub(super) said: Vec<Say>,
    pub(super) error: Option<ScriptError>,
}

pub(super) type Found<T> = Result<T, Halt>;

impl<'e> Frame<'e> {
    /// Whether a condition holds.
    #[expect(clippy::too_many_lines, reason = "one arm for each kind of condition")]
    pub(super) fn test(&mut self, node: &'e Node) -> Found<bool> {
        match node {
            Node::Constant(Constant::Bool(value)) => Ok(*value),
            Node::Not(of) => Ok(!self.test(of)?),
            Node::And(all) => {
                for one in all {
                    if !self.test(one)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Node::Or(any) => {
                for one in any {
                    if self.test(one)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Node::TextIs { text, is, negated } => {
                let equal = matches!(self.eval(text)?, Val::Text(text) if *text == **is);
                Ok(equal != *negated)
            }
            Node::IntCompares { how, number, with } => {
                let left = self.eval(number)?;
                Ok(match left {
                    Val::Int(left) => operators::order(*how, left.cmp(with)),
                    left => operators::compare(*how, left, Val::Int(*with)),
                })
            }
            Node::Compare { how, sides } => {
                let (left, right) = (self.eval(&sides.0)?, self.eval(&sides.1)?);
                Ok(operators::compare(*how, left, right))
            }
            Node::InTexts { item, set } => {
                Ok(matches!(self.eval(item)?, Val::Text(text) if set.contains(text)))
            }
            Node::InInts { item, set } => Ok(match self.eval(item)? {
                Val::Int(number) => set.contains(&number),
                // A float is in a list of integers if it equals one of them.
                Val::Float(number) => {
                    set.iter().any(|known| operators::floats(Comparison::Equal, *known as f64, number))
                }
                Val::Unit | Val::Bool(_) | Val::Text(_) => false,
            }),
            Node::InRange { item, from, to, inclusive } => Ok(match self.eval(item)? {
                Val::Int(number) => *from <= number && (number < *to || (*inclusive && number == *to)),
                Val::Unit | Val::Bool(_) | Val::Float(_) | Val::Text(_) => false,
            }),
            Node::InText { test, sides, place } => self.in_text(*test, sides, *place),
            Node::ContainsAny { text, any, place } => match self.eval(text)? {
                Val::Text(text) => Ok(any.is_match(text)),
                other => self.no_function("contains", &[other, Val::Text("")], *place),
            },
            Node::Holds { items, local, body, for_all } => self.holds(items, *local, body, *for_all),
            other => match self.eval(other)? {
                Val::Bool(value) => Ok(value),
                // The check at load has seen to it that conditions are boolean, as far as it can be known.
                found => self.fail(operators::not_boolean(found), Place::default()),
            },
        }
    }

    /// The value of a node.
    #[expect(clippy::too_many_lines, reason = "one arm for each kind of node")]
    pub(super) fn eval(&mut self, node: &'e Node) -> Found<Val<'e>> {
        match node {
            Node::Constant(constant) => Ok(constant.value()),
            Node::Local(slot) => Ok(self.locals.get(self.base + slot).copied().unwrap_or(Val::Unit)),
            Node::Signal(slot) => Ok(self.request.slot(*slot).map_or(Val::Unit, Val::of)),
            Node::Response(slot) => Ok(self.response.slot(*slot).map_or(Val::Unit, Val::of)),
            Node::Named { signal, lower, name } => self.named(*signal, *lower, name),
            Node::Not(_)
            | Node::And(_)
            | Node::Or(_)
            | Node::Compare { .. }
            | Node::TextIs { .. }
            | Node::IntCompares { .. }
            | Node::InTexts { .. }
            | Node::InInts { .. }
            | Node::InRange { .. }
            | Node::InText { .. }
            | Node::ContainsAny { .. }
            | Node::Holds { .. } => self.test(node).map(Val::Bool),
            Node::Arithmetic { how, sides, place } => self.arithmetic(*how, sides, *place),
            Node::Unary { how, of, place } => {
                let of = self.eval(of)?;
                self.unary(*how, of, *place)
            }
            Node::Function { how, of, place } => self.function(*how, of, *place),
            Node::Interpolate(parts) => self.interpolate(parts),
            Node::MapGet { map, key, place } => match self.eval(key)? {
                Val::Text(key) => Ok(map.get(key).map_or(Val::Unit, Constant::value)),
                _ => self.fail("a map is read with a string".to_owned(), *place),
            },
            Node::Coalesce(of) => self.coalesce(of),
            Node::Block(nodes) => self.block(nodes),
            Node::Set(slot, value) => {
                let value = self.eval(value)?;
                if let Some(local) = self.locals.get_mut(self.base + slot) {
                    *local = value;
                }
                Ok(Val::Unit)
            }
            Node::If { condition, then, otherwise } => {
                if self.test(condition)? {
                    self.eval(then)
                } else {
                    self.eval(otherwise)
                }
            }
            Node::Switch(switch) => self.switch(switch),
            Node::While { condition, body, place } => self.repeat(condition.as_deref(), body, *place),
            Node::For { item, counter, items, body, place } => {
                self.each(*item, *counter, items, body, *place)
            }
            Node::Do { parts, until, place } => self.turns(parts, *until, *place),
            Node::Throw(value, place) => self.throw(value, *place),
            Node::Return(value) => {
                self.returned = match value {
                    Some(value) => self.eval(value)?,
                    None => Val::Unit,
                };
                Err(Halt::Return)
            }
            Node::Break => Err(Halt::Break),
            Node::Continue => Err(Halt::Continue),
            Node::Call { function, args, place } => self.call(*function, args, *place),
            Node::Interpreted { function, args } => self.interpret(function, args),
            Node::SayConstant { say, place } => self.heard(Ok((**say).clone()), *place),
            Node::Say { verb, args, place } => self.say(verb, args, *place),
        }
    }

    fn block(&mut self, nodes: &'e [Node]) -> Found<Val<'e>> {
        let mut last = Val::Unit;
        for node in nodes {
            last = self.eval(node)?;
        }
        Ok(last)
    }

    fn named(&mut self, signal: usize, lower: bool, name: &'e Node) -> Found<Val<'e>> {
        let Val::Text(name) = self.eval(name)? else {
            return self.fail("a signal is named by a string".to_owned(), Place::default());
        };
        let name = if lower { self.arena.alloc_str(&name.to_ascii_lowercase()) } else { name };
        // A signal has one root: of the other context it is no need.
        let value = self.request.value(signal, name).or_else(|| self.response.value(signal, name));
        match value {
            Some(Value::Text(text)) => Ok(Val::Text(self.arena.alloc_str(&text))),
            Some(Value::Bool(value)) => Ok(Val::Bool(value)),
            Some(Value::Int(value)) => Ok(Val::Int(value)),
            Some(Value::Float(value)) => Ok(Val::Float(value)),
            Some(Value::Table(_)) | None => {
                self.fail("this is not a signal that was read for this request".to_owned(), Place::default())
            }
        }
    }

    fn in_text(&mut self, test: TextTest, sides: &'e (Node, Node), place: Place) -> Found<bool> {
        let (text, part) = (self.eval(&sides.0)?, self.eval(&sides.1)?);
        let (Val::Text(text), Val::Text(part)) = (text, part) else {
            return self.no_function(test.name(), &[text, part], place);
        };
        Ok(match test {
            TextTest::Contains => text.contains(part),
            TextTest::StartsWith => text.starts_with(part),
            TextTest::EndsWith => text.ends_with(part),
        })
    }

    fn holds(&mut self, items: &'e [Constant], local: usize, body: &'e Node, for_all: bool) -> Found<bool> {
        for item in items {
            self.work(Place::default())?;
            self.set(local, item.value());
            let value = match self.eval(body) {
                Err(Halt::Return) => self.returned,
                other => other?,
            };
            if (value == Val::Bool(true)) != for_all {
                return Ok(!for_all);
            }
        }
        Ok(for_all)
    }

    fn arithmetic(&mut self, how: Arithmetic, sides: &'e (Node, Node), place: Place) -> Found<Val<'e>> {
        let (left, right) = (self.eval(&sides.0)?, self.eval(&sides.1)?);
        if let (Arithmetic::Add, Val::Text(_), _) | (Arithmetic::Add, _, Val::Text(_)) = (how, left, right) {
            return self.join(&[left, right]);
        }
        operators::calculate(how, left, right).or_else(|message| match message {
            Some(message) => self.fail(message, place),
            None => self.no_function(how.symbol(), &[left, right], place),
        })
    }

    fn interpolate(&mut self, parts: &'e [Node]) -> Found<Val<'e>> {
        let mut values = ArenaVec::with_capacity_in(parts.len(), self.arena);
        for part in parts {
            values.push(self.eval(part)?);
        }
        self.join(&values)
    }

    /// The texts of values, one after the other.
    fn join(&mut self, values: &[Val<'e>]) -> Found<Val<'e>> {
        let mut text = bumpalo::collections::String::new_in(self.arena);
        for value in values {
            operators::write(*value, &mut text);
        }
        self.sized(text.into_bump_str())
    }

    /// A new text, if it is not too long. The interpreter does not say where one was.
    pub(super) fn sized(&mut self, text: &'e str) -> Found<Val<'e>> {
        if text.len() > self.bounds.string {
            return self.fail("length of string too large".to_owned(), Place::default());
        }
        Ok(Val::Text(text))
    }

    fn coalesce(&mut self, of: &'e [Node]) -> Found<Val<'e>> {
        let mut last = Val::Unit;
        for node in of {
            last = self.eval(node)?;
            if last != Val::Unit {
                break;
            }
        }
        Ok(last)
    }

    fn say(&mut self, verb: &'static Verb, args: &'e [Node], place: Place) -> Found<Val<'e>> {
        let mut given = Vec::with_capacity(args.len());
        for arg in args {
            given.push(self.eval(arg)?.given());
        }
        self.heard((verb.say)(&given), place)
    }

    fn heard(&mut self, say: Result<Say, String>, place: Place) -> Found<Val<'e>> {
        let say = match say {
            Ok(say) => say,
            Err(message) => return self.fail(format!("runtime error: {message}"), place),
        };
        if let Say::Count { counter } = &say
            && !self.counters.iter().any(|known| known == counter.as_str())
        {
            let message = format!("runtime error: unknown counter `{counter}`: declare it in `[counters]`");
            return self.fail(message, place);
        }
        let trusted = matches!(say, Say::Allow { .. });
        self.said.push(say);
        if trusted { Err(Halt::Allowed) } else { Ok(Val::Unit) }
    }

    /// Counts one operation.
    pub(super) fn work(&mut self, place: Place) -> Found<()> {
        self.operations += 1;
        if self.operations > self.bounds.operations {
            let most = self.bounds.operations;
            return self.fail(format!("does more than {most} operations: is a loop endless?"), place);
        }
        Ok(())
    }

    pub(super) fn set(&mut self, slot: usize, value: Val<'e>) {
        if let Some(local) = self.locals.get_mut(self.base + slot) {
            *local = value;
        }
    }

    /// Ends the script with an error.
    pub(super) fn fail<T>(&mut self, message: String, place: Place) -> Found<T> {
        self.error = Some(ScriptError { message, line: place.line.into(), column: place.column.into() });
        Err(Halt::Failed)
    }

    /// There is no such function for values of these types.
    pub(super) fn no_function<T>(&mut self, name: &str, of: &[Val<'e>], place: Place) -> Found<T> {
        let types: Vec<&str> = of.iter().map(|value| value.type_name()).collect();
        self.fail(format!("function not found: {name} ({})", types.join(", ")), place)
    }

    fn function(&mut self, how: Function, of: &'e [Node], place: Place) -> Found<Val<'e>> {
        let mut values = ArenaVec::with_capacity_in(of.len(), self.arena);
        for node in of {
            values.push(self.eval(node)?);
        }
        operators::apply(how, &values).map_or_else(|| self.no_function(how.name(), &values, place), Ok)
    }

    fn unary(&mut self, how: Unary, of: Val<'e>, place: Place) -> Found<Val<'e>> {
        match (how, of) {
            (Unary::Lower, Val::Text(text))
                if text.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) =>
            {
                Ok(of)
            }
            (Unary::Lower, Val::Text(text)) if text.is_ascii() => {
                let lower = self.arena.alloc_str(text);
                lower.make_ascii_lowercase();
                Ok(Val::Text(lower))
            }
            (Unary::Lower, Val::Text(text)) => Ok(Val::Text(self.arena.alloc_str(&text.to_lowercase()))),
            (Unary::Upper, Val::Text(text)) => Ok(Val::Text(self.arena.alloc_str(&text.to_uppercase()))),
            (Unary::Text, value) => self.join(&[value]),
            (how, of) => match operators::unary(how, of) {
                Ok(Some(value)) => Ok(value),
                Ok(None) => self.no_function(how.name(), &[of], place),
                Err(message) => self.fail(message, place),
            },
        }
    }
}
