//! Which functions of a script are compiled, and what keeps the others interpreted.
//!
//! What `assess` and `observe` lead to is lowered with them. Only if one of them is kept are the other functions
//! looked at one by one, so that a script which is compiled as a whole is lowered once.

use std::collections::BTreeSet;

use rhai::Position;

use super::Program;
use super::lower::{Lowering, kept};
use super::node::{Body, Source};
use super::search::Search;
use crate::actions::Phase;
use crate::rules::check::{Checked, Type};
use crate::rules::parse::{Function, Parsed};
use crate::rules::report::{FunctionReport, Kept, Run};
use crate::signals::{Needs, Root, Vocabulary};

/// A script, as far as it could be compiled.
#[derive(Debug)]
pub(in crate::rules) struct Compiled {
    pub(in crate::rules) assess: Option<Program>,
    pub(in crate::rules) observe: Option<Program>,
    /// Every function that has a name, in the order of their names.
    pub(in crate::rules) functions: Vec<FunctionReport>,
}

/// What a function is called with, as far as it matters at load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Passed {
    Value,
    /// A value that is this source.
    Signal(Source),
    Object(Root, &'static str),
    Risk(Phase),
}

/// A function of the script, by name and what it is called with.
pub(super) type Instance = (String, Vec<Passed>);

/// What an entry point became, and the functions that it leads to.
type Entry = Result<(Program, BTreeSet<(String, usize)>), Kept>;

struct Survey<'a> {
    parsed: &'a Parsed<'a>,
    checked: &'a Checked,
    vocabulary: &'a Vocabulary,
    needs: [&'a Needs; 2],
}

const REQUEST: Passed = Passed::Object(Root::Request, "");
const RESPONSE: Passed = Passed::Object(Root::Response, "");
const ASSESS: [Passed; 2] = [REQUEST, Passed::Risk(Phase::Assess)];
const OBSERVE: [Passed; 3] = [REQUEST, RESPONSE, Passed::Risk(Phase::Both)];

/// Compiles what can be; `needs` are those of requests and of responses.
pub(in crate::rules) fn compile(
    parsed: &Parsed<'_>,
    checked: &Checked,
    vocabulary: &Vocabulary,
    needs: [&Needs; 2],
) -> Compiled {
    let survey = Survey { parsed, checked, vocabulary, needs };
    let entry = |name, passed: &[Passed]| {
        parsed.function(name, passed.len()).map(|function| survey.entry(function, passed))
    };
    let (assess, observe) = (entry("assess", &ASSESS), entry("observe", &OBSERVE));
    let mut functions: Vec<FunctionReport> = parsed
        .functions
        .iter()
        .filter(|function| !function.is_closure())
        .map(|function| FunctionReport {
            signature: function.signature(),
            run: match (function.name.as_str(), function.parameters.len()) {
                ("assess", 2) => run(assess.as_ref()),
                ("observe", 3) => run(observe.as_ref()),
                _ => survey.run(function, [assess.as_ref(), observe.as_ref()]),
            },
        })
        .collect();
    functions.sort_by(|left, right| left.signature.cmp(&right.signature));
    let program = |entry: Option<Entry>| entry.and_then(Result::ok).map(|(program, _)| program);
    Compiled { assess: program(assess), observe: program(observe), functions }
}

fn run(entry: Option<&Entry>) -> Run {
    match entry {
        Some(Ok(_)) => Run::Compiled,
        Some(Err(kept)) => Run::Interpreted(kept.clone()),
        None => Run::Never,
    }
}

impl Survey<'_> {
    fn entry(&self, function: &Function, passed: &[Passed]) -> Entry {
        self.lower(function, passed, |entry, lowering| {
            let functions: Option<Box<[Body]>> = lowering.bodies.into_iter().collect();
            let functions = functions.ok_or_else(|| kept("this function", function.position))?;
            let searches = lowering.sought.iter().map(|sought| Search::new(&sought.needles)).collect();
            let lowered = lowering.lowered.into();
            let instances = lowering.instances.into_keys();
            let reached = instances.map(|(name, passed)| (name, passed.len())).collect();
            Ok((Program { functions, entry, lowered, searches }, reached))
        })
    }

    fn lower<T>(
        &self,
        function: &Function,
        passed: &[Passed],
        then: impl FnOnce(usize, Lowering<'_>) -> Result<T, Kept>,
    ) -> Result<T, Kept> {
        let plain = |name: &str, arity| self.checked.plain.contains(&(name.to_owned(), arity));
        let mut lowering = Lowering::new(self.parsed, self.vocabulary, self.needs, &plain);
        let number = lowering.function(function, passed)?;
        then(number, lowering)
    }

    /// How a function is run that is no entry point.
    fn run(&self, function: &Function, entries: [Option<&Entry>; 2]) -> Run {
        let key = (function.name.to_string(), function.parameters.len());
        let mut reached = entries.into_iter().flatten().filter_map(|entry| entry.as_ref().ok());
        if reached.any(|(_, reached)| reached.contains(&key)) {
            return Run::Compiled;
        }
        let mut calls =
            self.checked.calls.iter().filter(|(name, types)| (name, types.len()) == (&key.0, key.1));
        let mut is_called = false;
        let own = calls.find_map(|(_, types)| {
            is_called = true;
            let passed: Vec<Passed> = types.iter().map(|found| passed(*found)).collect();
            self.lower(function, &passed, |_, _| Ok(())).err()
        });
        match own {
            Some(kept) => Run::Interpreted(kept),
            None if is_called => Run::Interpreted(kept("the functions that call it", Position::NONE)),
            None => Run::Never,
        }
    }
}

fn passed(found: Type) -> Passed {
    match found {
        Type::Object(root, group) => Passed::Object(root, group),
        Type::Risk(phase) => Passed::Risk(phase),
        Type::Of(_) | Type::Array | Type::Map | Type::Unit | Type::Any => Passed::Value,
    }
}
