//! Lists: what is in them, and what holds for some or all of their items.

use rhai::{Dynamic, Expr, FnPtr, Position, Stmt};

use super::ask::Ask;
use super::known::{KnownInts, KnownTexts};
use super::lower::{Binding, Lowered, Lowering, constant, constants, kept};
use super::merge;
use super::node::{Comparison, Constant, Node, Operand};
use crate::rules::parse::Function;

impl<'a> Lowering<'a> {
    pub(super) fn of_list(
        &mut self,
        list: &[Dynamic],
        name: &str,
        args: &[Expr],
        at: Position,
    ) -> Lowered<Node> {
        match (name, args) {
            ("contains", _) => self.member(list, args, at),
            ("len", []) => Ok(Node::Constant(Constant::Int(i64::try_from(list.len()).unwrap_or(i64::MAX)))),
            ("is_empty", []) => Ok(Node::Constant(Constant::Bool(list.is_empty()))),
            ("some" | "all", [closure]) => {
                let Some(closure) = self.closure(closure) else { return Err(kept("this closure", at)) };
                let items = constants(list, at)?;
                let (local, body) = self.inline(closure, at)?;
                Ok(self.holds(items, local, body, name == "all"))
            }
            _ => Err(kept(format!("`{name}` of a list"), at)),
        }
    }

    /// Whether a value is one of constants.
    pub(super) fn member(&mut self, list: &[Dynamic], args: &[Expr], at: Position) -> Lowered<Node> {
        let item: Operand = self.one(args, at)?.into();
        let (mut texts, mut ints) = (Vec::new(), Vec::new());
        for value in list {
            match constant(value) {
                Some(Constant::Text(text)) => texts.push(text),
                Some(Constant::Int(number)) => ints.push(number),
                Some(Constant::Unit | Constant::Bool(_) | Constant::Float(_)) | None => {
                    return Err(kept("a list of other than strings or integers", at));
                }
            }
        }
        match (texts.is_empty(), ints.is_empty()) {
            (true, _) => Ok(Node::InInts { item, set: Box::new(KnownInts::new(ints)) }),
            (false, true) => {
                let set = Box::new(KnownTexts::new(texts));
                Ok(match item {
                    Operand::Signal(of) => Node::Ask(Ask::OneOf { of, set }),
                    item => Node::InTexts { item, set },
                })
            }
            (false, false) => Err(kept("a list of strings and integers", at)),
        }
    }

    /// `item in [a, b]`, of values that are there already: which of them is asked first does not matter.
    pub(super) fn any_of(&mut self, items: &[Expr], item: &Expr, at: Position) -> Lowered<Node> {
        let (mut steps, mut there) = (Vec::new(), Vec::new());
        for item in items {
            there.push(match self.node(item)? {
                // What follows may change the variable.
                Node::Local(variable) => {
                    let copy = self.slot();
                    steps.push(Node::Set(copy, Box::new(Node::Local(variable))));
                    Node::Local(copy)
                }
                node @ (Node::Constant(_) | Node::Signal(_) | Node::Response(_)) => node,
                _ => return Err(kept("a list of computed values", at)),
            });
        }
        let value = self.node(item)?;
        let slot = self.slot();
        steps.push(Node::Set(slot, Box::new(value)));
        let same = |item| merge::compare(Comparison::Equal, Node::Local(slot), item);
        steps.push(merge::or(there.into_iter().map(same).collect()));
        Ok(Node::Block(steps.into()))
    }

    /// What `some` and `all` are given: a closure's function, if the expression is one.
    fn closure(&self, expression: &Expr) -> Option<&'a Function> {
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
    fn inline(&mut self, closure: &Function, at: Position) -> Lowered<(usize, Node)> {
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

/// Whether some item of a list is known at run time only.
pub(super) fn is_computed(items: &[Expr]) -> bool {
    items.iter().any(|item| crate::rules::parse::literal(item).is_none())
}
