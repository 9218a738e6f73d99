//! The policy compiler: functions of a script become programs that run at native speed.
//!
//! It covers what policies are made of. A function with anything else runs in the interpreter, with the same
//! meaning; a [`super::FunctionReport`] says what keeps it there. `assess` and `observe` are compiled independently of each other. The
//! interpreter is the oracle: property tests hold both against each other.

mod ask;
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
use crate::decision::{Says, ScriptError};
use crate::signals::RequestContext;
use node::Body;
use run::{Frame, Halt, Val};
use search::Search;
pub(super) use survey::{Compiled, compile};

/// A compiled function, with all that it calls.
#[derive(Debug)]
pub(super) struct Program {
    functions: Box<[Body]>,
    entry: usize,
    /// The slots of the signals that are asked about in small letters.
    lowered: Box<[u32]>,
    searches: Box<[Search]>,
}

/// What programs are run on.
pub(super) struct Occasion<'e> {
    pub(super) request: &'e RequestContext<'e>,
    pub(super) response: Option<&'e RequestContext<'e>>,
    pub(super) counters: &'e [Declared],
    pub(super) bounds: &'e Bounds,
}

/// What texts programs make lives here until the judgement ends.
const ARENA: usize = 16 * 1024;
/// More memory than this is given back after a judgement.
const LARGE_ARENA: usize = 256 * 1024;

thread_local! {
    static SCRATCH: RefCell<Bump> = RefCell::new(Bump::with_capacity(ARENA));
}

/// Lends out the memory that programs work in. It is emptied afterwards.
pub(super) fn with_arena<T>(then: impl FnOnce(&Bump) -> T) -> T {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut arena) => {
            let result = then(&arena);
            if arena.allocated_bytes() > LARGE_ARENA {
                *arena = Bump::with_capacity(ARENA);
            } else {
                arena.reset();
            }
            result
        }
        // Nothing that runs inside a program judges again; should it ever, it gets an arena of its own.
        Err(_) => then(&Bump::new()),
    })
}

impl<'e> Occasion<'e> {
    /// In `assess`, where there is none yet, the request's once more: nothing reads it.
    fn answer(&self) -> &'e RequestContext<'e> {
        self.response.unwrap_or(self.request)
    }
}

impl Program {
    /// Runs it on an occasion; `said` is what was said, up to a failure. Most of the time that is nothing, which is
    /// why nothing bigger than a pointer comes back.
    pub(super) fn run(
        &self,
        arena: &Bump,
        occasion: &Occasion<'_>,
        interpreter: Interpreter<'_>,
        said: &mut Says,
    ) -> Result<(), Box<ScriptError>> {
        let Some(body) = self.functions.get(self.entry) else { return Ok(()) };
        let mut frame = Frame {
            program: self,
            values: occasion.request.values(),
            occasion,
            interpreter,
            arena,
            lowered: places(arena, self.lowered.len()),
            findings: places(arena, self.searches.len()),
            locals: bumpalo::collections::Vec::new_in(arena),
            base: 0,
            depth: 0,
            operations: 0,
            returned: Val::Unit,
            said,
            error: None,
        };
        if body.locals > 0 {
            frame.locals.resize(body.locals, Val::Unit);
        }
        match frame.run(&body.node) {
            Ok(()) | Err(Halt::Return | Halt::Allowed | Halt::Break | Halt::Continue) => Ok(()),
            Err(Halt::Failed) => Err(frame.error.unwrap_or_default()),
        }
    }

    /// How many constants each search is for.
    #[cfg(test)]
    fn sought(&self) -> Vec<usize> {
        self.searches.iter().map(Search::len).collect()
    }
}

/// So many empty places.
#[inline]
fn places<T: Copy + Default>(arena: &Bump, count: usize) -> &mut [T] {
    if count == 0 { &mut [] } else { arena.alloc_slice_fill_copy(count, T::default()) }
}
