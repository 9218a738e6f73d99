//! What names and expressions stand for, as far as it takes no guess.
//!
//! A variable stands for what it was made from, unless the function changes it anywhere.

use std::collections::HashSet;

use rhai::{ASTNode, Dynamic, Expr, FnCallExpr, ImmutableString, Position, Stmt};

use crate::rules::check::{Checked, Type};
use crate::rules::functions::IN_PLACE;
use crate::rules::parse::{Function, Parsed, literal};
use crate::signals::{Domain, Root, Vocabulary};

/// What an expression stands for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Meaning {
    Object(Root, &'static str),
    Risk,
    /// A signal of the vocabulary, with its argument.
    Signal(usize, String),
    Other,
}

/// The names that are known at one place of a function.
pub(super) struct Scope<'a> {
    vocabulary: &'a Vocabulary,
    constants: &'a [(String, Dynamic)],
    changed: HashSet<ImmutableString>,
    names: Vec<Name>,
}

struct Name {
    name: ImmutableString,
    meaning: Meaning,
    /// Where it was made, if it should be read.
    made: Option<Position>,
    is_read: bool,
}

impl<'a> Scope<'a> {
    pub(super) fn new(
        function: &Function,
        parsed: &'a Parsed<'_>,
        checked: &Checked,
        vocabulary: &'a Vocabulary,
    ) -> Self {
        let mut scope = Self {
            vocabulary,
            constants: &parsed.constants,
            changed: changed(&function.body),
            names: Vec::new(),
        };
        let arity = function.parameters.len();
        let calls =
            checked.calls.iter().filter(|(name, types)| *name == function.name && types.len() == arity);
        let calls: Vec<&Vec<Type>> = calls.map(|(_, types)| types).collect();
        for (at, parameter) in function.parameters.iter().enumerate() {
            let mut types = calls.iter().filter_map(|types| types.get(at));
            let first = types.next().copied().unwrap_or(Type::Any);
            let meaning = match first {
                _ if types.any(|other| *other != first) => Meaning::Other,
                Type::Object(root, group) => Meaning::Object(root, group),
                Type::Risk(_) => Meaning::Risk,
                Type::Of(_) | Type::Array | Type::Map | Type::Unit | Type::Any => Meaning::Other,
            };
            scope.bind(parameter, meaning, None);
        }
        scope
    }

    pub(super) fn open(&self) -> usize {
        self.names.len()
    }

    /// Forgets what was named since; what of it should have been read and was not.
    pub(super) fn close(&mut self, outer: usize) -> Vec<(ImmutableString, Position)> {
        let ended = self.names.split_off(outer.min(self.names.len()));
        let unread = ended.into_iter().filter(|name| !name.is_read && !name.name.starts_with('_'));
        unread.filter_map(|name| Some((name.name, name.made?))).collect()
    }

    pub(super) fn bind(&mut self, name: &ImmutableString, meaning: Meaning, made: Option<Position>) {
        let meaning = if self.changed.contains(name) { Meaning::Other } else { meaning };
        self.names.push(Name { name: name.clone(), meaning, made, is_read: false });
    }

    pub(super) fn read(&mut self, name: &str) {
        if let Some(known) = self.names.iter_mut().rev().find(|known| known.name == name) {
            known.is_read = true;
        }
    }

    /// The value of an expression that is a literal or a top-level constant.
    pub(super) fn constant(&self, expression: &Expr) -> Option<Dynamic> {
        let Expr::Variable(variable, ..) = expression else { return literal(expression) };
        if self.names.iter().any(|known| known.name == variable.1) {
            return None;
        }
        let found = self.constants.iter().find(|(name, _)| variable.1 == name.as_str());
        found.map(|(_, value)| value.clone())
    }

    pub(super) fn of(&self, expression: &Expr) -> Meaning {
        match expression {
            Expr::Variable(variable, ..) => {
                let found = self.names.iter().rev().find(|known| known.name == variable.1);
                found.map_or(Meaning::Other, |known| known.meaning.clone())
            }
            Expr::Dot(sides, ..) => self.link(self.of(&sides.lhs), &sides.rhs),
            _ => Meaning::Other,
        }
    }

    fn link(&self, base: Meaning, link: &Expr) -> Meaning {
        let Meaning::Object(root, group) = base else { return Meaning::Other };
        let path = |name: &str| if group.is_empty() { name.to_owned() } else { format!("{group}.{name}") };
        match link {
            Expr::Property(names, _) => match self.vocabulary.find(root, &path(&names.2)) {
                Some((index, _)) => Meaning::Signal(index, String::new()),
                None => {
                    let mut groups = self.vocabulary.signals().iter().map(crate::signals::Signal::group);
                    let found = groups.find(|found| group.is_empty() && *found == names.2.as_str());
                    found.map_or(Meaning::Other, |group| Meaning::Object(root, group))
                }
            },
            Expr::MethodCall(call, _) => {
                let argument = call.args.first().and_then(|arg| self.constant(arg));
                let argument = argument.and_then(|argument| argument.into_string().ok());
                let found = self.vocabulary.find(root, &path(&call.name));
                let found = found.zip(argument).map(|((index, _), name)| Meaning::Signal(index, name));
                found.unwrap_or(Meaning::Other)
            }
            Expr::Dot(sides, ..) => self.link(self.link(base, &sides.lhs), &sides.rhs),
            _ => Meaning::Other,
        }
    }

    /// The call at the end of a chain, and what it is made on.
    pub(super) fn last_call<'e>(&self, expression: &'e Expr) -> Option<(Meaning, &'e FnCallExpr)> {
        let Expr::Dot(sides, ..) = expression else { return None };
        let (mut base, mut link) = (self.of(&sides.lhs), &sides.rhs);
        while let Expr::Dot(sides, ..) = link {
            (base, link) = (self.link(base, &sides.lhs), &sides.rhs);
        }
        let Expr::MethodCall(call, _) = link else { return None };
        Some((base, call))
    }

    /// The values that an expression can have, and how the script names it.
    pub(super) fn domain(&self, expression: &Expr) -> Option<(Domain, String)> {
        self.domain_of(&self.of(expression))
    }

    pub(super) fn domain_of(&self, meaning: &Meaning) -> Option<(Domain, String)> {
        let Meaning::Signal(index, _) = meaning else { return None };
        let signal = self.vocabulary.signals().get(*index)?;
        Some((signal.domain, format!("{}.{}", signal.root.as_str(), signal.name)))
    }

    /// Whether two expressions always have the same value, seen without anything between them.
    pub(super) fn same(&self, left: &Expr, right: &Expr) -> bool {
        let (one, other) = (self.of(left), self.of(right));
        if one != Meaning::Other || other != Meaning::Other {
            return one == other;
        }
        match (left, right) {
            (Expr::Variable(left, ..), Expr::Variable(right, ..)) => left.1 == right.1,
            _ => match (literal(left), literal(right)) {
                (Some(left), Some(right)) => {
                    left.type_id() == right.type_id() && left.to_string() == right.to_string()
                }
                _ => false,
            },
        }
    }
}

/// The variables that a function changes after it has made them.
fn changed(body: &[Stmt]) -> HashSet<ImmutableString> {
    let mut names = HashSet::new();
    let mut notice = |path: &[ASTNode<'_>]| {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::Assignment(assignment))) => {
                if let Expr::Variable(variable, ..) = &assignment.1.lhs {
                    names.insert(variable.1.clone());
                }
            }
            Some(ASTNode::Stmt(Stmt::Share(shared))) => {
                names.extend(shared.iter().map(|(name, _)| name.name.clone()));
            }
            Some(ASTNode::Expr(Expr::Dot(sides, ..))) => {
                if let (Expr::Variable(variable, ..), Expr::MethodCall(call, _)) = (&sides.lhs, &sides.rhs)
                    && IN_PLACE.contains(&call.name.as_str())
                {
                    names.insert(variable.1.clone());
                }
            }
            _ => {}
        }
        true
    };
    for statement in body {
        statement.walk(&mut Vec::new(), &mut notice);
    }
    names
}
