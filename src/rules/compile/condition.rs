//! Conditions: whether a node holds, without making a value of it.
//!
//! This is what a policy spends its time on. The usual tests read a signal or a variable on the spot and compare it
//! with something prepared at load; what can fail, and what is rare, is kept out of the way.

use super::known::Endings;
use super::node::{Constant, FindAny, Holds, Node, Place, TextTest};
use super::operators;
use super::run::{Found, Frame, Halt, Val};

impl<'e> Frame<'e> {
    /// Whether a condition holds.
    #[inline]
    pub(super) fn test(&mut self, node: &'e Node) -> Found<bool> {
        match node {
            Node::Ask(ask) => self.ask(ask),
            Node::And(all) => self.all(all),
            other => self.test_fully(other),
        }
    }

    fn all(&mut self, all: &'e [Node]) -> Found<bool> {
        for one in all {
            let holds = match one {
                Node::Ask(ask) => self.ask(ask)?,
                other => self.test_fully(other)?,
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a condition of any kind holds.
    #[inline(never)]
    #[expect(clippy::too_many_lines, reason = "one arm for each kind of condition")]
    fn test_fully(&mut self, node: &'e Node) -> Found<bool> {
        match node {
            Node::Ask(ask) => self.ask(ask),
            Node::Not(of) => Ok(!self.test(of)?),
            Node::And(all) => self.all(all),
            Node::Or(any) => {
                for one in any {
                    if self.test(one)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Node::TextIs { text, is, negated } => {
                let equal = matches!(self.operand(text)?, Val::Text(text) if is.is(text));
                Ok(equal != *negated)
            }
            Node::IntCompares { how, number, with } => Ok(match self.operand(number)? {
                Val::Int(number) => how.holds(number.cmp(with)),
                other => operators::compare(*how, other, Val::Int(*with)),
            }),
            Node::FloatCompares { number, with } => Ok(with.compares(self.operand(number)?)),
            Node::Compare { how, sides } => {
                let (left, right) = (self.value(&sides.0)?, self.value(&sides.1)?);
                Ok(operators::compare(*how, left, right))
            }
            Node::InTexts { item, set } => {
                Ok(matches!(self.operand(item)?, Val::Text(text) if set.contains(text)))
            }
            Node::InInts { item, set } => Ok(match self.operand(item)? {
                Val::Int(number) => set.contains(number),
                Val::Float(number) => set.contains_float(number),
                Val::Unit | Val::Bool(_) | Val::Text(_) => false,
            }),
            Node::InRange { item, range, inclusive } => Ok(match self.operand(item)? {
                Val::Int(number) => {
                    range.0 <= number && (number < range.1 || (*inclusive && number == range.1))
                }
                Val::Unit | Val::Bool(_) | Val::Float(_) | Val::Text(_) => false,
            }),
            Node::Starts { text, with, place } => match self.operand(text)? {
                Val::Text(text) => Ok(with.begins(text)),
                other => self.no_function("starts_with", &[other, Val::Text(with.text())], *place),
            },
            Node::Find { text, search, needle, place } => {
                let text = self.operand(text)?;
                self.find(text, *search as usize, &[*needle as usize], *place)
            }
            Node::FindAny(of) => self.find_any(of),
            Node::InText { test, sides, place } => self.in_text(*test, sides, *place),
            Node::Ends { text, with, place } => {
                let text = self.operand(text)?;
                self.ends(text, with, *place)
            }
            Node::Call { function, args, place } => {
                let value = self.call(*function, args, *place)?;
                self.truth(value)
            }
            Node::Signal(source) => {
                let value = self.signal(*source);
                self.truth(value)
            }
            other => self.test_value(other),
        }
    }

    /// A condition that is no comparison.
    #[inline(never)]
    fn test_value(&mut self, node: &'e Node) -> Found<bool> {
        match node {
            Node::Constant(Constant::Bool(value)) => Ok(*value),
            Node::Holds(of) => self.holds(of),
            other => {
                let value = self.eval(other)?;
                self.truth(value)
            }
        }
    }

    #[inline]
    pub(super) fn truth(&mut self, value: Val<'e>) -> Found<bool> {
        match value {
            Val::Bool(value) => Ok(value),
            // The check at load has seen to it that conditions are boolean, as far as it can be known.
            found @ (Val::Unit | Val::Int(_) | Val::Float(_) | Val::Text(_)) => {
                self.fail(operators::not_boolean(found), Place::default())
            }
        }
    }

    pub(super) fn find(
        &mut self,
        text: Val<'e>,
        search: usize,
        needles: &[usize],
        place: Place,
    ) -> Found<bool> {
        let Val::Text(text) = text else {
            return self.no_function("contains", &[text, Val::Text("")], place);
        };
        let (Some(search), Some(finding)) =
            (self.program.searches.get(search), self.findings.get_mut(search))
        else {
            return Ok(false);
        };
        Ok(needles.iter().any(|needle| search.has(finding, text, *needle, self.arena)))
    }

    fn find_any(&mut self, of: &'e FindAny) -> Found<bool> {
        let text = self.operand(&of.text)?;
        self.find(text, of.search, &of.needles, of.place)
    }

    pub(super) fn ends(&mut self, text: Val<'e>, with: &'e Endings, place: Place) -> Found<bool> {
        match text {
            Val::Text(text) => Ok(with.end(text)),
            other => self.no_function("ends_with", &[other, Val::Text("")], place),
        }
    }

    #[inline(never)]
    fn in_text(&mut self, test: TextTest, sides: &'e (Node, Node), place: Place) -> Found<bool> {
        let (text, part) = (self.value(&sides.0)?, self.value(&sides.1)?);
        let (Val::Text(text), Val::Text(part)) = (text, part) else {
            return self.no_function(test.name(), &[text, part], place);
        };
        Ok(match test {
            TextTest::Contains => text.contains(part),
            TextTest::StartsWith => text.starts_with(part),
            TextTest::EndsWith => text.ends_with(part),
        })
    }

    fn holds(&mut self, of: &'e Holds) -> Found<bool> {
        for item in &of.items {
            self.work(Place::default())?;
            self.set(of.local, item.value());
            let value = match self.eval(&of.body) {
                Err(Halt::Return) => self.returned,
                other => other?,
            };
            if (value == Val::Bool(true)) != of.for_all {
                return Ok(!of.for_all);
            }
        }
        Ok(of.for_all)
    }
}
