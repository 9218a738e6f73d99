//! Why a request was judged as it was, and what would change it.
//!
//! An [`Explanation`] is plain data made from a judgement: what every script said and read, the level, the action,
//! and what the decision would be without each of its reasons. Nothing is estimated: a change is decided by the
//! same rulebook. The admin API shows it as JSON, the command line as text.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::actions::Say;
use crate::decision::{
    Action, Decision, Demand, Evaluation, Level, Mode, Reason, RiskScore, RuleOutcome, Says, ScriptError,
    Spoken,
};
use crate::pipeline::{Judgement, claims};
use crate::rules::RuleSet;
use crate::signals::{RequestContext, Text, Value};
use crate::snapshot::{Generation, Snapshot};
use crate::traffic::{Claim, Most};

/// A judgement, laid open.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The snapshot that judged; 0 if it was never published.
    pub generation: Generation,
    /// The sum of all points, 0 to 100.
    pub score: RiskScore,
    /// The level it reaches.
    pub level: Level,
    /// What the policy wants.
    pub action: Action,
    /// The limits that the request must pass.
    pub limits: Vec<LimitSay>,
    /// The limits of requests in flight that must have a place for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub concurrency: Vec<PlaceSay>,
    /// The upstream that it is sent to instead of its route's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Text>,
    /// Every reason that counted or was observed.
    pub reasons: Vec<Reason>,
    /// What the origin is told.
    pub tags: BTreeMap<String, String>,
    /// The counters that are counted.
    pub counts: Vec<String>,
    /// What every script said and read, in order.
    pub scripts: Vec<ScriptSay>,
    /// Everything that the policy could read.
    pub signals: RequestContext<'static>,
    /// The signals that a recorded request lacks, since nobody read them then. They were judged as empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unrecorded: Vec<String>,
    /// What would change it, in sentences.
    pub changes: Vec<String>,
}

/// What one script said.
#[derive(Clone, Debug, Serialize)]
pub struct ScriptSay {
    /// Its name.
    pub name: String,
    /// Whether it counts or is only watched.
    pub mode: Mode,
    /// What it said, in order.
    pub said: Vec<Say>,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ScriptError>,
    /// Whether it was not asked, because an earlier one trusts the request.
    pub skipped: bool,
    /// The signals that it names, with the values they had.
    pub reads: BTreeMap<String, Value<'static>>,
}

/// A limit that a request must pass.
#[derive(Clone, Debug, Serialize)]
pub struct LimitSay {
    /// Which limit.
    pub name: String,
    /// Whose requests share it.
    pub per: &'static str,
    /// Requests/s.
    pub rate: f64,
}

/// A limit of requests in flight that must have a place for a request.
#[derive(Clone, Debug, Serialize)]
pub struct PlaceSay {
    /// Which limit.
    pub name: String,
    /// Whose requests share it.
    pub per: &'static str,
    /// How many at once.
    pub most: Most,
}

impl Explanation {
    /// Lays a judgement open.
    pub fn new(snapshot: &Snapshot, context: &RequestContext<'_>, judgement: &Judgement) -> Self {
        let decision = &judgement.decision;
        let limit = |demand: &Demand| LimitSay {
            name: demand.limit.to_string(),
            per: demand.per.as_str(),
            rate: demand.rate.per_second(),
        };
        let place = |claim: &Claim<'_>| PlaceSay {
            name: claim.cap.spec().name.clone(),
            per: claim.cap.spec().per.as_str(),
            most: claim.most,
        };
        Self {
            generation: snapshot.generation(),
            score: decision.score(),
            level: decision.level(),
            action: decision.action(),
            limits: decision.demands().iter().map(limit).collect(),
            concurrency: claims(snapshot, decision).unwrap_or_default().iter().map(place).collect(),
            upstream: decision.upstream().cloned(),
            reasons: decision.reasons().to_vec(),
            tags: decision.tags().iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            counts: decision.counts().iter().map(ToString::to_string).collect(),
            scripts: scripts(snapshot, context, judgement),
            signals: context.to_owned(),
            unrecorded: Vec::new(),
            changes: Changes::new(snapshot, context, judgement).all(),
        }
    }

    /// Names the signals that a record lacks.
    pub fn without(self, unrecorded: Vec<String>) -> Self {
        Self { unrecorded, ..self }
    }
}

fn scripts(snapshot: &Snapshot, context: &RequestContext<'_>, judgement: &Judgement) -> Vec<ScriptSay> {
    let outcomes = judgement.evaluation.outcomes();
    let asked = judgement.evaluation.asked();
    let say = |(at, rule_set): (usize, &RuleSet)| {
        let outcome = outcomes.iter().find(|outcome| outcome.rule == rule_set.name());
        let (said, error) = match outcome.map(|outcome| &outcome.spoken) {
            Some(Spoken::Whole(said)) => (said.to_vec(), None),
            Some(Spoken::Failed(error)) => (Vec::new(), Some(error.clone())),
            None => (Vec::new(), None),
        };
        let reads =
            context.of(rule_set.reads()).map(|(name, value)| (name, value.clone().into_owned())).collect();
        let (name, mode) = (rule_set.name().to_owned(), rule_set.mode());
        ScriptSay { name, mode, said, error, skipped: at >= asked, reads }
    };
    snapshot.policy().rule_sets().iter().enumerate().map(say).collect()
}

/// Decides again and again, each time with something changed.
struct Changes<'a> {
    snapshot: &'a Snapshot,
    context: &'a RequestContext<'a>,
    evaluation: &'a Evaluation,
    decision: &'a Decision,
}

impl<'a> Changes<'a> {
    fn new(snapshot: &'a Snapshot, context: &'a RequestContext<'a>, judgement: &'a Judgement) -> Self {
        Self { snapshot, context, evaluation: &judgement.evaluation, decision: &judgement.decision }
    }

    fn all(&self) -> Vec<String> {
        let mut changes = self.points();
        changes.extend(self.reasons());
        if let Some(list) = self.snapshot.hard_list_of(self.context) {
            let decision = self.decide(self.evaluation, None);
            changes.push(format!("off the list `{list}`: {}", verdict(&decision)));
        }
        if let Some(failed) = self.snapshot.rulebook().judge_errors(self.evaluation) {
            let decision = self.decide(&self.mended(), self.hard_list());
            changes.push(format!(
                "if `{}` had not failed and said nothing: {}",
                failed.rule,
                verdict(&decision)
            ));
        }
        changes
    }

    /// The points up to the next level, and down to the one below. Points beyond 0 and 100 count, too.
    fn points(&self) -> Vec<String> {
        let mut enforced = self.evaluation.said(Mode::Enforce).map(|(_, say)| say);
        if enforced.any(|say| matches!(say, Say::Allow { .. })) {
            return Vec::new();
        }
        let points = self.evaluation.said(Mode::Enforce).map(|(_, say)| match say {
            Say::Add { points, .. } => *points,
            Say::Allow { .. }
            | Say::Throttle { .. }
            | Say::Concurrency { .. }
            | Say::Route { .. }
            | Say::Block { .. }
            | Say::Tag { .. }
            | Say::Count { .. } => 0,
        });
        let sum = points.fold(0i64, i64::saturating_add);
        let (levels, level) = (&self.snapshot.rulebook().levels, self.decision.level());
        let up = levels.next(self.decision.score()).map(|(from, _)| i64::from(from).saturating_sub(sum));
        let down = levels.iter().find(|(known, _, _)| *known == level);
        let down = down.map(|(_, from, _)| i64::from(from).saturating_sub(1).saturating_sub(sum));
        let change = |points: i64| {
            let mut evaluation = self.evaluation.clone();
            let say = Say::Add { reason: Text::new(), points };
            let spoken = Spoken::Whole([say].into_iter().collect());
            evaluation.push(RuleOutcome { rule: Text::new(), mode: Mode::Enforce, spoken });
            let decision = self.decide(&evaluation, self.hard_list());
            let direction = if points > 0 { "more" } else { "fewer" };
            format!("{} {direction} points: {}", points.unsigned_abs(), verdict(&decision))
        };
        up.into_iter().chain(down).map(change).collect()
    }

    /// The reasons without which something else would happen.
    fn reasons(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut changes = Vec::new();
        for (rule, say) in self.evaluation.said(Mode::Enforce) {
            let Some(reason) = reason_of(say).filter(|reason| seen.insert((rule.clone(), (*reason).clone())))
            else {
                continue;
            };
            let others = self.kept(|of, said| of != rule || reason_of(said) != Some(reason));
            let decision = self.decide(&others, self.hard_list());
            if wanted(&decision) == wanted(self.decision) {
                continue;
            }
            let after = match say {
                Say::Allow { .. } => ", and the scripts after it are asked",
                Say::Add { .. }
                | Say::Throttle { .. }
                | Say::Concurrency { .. }
                | Say::Route { .. }
                | Say::Block { .. }
                | Say::Tag { .. }
                | Say::Count { .. } => "",
            };
            changes.push(format!("without `{reason}`: {}{after}", verdict(&decision)));
        }
        changes
    }

    /// What was said, as far as it is kept.
    fn kept(&self, keeps: impl Fn(&Text, &Say) -> bool) -> Evaluation {
        self.otherwise(|rule, spoken| match spoken {
            Spoken::Whole(said) => {
                Spoken::Whole(said.iter().filter(|say| keeps(rule, say)).cloned().collect())
            }
            Spoken::Failed(error) => Spoken::Failed(error.clone()),
        })
    }

    /// What was said, if those that failed had said nothing.
    fn mended(&self) -> Evaluation {
        self.otherwise(|_, spoken| match spoken {
            Spoken::Whole(said) => Spoken::Whole(said.clone()),
            Spoken::Failed(_) => Spoken::Whole(Says::new()),
        })
    }

    fn otherwise(&self, spoken_by: impl Fn(&Text, &Spoken) -> Spoken) -> Evaluation {
        let mut evaluation = Evaluation::default();
        for RuleOutcome { rule, mode, spoken } in self.evaluation.outcomes() {
            evaluation.push(RuleOutcome { rule: rule.clone(), mode: *mode, spoken: spoken_by(rule, spoken) });
        }
        evaluation
    }

    fn decide(&self, evaluation: &Evaluation, hard_list: Option<&str>) -> Decision {
        self.snapshot.rulebook().decide(evaluation, self.snapshot.country_of(self.context), hard_list)
    }

    fn hard_list(&self) -> Option<&str> {
        self.snapshot.hard_list_of(self.context)
    }
}

fn reason_of(say: &Say) -> Option<&Text> {
    match say {
        Say::Add { reason, .. }
        | Say::Allow { reason }
        | Say::Throttle { reason, .. }
        | Say::Block { reason }
        | Say::Concurrency { limit: reason }
        | Say::Route { upstream: reason } => Some(reason),
        Say::Tag { .. } | Say::Count { .. } => None,
    }
}

/// What makes two decisions the same to a client.
fn wanted(decision: &Decision) -> (Level, Action, &[Demand], &[Text], Option<&Text>) {
    (decision.level(), decision.action(), decision.demands(), decision.caps(), decision.upstream())
}

/// `score 45, level medium: throttle, 5/s per client and 3/s per country`.
fn verdict(decision: &Decision) -> String {
    let (score, level, action) = (decision.score(), decision.level().as_str(), decision.action().as_str());
    let limits = decision.demands().iter();
    let limits = limits.map(|demand| format!("{}/s per {}", demand.rate.per_second(), demand.per.as_str()));
    let places = decision.caps().iter().map(|name| format!("a place under `{name}`"));
    let sent = decision.upstream().map(|name| format!("sent to `{name}`"));
    let limits = limits.chain(places).chain(sent).collect::<Vec<_>>().join(" and ");
    let comma = if limits.is_empty() { "" } else { ", " };
    format!("score {score}, level {level}: {action}{comma}{limits}")
}
