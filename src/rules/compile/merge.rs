//! Small programs from bigger ones: comparisons with constants, many substrings in one pass.

use aho_corasick::AhoCorasick;

use super::node::{Comparison, Constant, Node, Place, TextTest};

/// From how many constant substrings on one automaton is faster than looking for each.
const MANY: usize = 3;

/// A comparison; with a constant on its right it needs no second value.
pub(super) fn compare(how: Comparison, left: Node, right: Node) -> Node {
    match (how, right) {
        (Comparison::Equal | Comparison::NotEqual, Node::Constant(Constant::Text(is))) => {
            Node::TextIs { text: Box::new(left), is, negated: how == Comparison::NotEqual }
        }
        (how, Node::Constant(Constant::Int(with))) => Node::IntCompares { how, number: Box::new(left), with },
        (how, right) => Node::Compare { how, sides: Box::new((left, right)) },
    }
}

/// `||`; runs of `text.contains("constant")` about one text become one pass over it.
pub(super) fn or(sides: Vec<Node>) -> Node {
    let mut merged: Vec<Node> = Vec::new();
    let mut run: Vec<Node> = Vec::new();
    for side in sides {
        let continues = match (run.last().and_then(contained), contained(&side)) {
            (Some((text, _, _)), Some((other, _, _))) => same(text, other),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if !continues {
            flush(&mut run, &mut merged);
        }
        if contained(&side).is_some() { run.push(side) } else { merged.push(side) }
    }
    flush(&mut run, &mut merged);
    match merged.len() {
        1 => merged.pop().unwrap_or(Node::UNIT),
        _ => Node::Or(merged.into()),
    }
}

/// `list.some(|item| ...)`; `|item| text.contains(item)` becomes one pass over the text.
pub(super) fn holds(items: Vec<Constant>, local: usize, body: Node, for_all: bool) -> Node {
    if let Node::InText { test: TextTest::Contains, sides, place } = &body
        && matches!(sides.1, Node::Local(slot) if slot == local)
        && !for_all
        && items.len() >= MANY
        && let Some(text) =
            plain(&sides.0).filter(|text| !matches!(text, Node::Local(slot) if *slot == local))
        && let Some(any) = automaton(&items)
    {
        return Node::ContainsAny { text: Box::new(text), any: Box::new(any), place: *place };
    }
    Node::Holds { items: items.into(), local, body: Box::new(body), for_all }
}

fn flush(run: &mut Vec<Node>, merged: &mut Vec<Node>) {
    let taken = std::mem::take(run);
    let first = taken.first().and_then(contained).and_then(|(text, _, place)| Some((plain(text)?, place)));
    let needles: Vec<Constant> =
        taken.iter().filter_map(contained).map(|(_, needle, _)| Constant::Text(needle.into())).collect();
    match (first, automaton(&needles)) {
        (Some((text, place)), Some(any)) if taken.len() >= MANY => {
            merged.push(Node::ContainsAny { text: Box::new(text), any: Box::new(any), place });
        }
        _ => merged.extend(taken),
    }
}

/// `text.contains("constant")` about something that is cheap and free of effects to read again.
fn contained(node: &Node) -> Option<(&Node, &str, Place)> {
    match node {
        Node::InText { test: TextTest::Contains, sides, place } => match &**sides {
            (text @ (Node::Local(_) | Node::Signal(_)), Node::Constant(Constant::Text(needle))) => {
                Some((text, needle, *place))
            }
            _ => None,
        },
        _ => None,
    }
}

fn same(left: &Node, right: &Node) -> bool {
    match (left, right) {
        (Node::Local(left), Node::Local(right)) | (Node::Signal(left), Node::Signal(right)) => left == right,
        _ => false,
    }
}

fn plain(node: &Node) -> Option<Node> {
    match node {
        Node::Local(slot) => Some(Node::Local(*slot)),
        Node::Signal(slot) => Some(Node::Signal(*slot)),
        _ => None,
    }
}

fn automaton(needles: &[Constant]) -> Option<AhoCorasick> {
    let texts: Option<Vec<&str>> = needles
        .iter()
        .map(|needle| match needle {
            Constant::Text(text) => Some(&**text),
            Constant::Unit | Constant::Bool(_) | Constant::Int(_) | Constant::Float(_) => None,
        })
        .collect();
    AhoCorasick::new(texts?).ok()
}
