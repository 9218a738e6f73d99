//! What is no error and yet hardly meant: statements that never run, conditions that are always the same, variables that
//! nobody reads.
//!
//! It looks at the script as written, since the engine's own optimiser has taken much of that out of the tree. Four files:
//! this one walks, [`meaning`] knows what names stand for, [`reach`] finds dead ends, [`settled`] conditions.
//! In doubt it says nothing: a false alarm is worse than none.

mod meaning;
mod reach;
mod settled;
#[cfg(test)]
mod tests;

use rhai::{ASTFlags, Expr, FnCallExpr, Position, Stmt, SwitchCasesCollection};

use super::{Checked, Terms, warning};
use crate::facts::problem::Problem;
use crate::rules::parse::{Function, Parsed, problem_at};
use meaning::{Meaning, Scope};

/// Everything doubtful in a script, in the order of its places.
pub(super) fn doubts(parsed: &Parsed<'_>, checked: &Checked, terms: &Terms<'_>) -> Vec<Problem> {
    let mut found = Vec::new();
    for function in parsed.as_written() {
        let scope = Scope::new(&function, parsed, checked, terms.vocabulary);
        let mut search = Search { parsed, scope, found: &mut found };
        search.function(&function);
    }
    found.sort_by_key(|problem| problem.position().map(|at| (at.line, at.column)));
    found
}

struct Search<'a> {
    parsed: &'a Parsed<'a>,
    scope: Scope<'a>,
    found: &'a mut Vec<Problem>,
}

impl Search<'_> {
    fn function(&mut self, function: &Function) {
        self.block(&function.body);
    }

    fn say(&mut self, position: Position, message: impl Into<String>, hint: impl Into<String>) {
        let problem = problem_at(self.parsed.script, position, message);
        self.found.push(warning(problem).hint(hint));
    }

    fn block(&mut self, statements: &[Stmt]) {
        let outer = self.scope.open();
        self.dead_ends(statements);
        for (at, statement) in statements.iter().enumerate() {
            self.statement(statement);
            if at + 1 < statements.len()
                && let Stmt::Expr(expression) = statement
            {
                self.without_effect(expression);
            }
        }
        for (name, position) in self.scope.close(outer) {
            let message = format!("variable `{name}` is never read");
            self.say(position, message, "use it, or take it out; a name that begins with `_` may stay");
        }
    }

    fn statement(&mut self, statement: &Stmt) {
        match statement {
            Stmt::If(flow, _) => {
                self.condition(&flow.expr);
                self.block(flow.body.statements());
                self.block(flow.branch.statements());
            }
            Stmt::Switch(switch, _) => self.switch(&switch.0, &switch.1),
            Stmt::While(flow, _) | Stmt::Do(flow, _, _) => {
                // `while true` with an end inside is a way to write `loop`.
                if !matches!(flow.expr, Expr::Unit(_) | Expr::BoolConstant(true, _)) {
                    self.condition(&flow.expr);
                }
                self.block(flow.body.statements());
            }
            Stmt::For(parts, _) => self.each(parts),
            Stmt::Var(definition, _, _) => {
                let (name, value, _) = &**definition;
                self.expression(value);
                let meaning = self.scope.of(value);
                self.scope.bind(&name.name, meaning, Some(name.pos));
            }
            Stmt::Assignment(assignment) => {
                let sides = &assignment.1;
                self.expression(&sides.rhs);
                // To write a variable is not to read it.
                if !matches!(sides.lhs, Expr::Variable(..)) {
                    self.expression(&sides.lhs);
                }
            }
            Stmt::FnCall(call, position) => self.call(call, *position),
            Stmt::Block(block) => self.block(block.statements()),
            Stmt::TryCatch(flow, _) => {
                self.block(flow.body.statements());
                self.block(flow.branch.statements());
            }
            Stmt::Expr(expression) => self.expression(expression),
            Stmt::Return(value, ..) | Stmt::BreakLoop(value, ..) => {
                if let Some(value) = value {
                    self.expression(value);
                }
            }
            // `Noop`, `Share` (a note about captured variables), and what other features of the engine would add.
            _ => {}
        }
    }

    fn each(&mut self, parts: &(rhai::Ident, Option<rhai::Ident>, rhai::FlowControl)) {
        let (item, counter, flow) = parts;
        self.expression(&flow.expr);
        let outer = self.scope.open();
        self.scope.bind(&item.name, Meaning::Other, None);
        if let Some(counter) = counter {
            self.scope.bind(&counter.name, Meaning::Other, None);
        }
        self.block(flow.body.statements());
        self.scope.close(outer);
    }

    fn expression(&mut self, expression: &Expr) {
        match expression {
            Expr::Variable(variable, ..) => self.scope.read(&variable.1),
            Expr::InterpolatedString(parts, _) | Expr::Array(parts, _) => {
                parts.iter().for_each(|part| self.expression(part));
            }
            Expr::Map(map, _) => map.0.iter().for_each(|(_, value)| self.expression(value)),
            Expr::Stmt(block) => self.block(block.statements()),
            Expr::FnCall(call, position) => self.call(call, *position),
            Expr::MethodCall(call, _) => call.args.iter().for_each(|arg| self.expression(arg)),
            Expr::Dot(sides, flags, _) | Expr::Index(sides, flags, _) => {
                if !flags.intersects(ASTFlags::NEGATED) {
                    self.never_begins(expression);
                }
                self.expression(&sides.lhs);
                self.expression(&sides.rhs);
            }
            Expr::And(sides, _) => {
                self.settled_chain(sides, true);
                sides.iter().for_each(|side| self.expression(side));
            }
            Expr::Or(sides, _) => {
                self.settled_chain(sides, false);
                sides.iter().for_each(|side| self.expression(side));
            }
            Expr::Coalesce(sides, _) => sides.iter().for_each(|side| self.expression(side)),
            // Constants and names of properties.
            _ => {}
        }
    }

    fn call(&mut self, call: &FnCallExpr, position: Position) {
        if let [left, right] = call.args.as_slice() {
            self.comparison(&call.name, left, right, position);
        }
        call.args.iter().for_each(|arg| self.expression(arg));
    }

    fn condition(&mut self, condition: &Expr) {
        if let Expr::BoolConstant(value, position) = condition {
            let hint = "a switch of your own is a `const` with a name at the top";
            self.say(*position, format!("this condition is always {value}"), hint);
        }
        self.expression(condition);
    }

    fn switch(&mut self, subject: &Expr, cases: &SwitchCasesCollection) {
        self.expression(subject);
        self.settled_cases(subject, cases);
        for case in &cases.expressions {
            self.expression(&case.lhs);
            self.expression(&case.rhs);
        }
    }

    /// A comparison whose result nobody uses was meant as an assignment.
    fn without_effect(&mut self, expression: &Expr) {
        if let Expr::FnCall(call, position) = expression
            && matches!(call.name.as_str(), "==" | "!=" | "<" | "<=" | ">" | ">=")
            && call.is_operator_call()
        {
            let message = format!("the result of `{}` is not used", call.name);
            self.say(*position, message, "write `=` to change a variable, or `if` to ask");
        }
    }
}
