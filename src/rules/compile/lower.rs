//! From the syntax tree to a program: names become slots, constants become sets.
//!
//! Whatever is not covered ends the lowering of the function with a [`Kept`]: the construct and its place. The
//! function then runs in the interpreter, with the same meaning.

use std::collections::{HashMap, HashSet};

use rhai::{ASTFlags, Dynamic, Expr, Position, Stmt};

use super::merge;
use super::names::changed;
use super::node::{Arithmetic, Body, Constant, Node, Place, Source, Unary};
use crate::actions::Phase;
use crate::rules::parse::{Function, Parsed, literal};
use crate::signals::{Needs, Root, Vocabulary};

pub(super) use super::survey::{Instance, Passed};
pub(super) use crate::rules::report::Kept;

/// A text in which constants are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Signal(Source),
    /// The variable of a function.
    Local(usize, usize),
}

/// Constants that are looked for in one text.
pub(super) struct Sought {
    pub(super) text: Subject,
    pub(super) needles: Vec<Box<str>>,
}

pub(super) type Lowered<T> = Result<T, Kept>;

/// What an expression is at load: a node to run, or something that only exists at load.
pub(super) enum Thing {
    Node(Node),
    Object(Root, &'static str),
    Risk(Phase),
    List(Vec<Dynamic>),
    Map(rhai::Map),
    Range(Box<(Node, Node)>, bool),
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Binding {
    Local(usize),
    /// A variable that is a signal and stays one.
    Signal(Source),
    Object(Root, &'static str),
    Risk(Phase),
}

pub(super) struct Lowering<'a> {
    pub(super) parsed: &'a Parsed<'a>,
    pub(super) vocabulary: &'a Vocabulary,
    /// Where values of `req` and `res` are found.
    pub(super) needs: [&'a Needs; 2],
    pub(super) plain: &'a dyn Fn(&str, usize) -> bool,
    pub(super) bodies: Vec<Option<Body>>,
    pub(super) instances: HashMap<Instance, usize>,
    refused: HashMap<Instance, Kept>,
    pub(super) names: Vec<(String, Binding)>,
    /// The slots of the signals that are asked about in small letters.
    pub(super) lowered: Vec<u32>,
    pub(super) sought: Vec<Sought>,
    /// Names of variables that are written to somewhere in the script.
    changed: HashSet<String>,
    /// The function that is being lowered.
    pub(super) body: usize,
    next: usize,
    locals: usize,
}

impl<'a> Lowering<'a> {
    /// `plain` says which functions always return a plain value, by name and number of parameters.
    pub(super) fn new(
        parsed: &'a Parsed<'a>,
        vocabulary: &'a Vocabulary,
        needs: [&'a Needs; 2],
        plain: &'a dyn Fn(&str, usize) -> bool,
    ) -> Self {
        Self {
            parsed,
            vocabulary,
            needs,
            plain,
            bodies: Vec::new(),
            instances: HashMap::new(),
            refused: HashMap::new(),
            names: Vec::new(),
            lowered: Vec::new(),
            sought: Vec::new(),
            changed: changed(&parsed.ast),
            body: 0,
            next: 0,
            locals: 0,
        }
    }

    /// Lowers a function for these arguments; its number. Each combination is lowered once.
    pub(super) fn function(&mut self, function: &Function, passed: &[Passed]) -> Lowered<usize> {
        let key = (function.name.to_string(), passed.to_vec());
        if let Some(known) = self.instances.get(&key) {
            return Ok(*known);
        }
        if let Some(kept) = self.refused.get(&key) {
            return Err(kept.clone());
        }
        let number = self.bodies.len();
        self.bodies.push(None);
        self.instances.insert(key.clone(), number);
        let sought: Vec<usize> = self.sought.iter().map(|sought| sought.needles.len()).collect();
        let outer = (std::mem::take(&mut self.names), self.body, self.next, self.locals);
        (self.body, self.next, self.locals) = (number, 0, 0);
        for (name, passed) in function.parameters.iter().zip(passed) {
            let binding = match passed {
                Passed::Value => Binding::Local(self.slot()),
                Passed::Signal(source) => Binding::Signal(*source),
                Passed::Object(root, group) => Binding::Object(*root, group),
                Passed::Risk(phase) => Binding::Risk(*phase),
            };
            self.names.push((name.to_string(), binding));
        }
        let node = self.block(&function.body);
        let locals = self.locals;
        (self.names, self.body, self.next, self.locals) = outer;
        match node {
            Ok(node) => {
                if let Some(body) = self.bodies.get_mut(number) {
                    *body = Some(Body { locals, node });
                }
                Ok(number)
            }
            Err(kept) => {
                self.forget(number, &sought);
                self.refused.insert(key, kept.clone());
                Err(kept)
            }
        }
    }

    /// Takes back what was lowered from that function on, and what was only sought there.
    fn forget(&mut self, number: usize, sought: &[usize]) {
        self.bodies.truncate(number);
        self.instances.retain(|_, known| *known < number);
        self.sought.truncate(sought.len());
        for (sought, needles) in self.sought.iter_mut().zip(sought) {
            sought.needles.truncate(*needles);
        }
    }

    pub(super) fn slot(&mut self) -> usize {
        let slot = self.next;
        self.next += 1;
        self.locals = self.locals.max(self.next);
        slot
    }

    pub(super) fn bind(&mut self, name: &str, binding: Binding) {
        self.names.push((name.to_owned(), binding));
    }

    /// Whether a variable of that name is written to, as far as the name tells.
    pub(super) fn is_changed(&self, name: &str) -> bool {
        self.changed.contains(name)
    }

    /// The small letters of a signal. They are made once.
    pub(super) fn lowered(&mut self, slot: u32) -> Source {
        let known = self.lowered.iter().position(|known| *known == slot);
        let nth = known.unwrap_or_else(|| {
            self.lowered.push(slot);
            self.lowered.len() - 1
        });
        Source::Lower(u32::try_from(nth).unwrap_or(u32::MAX))
    }

    pub(super) fn binding(&self, name: &str) -> Option<Binding> {
        self.names.iter().rev().find(|(known, _)| known == name).map(|(_, binding)| *binding)
    }

    pub(super) fn constant_named(&self, name: &str) -> Option<&Dynamic> {
        self.parsed.constants.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// A block: names end with it. Slots are not used again, so that a value can never be mistaken for another.
    pub(super) fn block(&mut self, statements: &[Stmt]) -> Lowered<Node> {
        let outer = self.names.len();
        let nodes: Lowered<Vec<Node>> = statements
            .iter()
            .filter(|statement| !matches!(statement, Stmt::Noop(_) | Stmt::Share(_)))
            .map(|statement| self.statement(statement))
            .collect();
        self.names.truncate(outer);
        let nodes = nodes?;
        Ok(if nodes.is_empty() { Node::UNIT } else { merge::rules(nodes) })
    }

    fn statement(&mut self, statement: &Stmt) -> Lowered<Node> {
        match statement {
            Stmt::If(flow, _) => Ok(merge::branch(
                self.node(&flow.expr)?,
                self.block(flow.body.statements())?,
                self.block(flow.branch.statements())?,
            )),
            Stmt::Switch(switch, position) => self.switch(&switch.0, &switch.1, *position),
            Stmt::While(flow, position) => {
                let forever = matches!(flow.expr, Expr::Unit(_));
                let condition = if forever { None } else { Some(Box::new(self.node(&flow.expr)?)) };
                let body = Box::new(self.block(flow.body.statements())?);
                Ok(Node::While { condition, body, place: place(*position) })
            }
            Stmt::For(parts, position) => self.each(parts, *position),
            Stmt::Var(definition, _, _) => {
                let (name, value, _) = &**definition;
                self.define(&name.name, value)
            }
            Stmt::Assignment(assignment) => {
                let (operation, sides) = &**assignment;
                let how = operation.get_op_assignment_info().map(|(.., op)| op);
                self.assign(&sides.lhs, &sides.rhs, how, operation.position())
            }
            Stmt::FnCall(call, position) => self.call_node(call, *position),
            Stmt::Block(block) => self.block(block.statements()),
            Stmt::Expr(expression) => self.node(expression),
            Stmt::Return(value, flags, position) if flags.intersects(ASTFlags::BREAK) => {
                self.throw(value.as_deref(), *position)
            }
            Stmt::Return(value, _, _) => {
                let value = value.as_ref().map(|value| self.node(value)).transpose()?;
                Ok(Node::Return(value.map(Box::new)))
            }
            Stmt::BreakLoop(None, flags, _) => {
                Ok(if flags.intersects(ASTFlags::BREAK) { Node::Break } else { Node::Continue })
            }
            Stmt::BreakLoop(Some(_), _, position) => Err(kept("`break` with a value", *position)),
            Stmt::TryCatch(_, position) => Err(kept("`try`", *position)),
            Stmt::Do(flow, flags, position) => self.turns(flow, *flags, *position),
            other => Err(kept("this statement", other.position())),
        }
    }

    /// An expression that has a value at run time.
    pub(super) fn node(&mut self, expression: &Expr) -> Lowered<Node> {
        match self.thing(expression)? {
            Thing::Node(node) => Ok(node),
            Thing::Object(..) | Thing::Risk(_) => {
                Err(kept("an object as a value", expression.start_position()))
            }
            Thing::List(_) | Thing::Map(_) | Thing::Range(..) => {
                Err(kept("a collection as a value", expression.start_position()))
            }
        }
    }

    pub(super) fn thing(&mut self, expression: &Expr) -> Lowered<Thing> {
        if let Some(value) = literal(expression) {
            return known(&value).ok_or_else(|| kept("this literal", expression.start_position()));
        }
        match expression {
            Expr::Variable(variable, ..) => self.variable(&variable.1, expression.start_position()),
            Expr::InterpolatedString(parts, _) => {
                let parts: Lowered<Vec<Node>> = parts.iter().map(|part| self.node(part)).collect();
                Ok(Thing::Node(Node::Interpolate(parts?.into())))
            }
            Expr::Stmt(block) => self.block(block.statements()).map(Thing::Node),
            Expr::FnCall(call, position) => self.call(call, *position),
            Expr::Dot(sides, flags, position) => {
                if flags.intersects(ASTFlags::NEGATED) {
                    return Err(kept("`?.`", *position));
                }
                self.dot(&sides.lhs, &sides.rhs)
            }
            Expr::Index(sides, flags, position) => {
                // Without the flag, an index such as `a.b` is `a`, followed by `.b` of what was found.
                let ends = flags.intersects(ASTFlags::BREAK);
                if !ends && matches!(sides.rhs, Expr::Dot(..) | Expr::Index(..)) {
                    return Err(kept("a chain after an index", *position));
                }
                self.index(&sides.lhs, &sides.rhs, *position)
            }
            Expr::And(sides, _) => {
                let sides: Lowered<Vec<Node>> = sides.iter().map(|side| self.node(side)).collect();
                Ok(Thing::Node(merge::and(sides?)))
            }
            Expr::Or(sides, _) => {
                let sides: Lowered<Vec<Node>> = sides.iter().map(|side| self.node(side)).collect();
                Ok(Thing::Node(merge::or(sides?)))
            }
            Expr::Coalesce(sides, _) => {
                let sides: Lowered<Vec<Node>> = sides.iter().map(|side| self.node(side)).collect();
                Ok(Thing::Node(Node::Coalesce(sides?.into())))
            }
            other => Err(kept("this expression", other.start_position())),
        }
    }

    fn index(&mut self, base: &Expr, key: &Expr, at: Position) -> Lowered<Thing> {
        let Thing::Map(map) = self.thing(base)? else { return Err(kept("an index", at)) };
        let key = Box::new(self.node(key)?);
        let entries = map.iter().map(|(name, value)| Some((name.as_str().into(), constant(value)?)));
        let map: Option<_> = entries.collect();
        let map = Box::new(map.ok_or_else(|| kept("a map of other than plain values", at))?);
        Ok(Thing::Node(Node::MapGet { map, key, place: place(at) }))
    }
}

/// What a constant is at load.
pub(super) fn known(value: &Dynamic) -> Option<Thing> {
    if let Some(list) = value.read_lock::<rhai::Array>() {
        return Some(Thing::List(list.clone()));
    }
    if let Some(map) = value.read_lock::<rhai::Map>() {
        return Some(Thing::Map(map.clone()));
    }
    let integer = |number: i64| Node::Constant(Constant::Int(number));
    if let Some(range) = value.read_lock::<std::ops::Range<i64>>() {
        return Some(Thing::Range(Box::new((integer(range.start), integer(range.end))), false));
    }
    if let Some(range) = value.read_lock::<std::ops::RangeInclusive<i64>>() {
        return Some(Thing::Range(Box::new((integer(*range.start()), integer(*range.end()))), true));
    }
    constant(value).map(|constant| Thing::Node(Node::Constant(constant)))
}

pub(super) fn constant(value: &Dynamic) -> Option<Constant> {
    if value.is_unit() {
        return Some(Constant::Unit);
    }
    if let Ok(value) = value.as_bool() {
        return Some(Constant::Bool(value));
    }
    if let Ok(number) = value.as_int() {
        return Some(Constant::Int(number));
    }
    if let Ok(number) = value.as_float() {
        return Some(Constant::Float(number));
    }
    value.read_lock::<rhai::ImmutableString>().map(|text| Constant::Text(text.as_str().into()))
}

pub(super) fn constants(values: &[Dynamic], at: Position) -> Lowered<Vec<Constant>> {
    let all: Option<Vec<Constant>> = values.iter().map(constant).collect();
    all.ok_or_else(|| kept("a list of other than plain values", at))
}

pub(super) fn arithmetic(symbol: &str) -> Option<Arithmetic> {
    Some(match symbol {
        "+" => Arithmetic::Add,
        "-" => Arithmetic::Subtract,
        "*" => Arithmetic::Multiply,
        "/" => Arithmetic::Divide,
        "%" => Arithmetic::Modulo,
        "**" => Arithmetic::Power,
        _ => return None,
    })
}

pub(super) fn unary(of: Node, how: Unary, at: Position) -> Node {
    merge::unary(how, of, place(at))
}

pub(super) fn place(position: Position) -> Place {
    let number = |number: Option<usize>| number.and_then(|number| u16::try_from(number).ok()).unwrap_or(0);
    Place { line: number(position.line()), column: number(position.position()) }
}

pub(super) fn kept(construct: impl Into<String>, position: Position) -> Kept {
    let (line, column) = (position.line().unwrap_or(0), position.position().unwrap_or(0));
    Kept { construct: construct.into(), line, column }
}
