//! From script text to a syntax tree whose constants reach into its functions.
//!
//! A script is `const` and `fn` at the top, nothing else: there is no moment at which other statements would run.

use rhai::{
    AST, ASTFlags, ASTNode, Dynamic, Engine, Expr, ImmutableString, OptimizationLevel, ParseError, Position,
    Scope, Stmt,
};

use super::Script;
use super::sandbox::lower_first;
use crate::facts::problem::{Problem, nearest};

/// A script as a syntax tree.
pub(super) struct Parsed<'a> {
    pub(super) script: &'a Script,
    pub(super) ast: AST,
    pub(super) functions: Vec<Function>,
    pub(super) constants: Vec<(String, Dynamic)>,
}

/// One function of a script.
pub(super) struct Function {
    pub(super) name: ImmutableString,
    pub(super) parameters: Vec<ImmutableString>,
    pub(super) body: Vec<Stmt>,
    /// Where the body begins.
    pub(super) position: Position,
}

impl Parsed<'_> {
    /// Its functions before the engine has optimised them. Nothing is wrong with the script: it was parsed before.
    pub(super) fn as_written(&self) -> Vec<Function> {
        let mut plain = Engine::new_raw();
        plain.set_optimization_level(OptimizationLevel::None);
        plain.set_max_expr_depths(0, 0);
        plain.compile(&self.script.text).map(|ast| functions(&ast)).unwrap_or_default()
    }

    pub(super) fn function(&self, name: &str, arity: usize) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name && function.parameters.len() == arity)
    }
}

impl Function {
    pub(super) fn is_closure(&self) -> bool {
        self.name.starts_with("anon$")
    }

    /// `name(parameters)`
    pub(super) fn signature(&self) -> String {
        format!("{}({})", self.name, self.parameters.join(", "))
    }
}

/// A problem at a place in a script.
pub(super) fn problem_at(script: &Script, position: Position, message: impl Into<String>) -> Problem {
    let problem = Problem::error(&script.path, message);
    match (position.line(), position.position()) {
        (Some(line), column) => problem.at(line, column.unwrap_or(1)),
        (None, _) => problem,
    }
}

/// Parses a script. A syntax error is one problem; statements that would never run are one each.
pub(super) fn parse<'a>(script: &'a Script, engine: &Engine) -> Result<Parsed<'a>, Vec<Problem>> {
    let (scope, constants) = constants(script, engine).map_err(|error| vec![syntax(script, &error, &[])])?;
    let ast = engine
        .compile_with_scope(&scope, &script.text)
        .map_err(|error| vec![syntax(script, &error, &constants)])?;
    let idle: Vec<Problem> =
        ast.statements().iter().filter_map(|statement| idle(script, statement)).collect();
    if !idle.is_empty() {
        return Err(idle);
    }
    let functions = functions(&ast);
    Ok(Parsed { script, ast, functions, constants })
}

fn functions(ast: &AST) -> Vec<Function> {
    ast.iter_fn_def()
        .map(|definition| Function {
            name: definition.name.clone(),
            parameters: definition.params.iter().cloned().collect(),
            body: body(ast, &definition.name, definition.params.len()),
            position: definition.body.start_position(),
        })
        .collect()
}

/// A script's top-level constants: in the form that the engine wants, and by name.
type Constants = (Scope<'static>, Vec<(String, Dynamic)>);

/// The script's top-level constants. Without strictness about variables, so that functions may name them before
/// the engine knows them. A script that is wrong even so has an error of syntax; to go on without its constants would
/// blame their names instead.
fn constants(script: &Script, engine: &Engine) -> Result<Constants, ParseError> {
    let mut lenient = Engine::new_raw();
    lenient.set_max_expr_depths(engine.max_expr_depth(), engine.max_function_expr_depth());
    let mut scope = Scope::new();
    let mut constants = Vec::new();
    let ast = lenient.compile(&script.text)?;
    for (name, _, value) in ast.iter_literal_variables(true, false) {
        scope.push_constant_dynamic(name.to_owned(), value.clone());
        constants.push((name.to_owned(), value));
    }
    Ok((scope, constants))
}

/// A statement at the top that is not a constant.
fn idle(script: &Script, statement: &Stmt) -> Option<Problem> {
    match statement {
        Stmt::Noop(_) => None,
        Stmt::Var(definition, flags, position) if flags.intersects(ASTFlags::CONSTANT) => {
            let (name, value, _) = &**definition;
            (!value.is_constant()).then(|| {
                problem_at(script, *position, format!("constant `{}` is not known at load", name.name))
                    .hint("a `const` is made of literals and other constants")
            })
        }
        Stmt::Var(definition, _, position) => Some(
            problem_at(script, *position, format!("`let {}` at the top never runs", definition.0.name))
                .hint("write `const` for a fixed value, or move it into a function"),
        ),
        other => Some(
            problem_at(script, other.position(), "this statement at the top never runs")
                .hint("move it into `fn assess(req, risk)`"),
        ),
    }
}

/// A function's statements. The tree shows bodies only to a walk, so the others are taken away first.
fn body(ast: &AST, name: &str, arity: usize) -> Vec<Stmt> {
    let mut only = ast.clone();
    only.clear_statements();
    only.retain_functions(|_, _, other, parameters| other == name && parameters == arity);
    let mut statements = Vec::new();
    only.walk(&mut |path: &[ASTNode<'_>]| {
        if let [ASTNode::Stmt(statement)] = path {
            statements.push((*statement).clone());
        }
        true
    });
    statements
}

fn syntax(script: &Script, error: &ParseError, constants: &[(String, Dynamic)]) -> Problem {
    use rhai::ParseErrorType as Kind;
    let constant =
        |name: &str| nearest(name, constants.iter().map(|(name, _)| name.as_str())).map(str::to_owned);
    let (message, hint, width) = match &*error.0 {
        Kind::VariableUndefined(name) => {
            let hint = match constant(name) {
                None if ["req", "risk"].contains(&name.as_str()) => {
                    "it is what `fn assess(req, risk) { ... }` is given; write this in there".to_owned()
                }
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "declare it with `let` in this function or `const` at the top".to_owned(),
            };
            (format!("unknown variable `{name}`"), Some(hint), name.len())
        }
        Kind::Reserved(name) if name == "import" || name == "export" => (
            format!("`{name}` is not available in policies"),
            Some("each script stands alone".to_owned()),
            name.len(),
        ),
        Kind::Reserved(name) => (format!("`{name}` is not available in policies"), reason(name), name.len()),
        Kind::BadInput(rhai::LexError::ImproperSymbol(symbol, _)) if is_refused(symbol) => {
            (format!("`{symbol}` is not available in policies"), reason(symbol), symbol.len())
        }
        other => (lower_first(&other.to_string()), habit(script, error.1), 1),
    };
    let problem = problem_at(script, error.1, message).spanning(width);
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

fn is_refused(name: &str) -> bool {
    super::functions::REFUSED.iter().any(|(refused, _)| *refused == name)
}

fn reason(name: &str) -> Option<String> {
    let refused = super::functions::REFUSED.iter().find(|(refused, _)| *refused == name);
    refused.map(|(_, why)| (*why).to_owned())
}

/// What to write instead, where the text has a habit from another language.
fn habit(script: &Script, position: Position) -> Option<String> {
    let line = script.text.lines().nth(position.line()?.checked_sub(1)?)?;
    let from = line.char_indices().nth(position.position()?.checked_sub(1)?)?.0;
    let (before, at) = line.split_at_checked(from)?;
    let word =
        |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    let last = before.trim_end().rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or("");
    let quoted = at.strip_prefix('\'').and_then(|rest| rest.split_once('\'')).map(|(text, _)| text);
    match (quoted, word(at).as_str(), last) {
        (Some(text), ..) => Some(format!("write texts in double quotes: `\"{text}\"`")),
        (None, "and", _) => Some("write `&&` for `and`".to_owned()),
        (None, "or", _) => Some("write `||` for `or`".to_owned()),
        (None, "not", _) | (None, _, "not") => Some("write `!` for `not`".to_owned()),
        (None, ..) => None,
    }
}

/// A literal, if the expression is one.
pub(super) fn literal(expression: &Expr) -> Option<Dynamic> {
    expression.get_literal_value(None)
}
