//! What the compiler wants to know about calls: which there are, with which types, and whose value is always plain.
//!
//! It is what the check found out anyway. Nothing is decided here.

use rhai::{ASTNode, Expr, ImmutableString, Stmt};

use super::{Checker, Type};
use crate::rules::parse::Function;

impl Checker<'_> {
    /// What the compiler wants to know about calls.
    pub(super) fn remember_calls(&mut self) {
        let named = self.known.iter().filter(|((name, _), _)| !name.starts_with("anon$"));
        let mut calls: Vec<(String, Vec<Type>)> =
            named.clone().map(|((name, types), _)| (name.to_string(), types.clone())).collect();
        calls.sort_by(|left, right| left.0.cmp(&right.0));
        self.checked.calls = calls;
        let key = |name: &ImmutableString, types: &[Type]| (name.to_string(), types.len());
        if self.parsed.functions.iter().any(assigns_what_it_captured) {
            // Such an assignment may change the type of a variable of the function around it.
            return;
        }
        let is_plain = |found: &Option<Type>| matches!(found, Some(Type::Of(_) | Type::Unit));
        let (plain, other): (Vec<_>, Vec<_>) = named.partition(|(_, found)| is_plain(found));
        self.checked.plain = plain.into_iter().map(|((name, types), _)| key(name, types)).collect();
        for ((name, types), _) in other {
            self.checked.plain.remove(&key(name, types));
        }
    }
}

/// Whether a closure assigns to a variable that is not its own.
fn assigns_what_it_captured(function: &Function) -> bool {
    let mut found = false;
    let mut assigns = |path: &[ASTNode<'_>]| {
        if let Some(ASTNode::Stmt(Stmt::Assignment(assignment))) = path.last()
            && let Expr::Variable(variable, ..) = &assignment.1.lhs
        {
            found |= function.parameters.contains(&variable.1);
        }
        true
    };
    for statement in function.body.iter().filter(|_| function.is_closure()) {
        statement.walk(&mut Vec::new(), &mut assigns);
    }
    found
}
