//! The policy compiler: a script's syntax tree becomes a program that runs at native speed.
//!
//! It covers what policies are made of. A script with anything else runs in the interpreter, with the same
//! meaning; [`Kept`] says what kept it there. The interpreter is the oracle: property tests hold both against each other.

mod branches;
mod calls;
mod condition;
mod flow;
mod known;
mod lower;
mod merge;
mod names;
mod node;
mod operators;
#[cfg(test)]
mod oracle;
mod run;
mod search;
mod value;

use std::cell::RefCell;

use bumpalo::Bump;

use super::parse::Parsed;
use super::sandbox::Bounds;
use crate::actions::{Phase, Say};
use crate::decision::ScriptError;
use crate::signals::{Needs, RequestContext, Root, Vocabulary};
pub(super) use lower::Kept;
use lower::{Lowering, Passed};
use node::{Body, Source};
use run::{Frame, Halt, Val};
use search::{Finding, Search};

/// A compiled script.
#[derive(Debug)]
pub(super) struct Program {
    functions: Box<[Body]>,
    assess: usize,
    sources: Box<[Source]>,
    searches: Box<[Search]>,
}

/// What texts a program makes live here until the call ends.
const ARENA: usize = 16 * 1024;
/// More memory than this is given back after a call.
const LARGE_ARENA: usize = 256 * 1024;

thread_local! {
    static SCRATCH: RefCell<Bump> = RefCell::new(Bump::with_capacity(ARENA));
}

/// Compiles `assess`, or says what keeps the script interpreted.
pub(super) fn compile(parsed: &Parsed<'_>, vocabulary: &Vocabulary, needs: &Needs) -> Result<Program, Kept> {
    let mut lowering = Lowering::new(parsed, vocabulary, needs);
    let nothing = || lower::kept("no `assess`", rhai::Position::NONE);
    let assess = parsed.function("assess", 2).ok_or_else(nothing)?;
    let passed = [Passed::Object(Root::Request, ""), Passed::Risk(Phase::Assess)];
    let assess = lowering.function(assess, &passed)?;
    let functions: Option<Box<[Body]>> = lowering.bodies.into_iter().collect();
    let searches = lowering.sought.iter().map(|sought| Search::new(&sought.needles)).collect();
    let sources = lowering.sources.into();
    Ok(Program { functions: functions.ok_or_else(nothing)?, assess, sources, searches })
}

impl Program {
    /// Judges a request; `said` is what was said, up to a failure. Most of the time that is nothing, which is why
    /// nothing bigger than a pointer comes back.
    pub(super) fn assess(
        &self,
        context: &RequestContext<'_>,
        counters: &[String],
        bounds: &Bounds,
        said: &mut Vec<Say>,
    ) -> Result<(), Box<ScriptError>> {
        SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
            Ok(mut arena) => {
                let result = self.run(context, counters, bounds, &arena, said);
                if arena.allocated_bytes() > LARGE_ARENA {
                    *arena = Bump::with_capacity(ARENA);
                } else {
                    arena.reset();
                }
                result
            }
            // Nothing that runs inside a program judges again; should it ever, it gets an arena of its own.
            Err(_) => self.run(context, counters, bounds, &Bump::new(), said),
        })
    }

    fn run(
        &self,
        context: &RequestContext<'_>,
        counters: &[String],
        bounds: &Bounds,
        arena: &Bump,
        said: &mut Vec<Say>,
    ) -> Result<(), Box<ScriptError>> {
        let Some(body) = self.functions.get(self.assess) else { return Ok(()) };
        let mut frame = Frame {
            program: self,
            request: context,
            counters,
            bounds,
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
