//! The policy compiler: functions of a script become programs that run at native speed.
//!
//! It covers what policies are made of. A function with anything else runs in the interpreter, with the same
//! meaning; a [`super::FunctionReport`] says what keeps it there. `assess` and `observe` are compiled independently of each other. The
//! interpreter is the oracle: property tests hold both against each other.

mod branches;
mod calls;
mod condition;
mod endings;
mod flow;
mod interpreted;
mod known;
mod lists;
mod lower;
mod merge;
mod names;
mod node;
mod operators;
#[cfg(test)]
mod oracle;
mod run;
mod search;
mod survey;
#[cfg(test)]
mod tests;
mod value;

use std::cell::RefCell;

use bumpalo::Bump;

use super::counters::Declared;
use super::sandbox::{Bounds, Interpreter};
use crate::actions::Say;
use crate::decision::ScriptError;
use crate::signals::RequestContext;
use node::{Body, Source};
use run::{Frame, Halt, Val};
use search::{Finding, Search};
pub(super) use survey::{Compiled, compile};

/// A compiled function, with all that it calls.
#[derive(Debug)]
pub(super) struct Program {
    functions: Box<[Body]>,
    entry: usize,
    sources: Box<[Source]>,
    searches: Box<[Search]>,
}

/// What a program is run on.
pub(super) struct Occasion<'e> {
    pub(super) request: &'e RequestContext<'e>,
    pub(super) response: Option<&'e RequestContext<'e>>,
    pub(super) counters: &'e [Declared],
    pub(super) bounds: &'e Bounds,
    pub(super) interpreter: Interpreter<'e>,
}

/// What texts a program makes live here until the call ends.
const ARENA: usize = 16 * 1024;
/// More memory than this is given back after a call.
const LARGE_ARENA: usize = 256 * 1024;

thread_local! {
    static SCRATCH: RefCell<Bump> = RefCell::new(Bump::with_capacity(ARENA));
}

impl Program {
    /// Runs it on an occasion; `said` is what was said, up to a failure. Most of the time that is nothing, which is
    /// why nothing bigger than a pointer comes back.
    pub(super) fn run(&self, occasion: &Occasion<'_>, said: &mut Vec<Say>) -> Result<(), Box<ScriptError>> {
        SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
            Ok(mut arena) => {
                let result = self.run_in(&arena, occasion, said);
                if arena.allocated_bytes() > LARGE_ARENA {
                    *arena = Bump::with_capacity(ARENA);
                } else {
                    arena.reset();
                }
                result
            }
            // Nothing that runs inside a program judges again; should it ever, it gets an arena of its own.
            Err(_) => self.run_in(&Bump::new(), occasion, said),
        })
    }

    /// How many constants each search is for.
    #[cfg(test)]
    fn sought(&self) -> Vec<usize> {
        self.searches.iter().map(Search::len).collect()
    }

    fn run_in(
        &self,
        arena: &Bump,
        occasion: &Occasion<'_>,
        said: &mut Vec<Say>,
    ) -> Result<(), Box<ScriptError>> {
        let Some(body) = self.functions.get(self.entry) else { return Ok(()) };
        let mut frame = Frame {
            program: self,
            request: occasion.request,
            response: occasion.response.unwrap_or(occasion.request),
            counters: occasion.counters,
            bounds: occasion.bounds,
            interpreter: &occasion.interpreter,
            arena,
            signals: arena.alloc_slice_fill_copy(self.sources.len(), None),
            findings: arena.alloc_slice_fill_copy(self.searches.len(), Finding::default()),
            locals: bumpalo::vec![in arena; Val::Unit; body.locals],
            base: 0,
            depth: 0,
            operations: 0,
            returned: Val::Unit,
            said,
            error: None,
        };
        match frame.run(&body.node) {
            Ok(()) | Err(Halt::Return | Halt::Allowed | Halt::Break | Halt::Continue) => Ok(()),
            Err(Halt::Failed) => Err(frame.error.unwrap_or_default()),
        }
    }
}
