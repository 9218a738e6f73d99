//! Running a program: each node to its value, with the meaning that the interpreter gives it.
//!
//! Texts are borrowed from the request, from the program, or from an arena that is emptied after each call, so a
//! judgement that hits nothing allocates nothing. Signals are read where the request has them. A condition goes
//! through [`Frame::test`], a statement through [`Frame::run`]: neither makes a value.

use bumpalo::Bump;
use bumpalo::collections::Vec as ArenaVec;

use super::node::{Arithmetic, Constant, Function, Map, Node, Operand, Place, Source, Unary};
use super::search::Finding;
pub(super) use super::value::Val;
use super::{Occasion, Program, operators};
use crate::actions::{Say, Verb};
use crate::decision::{Says, ScriptError};
use crate::rules::counters::refusal;
use crate::rules::sandbox::Interpreter;
use crate::signals::Value;

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
    pub(super) program: &'e Program,
    /// The signals of the request.
    pub(super) values: &'e [Value<'e>],
    pub(super) occasion: &'e Occasion<'e>,
    pub(super) interpreter: Interpreter<'e>,
    pub(super) arena: &'e Bump,
    /// Texts in small letters, those that were asked for.
    pub(super) lowered: &'e mut [Option<&'e str>],
    /// What each search of the program has found.
    pub(super) findings: &'e mut [Finding<'e>],
    pub(super) locals: ArenaVec<'e, Val<'e>>,
    pub(super) base: usize,
    pub(super) depth: usize,
    pub(super) operations: u64,
    pub(super) returned: Val<'e>,
    pub(super) said: &'e mut Says,
    pub(super) error: Option<Box<ScriptError>>,
}

/// The most that a [`Function`] takes.
const MOST_PARAMETERS: usize = 3;
/// How long most values are that are no texts, once they are shown.
const SHOWN: usize = 24;

pub(super) type Found<T> = Result<T, Halt>;

impl<'e> Frame<'e> {
    /// The value of a source.
    #[inline]
    pub(super) fn signal(&mut self, of: Source) -> Val<'e> {
        match of {
            Source::Need(slot, _) => self.values.get(slot as usize).map_or(Val::Unit, Val::of),
            Source::Lower(nth) => match self.lowered.get(nth as usize) {
                Some(Some(text)) => Val::Text(text),
                Some(None) | None => self.make_lower(nth),
            },
        }
    }

    /// A source that is a text, and needs no making.
    #[inline]
    pub(super) fn text(&self, of: Source) -> Option<&'e str> {
        match of {
            Source::Need(slot, _) => match self.values.get(slot as usize)? {
                Value::Text(text) => Some(text),
                Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Table(_) => None,
            },
            Source::Lower(nth) => *self.lowered.get(nth as usize)?,
        }
    }

    #[cold]
    #[inline(never)]
    fn make_lower(&mut self, nth: u32) -> Val<'e> {
        let slot = self.program.lowered.get(nth as usize).map_or(usize::MAX, |slot| *slot as usize);
        let Some(value) = self.values.get(slot) else { return Val::Unit };
        // Only texts have such a source.
        let Val::Text(text) = Val::of(value) else { return Val::of(value) };
        let text = self.lower(text);
        if let Some(made) = self.lowered.get_mut(nth as usize) {
            *made = Some(text);
        }
        Val::Text(text)
    }

    #[inline]
    fn local(&self, slot: usize) -> Val<'e> {
        self.locals.get(self.base + slot).copied().unwrap_or(Val::Unit)
    }

    /// The value of an operand. Most are signals and variables.
    #[inline]
    pub(super) fn operand(&mut self, operand: &'e Operand) -> Found<Val<'e>> {
        match operand {
            Operand::Signal(source) => Ok(self.signal(*source)),
            Operand::Local(slot) => Ok(self.local(*slot)),
            Operand::Node(node) => self.eval(node),
        }
    }

    /// The value of a node. Most are known without a further look.
    #[inline]
    pub(super) fn value(&mut self, node: &'e Node) -> Found<Val<'e>> {
        match node {
            Node::Constant(constant) => Ok(constant.value()),
            Node::Signal(source) => Ok(self.signal(*source)),
            Node::Local(slot) => Ok(self.local(*slot)),
            other => self.eval(other),
        }
    }

    /// Runs a statement whose value nobody wants.
    pub(super) fn run(&mut self, node: &'e Node) -> Found<()> {
        match node {
            Node::Rules(rules) => self.rules(rules),
            Node::If(of) => {
                let next = if self.test(&of.condition)? { &of.then } else { &of.otherwise };
                self.run(next)
            }
            Node::Block(nodes) => nodes.iter().try_for_each(|node| self.run(node)),
            Node::Constant(_) => Ok(()),
            Node::SayConstant { say, place } => self.say_constant(say, *place),
            other => self.eval(other).map(drop),
        }
    }

    /// The value of a node.
    #[expect(clippy::too_many_lines, reason = "one arm for each kind of node")]
    pub(super) fn eval(&mut self, node: &'e Node) -> Found<Val<'e>> {
        match node {
            Node::Constant(constant) => Ok(constant.value()),
            Node::Local(slot) => Ok(self.local(*slot)),
            Node::Signal(source) => Ok(self.signal(*source)),
            Node::Response(slot) => Ok(self.occasion.answer().values().get(*slot).map_or(Val::Unit, Val::of)),
            Node::Named { signal, lower, name } => self.named(*signal, *lower, name),
            Node::Ask(_)
            | Node::Not(_)
            | Node::And(_)
            | Node::Or(_)
            | Node::Compare { .. }
            | Node::TextIs { .. }
            | Node::IntCompares { .. }
            | Node::FloatCompares { .. }
            | Node::InTexts { .. }
            | Node::InInts { .. }
            | Node::InRange { .. }
            | Node::InText { .. }
            | Node::Ends { .. }
            | Node::Starts { .. }
            | Node::Find { .. }
            | Node::FindAny(_)
            | Node::Holds(_) => self.test(node).map(Val::Bool),
            Node::Arithmetic { how, sides, place } => self.arithmetic(*how, sides, *place),
            Node::Unary { how, of, place } => self.unary(*how, of, *place),
            Node::Function { how, of, place } => self.function(*how, of, *place),
            Node::Interpolate(parts) => self.interpolate(parts),
            Node::MapGet { map, key, place } => self.map_get(map, key, *place),
            Node::Coalesce(of) => self.coalesce(of),
            Node::Block(nodes) => self.block(nodes),
            Node::Set(slot, value) => {
                let value = self.eval(value)?;
                self.set(*slot, value);
                Ok(Val::Unit)
            }
            Node::If(of) => {
                let next = if self.test(&of.condition)? { &of.then } else { &of.otherwise };
                self.eval(next)
            }
            Node::Rules(rules) => self.value_of_rules(rules),
            Node::Switch(switch) => self.switch(switch),
            Node::While { condition, body, place } => self.repeat(condition.as_deref(), body, *place),
            Node::For(of) => self.each(of),
            Node::Do { parts, until, place } => self.turns(parts, *until, *place),
            Node::Throw(value, place) => self.throw(value, *place),
            Node::Return(value) => self.end(value.as_deref()),
            Node::Break => Err(Halt::Break),
            Node::Continue => Err(Halt::Continue),
            Node::Call { function, args, place } => self.call(*function, args, *place),
            Node::Interpreted(of) => self.interpret(of),
            Node::SayConstant { say, place } => self.say_constant(say, *place).map(|()| Val::Unit),
            Node::Say { verb, args, place } => self.say(verb, args, *place),
        }
    }

    fn end(&mut self, value: Option<&'e Node>) -> Found<Val<'e>> {
        self.returned = value.map_or(Ok(Val::Unit), |value| self.eval(value))?;
        Err(Halt::Return)
    }

    #[inline(never)]
    fn map_get(&mut self, map: &'e Map, key: &'e Node, place: Place) -> Found<Val<'e>> {
        match self.eval(key)? {
            Val::Text(key) => Ok(map.get(key).map_or(Val::Unit, Constant::value)),
            _ => self.fail("a map is read with a string".to_owned(), place),
        }
    }

    fn block(&mut self, nodes: &'e [Node]) -> Found<Val<'e>> {
        let Some((last, others)) = nodes.split_last() else { return Ok(Val::Unit) };
        for node in others {
            self.run(node)?;
        }
        self.eval(last)
    }

    #[inline(never)]
    fn named(&mut self, signal: usize, lower: bool, name: &'e Node) -> Found<Val<'e>> {
        let Val::Text(name) = self.eval(name)? else {
            return self.fail("a signal is named by a string".to_owned(), Place::default());
        };
        let name = if lower { self.arena.alloc_str(&name.to_ascii_lowercase()) } else { name };
        // A signal has one root: of the other context it is no need.
        let Occasion { request, response, .. } = self.occasion;
        let value = request.value(signal, name).or_else(|| response.and_then(|of| of.value(signal, name)));
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

    #[inline(never)]
    fn arithmetic(&mut self, how: Arithmetic, sides: &'e (Node, Node), place: Place) -> Found<Val<'e>> {
        let (left, right) = (self.value(&sides.0)?, self.value(&sides.1)?);
        if let (Arithmetic::Add, Val::Text(_), _) | (Arithmetic::Add, _, Val::Text(_)) = (how, left, right) {
            return self.join(&[left, right]);
        }
        operators::calculate(how, left, right).or_else(|message| match message {
            Some(message) => self.fail(message, place),
            None => self.no_function(how.symbol(), &[left, right], place),
        })
    }

    #[inline(never)]
    fn interpolate(&mut self, parts: &'e [Node]) -> Found<Val<'e>> {
        let mut values = ArenaVec::with_capacity_in(parts.len(), self.arena);
        for part in parts {
            values.push(self.eval(part)?);
        }
        self.join(&values)
    }

    /// The texts of values, one after the other.
    fn join(&mut self, values: &[Val<'e>]) -> Found<Val<'e>> {
        let long =
            values.iter().map(|value| if let Val::Text(text) = value { text.len() } else { SHOWN }).sum();
        let mut text = bumpalo::collections::String::with_capacity_in(long, self.arena);
        for value in values {
            operators::write(*value, &mut text);
        }
        self.sized(text.into_bump_str())
    }

    /// A new text, if it is not too long. The interpreter does not say where one was.
    pub(super) fn sized(&mut self, text: &'e str) -> Found<Val<'e>> {
        if text.len() > self.occasion.bounds.string {
            return self.fail("length of string too large".to_owned(), Place::default());
        }
        Ok(Val::Text(text))
    }

    #[inline(never)]
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

    #[inline(never)]
    fn say(&mut self, verb: &'static Verb, args: &'e [Node], place: Place) -> Found<Val<'e>> {
        let mut given = Vec::with_capacity(args.len());
        for arg in args {
            given.push(self.eval(arg)?.given());
        }
        match (verb.say)(&given) {
            Ok(say) => self.heard(say, place).map(|()| Val::Unit),
            Err(message) => self.fail(format!("runtime error: {message}"), place),
        }
    }

    fn say_constant(&mut self, say: &Say, place: Place) -> Found<()> {
        self.heard(say.clone(), place)
    }

    fn heard(&mut self, say: Say, place: Place) -> Found<()> {
        if let Some(message) = refusal(self.occasion.counters, &say) {
            return self.fail(format!("runtime error: {message}"), place);
        }
        let trusted = matches!(say, Say::Allow { .. });
        self.said.push(say);
        if trusted { Err(Halt::Allowed) } else { Ok(()) }
    }

    /// Counts one operation.
    pub(super) fn work(&mut self, place: Place) -> Found<()> {
        self.operations += 1;
        if self.operations > self.occasion.bounds.operations {
            let most = self.occasion.bounds.operations;
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
    #[cold]
    #[inline(never)]
    pub(super) fn fail<T>(&mut self, message: String, place: Place) -> Found<T> {
        let (line, column) = (place.line.into(), place.column.into());
        self.error = Some(Box::new(ScriptError { message, line, column }));
        Err(Halt::Failed)
    }

    /// There is no such function for values of these types.
    #[cold]
    #[inline(never)]
    pub(super) fn no_function<T>(&mut self, name: &str, of: &[Val<'e>], place: Place) -> Found<T> {
        let types: Vec<&str> = of.iter().map(|value| value.type_name()).collect();
        self.fail(format!("function not found: {name} ({})", types.join(", ")), place)
    }

    #[inline(never)]
    fn function(&mut self, how: Function, of: &'e [Node], place: Place) -> Found<Val<'e>> {
        let mut values = [Val::Unit; MOST_PARAMETERS];
        for (value, node) in values.iter_mut().zip(of) {
            *value = self.value(node)?;
        }
        let values = values.get(..of.len()).unwrap_or_default();
        operators::apply(how, values).map_or_else(|| self.no_function(how.name(), values, place), Ok)
    }

    fn lower(&self, text: &'e str) -> &'e str {
        if !text.is_ascii() {
            return self.arena.alloc_str(&text.to_lowercase());
        }
        if !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return text;
        }
        let lower = self.arena.alloc_str(text);
        lower.make_ascii_lowercase();
        lower
    }

    #[inline(never)]
    fn unary(&mut self, how: Unary, of: &'e Operand, place: Place) -> Found<Val<'e>> {
        match (how, self.operand(of)?) {
            (Unary::Lower, Val::Text(text)) => Ok(Val::Text(self.lower(text))),
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
