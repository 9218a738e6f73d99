//! From the syntax tree to a program: names become slots, constants become sets.
//!
//! Whatever is not covered ends the lowering of the function with a [`Kept`]: the construct and its place. The
//! function then runs in the interpreter, with the same meaning.

use std::collections::HashMap;

use rhai::{ASTFlags, Dynamic, Expr, FnPtr, Position, Stmt};

use super::node::{Arithmetic, Body, Constant, Node, Place, Unary};
use crate::actions::Phase;
use crate::rules::parse::{Function, Parsed, literal};
use crate::signals::{Needs, Root, Vocabulary};

pub(super) use super::survey::{Instance, Passed};
pub(super) use crate::rules::report::Kept;

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
        let (bodies, names) = (Vec::new(), Vec::new());
        let (instances, refused) = (HashMap::new(), HashMap::new());
        Self { parsed, vocabulary, needs, plain, bodies, instances, refused, names, next: 0, locals: 0 }
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
        let outer = (std::mem::take(&mut self.names), self.next, self.locals);
        (self.next, self.locals) = (0, 0);
        for (name, passed) in function.parameters.iter().zip(passed) {
            let binding = match passed {
                Passed::Value => Binding::Local(self.slot()),
                Passed::Object(root, group) => Binding::Object(*root, group),
                Passed::Risk(phase) => Binding::Risk(*phase),
            };
            self.names.push((name.to_string(), binding));
        }
        let node = self.block(&function.body);
        let locals = self.locals;
        (self.names, self.next, self.locals) = outer;
        match node {
            Ok(node) => {
                if let Some(body) = self.bodies.get_mut(number) {
                    *body = Some(Body { locals, node });
                }
                Ok(number)
            }
            Err(kept) => {
                // Whatever was lowered for its sake goes with it.
                self.bodies.truncate(number);
                self.instances.retain(|_, known| *known < number);
                self.refused.insert(key, kept.clone());
                Err(kept)
            }
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
        let mut nodes = nodes?;
        Ok(match nodes.len() {
            0 => Node::UNIT,
            1 => nodes.pop().unwrap_or(Node::UNIT),
            _ => Node::Block(nodes.into()),
        })
    }

    fn statement(&mut self, statement: &Stmt) -> Lowered<Node> {
        match statement {
            Stmt::If(flow, _) => Ok(Node::If {
                condition: Box::new(self.node(&flow.expr)?),
                then: Box::new(self.block(flow.body.statements())?),
                otherwise: Box::new(self.block(flow.branch.statements())?),
            }),
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

    fn define(&mut self, name: &str, value: &Expr) -> Lowered<Node> {
        match self.thing(value)? {
            Thing::Node(node) => {
                let slot = self.slot();
                self.bind(name, Binding::Local(slot));
                Ok(Node::Set(slot, Box::new(node)))
            }
            Thing::Object(root, group) => {
                self.bind(name, Binding::Object(root, group));
                Ok(Node::UNIT)
            }
            Thing::Risk(phase) => {
                self.bind(name, Binding::Risk(phase));
                Ok(Node::UNIT)
            }
            Thing::List(_) | Thing::Map(_) | Thing::Range(..) => {
                Err(kept("a collection in a variable; make it a top-level `const`", value.start_position()))
            }
        }
    }

    fn assign(&mut self, target: &Expr, value: &Expr, how: Option<&str>, at: Position) -> Lowered<Node> {
        let slot = match target {
            Expr::Variable(variable, ..) => self.binding(&variable.1),
            _ => None,
        };
        let Some(Binding::Local(slot)) = slot else {
            return Err(kept("this assignment", target.start_position()));
        };
        let value = self.node(value)?;
        let Some(how) = how else { return Ok(Node::Set(slot, Box::new(value))) };
        let how = arithmetic(how).ok_or_else(|| kept(format!("`{how}=`"), at))?;
        let sides = Box::new((Node::Local(slot), value));
        Ok(Node::Set(slot, Box::new(Node::Arithmetic { how, sides, place: place(at) })))
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
                Ok(Thing::Node(Node::And(sides?.into())))
            }
            Expr::Or(sides, _) => {
                let sides: Lowered<Vec<Node>> = sides.iter().map(|side| self.node(side)).collect();
                Ok(Thing::Node(super::merge::or(sides?)))
            }
            Expr::Coalesce(sides, _) => {
                let sides: Lowered<Vec<Node>> = sides.iter().map(|side| self.node(side)).collect();
                Ok(Thing::Node(Node::Coalesce(sides?.into())))
            }
            other => Err(kept("this expression", other.start_position())),
        }
    }

    fn variable(&self, name: &str, at: Position) -> Lowered<Thing> {
        match self.binding(name) {
            Some(Binding::Local(slot)) => Ok(Thing::Node(Node::Local(slot))),
            Some(Binding::Object(root, group)) => Ok(Thing::Object(root, group)),
            Some(Binding::Risk(phase)) => Ok(Thing::Risk(phase)),
            None => {
                let value = self.constant_named(name).and_then(known);
                value.ok_or_else(|| kept(format!("variable `{name}`"), at))
            }
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

    /// What `some` and `all` are given: a closure's function, if the expression is one.
    pub(super) fn closure(&self, expression: &Expr) -> Option<&'a Function> {
        let pointer = match expression {
            Expr::DynamicConstant(value, _) => value.read_lock::<FnPtr>()?.fn_name().to_owned(),
            Expr::Stmt(block) => match block.statements() {
                [Stmt::Share(_), Stmt::FnCall(call, _)] if call.name == "curry" => match call.args.first()? {
                    Expr::DynamicConstant(value, _) => value.read_lock::<FnPtr>()?.fn_name().to_owned(),
                    _ => return None,
                },
                _ => return None,
            },
            _ => return None,
        };
        self.parsed.functions.iter().find(|function| function.name == pointer)
    }

    /// A closure of one parameter, laid open where it is used: what it captures has the same names here.
    pub(super) fn inline(&mut self, closure: &Function, at: Position) -> Lowered<(usize, Node)> {
        let Some((item, captured)) = closure.parameters.split_last() else {
            return Err(kept("this closure", at));
        };
        let is_known = |name: &str| self.binding(name).is_some() || self.constant_named(name).is_some();
        if !captured.iter().all(|name| is_known(name)) {
            return Err(kept("this closure", at));
        }
        let outer = self.names.len();
        let slot = self.slot();
        self.bind(item, Binding::Local(slot));
        let body = self.block(&closure.body)?;
        self.names.truncate(outer);
        Ok((slot, body))
    }
}

/// What a constant is at load.
fn known(value: &Dynamic) -> Option<Thing> {
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
    Node::Unary { how, of: Box::new(of), place: place(at) }
}

pub(super) fn place(position: Position) -> Place {
    let number = |number: Option<usize>| number.and_then(|number| u16::try_from(number).ok()).unwrap_or(0);
    Place { line: number(position.line()), column: number(position.position()) }
}

pub(super) fn kept(construct: impl Into<String>, position: Position) -> Kept {
    let (line, column) = (position.line().unwrap_or(0), position.position().unwrap_or(0));
    Kept { construct: construct.into(), line, column }
}
