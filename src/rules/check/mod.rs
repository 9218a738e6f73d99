//! The check at load: everything that a script names must exist and have the right type.
//!
//! It follows types through each function from its parameters: `req`, `res` and `risk` are tracked wherever they
//! go, so `let g = req.geo; g.contry` is found as well as `req.geo.contry`. Whatever a script reads becomes
//! a need, so nothing can be read at run time that was not read for it. Three files: this one walks statements and
//! keeps the environment, [`expression`] finds types, [`names`] knows what objects offer.

mod calls;
mod doubts;
mod expression;
mod names;
mod natives;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use rhai::{ASTFlags, Expr, ImmutableString, Position, Stmt};

use super::Terms;
use super::parse::{Function, Parsed, literal, problem_at};
use crate::actions::Phase;
use crate::facts::problem::{Problem, nearest};
use crate::signals::{Key, Kind, Root};
use crate::traffic::Per;

/// What a script names.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) keys: BTreeSet<Key>,
    pub(super) reasons: BTreeSet<String>,
    pub(super) throttles: BTreeSet<(String, Per)>,
    pub(super) warnings: Vec<Problem>,
    /// What is called, and with which types.
    pub(super) calls: Vec<(String, Vec<Type>)>,
    /// Functions whose value is always plain, by name and number of parameters.
    pub(super) plain: BTreeSet<(String, usize)>,
}

/// What is known about a value at load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Type {
    /// `req`, `res`, or an object below them.
    Object(Root, &'static str),
    /// `risk`, in the phase where it is spoken to.
    Risk(Phase),
    /// A value of this type.
    Of(Kind),
    Array,
    Map,
    Unit,
    Any,
}

/// Checks a parsed script. All problems are reported at once, in the order of their places.
pub(super) fn check(parsed: &Parsed<'_>, terms: &Terms<'_>) -> Result<Checked, Vec<Problem>> {
    let mut checker = Checker {
        parsed,
        terms,
        checked: Checked::default(),
        problems: Vec::new(),
        variables: Vec::new(),
        returned: None,
        known: HashMap::new(),
    };
    checker.entry_points();
    checker.remember_calls();
    checker.functions_nobody_calls();
    let Checker { mut problems, mut checked, .. } = checker;
    problems.sort_by_key(|problem| problem.position().map(|at| (at.line, at.column)));
    problems.dedup();
    if !problems.is_empty() {
        return Err(problems);
    }
    let doubts = doubts::doubts(parsed, &checked, terms);
    checked.warnings.extend(doubts);
    Ok(checked)
}

struct Checker<'a> {
    parsed: &'a Parsed<'a>,
    terms: &'a Terms<'a>,
    checked: Checked,
    problems: Vec<Problem>,
    /// The variables in scope, innermost last.
    variables: Vec<(ImmutableString, Type)>,
    /// What the function being checked returns, as far as `return` said.
    returned: Option<Type>,
    /// What each function returns when called with these types; `None` while it is being found out.
    known: HashMap<(ImmutableString, Vec<Type>), Option<Type>>,
}

const ASSESS: [Type; 2] = [Type::Object(Root::Request, ""), Type::Risk(Phase::Assess)];
const OBSERVE: [Type; 3] =
    [Type::Object(Root::Request, ""), Type::Object(Root::Response, ""), Type::Risk(Phase::Both)];

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Object(Root::Request, "") => "req",
            Self::Object(Root::Response, "") => "res",
            Self::Object(_, group) => group,
            Self::Risk(_) => "risk",
            Self::Of(kind) => kind.as_str(),
            Self::Array => "array",
            Self::Map => "map",
            Self::Unit => "()",
            Self::Any => "any",
        }
    }

    fn join(self, other: Self) -> Self {
        if self == other { self } else { Self::Any }
    }

    fn is_live(self) -> bool {
        matches!(self, Self::Object(..) | Self::Risk(_))
    }
}

impl Checker<'_> {
    fn entry_points(&mut self) {
        let parsed = self.parsed;
        match parsed.function("assess", 2) {
            Some(assess) => drop(self.function(assess, &ASSESS)),
            None => self.no_assess(),
        }
        if let Some(observe) = parsed.function("observe", 3) {
            self.function(observe, &OBSERVE);
        } else if let Some(odd) = parsed.functions.iter().find(|function| function.name == "observe") {
            let problem = problem_at(parsed.script, odd.position, "`observe` has the wrong parameters");
            self.problems.push(problem.hint("write `fn observe(req, res, risk)`"));
        }
    }

    fn no_assess(&mut self) {
        let script = self.parsed.script;
        let named = self.parsed.functions.iter().filter(|function| !function.is_closure());
        let odd = named.clone().find(|function| function.name == "assess").or_else(|| {
            let meant = nearest("assess", named.clone().map(|function| function.name.as_str()));
            named.clone().find(|function| Some(function.name.as_str()) == meant)
        });
        let problem = match odd {
            Some(odd) if odd.name == "assess" => {
                problem_at(script, odd.position, "`assess` has the wrong parameters")
            }
            Some(odd) => problem_at(script, odd.position, format!("`{}` is never called", odd.name)),
            None => Problem::error(&script.path, "there is no `fn assess(req, risk)`"),
        };
        self.problems.push(problem.hint("a policy begins at `fn assess(req, risk)`"));
    }

    /// Functions that nothing calls are checked too, with types guessed from customary parameter names.
    fn functions_nobody_calls(&mut self) {
        let parsed = self.parsed;
        for function in parsed.functions.iter().filter(|function| !function.is_closure()) {
            let arity = function.parameters.len();
            let called =
                self.known.keys().any(|(name, types)| *name == function.name && types.len() == arity);
            if called || matches!(function.name.as_str(), "assess" | "observe") {
                continue;
            }
            let guess = |name: &ImmutableString| match name.as_str() {
                "req" => Type::Object(Root::Request, ""),
                "res" => Type::Object(Root::Response, ""),
                "risk" => Type::Risk(Phase::Assess),
                _ => Type::Any,
            };
            let types: Vec<Type> = function.parameters.iter().map(guess).collect();
            self.function(function, &types);
            let message = format!("function `{}` is never called", function.name);
            self.checked.warnings.push(warning(problem_at(parsed.script, function.position, message)));
        }
    }

    /// The type that a function returns when called with these types. Each combination is checked once.
    fn function(&mut self, function: &Function, types: &[Type]) -> Type {
        let key = (function.name.clone(), types.to_vec());
        if let Some(known) = self.known.get(&key) {
            return known.unwrap_or(Type::Any);
        }
        self.known.insert(key.clone(), None);
        let parameters = function.parameters.iter().cloned();
        let types = types.iter().copied().chain(std::iter::repeat(Type::Any));
        let outer = std::mem::replace(&mut self.variables, parameters.zip(types).collect());
        let outer_returned = self.returned.take();
        let last = self.statements(&function.body);
        let result = self.returned.map_or(last, |returned| returned.join(last));
        self.variables = outer;
        self.returned = outer_returned;
        self.known.insert(key, Some(result));
        result
    }

    fn block(&mut self, block: &[Stmt]) -> Type {
        let outer = self.variables.len();
        let last = self.statements(block);
        self.variables.truncate(outer);
        last
    }

    fn statements(&mut self, statements: &[Stmt]) -> Type {
        statements.iter().fold(Type::Unit, |_, statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &Stmt) -> Type {
        match statement {
            Stmt::If(flow, _) => {
                self.condition(&flow.expr);
                let then = self.block(flow.body.statements());
                then.join(self.block(flow.branch.statements()))
            }
            Stmt::Switch(switch, _) => self.switch(switch),
            Stmt::While(flow, _) | Stmt::Do(flow, _, _) => {
                if !matches!(flow.expr, Expr::Unit(_)) {
                    self.condition(&flow.expr);
                }
                self.repeated(flow.body.statements());
                Type::Any
            }
            Stmt::For(parts, _) => self.each(parts),
            Stmt::Var(definition, _, _) => {
                let (name, value, _) = &**definition;
                let found = self.expression(value);
                self.variables.push((name.name.clone(), found));
                Type::Unit
            }
            Stmt::Assignment(assignment) => {
                let (operation, sides) = &**assignment;
                let how = operation.get_op_assignment_info().map(|(.., how)| how);
                self.assignment(&sides.lhs, &sides.rhs, how);
                Type::Unit
            }
            Stmt::FnCall(call, position) => self.call(call, *position),
            Stmt::Block(block) => self.block(block.statements()),
            Stmt::TryCatch(flow, _) => self.try_catch(flow),
            Stmt::Expr(expression) => self.expression(expression),
            Stmt::Return(value, flags, _) => {
                let found = value.as_ref().map_or(Type::Unit, |value| self.expression(value));
                if !flags.intersects(ASTFlags::BREAK) {
                    self.returned = Some(self.returned.map_or(found, |other| other.join(found)));
                }
                found
            }
            Stmt::BreakLoop(value, _, _) => value.as_ref().map_or(Type::Unit, |value| self.expression(value)),
            // `Noop`, `Share` (a note about captured variables), and what other features of the engine would add.
            _ => Type::Unit,
        }
    }

    fn switch(&mut self, switch: &(Expr, rhai::SwitchCasesCollection)) -> Type {
        let (subject, cases) = switch;
        self.expression(subject);
        let mut result = None;
        for case in &cases.expressions {
            self.condition(&case.lhs);
            let found = self.expression(&case.rhs);
            result = Some(result.map_or(found, |other: Type| other.join(found)));
        }
        result.unwrap_or(Type::Unit)
    }

    fn each(&mut self, parts: &(rhai::Ident, Option<rhai::Ident>, rhai::FlowControl)) -> Type {
        let (item, counter, flow) = parts;
        let over = self.expression(&flow.expr);
        self.not_live(over, flow.expr.position());
        let outer = self.variables.len();
        let items = self.items(&flow.expr);
        self.variables.push((item.name.clone(), items));
        if let Some(counter) = counter {
            self.variables.push((counter.name.clone(), Type::Of(Kind::Int)));
        }
        self.repeated(flow.body.statements());
        self.variables.truncate(outer);
        Type::Any
    }

    /// The type of all items that a `for` goes through, if they have one.
    fn items(&self, over: &Expr) -> Type {
        if matches!(over, Expr::FnCall(call, _) if matches!(call.name.as_str(), ".." | "..=")) {
            return Type::Of(Kind::Int);
        }
        let Some(value) = literal(over).or_else(|| self.constant_of(over)) else { return Type::Any };
        let Some(items) = value.read_lock::<rhai::Array>() else { return Type::Any };
        let types = items.iter().map(expression::kind_of);
        types.reduce(Type::join).unwrap_or(Type::Any)
    }

    fn try_catch(&mut self, flow: &rhai::FlowControl) -> Type {
        let tried = self.block(flow.body.statements());
        let outer = self.variables.len();
        if let Expr::Variable(variable, ..) = &flow.expr {
            self.variables.push((variable.1.clone(), Type::Any));
        }
        let caught = self.block(flow.branch.statements());
        self.variables.truncate(outer);
        tried.join(caught)
    }

    /// A loop's body is checked twice, since its second turn sees what its first assigned.
    fn repeated(&mut self, body: &[Stmt]) {
        self.block(body);
        self.block(body);
    }

    fn assignment(&mut self, target: &Expr, value: &Expr, combined: Option<&str>) {
        let found = self.expression(value);
        let Expr::Variable(variable, ..) = target else {
            self.read_only(target);
            self.expression(target);
            self.not_live(found, value.position());
            return;
        };
        if combined.is_some() {
            self.not_live(found, value.position());
        }
        let name = &variable.1;
        if let Some((_, known)) = self.variables.iter_mut().rev().find(|(other, _)| other == name) {
            let now = combined.map_or(found, |how| combination(how, *known, found));
            *known = known.join(now);
        }
    }

    fn read_only(&mut self, target: &Expr) {
        let (Expr::Dot(sides, ..) | Expr::Index(sides, ..)) = target else { return };
        let base = self.expression(&sides.lhs);
        if base.is_live() {
            let message = format!("`{}` cannot be changed", base.name());
            self.report(
                target.position(),
                1,
                message,
                Some("keep a changed value in a variable of your own".into()),
            );
        }
    }

    fn condition(&mut self, condition: &Expr) {
        let found = self.expression(condition);
        if let Type::Of(Kind::Int | Kind::Float | Kind::Text) | Type::Object(..) | Type::Risk(_) = found {
            let message = format!("a condition must be true or false, not {}", found.name());
            self.report(condition.start_position(), 1, message, Some("compare it with something".into()));
        }
    }

    /// `req`, `res` and `risk` go into variables and own functions, nowhere else: the check must not lose them.
    fn not_live(&mut self, found: Type, position: Position) {
        if found.is_live() {
            let message = format!("`{}` cannot be used as a value", found.name());
            let hint = "read its properties, keep it in a variable, or pass it to a function of this script";
            self.report(position, 1, message, Some(hint.into()));
        }
    }

    fn report(&mut self, position: Position, width: usize, message: impl Into<String>, hint: Option<String>) {
        let problem = problem_at(self.parsed.script, position, message).spanning(width);
        self.problems.push(match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
    }
}

/// What `x += y` and the like make of `x`.
fn combination(how: &str, x: Type, y: Type) -> Type {
    match (x, y) {
        (Type::Of(Kind::Int), Type::Of(Kind::Int)) if how != "**" => Type::Of(Kind::Int),
        (Type::Of(Kind::Int | Kind::Float), Type::Of(Kind::Int | Kind::Float)) if how != "**" => {
            Type::Of(Kind::Float)
        }
        (Type::Of(Kind::Text), Type::Of(_)) if how == "+" => Type::Of(Kind::Text),
        _ => Type::Any,
    }
}

pub(super) fn warning(problem: Problem) -> Problem {
    let warning = Problem::warning(problem.file(), problem.message());
    match problem.position() {
        Some(at) => warning.at(at.line, at.column),
        None => warning,
    }
}
