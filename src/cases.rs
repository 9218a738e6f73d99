//! Described requests: what policy tests, `explain` and the admin API judge instead of live ones.
//!
//! A description gives a request, a clock, rates and counters; nothing is looked up but the place of an address. A
//! [`Case`] adds what is expected. Cases live beside the scripts and are run before a policy is published, so
//! they are as pure as judgement itself: same file, same result, everywhere.

mod described;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::decision::{Action, Count, Evaluation, Level, Mode};
use crate::facts::client::Truncation;
use crate::facts::problem::{Problem, nearest};
use crate::pipeline::{Judgement, judge};
use crate::signals::Secrets;
use crate::snapshot::Snapshot;
pub use described::{Answered, Described};

/// A request and what should become of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    name: String,
    line: usize,
    request: Described,
    response: Option<Answered>,
    expect: Expect,
}

/// What should become of a request; what is left out may be anything.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// `allow tag throttle challenge block`
    pub action: Option<String>,
    /// `low medium high critical`
    pub level: Option<String>,
    /// 0 to 100.
    pub score: Option<u8>,
    /// Exactly these reasons, in any order.
    pub reasons: Option<Vec<String>>,
    /// Exactly these tags.
    pub tags: Option<BTreeMap<String, String>>,
    /// The upstream that scripts send it to; `""`: they leave it to its route.
    pub upstream: Option<String>,
    /// Exactly these are counted, in any order: `counter`, or `counter: item` of distinct ones.
    pub counts: Option<Vec<String>>,
}

/// One way in which a judgement is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs: `action`, `score`, ...
    pub what: &'static str,
    /// What the case expects.
    pub expected: String,
    /// What came out.
    pub found: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    defaults: Described,
    #[serde(default)]
    case: Vec<Spanned<Written>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(default)]
    request: Described,
    response: Option<Answered>,
    expect: Expect,
}

/// What is needed to judge a description besides the snapshot.
#[derive(Clone)]
pub struct Setting {
    /// How addresses are truncated.
    pub truncation: Truncation,
    /// Which values are secret.
    pub secrets: Secrets,
}

impl Case {
    /// Reads a file of cases.
    pub fn parse(path: &Path, text: &str) -> Result<Vec<Self>, Vec<Problem>> {
        let File { defaults, case } = toml::from_str(text).map_err(|error| {
            let problem = Problem::error(path, error.message().to_owned());
            vec![match error.span() {
                Some(span) => {
                    let (line, column) = place_of(text, span.start);
                    problem.at(line, column).spanning(span.len())
                }
                None => problem,
            }]
        })?;
        let cases = case.into_iter().map(|written| {
            let (line, _) = place_of(text, written.span().start);
            let Written { name, request, response, expect } = written.into_inner();
            Self { name, line, request: request.over(&defaults), response, expect }
        });
        let cases: Vec<Self> = cases.collect();
        let problems: Vec<Problem> = cases.iter().filter_map(|case| case.misspelt(path)).collect();
        if problems.is_empty() { Ok(cases) } else { Err(problems) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The line where it is written.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The request.
    pub fn request(&self) -> &Described {
        &self.request
    }

    /// Judges the request and compares. The error is about the description, such as an unknown counter.
    pub fn run(
        &self,
        snapshot: &Snapshot,
        setting: &Setting,
    ) -> Result<(Judgement, Vec<Difference>), String> {
        let context = self.request.context(snapshot, setting)?;
        let judgement = judge(snapshot, &context);
        let observed = match &self.response {
            Some(response) => self.request.observed(snapshot, setting, &context, response)?,
            None => Evaluation::default(),
        };
        let differences = self.expect.differences(&judgement, &observed);
        Ok((judgement, differences))
    }

    fn misspelt(&self, path: &Path) -> Option<Problem> {
        let Expect { action, level, .. } = &self.expect;
        let unknown = |text: &str, what: &str, known: &[&'static str]| {
            let problem =
                Problem::error(path, format!("case `{}` expects unknown {what} `{text}`", self.name));
            let problem = problem.at(self.line, 1);
            match nearest(text, known.iter().copied()) {
                Some(meant) => problem.hint(format!("did you mean `{meant}`?")),
                None => problem.hint(format!("one of `{}`", known.join("`, `"))),
            }
        };
        let action = action.as_deref().filter(|text| Action::parse(text).is_none());
        let level = level.as_deref().filter(|text| Level::parse(text).is_none());
        action
            .map(|text| unknown(text, "action", &Action::ALL.map(Action::as_str)))
            .or_else(|| level.map(|text| unknown(text, "level", &Level::ALL.map(Level::as_str))))
    }
}

impl Expect {
    fn differences(&self, judgement: &Judgement, observed: &Evaluation) -> Vec<Difference> {
        let decision = &judgement.decision;
        let mut differences = Vec::new();
        let mut compare = |what, expected: Option<String>, found: String| {
            if let Some(expected) = expected.filter(|expected| *expected != found) {
                differences.push(Difference { what, expected, found });
            }
        };
        compare("action", self.action.clone(), decision.action().as_str().to_owned());
        compare("level", self.level.clone(), decision.level().as_str().to_owned());
        compare("score", self.score.map(|score| score.to_string()), decision.score().to_string());
        let reasons = decision.reasons().iter().map(|reason| reason.reason.to_string());
        compare("reasons", self.reasons.as_ref().map(|wanted| set(wanted.iter().cloned())), set(reasons));
        let tags =
            |tags: &mut dyn Iterator<Item = (String, String)>| set(tags.map(|(n, v)| format!("{n}={v}")));
        let wanted = self.tags.clone().map(|wanted| tags(&mut wanted.into_iter()));
        let given = decision.tags().iter().map(|(name, value)| (name.to_string(), value.to_string()));
        compare("tags", wanted, tags(&mut given.into_iter()));
        let upstream = decision.upstream().map(ToString::to_string).unwrap_or_default();
        compare("upstream", self.upstream.clone(), upstream);
        let observed_counts = observed.said(Mode::Enforce).filter_map(|(_, say)| Count::of(say));
        let named = |count: Count| match &self.counts {
            // Whoever expects a counter alone does not care which item.
            Some(wanted) if wanted.iter().any(|wanted| *wanted == count.counter) => count.counter.to_string(),
            Some(_) | None => count.to_string(),
        };
        let counts = decision.counts().iter().cloned().chain(observed_counts).map(named);
        compare("counts", self.counts.as_ref().map(|wanted| set(wanted.iter().cloned())), set(counts));
        let errors: Vec<String> = judgement
            .evaluation
            .errors()
            .chain(observed.errors())
            .map(|(outcome, error)| format!("{}:{error}", outcome.rule))
            .collect();
        compare(
            "script errors",
            Some("none".to_owned()),
            if errors.is_empty() { "none".into() } else { errors.join("; ") },
        );
        differences
    }
}

/// A set of texts as one text, for comparing and showing.
fn set(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}

fn place_of(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    (line, before.chars().rev().take_while(|letter| *letter != '\n').count() + 1)
}

#[cfg(test)]
mod tests;
