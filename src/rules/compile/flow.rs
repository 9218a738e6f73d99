//! What decides which nodes run, and how often: `switch`, loops and calls.

use super::node::{For, Items, Node, Place, Switch};
use super::operators;
use super::run::{Found, Frame, Halt, Val};

impl<'e> Frame<'e> {
    #[inline(never)]
    pub(super) fn switch(&mut self, switch: &'e Switch) -> Found<Val<'e>> {
        let subject = self.eval(&switch.subject)?;
        let none: &[usize] = &[];
        let exact: &'e [usize] = match subject {
            Val::Text(text) => switch.texts.get(text).map_or(none, |cases| cases),
            Val::Int(number) => switch.ints.get(&number).map_or(none, |cases| cases),
            Val::Bool(value) => switch.bools.get(usize::from(value)).map_or(none, |cases| cases),
            Val::Unit | Val::Float(_) => none,
        };
        for case in exact.iter().filter_map(|case| switch.cases.get(*case)) {
            if self.applies(case.condition.as_ref())? {
                return self.eval(&case.then);
            }
        }
        for (from, to, inclusive, case) in &switch.ranges {
            let within = operators::within(subject, *from, *to, *inclusive);
            let Some(case) = switch.cases.get(*case).filter(|_| within) else { continue };
            if self.applies(case.condition.as_ref())? {
                return self.eval(&case.then);
            }
        }
        let default = switch.default.and_then(|case| switch.cases.get(case));
        default.map_or(Ok(Val::Unit), |case| self.eval(&case.then))
    }

    fn applies(&mut self, condition: Option<&'e Node>) -> Found<bool> {
        condition.map_or(Ok(true), |condition| self.test(condition))
    }

    #[inline(never)]
    pub(super) fn repeat(
        &mut self,
        condition: Option<&'e Node>,
        body: &'e Node,
        place: Place,
    ) -> Found<Val<'e>> {
        while self.applies(condition)? {
            self.work(place)?;
            match self.run(body) {
                Ok(()) | Err(Halt::Continue) => {}
                Err(Halt::Break) => break,
                Err(halt) => return Err(halt),
            }
        }
        Ok(Val::Unit)
    }

    #[inline(never)]
    pub(super) fn each(&mut self, of: &'e For) -> Found<Val<'e>> {
        match &of.items {
            Items::Constants(constants) => {
                for (at, constant) in constants.iter().enumerate() {
                    if !self.turn(of, constant.value(), at)? {
                        break;
                    }
                }
            }
            Items::Range(ends, inclusive) => {
                let (from, to) = (self.eval(&ends.0)?, self.eval(&ends.1)?);
                let (Val::Int(from), Val::Int(to)) = (from, to) else {
                    return self.no_function("..", &[from, to], of.place);
                };
                let end = if *inclusive { to.checked_add(1) } else { Some(to) };
                // A range up to the largest integer ends by the bound on operations long before.
                for (at, number) in (from..end.unwrap_or(i64::MAX)).enumerate() {
                    if !self.turn(of, Val::Int(number), at)? {
                        break;
                    }
                }
            }
        }
        Ok(Val::Unit)
    }

    /// One turn of a `for`; whether it goes on.
    fn turn(&mut self, of: &'e For, value: Val<'e>, at: usize) -> Found<bool> {
        self.work(of.place)?;
        self.set(of.item, value);
        if let Some(counter) = of.counter {
            self.set(counter, Val::Int(i64::try_from(at).unwrap_or(i64::MAX)));
        }
        match self.run(&of.body) {
            Ok(()) | Err(Halt::Continue) => Ok(true),
            Err(Halt::Break) => Ok(false),
            Err(halt) => Err(halt),
        }
    }

    #[inline(never)]
    pub(super) fn call(&mut self, function: usize, args: &'e [Node], place: Place) -> Found<Val<'e>> {
        let Some(body) = self.program.functions.get(function) else { return Ok(Val::Unit) };
        self.work(place)?;
        if self.depth >= self.occasion.bounds.call_depth {
            return self.fail("stack overflow".to_owned(), place);
        }
        let (outer, len) = (self.base, self.locals.len());
        for arg in args {
            let value = self.eval(arg).inspect_err(|_| self.locals.truncate(len))?;
            self.locals.push(value);
        }
        (self.base, self.depth) = (len, self.depth + 1);
        self.locals.resize(len + body.locals, Val::Unit);
        let result = match self.eval(&body.node) {
            Err(Halt::Return) => Ok(self.returned),
            other => other,
        };
        self.locals.truncate(len);
        (self.base, self.depth) = (outer, self.depth - 1);
        result
    }
}
