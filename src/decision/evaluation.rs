//! Everything that the scripts said about one request, and every error they made.

use std::fmt;

use serde::Serialize;
use smallvec::SmallVec;

use crate::actions::{Say, concurrency_reason, route_reason};
use crate::signals::Text;

/// Whether a rule set counts or is only watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What it says is enforced.
    Enforce,
    /// What it says is judged and recorded, never enforced.
    Observe,
}

/// What one rule set said.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleOutcome {
    /// The rule set's name.
    pub rule: Text,
    /// Whether it counts.
    pub mode: Mode,
    /// How it ended.
    pub spoken: Spoken,
}

/// What one rule set said, in order. Most say little, which needs no memory of its own.
pub type Says = SmallVec<[Say; 2]>;

/// How a rule set ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Spoken {
    /// It ran to its end and said this.
    Whole(Says),
    /// It failed. What it had said by then is dropped: half an opinion is none.
    Failed(ScriptError),
}

/// Why a script failed while it ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ScriptError {
    /// What happened, for the script's author.
    pub message: String,
    /// The line, from 1; 0 if unknown.
    pub line: usize,
    /// The column, from 1; 0 if unknown.
    pub column: usize,
}

/// What all rule sets said, in order. One that said nothing and did not fail is only counted: that is most of them,
/// for most requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    outcomes: Vec<RuleOutcome>,
    asked: usize,
}

/// One rule's say, with points.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reason {
    /// The rule set that said it.
    pub rule: Text,
    /// The stable id.
    pub reason: Text,
    /// The points it adds; 0 for a verb without points.
    pub points: i64,
    /// The verb, if it is not `add`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verb: Option<&'static str>,
    /// `true` if the rule set is only observed, so that this did not count.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub observed: bool,
}

impl Evaluation {
    /// Adds what the next rule set said.
    pub fn push(&mut self, outcome: RuleOutcome) {
        self.asked += 1;
        if !outcome.spoken.is_silent() {
            self.outcomes.push(outcome);
        }
    }

    /// Adds what the next rule set, of that name and mode, said.
    pub fn hear(&mut self, rule: &Text, mode: Mode, spoken: Spoken) {
        if spoken.is_silent() {
            self.pass();
        } else {
            self.push(RuleOutcome { rule: rule.clone(), mode, spoken });
        }
    }

    /// Counts the next rule set, which said nothing.
    pub fn pass(&mut self) {
        self.asked += 1;
    }

    /// How many rule sets were asked, those that said nothing included.
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// What each rule set that said something or failed said, in order.
    pub fn outcomes(&self) -> &[RuleOutcome] {
        &self.outcomes
    }

    /// Everything said by rule sets of that mode that did not fail, in order.
    pub fn said(&self, mode: Mode) -> impl Iterator<Item = (&Text, &Say)> {
        self.outcomes.iter().filter(move |outcome| outcome.mode == mode).flat_map(|outcome| {
            let says = match &outcome.spoken {
                Spoken::Whole(says) => says.as_slice(),
                Spoken::Failed(_) => &[],
            };
            says.iter().map(|say| (&outcome.rule, say))
        })
    }

    /// Every failure, with the rule set that failed.
    pub fn errors(&self) -> impl Iterator<Item = (&RuleOutcome, &ScriptError)> {
        self.outcomes.iter().filter_map(|outcome| match &outcome.spoken {
            Spoken::Failed(error) => Some((outcome, error)),
            Spoken::Whole(_) => None,
        })
    }

    /// Every reason in order, enforced or observed.
    pub fn reasons(&self) -> impl Iterator<Item = Reason> + '_ {
        self.outcomes.iter().flat_map(|outcome| {
            let says = match &outcome.spoken {
                Spoken::Whole(says) => says.as_slice(),
                Spoken::Failed(_) => &[],
            };
            let observed = outcome.mode == Mode::Observe;
            says.iter().filter_map(move |say| Reason::of(&outcome.rule, say, observed))
        })
    }
}

impl Spoken {
    fn is_silent(&self) -> bool {
        match self {
            Self::Whole(says) => says.is_empty(),
            Self::Failed(_) => false,
        }
    }
}

impl Reason {
    fn of(rule: &Text, say: &Say, observed: bool) -> Option<Self> {
        let (reason, points, verb) = match say {
            Say::Add { reason, points } => (reason.clone(), *points, None),
            Say::Allow { reason } | Say::Throttle { reason, .. } | Say::Block { reason } => {
                (reason.clone(), 0, Some(say.verb()))
            }
            Say::Concurrency { limit } => (concurrency_reason(limit).into(), 0, Some(say.verb())),
            Say::Route { upstream } => (route_reason(upstream).into(), 0, Some(say.verb())),
            Say::Tag { .. } | Say::Count { .. } => return None,
        };
        Some(Self { rule: rule.clone(), reason, points, verb, observed })
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        f.write_str(&self.message)
    }
}
