//! The sandbox: an engine that can compute, and nothing else.
//!
//! No files, no network, no `eval`, no `import`, no clock, no output. Work, depth and sizes are bounded. The
//! engine's own operation limit forgets what closures do inside `map` or `filter`, so operations are counted
//! here, per call, in the one thread-local of the house: an evaluation never leaves its thread.

use std::cell::Cell;

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage,
    BasicMathPackage, BasicStringPackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{AST, CallFnOptions, Dynamic, Engine, EvalAltResult, FuncArgs, Scope};

use super::bindings::Bindings;
use crate::decision::ScriptError;

/// How much a script may do in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Operations, roughly one per evaluated node, closures included.
    pub operations: u64,
    /// Depth of calls.
    pub call_depth: usize,
    /// Bytes of one string.
    pub string: usize,
    /// Elements of one array or map.
    pub array: usize,
}

/// Why a call was ended from inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The script trusts the request.
    Allowed,
    /// The script did more than it may.
    TooManyOperations(u64),
}

thread_local! {
    static OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

const MAX_VARIABLES: usize = 256;
const MAX_FUNCTIONS: usize = 256;
const MAX_EXPRESSION_DEPTH: usize = 64;

impl Default for Bounds {
    fn default() -> Self {
        Self { operations: 100_000, call_depth: 32, string: 64 * 1024, array: 10_000 }
    }
}

/// The pure functions of the language. Making them takes a while, so all engines of a policy share them.
pub(super) struct Library {
    arithmetic: ArithmeticPackage,
    logic: LogicPackage,
    math: BasicMathPackage,
    iterators: BasicIteratorPackage,
    closures: BasicFnPackage,
    strings: BasicStringPackage,
    more_strings: MoreStringPackage,
    arrays: BasicArrayPackage,
    maps: BasicMapPackage,
}

impl Library {
    pub(super) fn new() -> Self {
        Self {
            arithmetic: ArithmeticPackage::new(),
            logic: LogicPackage::new(),
            math: BasicMathPackage::new(),
            iterators: BasicIteratorPackage::new(),
            closures: BasicFnPackage::new(),
            strings: BasicStringPackage::new(),
            more_strings: MoreStringPackage::new(),
            arrays: BasicArrayPackage::new(),
            maps: BasicMapPackage::new(),
        }
    }

    fn register_into(&self, engine: &mut Engine) {
        self.arithmetic.register_into_engine(engine);
        self.logic.register_into_engine(engine);
        self.math.register_into_engine(engine);
        self.iterators.register_into_engine(engine);
        self.closures.register_into_engine(engine);
        self.strings.register_into_engine(engine);
        self.more_strings.register_into_engine(engine);
        self.arrays.register_into_engine(engine);
        self.maps.register_into_engine(engine);
    }
}

/// An engine that knows the library, `req`, `res` and `risk`.
pub(super) fn engine(library: &Library, bounds: &Bounds, bindings: &std::sync::Arc<Bindings>) -> Engine {
    let mut engine = Engine::new_raw();
    library.register_into(&mut engine);
    for symbol in ["eval", "Fn", "call", "is_shared"] {
        engine.disable_symbol(symbol);
    }
    engine.on_print(|_| {}).on_debug(|_, _, _| {});
    engine.set_strict_variables(true);
    engine.set_max_call_levels(bounds.call_depth);
    engine.set_max_string_size(bounds.string);
    engine.set_max_array_size(bounds.array);
    engine.set_max_map_size(bounds.array);
    engine.set_max_variables(MAX_VARIABLES);
    engine.set_max_functions(MAX_FUNCTIONS);
    engine.set_max_expr_depths(MAX_EXPRESSION_DEPTH, MAX_EXPRESSION_DEPTH);
    let most = bounds.operations;
    engine.on_progress(move |_| {
        let done = OPERATIONS.get() + 1;
        OPERATIONS.set(done);
        (done > most).then(|| Dynamic::from(Stop::TooManyOperations(most)))
    });
    bindings.register(&mut engine);
    engine
}

/// Lets functions read the script's constants. The engine itself forgets those that it did not fold.
pub(super) fn know_constants(engine: &mut Engine, constants: Vec<(String, Dynamic)>) {
    if constants.is_empty() {
        return;
    }
    #[expect(deprecated, reason = "the engine calls it volatile, not deprecated; its version is pinned")]
    engine.on_var(move |name, local, _| {
        // A local variable of the same name has a place in the scope, and wins.
        let constant = constants.iter().find(|(known, _)| local == 0 && known == name);
        Ok(constant.map(|(_, value)| value.clone()))
    });
}

/// A checked script, and the engine that runs it.
#[derive(Clone, Copy)]
pub(super) struct Interpreter<'e> {
    pub(super) engine: &'e Engine,
    pub(super) ast: &'e AST,
}

impl Interpreter<'_> {
    /// Calls a function. An error is the script's own and says where.
    pub(super) fn call(&self, function: &str, args: impl FuncArgs) -> Result<(), ScriptError> {
        self.call_within(0, function, args).0.map(drop)
    }

    /// Calls a function in the middle of a run that has done so many operations already; its value, and how many
    /// there were in the end. The script's trust in a request ends the call without a value.
    pub(super) fn call_within(
        &self,
        operations: u64,
        function: &str,
        args: impl FuncArgs,
    ) -> (Result<Dynamic, ScriptError>, u64) {
        OPERATIONS.set(operations);
        let options = CallFnOptions::new().eval_ast(false).rewind_scope(true);
        let scope = &mut Scope::new();
        let result = self.engine.call_fn_with_options(options, scope, self.ast, function, args);
        (result.or_else(|error| failure(*error).map(|()| Dynamic::UNIT)), OPERATIONS.get())
    }
}

fn failure(error: EvalAltResult) -> Result<(), ScriptError> {
    let mut error = &error;
    while let EvalAltResult::ErrorInFunctionCall(_, _, inner, _) = error {
        error = inner;
    }
    let position = error.position();
    let message = match error {
        EvalAltResult::ErrorTerminated(token, _) => match token.clone().try_cast::<Stop>() {
            Some(Stop::Allowed) => return Ok(()),
            Some(Stop::TooManyOperations(most)) => {
                format!("does more than {most} operations: is a loop endless?")
            }
            None => "was ended".to_owned(),
        },
        other => lower_first(&plain(other)),
    };
    let (line, column) = (position.line().unwrap_or(0), position.position().unwrap_or(0));
    Err(ScriptError { message, line, column })
}

/// The engine's message without its own note of the position.
fn plain(error: &EvalAltResult) -> String {
    let text = error.to_string();
    match text.rfind(" (line ") {
        Some(at) => text.get(..at).unwrap_or(&text).to_owned(),
        None => text,
    }
}

pub(super) fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
