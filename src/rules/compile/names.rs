//! Which variables of a script are written to after they were made. A variable that is not is the same as its value.
//!
//! This goes by names alone, over the whole script, so it may say too much. Should it ever say too little, lowering meets
//! a write to something that is no variable, and leaves the script to the interpreter.

use std::collections::HashSet;

use rhai::{AST, ASTNode, Expr, FnCallExpr, Stmt};

/// Methods that change the variable that they are called on, and that are compiled.
const IN_PLACE: [&str; 3] = ["trim", "make_lower", "make_upper"];

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
