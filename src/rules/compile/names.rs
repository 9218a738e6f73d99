//! Variables: making, writing and reading them; and which of a script's are written to after they were made.
//!
//! A variable that is a signal and is not written to needs no place of its own. Whether it is written to is found by name
//! alone, over the whole script, which may say too much. Should it ever say too little, lowering meets a write to
//! something that is no variable, and leaves the script to the interpreter.

use std::collections::HashSet;

use rhai::{AST, ASTNode, Expr, FnCallExpr, Position, Stmt};

use super::lower::{Binding, Lowered, Lowering, Thing, arithmetic, kept, known, place};
use super::merge;
use super::node::Node;

/// Methods that change the variable that they are called on, and that are compiled.
const IN_PLACE: [&str; 3] = ["trim", "make_lower", "make_upper"];

impl Lowering<'_> {
    pub(super) fn define(&mut self, name: &str, value: &Expr) -> Lowered<Node> {
        match self.thing(value)? {
            Thing::Node(Node::Signal(source)) if !self.is_changed(name) => {
                self.bind(name, Binding::Signal(source));
                Ok(Node::UNIT)
            }
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

    pub(super) fn assign(
        &mut self,
        target: &Expr,
        value: &Expr,
        how: Option<&str>,
        at: Position,
    ) -> Lowered<Node> {
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
        let value = merge::arithmetic(how, Node::Local(slot), value, place(at));
        Ok(Node::Set(slot, Box::new(value)))
    }

    pub(super) fn variable(&self, name: &str, at: Position) -> Lowered<Thing> {
        match self.binding(name) {
            Some(Binding::Local(slot)) => Ok(Thing::Node(Node::Local(slot))),
            Some(Binding::Signal(source)) => Ok(Thing::Node(Node::Signal(source))),
            Some(Binding::Object(root, group)) => Ok(Thing::Object(root, group)),
            Some(Binding::Risk(phase)) => Ok(Thing::Risk(phase)),
            None => {
                let value = self.constant_named(name).and_then(known);
                value.ok_or_else(|| kept(format!("variable `{name}`"), at))
            }
        }
    }
}

/// The names of all variables that are written to.
pub(super) fn changed(ast: &AST) -> HashSet<String> {
    let mut names = HashSet::new();
    ast.walk(&mut |path| {
        let name = path.last().and_then(|node| match node {
            ASTNode::Stmt(Stmt::Assignment(assignment)) => variable(&assignment.1.lhs),
            ASTNode::Stmt(Stmt::FnCall(call, _)) | ASTNode::Expr(Expr::FnCall(call, _)) => on_first(call),
            ASTNode::Expr(Expr::Dot(sides, ..)) => match &sides.rhs {
                Expr::MethodCall(call, _) if IN_PLACE.contains(&call.name.as_str()) => variable(&sides.lhs),
                _ => None,
            },
            _ => None,
        });
        names.extend(name.map(str::to_owned));
        true
    });
    names
}

fn on_first(call: &FnCallExpr) -> Option<&str> {
    call.args.first().filter(|_| IN_PLACE.contains(&call.name.as_str())).and_then(variable)
}

fn variable(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Variable(variable, ..) => Some(&variable.1),
        _ => None,
    }
}
