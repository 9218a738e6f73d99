//! Small programs from bigger ones: what is constant is computed, what compares with a constant needs no second value,
//! and many substrings of one text are one search. What would fail is left to fail when it runs.

use super::known::{KnownText, Prefix};
use super::lower::{Lowering, Sought};
use super::node::{
    Arithmetic, Comparison, Constant, FindAny, Holds, If, Node, Operand, Place, Source, TextTest, Unary,
};
use super::operators;
use crate::signals::Kind;

/// A comparison; with a constant on one side it needs no second value.
pub(super) fn compare(how: Comparison, left: Node, right: Node) -> Node {
    match (how, left, right) {
        (how, Node::Constant(left), Node::Constant(right)) => {
            Node::Constant(Constant::Bool(operators::compare(how, left.value(), right.value())))
        }
        (how, left @ Node::Constant(_), right) => with_constant(mirrored(how), right, left),
        (how, left, right) => with_constant(how, left, right),
    }
}

fn with_constant(how: Comparison, left: Node, right: Node) -> Node {
    match (how, right) {
        (Comparison::Equal | Comparison::NotEqual, Node::Constant(Constant::Text(is))) => {
            let is = Box::new(KnownText::new(is));
            Node::TextIs { text: left.into(), is, negated: how == Comparison::NotEqual }
        }
        (how, Node::Constant(Constant::Int(with))) => Node::IntCompares { how, number: left.into(), with },
        (how, Node::Constant(Constant::Float(with))) => {
            Node::FloatCompares { how, number: left.into(), with }
        }
        (how, right) => Node::Compare { how, sides: Box::new((left, right)) },
    }
}

/// The comparison that says the same with its sides exchanged.
fn mirrored(how: Comparison) -> Comparison {
    match how {
        Comparison::Equal | Comparison::NotEqual => how,
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
    }
}

/// `||`; runs of `text.contains("constant")` about one text become one question.
pub(super) fn or(sides: Vec<Node>) -> Node {
    let mut merged: Vec<Node> = Vec::new();
    for side in up_to(sides, true) {
        match (merged.last_mut(), side) {
            (Some(Node::FindAny(any)), Node::Find { search, needle, .. })
                if any.search == search as usize =>
            {
                let mut needles = std::mem::take(&mut any.needles).into_vec();
                needles.push(needle as usize);
                any.needles = needles.into();
            }
            (Some(last @ Node::Find { .. }), Node::Find { text, search, needle, place }) => {
                match any_of(last, search, needle) {
                    Some(any) => *last = any,
                    None => merged.push(Node::Find { text, search, needle, place }),
                }
            }
            (_, side) => merged.push(side),
        }
    }
    match merged.as_slice() {
        [] => Node::Constant(Constant::Bool(false)),
        [Node::FindAny(_) | Node::Constant(_)] => merged.pop().unwrap_or(Node::UNIT),
        _ => Node::Or(merged.into()),
    }
}

/// `&&`.
pub(super) fn and(sides: Vec<Node>) -> Node {
    let sides = up_to(sides, false);
    match sides.as_slice() {
        [] => Node::Constant(Constant::Bool(true)),
        [Node::Constant(Constant::Bool(value))] => Node::Constant(Constant::Bool(*value)),
        _ => Node::And(sides.into()),
    }
}

/// The sides of an `&&` or `||` up to the constant that decides, without those that make no difference.
fn up_to(mut sides: Vec<Node>, decides: bool) -> Vec<Node> {
    let is =
        |node: &Node, value: bool| matches!(node, Node::Constant(Constant::Bool(known)) if *known == value);
    if let Some(end) = sides.iter().position(|side| is(side, decides)) {
        sides.truncate(end + 1);
    }
    sides.retain(|side| !is(side, !decides));
    sides
}

/// `!`.
pub(super) fn not(of: Node) -> Node {
    match of {
        Node::Constant(Constant::Bool(value)) => Node::Constant(Constant::Bool(!value)),
        of => Node::Not(Box::new(of)),
    }
}

/// `if`; with a constant condition it is what follows.
pub(super) fn branch(condition: Node, then: Node, otherwise: Node) -> Node {
    match condition {
        Node::Constant(Constant::Bool(true)) => then,
        Node::Constant(Constant::Bool(false)) => otherwise,
        condition => Node::If(Box::new(If { condition, then, otherwise })),
    }
}

/// An operation on two values, done now if both are known and it succeeds.
pub(super) fn arithmetic(how: Arithmetic, left: Node, right: Node, place: Place) -> Node {
    if let (Node::Constant(left), Node::Constant(right)) = (&left, &right)
        && let Ok(value) = operators::calculate(how, left.value(), right.value())
    {
        return Node::Constant(value.into());
    }
    Node::Arithmetic { how, sides: Box::new((left, right)), place }
}

/// A function of one value, done now if it is known and it succeeds.
pub(super) fn unary(how: Unary, of: Node, place: Place) -> Node {
    if let Node::Constant(known) = &of
        && let Ok(Some(value)) = operators::unary(how, known.value())
    {
        return Node::Constant(value.into());
    }
    Node::Unary { how, of: of.into(), place }
}

/// One question of two, if both are about the same search.
fn any_of(first: &Node, search: u32, second: u32) -> Option<Node> {
    match first {
        Node::Find { text, search: of, needle, place } if *of == search => {
            let text = match text {
                Operand::Signal(source) => Operand::Signal(*source),
                Operand::Local(slot) => Operand::Local(*slot),
                Operand::Node(_) => return None,
            };
            let needles = [*needle as usize, second as usize].into();
            Some(Node::FindAny(Box::new(FindAny { text, search: search as usize, needles, place: *place })))
        }
        _ => None,
    }
}

impl Lowering<'_> {
    /// A question about two texts. If the second is constant, what can be prepared is.
    pub(super) fn in_text(&mut self, test: TextTest, text: Node, part: Node, place: Place) -> Node {
        match (test, part) {
            (TextTest::Contains, Node::Constant(Constant::Text(needle))) if is_plain(&text) => {
                match self.sought(&text, &needle) {
                    Some((search, needle)) => Node::Find { text: text.into(), search, needle, place },
                    None => plain_test(test, text, Node::Constant(Constant::Text(needle)), place),
                }
            }
            (TextTest::StartsWith, Node::Constant(Constant::Text(with))) => {
                Node::Starts { text: text.into(), with: Box::new(Prefix::new(with)), place }
            }
            (test, part) => plain_test(test, text, part, place),
        }
    }

    /// `list.some(|item| ...)`; `|item| text.contains(item)` becomes one question.
    pub(super) fn holds(&mut self, items: Vec<Constant>, local: usize, body: Node, for_all: bool) -> Node {
        if let Node::InText { test: TextTest::Contains, sides, place } = &body
            && matches!(sides.1, Node::Local(slot) if slot == local)
            && !matches!(sides.0, Node::Local(slot) if slot == local)
            && !for_all
            && let Some(any) = self.find_any(&sides.0, &items, *place)
        {
            return any;
        }
        Node::Holds(Box::new(Holds { items: items.into(), local, body, for_all }))
    }

    fn find_any(&mut self, text: &Node, items: &[Constant], place: Place) -> Option<Node> {
        let operand = match text {
            Node::Signal(source) => Operand::Signal(*source),
            Node::Local(slot) => Operand::Local(*slot),
            _ => return None,
        };
        let texts: Option<Vec<&str>> = items.iter().map(text_of).collect();
        let texts = texts.filter(|texts| !texts.is_empty())?;
        let found: Option<Vec<(u32, u32)>> = texts.into_iter().map(|item| self.sought(text, item)).collect();
        let found = found?;
        let (search, _) = found.first()?;
        let needles = found.iter().map(|(_, needle)| *needle as usize).collect();
        Some(Node::FindAny(Box::new(FindAny { text: operand, search: *search as usize, needles, place })))
    }

    /// The search about that text, and the number of the constant in it.
    fn sought(&mut self, text: &Node, needle: &str) -> Option<(u32, u32)> {
        let text = match text {
            Node::Signal(source) => (None, *source),
            Node::Local(slot) => (Some(self.body), *slot),
            _ => return None,
        };
        let search = self.sought.iter().position(|sought| sought.text == text).unwrap_or_else(|| {
            self.sought.push(Sought { text, needles: Vec::new() });
            self.sought.len() - 1
        });
        let needles = &mut self.sought.get_mut(search)?.needles;
        let at = needles.iter().position(|known| **known == *needle).unwrap_or_else(|| {
            needles.push(needle.into());
            needles.len() - 1
        });
        Some((u32::try_from(search).ok()?, u32::try_from(at).ok()?))
    }

    /// Whether a source is always a text.
    pub(super) fn is_text(&self, source: usize) -> bool {
        match self.sources.get(source) {
            Some(Source::Need(_, kind)) => *kind == Kind::Text,
            Some(Source::Lower(_)) => true,
            None => false,
        }
    }

    /// Whether a source has small letters only.
    pub(super) fn is_lower(&self, source: usize) -> bool {
        matches!(self.sources.get(source), Some(Source::Lower(_)))
    }
}

fn is_plain(node: &Node) -> bool {
    matches!(node, Node::Local(_) | Node::Signal(_))
}

fn plain_test(test: TextTest, text: Node, part: Node, place: Place) -> Node {
    Node::InText { test, sides: Box::new((text, part)), place }
}

fn text_of(constant: &Constant) -> Option<&str> {
    match constant {
        Constant::Text(text) => Some(text),
        Constant::Unit | Constant::Bool(_) | Constant::Int(_) | Constant::Float(_) => None,
    }
}
