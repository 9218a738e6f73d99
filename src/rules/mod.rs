//! Policies: the operator's scripts, checked at load, run in a sandbox.
//!
//! This folder is the sole owner of the scripting engine. Its boundary is small: [`Policy::load`] turns script texts into
//! a [`Policy`] or says what is wrong with them, and [`Policy::evaluate`] turns a [`RequestContext`] into an
//! [`Evaluation`]. Neither does IO or reads a clock, so another implementation of the same language can take
//! its place.

mod bindings;
mod check;
mod compile;
mod counters;
pub mod functions;
mod parse;
pub mod reference;
mod report;
pub mod sandbox;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bumpalo::Bump;
use rhai::{AST, Engine};

use crate::actions::{Phase, Say};
use crate::decision::{Evaluation, Mode, Says, ScriptError, Spoken};
use crate::facts::problem::{Problem, nearest};
use crate::signals::{Facts, Key, Needs, RequestContext, Root, Text, Vocabulary};
use crate::traffic::Per;
use bindings::Bindings;
use check::Checked;
use compile::{Compiled, Occasion};
pub use counters::Declared;
use parse::Parsed;
pub use report::{FunctionReport, Kept, Run};
use sandbox::{Bounds, Interpreter, Library};

/// One script as its author wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Where it was read from; its stem is the rule set's name.
    pub path: PathBuf,
    /// The source.
    pub text: String,
}

/// What scripts may refer to and how they are run.
pub struct Terms<'a> {
    /// The signals there are.
    pub vocabulary: &'a Vocabulary,
    /// The names in `[lists]`.
    pub lists: &'a [String],
    /// What `[counters]` declares.
    pub counters: &'a [Declared],
    /// The limits that `[concurrency]` declares, by name.
    pub caps: &'a [String],
    /// The names of the upstreams.
    pub upstreams: &'a [String],
    /// Rule sets that are watched, not enforced.
    pub observe_only: &'a [String],
    /// Signals that are read whether or not a script names them.
    pub always: &'a [Key],
    /// How much a script may do.
    pub bounds: Bounds,
}

impl<'a> Terms<'a> {
    /// Scripts may refer to these signals and to nothing else.
    pub fn of(vocabulary: &'a Vocabulary) -> Self {
        Self {
            vocabulary,
            lists: &[],
            counters: &[],
            caps: &[],
            upstreams: &[],
            observe_only: &[],
            always: &[],
            bounds: Bounds::default(),
        }
    }
}

/// All rule sets, ready to be asked.
pub struct Policy {
    bindings: Arc<Bindings>,
    rule_sets: Vec<RuleSet>,
    needs: Arc<Needs>,
    response_needs: Arc<Needs>,
    /// The slots of the request signals that observing rule sets read, if there are such rule sets.
    observed_slots: Option<Box<[bool]>>,
    warnings: Vec<Problem>,
    counters: Vec<Declared>,
    bounds: Bounds,
}

/// What rule sets are asked about. The interpreter needs values of its own; they are made if it is asked.
struct Asked<'a> {
    context: &'a RequestContext<'a>,
    owned: OnceCell<Arc<RequestContext<'static>>>,
}

impl<'a> Asked<'a> {
    fn new(context: &'a RequestContext<'a>) -> Self {
        Self { context, owned: OnceCell::new() }
    }

    fn owned(&self) -> &Arc<RequestContext<'static>> {
        self.owned.get_or_init(|| Arc::new(self.context.to_owned()))
    }
}

/// How rule sets are asked, and what they work with meanwhile.
struct Asking<'a> {
    way: Way,
    bindings: &'a Arc<Bindings>,
    occasion: Occasion<'a>,
    arena: &'a Bump,
}

/// How a call of a script ended. Most of the time nothing comes back, which is why it is small.
type Ended = Result<(), Box<ScriptError>>;

/// How a script is run. Both ways mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Compiled, where a function could be.
    Compiled,
    /// By the interpreter: slower, and the oracle of what is right.
    Interpreted,
}

/// One script: one rule set.
pub struct RuleSet {
    name: Text,
    path: PathBuf,
    mode: Mode,
    engine: Engine,
    ast: AST,
    compiled: Compiled,
    observes: bool,
    keys: BTreeSet<Key>,
    reasons: BTreeSet<String>,
    throttles: BTreeSet<(String, Per)>,
}

impl Policy {
    /// Checks and compiles scripts, in the order given. All problems of all scripts are reported at once.
    pub fn load(scripts: &[Script], terms: &Terms<'_>) -> Result<Self, Vec<Problem>> {
        let bindings = Arc::new(Bindings::new(terms.vocabulary, terms.counters));
        let library = Library::new();
        let mut problems = unknown_observe_only(scripts, terms.observe_only);
        let (mut loaded, mut warnings) = (Vec::new(), Vec::new());
        let mut keys: BTreeSet<Key> = terms.always.iter().cloned().collect();
        for script in scripts {
            let engine = sandbox::engine(&library, &terms.bounds, &bindings);
            let parsed = parse::parse(script, &engine);
            let checked = parsed.and_then(|parsed| Ok((check::check(&parsed, terms)?, parsed)));
            match checked {
                Ok((mut checked, parsed)) => {
                    keys.extend(checked.keys.iter().cloned());
                    warnings.append(&mut checked.warnings);
                    loaded.push((engine, parsed, checked));
                }
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let needs = |root| Arc::new(Needs::new(terms.vocabulary, root, keys.iter().cloned()));
        let (needs, response_needs) = (needs(Root::Request), needs(Root::Response));
        let rule_set = |(engine, parsed, checked)| {
            RuleSet::new(engine, parsed, checked, terms, [&needs, &response_needs])
        };
        let rule_sets: Vec<RuleSet> = loaded.into_iter().map(rule_set).collect();
        let observers = || rule_sets.iter().filter(|rule_set| rule_set.observes);
        let read = observers().flat_map(|rule_set| &rule_set.keys).collect();
        let observed_slots = observers().next().map(|_| needs.slots_of(&read));
        let (counters, bounds) = (terms.counters.to_vec(), terms.bounds);
        Ok(Self { bindings, rule_sets, needs, response_needs, observed_slots, warnings, counters, bounds })
    }

    /// The request signals that the policy reads.
    pub fn needs(&self) -> &Arc<Needs> {
        &self.needs
    }

    /// The rule sets, in the order they are asked.
    pub fn rule_sets(&self) -> &[RuleSet] {
        &self.rule_sets
    }

    /// What was noticed at load that does not stop it.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Asks every rule set, until one trusts the request.
    pub fn evaluate(&self, context: &RequestContext<'_>) -> Evaluation {
        self.evaluate_by(Way::Compiled, context)
    }

    /// Asks every rule set in a certain way, which makes no difference but speed.
    pub fn evaluate_by(&self, way: Way, context: &RequestContext<'_>) -> Evaluation {
        let mut evaluation = Evaluation::default();
        let asked = Asked::new(context);
        compile::with_arena(|arena| {
            let asking = self.asking(way, context, None, arena);
            let mut said = Says::new();
            for rule_set in &self.rule_sets {
                let ended = rule_set.assess(&asking, &asked, &mut said);
                if rule_set.heard(ended, &mut said, &mut evaluation) {
                    break;
                }
            }
        });
        evaluation
    }

    /// What has to be kept of a request's signals for the rule sets that observe; `None` if none does.
    pub fn keep_for_observers(&self, context: &RequestContext<'_>) -> Option<RequestContext<'static>> {
        self.observed_slots.as_ref().map(|slots| context.kept(slots))
    }

    /// Shows the response to every rule set that observes. Only counting comes out of it.
    pub fn observe(&self, context: &RequestContext<'_>, facts: &Facts<'_>) -> Evaluation {
        self.observe_by(Way::Compiled, context, &self.response_needs.read(facts))
    }

    fn observe_by(&self, way: Way, context: &RequestContext<'_>, answer: &RequestContext<'_>) -> Evaluation {
        let (request, response) = (Asked::new(context), Asked::new(answer));
        let mut evaluation = Evaluation::default();
        compile::with_arena(|arena| {
            let asking = self.asking(way, context, Some(answer), arena);
            let mut said = Says::new();
            for rule_set in self.rule_sets.iter().filter(|rule_set| rule_set.observes) {
                let ended = rule_set.observe(&asking, [&request, &response], &mut said);
                // Nobody can trust a request that is over.
                rule_set.heard(ended, &mut said, &mut evaluation);
            }
        });
        evaluation
    }

    fn asking<'a>(
        &'a self,
        way: Way,
        request: &'a RequestContext<'a>,
        response: Option<&'a RequestContext<'a>>,
        arena: &'a Bump,
    ) -> Asking<'a> {
        let occasion = Occasion { request, response, counters: &self.counters, bounds: &self.bounds };
        Asking { way, bindings: &self.bindings, occasion, arena }
    }
}

impl RuleSet {
    fn new(
        mut engine: Engine,
        parsed: Parsed<'_>,
        checked: Checked,
        terms: &Terms<'_>,
        needs: [&Needs; 2],
    ) -> Self {
        let name = name_of(&parsed.script.path);
        let observed = terms.observe_only.contains(&name);
        let compiled = compile::compile(&parsed, &checked, terms.vocabulary, needs);
        let keys = checked.keys.iter().cloned().collect();
        sandbox::know_constants(&mut engine, parsed.constants.clone());
        Self {
            mode: if observed { Mode::Observe } else { Mode::Enforce },
            name: name.into(),
            path: parsed.script.path.clone(),
            observes: parsed.function("observe", 3).is_some(),
            keys,
            reasons: checked.reasons,
            throttles: checked.throttles,
            ast: parsed.ast,
            compiled,
            engine,
        }
    }

    /// Its name: the script's file name without `.rhai`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it counts or is only watched.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Its functions and how each is run, in the order of their names.
    pub fn functions(&self) -> &[FunctionReport] {
        &self.compiled.functions
    }

    /// The functions that are interpreted, and what keeps them so.
    pub fn interpreted(&self) -> impl Iterator<Item = (&str, &Kept)> {
        self.functions().iter().filter_map(|function| Some((function.signature.as_str(), function.kept()?)))
    }

    /// Every signal it names.
    pub fn reads(&self) -> &BTreeSet<Key> {
        &self.keys
    }

    /// Every reason id it can give.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        self.reasons.iter().map(String::as_str)
    }

    /// Every limit it can impose: the reason and whose requests share it.
    pub fn throttles(&self) -> impl Iterator<Item = (&str, Per)> {
        self.throttles.iter().map(|(reason, per)| (reason.as_str(), *per))
    }

    /// Asks it about a request; what it says is appended.
    fn assess(&self, asking: &Asking<'_>, request: &Asked<'_>, said: &mut Says) -> Ended {
        let Asking { way, bindings, occasion, arena } = asking;
        if let (Way::Compiled, Some(program)) = (way, &self.compiled.assess) {
            return program.run(arena, occasion, self.interpreter(), said);
        }
        let (request, voice) = bindings.bind(Root::Request, request.owned(), Phase::Assess);
        let ended = self.interpreter().call("assess", (request, voice.clone()));
        said.extend(voice.said());
        ended.map_err(Box::new)
    }

    /// Shows it a response; what it says is appended.
    fn observe(&self, asking: &Asking<'_>, [request, response]: [&Asked<'_>; 2], said: &mut Says) -> Ended {
        let Asking { way, bindings, occasion, arena } = asking;
        if let (Way::Compiled, Some(program)) = (way, &self.compiled.observe) {
            return program.run(arena, occasion, self.interpreter(), said);
        }
        let (request, voice) = bindings.bind(Root::Request, request.owned(), Phase::Both);
        let (response, _) = bindings.bind(Root::Response, response.owned(), Phase::Both);
        let ended = self.interpreter().call("observe", (request, response, voice.clone()));
        said.extend(voice.said());
        ended.map_err(Box::new)
    }

    /// Adds what it said to an evaluation; whether it trusts the request, so that nobody else is asked.
    #[inline]
    fn heard(&self, ended: Ended, said: &mut Says, evaluation: &mut Evaluation) -> bool {
        if ended.is_ok() && said.is_empty() {
            evaluation.pass();
            return false;
        }
        self.heard_something(ended, std::mem::take(said), evaluation)
    }

    #[inline(never)]
    fn heard_something(&self, ended: Ended, said: Says, evaluation: &mut Evaluation) -> bool {
        let is_trust = |say: &Say| matches!(say, Say::Allow { .. });
        let trusts = self.mode == Mode::Enforce && ended.is_ok() && said.iter().any(is_trust);
        let spoken = match ended {
            Ok(()) => Spoken::Whole(said),
            Err(error) => Spoken::Failed(*error),
        };
        evaluation.hear(&self.name, self.mode, spoken);
        trusts
    }

    fn interpreter(&self) -> Interpreter<'_> {
        Interpreter { engine: &self.engine, ast: &self.ast }
    }
}

/// The name of the rule set in a file: its stem.
pub fn name_of(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

fn unknown_observe_only(scripts: &[Script], observe_only: &[String]) -> Vec<Problem> {
    let names: Vec<String> = scripts.iter().map(|script| name_of(&script.path)).collect();
    let unknown = observe_only.iter().filter(|only| !names.contains(only));
    let problem = |only: &String| {
        let folder = scripts.first().and_then(|script| script.path.parent()).unwrap_or(Path::new("scripts"));
        let problem =
            Problem::error(folder, format!("`observe_only` names `{only}`, but there is no such script"));
        match nearest(only, names.iter().map(String::as_str)) {
            Some(meant) => problem.hint(format!("did you mean `{meant}`?")),
            None => problem.hint("write the file name without `.rhai`"),
        }
    };
    unknown.map(problem).collect()
}
