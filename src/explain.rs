//! Why a request was judged as it was, and what would change it.
//!
//! An [`Explanation`] is plain data made from a judgement: what every script said, the values it could read, the
//! level, the action, and how far the next level is. The admin API shows it as JSON, the command line as text.

use serde::Serialize;

use crate::decision::{Action, Level, LevelAction, Mode, Reason, RiskScore, ScriptError, Spoken};
use crate::pipeline::Judgement;
use crate::signals::RequestContext;
use crate::snapshot::{Generation, Snapshot};

/// A judgement, laid open.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The snapshot that judged.
    pub generation: Generation,
    /// What the policy could read.
    pub signals: RequestContext,
    /// What every script said, in order.
    pub scripts: Vec<ScriptSay>,
    /// The sum of all points, 0 to 100.
    pub score: RiskScore,
    /// The level it reaches.
    pub level: Level,
    /// What the policy wants.
    pub action: Action,
    /// Every reason that counted or was observed.
    pub reasons: Vec<Reason>,
    /// The limits that the request must pass.
    pub limits: Vec<LimitSay>,
    /// What the origin is told.
    pub tags: Vec<(String, String)>,
    /// The counters that are counted.
    pub counts: Vec<String>,
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
    /// What it said, one line each.
    pub said: Vec<String>,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ScriptError>,
    /// Whether it was not asked, because an earlier one trusts the request.
    pub skipped: bool,
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

impl Explanation {
    /// Lays a judgement open.
    pub fn new(snapshot: &Snapshot, context: &RequestContext, judgement: &Judgement) -> Self {
        let decision = &judgement.decision;
        let limit = |demand: &crate::decision::Demand| LimitSay {
            name: demand.limit.to_string(),
            per: demand.per.as_str(),
            rate: demand.rate.per_second(),
        };
        Self {
            generation: snapshot.generation(),
            signals: context.clone(),
            scripts: scripts(snapshot, judgement),
            score: decision.score(),
            level: decision.level(),
            action: decision.action(),
            reasons: decision.reasons().to_vec(),
            limits: decision.demands().iter().map(limit).collect(),
            tags: decision.tags().iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            counts: decision.counts().iter().map(ToString::to_string).collect(),
            changes: changes(snapshot, judgement),
        }
    }
}

fn scripts(snapshot: &Snapshot, judgement: &Judgement) -> Vec<ScriptSay> {
    let outcomes = judgement.evaluation.outcomes();
    let asked = |name: &str| outcomes.iter().find(|outcome| outcome.rule == name);
    let say = |rule_set: &crate::rules::RuleSet| {
        let outcome = asked(rule_set.name());
        let (said, error) = match outcome.map(|outcome| &outcome.spoken) {
            Some(Spoken::Whole(says)) => (says.iter().map(ToString::to_string).collect(), None),
            Some(Spoken::Failed(error)) => (Vec::new(), Some(error.clone())),
            None => (Vec::new(), None),
        };
        let (name, mode) = (rule_set.name().to_owned(), rule_set.mode());
        ScriptSay { name, mode, said, error, skipped: outcome.is_none() }
    };
    snapshot.policy().rule_sets().iter().map(say).collect()
}

fn changes(snapshot: &Snapshot, judgement: &Judgement) -> Vec<String> {
    let (decision, levels) = (&judgement.decision, &snapshot.rulebook().levels);
    let (score, level) = (decision.score(), decision.level());
    let mut changes = Vec::new();
    if let Some((from, next)) = levels.next(score) {
        let (more, then) = (from.saturating_sub(score.value()), described(levels.of(RiskScore::of([from.into()])).1));
        changes.push(format!("{more} more points reach level {}: {then}", next.as_str()));
    }
    if let Some((_, from, _)) = levels.iter().find(|(known, _, _)| *known == level) {
        let fewer = score.value().saturating_sub(from) + 1;
        let below = levels.of(RiskScore::of([i64::from(from) - 1]));
        changes.push(format!("{fewer} fewer points fall to level {}: {}", below.0.as_str(), described(below.1)));
    }
    let explicit = decision.reasons().iter().filter(|reason| !reason.observed && reason.verb.is_some());
    for reason in explicit {
        let verb = reason.verb.unwrap_or_default();
        changes.push(format!("without `{}` of `{}`, which says `{verb}`, the level alone decides", reason.reason, reason.rule));
    }
    changes
}

fn described(action: LevelAction) -> String {
    match action {
        LevelAction::Allow => "allow".to_owned(),
        LevelAction::Throttle { per, rate } => format!("throttle per {} at {}/s", per.as_str(), rate.per_second()),
        LevelAction::Block => "block".to_owned(),
    }
}
