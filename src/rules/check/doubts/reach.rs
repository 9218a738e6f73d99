//! Statements that never run, since what stands before them ends the block, the function or the script.

use rhai::{ASTFlags, ASTNode, Expr, Position, Stmt};

use super::Search;
use super::meaning::Meaning;

impl Search<'_> {
    pub(super) fn dead_ends(&mut self, statements: &[Stmt]) {
        let mut statements = statements.iter().filter(|one| !matches!(one, Stmt::Noop(_) | Stmt::Share(_)));
        while let Some(statement) = statements.next() {
            let (Some(end), Some(next)) = (self.end(statement), statements.clone().next()) else { continue };
            let position = start(next);
            self.say(
                position,
                format!("this never runs: {end}"),
                "take it out, or put a condition around what ends",
            );
            return;
        }
    }

    /// What makes it impossible to go on after a statement.
    fn end(&self, statement: &Stmt) -> Option<&'static str> {
        match statement {
            Stmt::Return(_, flags, _) if flags.intersects(ASTFlags::BREAK) => {
                Some("`throw` before it ends the script")
            }
            Stmt::Return(..) => Some("`return` before it ends the function"),
            Stmt::BreakLoop(_, flags, _) if flags.intersects(ASTFlags::BREAK) => {
                Some("`break` before it ends the loop")
            }
            Stmt::BreakLoop(..) => Some("`continue` before it begins the next turn of the loop"),
            Stmt::Expr(expression) => self.trust(expression),
            Stmt::Block(block) => block.statements().iter().find_map(|one| self.end(one)),
            Stmt::If(flow, _) => {
                let first = |statements: &[Stmt]| statements.iter().find_map(|one| self.end(one));
                let then = first(flow.body.statements());
                then.filter(|_| first(flow.branch.statements()).is_some())
            }
            Stmt::While(flow, _) if matches!(flow.expr, Expr::Unit(_) | Expr::BoolConstant(true, _)) => {
                (!leaves(flow.body.statements())).then_some("the loop before it never ends")
            }
            _ => None,
        }
    }

    /// Trust in a request ends the script.
    fn trust(&self, expression: &Expr) -> Option<&'static str> {
        let Expr::Dot(sides, ..) = expression else { return None };
        let allows = matches!(&sides.rhs, Expr::MethodCall(call, _) if call.name == "allow");
        let ends = allows && self.scope.of(&sides.lhs) == Meaning::Risk;
        ends.then_some("`risk.allow` before it ends this script and all later ones")
    }
}

/// Whether a loop has a `break` somewhere. One of a loop inside counts too: in doubt the loop ends.
fn leaves(body: &[Stmt]) -> bool {
    let mut found = false;
    let mut notice = |path: &[ASTNode<'_>]| {
        if let Some(ASTNode::Stmt(Stmt::BreakLoop(_, flags, _))) = path.last() {
            found |= flags.intersects(ASTFlags::BREAK);
        }
        true
    };
    for statement in body {
        statement.walk(&mut Vec::new(), &mut notice);
    }
    found
}

fn start(statement: &Stmt) -> Position {
    match statement {
        Stmt::Expr(expression) => expression.start_position(),
        Stmt::Assignment(assignment) => assignment.1.lhs.start_position(),
        other => other.position(),
    }
}
