//! Loops that end after a turn, and scripts that end by `throw`.

use rhai::{ASTFlags, Expr, FlowControl, Position};

use super::lower::{Lowered, Lowering, place};
use super::node::{Node, Place};
use super::operators;
use super::run::{Found, Frame, Halt, Val};

impl Lowering<'_> {
    pub(super) fn turns(&mut self, flow: &FlowControl, flags: ASTFlags, at: Position) -> Lowered<Node> {
        let body = self.block(flow.body.statements())?;
        let parts = Box::new((body, self.node(&flow.expr)?));
        Ok(Node::Do { parts, until: flags.intersects(ASTFlags::NEGATED), place: place(at) })
    }

    pub(super) fn throw(&mut self, value: Option<&Expr>, at: Position) -> Lowered<Node> {
        let value = value.map_or(Ok(Node::UNIT), |value| self.node(value))?;
        Ok(Node::Throw(Box::new(value), place(at)))
    }
}

impl<'e> Frame<'e> {
    /// `do { body } while condition`, or `until` it.
    #[inline(never)]
    pub(super) fn turns(&mut self, parts: &'e (Node, Node), until: bool, place: Place) -> Found<Val<'e>> {
        let (body, condition) = parts;
        loop {
            self.work(place)?;
            match self.run(body) {
                Ok(()) => {}
                // The next turn begins at once: the language does not ask the condition after `continue`.
                Err(Halt::Continue) => continue,
                Err(Halt::Break) => break,
                Err(halt) => return Err(halt),
            }
            if self.test(condition)? == until {
                break;
            }
        }
        Ok(Val::Unit)
    }

    #[inline(never)]
    pub(super) fn throw(&mut self, value: &'e Node, place: Place) -> Found<Val<'e>> {
        let mut text = String::new();
        operators::write(self.eval(value)?, &mut text);
        let message =
            if text.is_empty() { "runtime error".to_owned() } else { format!("runtime error: {text}") };
        self.fail(message, place)
    }
}
