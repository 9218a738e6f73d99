//! Small programs from bigger ones: what is constant is computed, what compares with a constant needs no second value,
//! and many substrings of one text are one search. What would fail is left to fail when it runs.

use super::ask::{Ask, question};
use super::known::{Endings, KnownFloat, KnownText, Prefix};
use super::lower::{Lowering, Sought, Subject};
use super::node::{
    Arithmetic, Comparison, Constant, FindAny, Holds, If, Node, Operand, Place, Rule, TextTest, Unary,
};
use super::operators;

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
    match (how, left, right) {
        (Comparison::Equal | Comparison::NotEqual, left, Node::Constant(Constant::Text(is))) => {
            let (text, negated) = (Box::new(KnownText::new(is)), how == Comparison::NotEqual);
            match left {
                Node::Signal(of) => Node::Ask(Ask::Is { of, negated, text }),
                left => Node::TextIs { text: left.into(), is: text, negated },
            }
        }
        (how, Node::Signal(of), Node::Constant(Constant::Int(with))) => Node::Ask(Ask::Int { of, how, with }),
        (how, left, Node::Constant(Constant::Int(with))) => {
            Node::IntCompares { how, number: left.into(), with }
        }
        (how, left, Node::Constant(Constant::Float(with))) => {
            let with = Box::new(KnownFloat::new(how, with));
            match left {
                Node::Signal(of) => Node::Ask(Ask::Float { of, with }),
                left => Node::FloatCompares { number: left.into(), with },
            }
        }
        (how, left, right) => Node::Compare { how, sides: Box::new((left, right)) },
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
        let found = found(&side);
        match (merged.last_mut(), found) {
            (Some(Node::FindAny(any)), Some((_, search, needle, _))) if any.search == search => {
                let mut needles = std::mem::take(&mut any.needles).into_vec();
                needles.push(needle);
                any.needles = needles.into();
            }
            (Some(last), Some((_, search, needle, _))) => match any_of(last, search, needle) {
                Some(any) => *last = any,
                None => merged.push(side),
            },
            (_, _) => merged.push(side),
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
        Node::Signal(of) => Node::Ask(Ask::Holds { of, negated: true }),
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
    // Whatever is added to a text is joined to it.
    let is_text = |node: &Node| matches!(node, Node::Constant(Constant::Text(_)));
    let is_there = |node: &Node| matches!(node, Node::Constant(_) | Node::Signal(_) | Node::Local(_));
    match (how, left, right) {
        (Arithmetic::Add, Node::Interpolate(parts), right) if is_there(&right) => {
            Node::Interpolate(parts.into_vec().into_iter().chain([right]).collect())
        }
        (Arithmetic::Add, left, right) if is_text(&left) || is_text(&right) => {
            Node::Interpolate([left, right].into())
        }
        (how, left, right) => Node::Arithmetic { how, sides: Box::new((left, right)), place },
    }
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

/// What a block does. Rules that follow each other become one node; what does nothing is left out.
pub(super) fn rules(nodes: Vec<Node>) -> Node {
    let mut merged: Vec<Node> = Vec::new();
    let last = nodes.len().saturating_sub(1);
    for (at, node) in nodes.into_iter().enumerate() {
        if at < last && matches!(node, Node::Constant(_)) {
            continue;
        }
        match rule(node) {
            Ok(rule) => match merged.last_mut() {
                Some(Node::Rules(rules)) => {
                    let mut more = std::mem::take(rules).into_vec();
                    more.push(rule);
                    *rules = more.into();
                }
                Some(_) | None => merged.push(Node::Rules([rule].into())),
            },
            Err(node) => merged.push(node),
        }
    }
    match merged.len() {
        1 => merged.pop().unwrap_or(Node::UNIT),
        _ => Node::Block(merged.into()),
    }
}

/// An `if` without `else` that begins with a question about a signal; or else the node as it was.
fn rule(node: Node) -> Result<Rule, Node> {
    let Node::If(of) = node else { return Err(node) };
    let If { condition, then, otherwise } = *of;
    let rule = match (condition, otherwise) {
        (Node::And(all), Node::Constant(Constant::Unit)) => first_of(all, then),
        (condition, Node::Constant(Constant::Unit)) => match question(condition) {
            Ok(ask) => Ok(Rule { ask, then }),
            Err(condition) => Err((condition, then)),
        },
        (condition, otherwise) => {
            return Err(Node::If(Box::new(If { condition, then, otherwise })));
        }
    };
    rule.map_err(|(condition, then)| Node::If(Box::new(If { condition, then, otherwise: Node::UNIT })))
}

/// The first of several conditions as a question, the others as a condition of what follows.
fn first_of(all: Box<[Node]>, then: Node) -> Result<Rule, (Node, Node)> {
    let mut all = all.into_vec().into_iter();
    let Some(first) = all.next() else { return Err((Node::And(Box::default()), then)) };
    match question(first) {
        Ok(ask) => {
            let mut rest: Vec<Node> = all.collect();
            let last = if rest.len() == 1 { rest.pop() } else { None };
            Ok(Rule { ask, then: branch(last.unwrap_or_else(|| and(rest)), then, Node::UNIT) })
        }
        Err(first) => Err((Node::And(std::iter::once(first).chain(all).collect()), then)),
    }
}

/// The text, search, constant and place of `text.contains("constant")`.
fn found(node: &Node) -> Option<(Operand, usize, usize, Place)> {
    let (text, search, needle, place) = match node {
        Node::Ask(Ask::Find { of, search, needle, place }) => (Operand::Signal(*of), search, needle, place),
        Node::Find { text: Operand::Local(slot), search, needle, place } => {
            (Operand::Local(*slot), search, needle, place)
        }
        _ => return None,
    };
    Some((text, *search as usize, *needle as usize, *place))
}

/// Whether a text ends with one of constants.
fn ends(text: Node, with: Vec<Box<str>>, place: Place) -> Node {
    let with = Box::new(Endings::new(with));
    match text {
        Node::Signal(of) => Node::Ask(Ask::Ends { of, with, place }),
        text => Node::Ends { text: text.into(), with, place },
    }
}

/// One question of two, if both are about the same search.
fn any_of(first: &Node, search: usize, second: usize) -> Option<Node> {
    let (text, _, needle, place) = found(first).filter(|(_, of, ..)| *of == search)?;
    Some(Node::FindAny(Box::new(FindAny { text, search, needles: [needle, second].into(), place })))
}

impl Lowering<'_> {
    /// A question about two texts. If the second is constant, what can be prepared is.
    pub(super) fn in_text(&mut self, test: TextTest, text: Node, part: Node, place: Place) -> Node {
        match (test, part) {
            (TextTest::Contains, Node::Constant(Constant::Text(needle))) => {
                let sought = self.sought(&text, &needle);
                match (text, sought) {
                    (Node::Signal(of), Some((search, needle))) => {
                        Node::Ask(Ask::Find { of, search, needle, place })
                    }
                    (text, Some((search, needle))) => Node::Find { text: text.into(), search, needle, place },
                    (text, None) => plain_test(test, text, Node::Constant(Constant::Text(needle)), place),
                }
            }
            (TextTest::StartsWith, Node::Constant(Constant::Text(with))) => {
                let with = Box::new(Prefix::new(with));
                match text {
                    Node::Signal(of) => Node::Ask(Ask::Starts { of, with, place }),
                    text => Node::Starts { text: text.into(), with, place },
                }
            }
            (TextTest::EndsWith, Node::Constant(Constant::Text(with))) => ends(text, vec![with], place),
            (test, part) => plain_test(test, text, part, place),
        }
    }

    /// `list.some(|item| ...)`; a test of a signal or variable with each item becomes one question.
    pub(super) fn holds(&mut self, items: Vec<Constant>, local: usize, body: Node, for_all: bool) -> Node {
        if let Node::InText { test, sides, place } = &body
            && matches!(sides.1, Node::Local(slot) if slot == local)
            && !matches!(sides.0, Node::Local(slot) if slot == local)
            && !for_all
            && let Some(any) = self.some(*test, &sides.0, &items, *place)
        {
            return any;
        }
        Node::Holds(Box::new(Holds { items: items.into(), local, body, for_all }))
    }

    /// The same test of a text with each item of a list.
    fn some(&mut self, test: TextTest, text: &Node, items: &[Constant], place: Place) -> Option<Node> {
        let again = || match text {
            Node::Signal(of) => Some(Node::Signal(*of)),
            Node::Local(slot) => Some(Node::Local(*slot)),
            _ => None,
        };
        let texts: Option<Vec<Box<str>>> = items.iter().map(text_of).collect();
        let texts = texts.filter(|texts| !texts.is_empty())?;
        match test {
            TextTest::EndsWith => Some(ends(again()?, texts, place)),
            TextTest::Contains | TextTest::StartsWith => {
                let question =
                    |with| Some(self.in_text(test, again()?, Node::Constant(Constant::Text(with)), place));
                texts.into_iter().map(question).collect::<Option<_>>().map(or)
            }
        }
    }

    /// The search about that text, and the number of the constant in it.
    fn sought(&mut self, text: &Node, needle: &str) -> Option<(u32, u32)> {
        let text = match text {
            Node::Signal(source) => Subject::Signal(*source),
            Node::Local(slot) => Subject::Local(self.body, *slot),
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
}

fn plain_test(test: TextTest, text: Node, part: Node, place: Place) -> Node {
    Node::InText { test, sides: Box::new((text, part)), place }
}

fn text_of(constant: &Constant) -> Option<Box<str>> {
    match constant {
        Constant::Text(text) => Some(text.clone()),
        Constant::Unit | Constant::Bool(_) | Constant::Int(_) | Constant::Float(_) => None,
    }
}
