//! The decision: one function from an evaluation and the operator's rulebook to an action.
//!
//! An explicit verb of a script and the level's action combine by severity. `allow` is trust: the score is 0 and
//! neither level nor country limit applies, but hard lists and what earlier scripts said explicitly still do.

use std::fmt;

use smallvec::SmallVec;

use super::{Action, Evaluation, Level, LevelAction, Levels, Mode, Reason, RiskScore, Spoken};
use crate::actions::Say;
use crate::facts::place::CountryCode;
use crate::signals::Text;
use crate::traffic::{Per, Rate};

/// What a failing script means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The script had no say; all others count.
    #[default]
    Skip,
    /// The request is refused.
    Block,
}

/// How the operator weighs what scripts say.
#[derive(Clone, Debug, Default)]
pub struct Rulebook {
    /// Score to level to action.
    pub levels: Levels,
    /// What a failing script means.
    pub on_error: OnError,
    /// Limits of whole countries: which limit counts them, and the rate, in order of the code.
    pub country_limits: Vec<(CountryCode, Text, Rate)>,
}

/// A limit that a request must pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// The identity of the limit: a reason, `level.medium`, or `country`.
    pub limit: Text,
    /// Whose requests share the rate.
    pub per: Per,
    /// How many.
    pub rate: Rate,
}

/// What the gate wants to do with a request, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    score: RiskScore,
    level: Level,
    action: Action,
    reasons: Few<Reason>,
    demands: Few<Demand>,
    caps: Vec<Text>,
    upstream: Option<Text>,
    tags: Vec<(Text, Text)>,
    counts: Vec<Count>,
}

/// Most requests have no more than two of a kind, which are kept in place.
type Few<T> = SmallVec<[T; 2]>;

/// Something to count once.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// The counter.
    pub counter: Text,
    /// What is told apart, if the counter counts distinct values.
    pub item: Option<Text>,
}

/// The rule set name of what configuration says, rather than a script.
const CONFIGURATION: &str = "config";

impl Rulebook {
    /// Weighs an evaluation. `hard_list` is the first hard list that the client is on, if any.
    pub fn decide(&self, evaluation: &Evaluation, country: CountryCode, hard_list: Option<&str>) -> Decision {
        let mut explicit = Explicit::default();
        evaluation.said(Mode::Enforce).for_each(|(_, say)| explicit.hear(say));
        let mut reasons: Few<Reason> = evaluation.reasons().collect();

        let points = evaluation.said(Mode::Enforce).filter_map(|(_, say)| say.points());
        let score = if explicit.trusted { RiskScore::ZERO } else { RiskScore::of(points) };
        let (level, level_action) = self.levels.of(score);
        let mut action = explicit.action.max(level_action.action());
        let mut demands = explicit.demands;
        if !explicit.trusted {
            demands.extend(level_demand(level, level_action));
            demands.extend(self.country_demand(country));
        }
        let mut caps = explicit.caps;
        if !(demands.is_empty() && caps.is_empty()) {
            action = action.max(Action::Throttle);
        }
        for refusal in [hard_list.map(listed), self.judge_errors(evaluation)].into_iter().flatten() {
            action = Action::Block;
            reasons.push(refusal);
        }
        if action == Action::Block {
            demands.clear();
            caps.clear();
        }
        let upstream = explicit.upstream.filter(|_| action != Action::Block);
        let (tags, counts) = (explicit.tags, explicit.counts);
        Decision { score, level, action, reasons, demands, caps, upstream, tags, counts }
    }

    /// The one place that decides what a failing script means. Only enforced scripts can refuse a request.
    pub fn judge_errors(&self, evaluation: &Evaluation) -> Option<Reason> {
        let mut enforced = evaluation.outcomes().iter().filter(|outcome| outcome.mode == Mode::Enforce);
        let failed = enforced.find(|outcome| matches!(outcome.spoken, Spoken::Failed(_)))?;
        match self.on_error {
            OnError::Skip => None,
            OnError::Block => Some(Reason {
                rule: failed.rule.clone(),
                reason: "script.error".into(),
                points: 0,
                verb: Some("block"),
                observed: false,
            }),
        }
    }

    fn country_demand(&self, country: CountryCode) -> Option<Demand> {
        let at = self.country_limits.binary_search_by_key(&country, |(code, _, _)| *code).ok()?;
        let (_, limit, rate) = self.country_limits.get(at)?;
        Some(Demand { limit: limit.clone(), per: Per::Country, rate: *rate })
    }
}

impl Count {
    /// What a script said, if that is to count.
    pub fn of(say: &Say) -> Option<Self> {
        match say {
            Say::Count { counter, item } => Some(Self { counter: counter.clone(), item: item.clone() }),
            Say::Add { .. }
            | Say::Allow { .. }
            | Say::Throttle { .. }
            | Say::Concurrency { .. }
            | Say::Route { .. }
            | Say::Block { .. }
            | Say::Tag { .. } => None,
        }
    }
}

/// `login_failed`, or `paths: /orders`.
impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.item {
            None => f.write_str(&self.counter),
            Some(item) => write!(f, "{}: {item}", self.counter),
        }
    }
}

impl Decision {
    /// The sum of all points.
    pub fn score(&self) -> RiskScore {
        self.score
    }

    /// The level that the score reaches.
    pub fn level(&self) -> Level {
        self.level
    }

    /// What the policy wants: the severest of what scripts, level, lists and errors ask for.
    pub fn action(&self) -> Action {
        self.action
    }

    /// Why, in the order it was said.
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }

    /// The limits that the request must pass; empty if it is refused anyway.
    pub fn demands(&self) -> &[Demand] {
        &self.demands
    }

    /// The limits of requests in flight, by name, that must have a place for the request; empty if it is refused
    /// anyway.
    pub fn caps(&self) -> &[Text] {
        &self.caps
    }

    /// The upstream that it is sent to instead of its route's; `None` if it is refused anyway.
    pub fn upstream(&self) -> Option<&Text> {
        self.upstream.as_ref()
    }

    /// What the origin is told, name and value.
    pub fn tags(&self) -> &[(Text, Text)] {
        &self.tags
    }

    /// What to count once.
    pub fn counts(&self) -> &[Count] {
        &self.counts
    }
}

/// What enforced scripts said in so many words.
#[derive(Default)]
struct Explicit {
    action: Action,
    trusted: bool,
    demands: Few<Demand>,
    caps: Vec<Text>,
    upstream: Option<Text>,
    tags: Vec<(Text, Text)>,
    counts: Vec<Count>,
}

impl Explicit {
    fn hear(&mut self, say: &Say) {
        match say {
            // Points are summed up at once, see `RiskScore::of`.
            Say::Add { .. } => {}
            Say::Allow { .. } => self.trusted = true,
            Say::Throttle { reason, per, rate } => {
                self.demands.push(Demand { limit: reason.clone(), per: *per, rate: *rate });
            }
            // Named by two scripts it is still one place.
            Say::Concurrency { limit } if self.caps.contains(limit) => {}
            Say::Concurrency { limit } => self.caps.push(limit.clone()),
            // Scripts are asked in order, so that a later one may overrule an earlier one.
            Say::Route { upstream } => self.upstream = Some(upstream.clone()),
            Say::Block { .. } => self.action = Action::Block,
            Say::Tag { name, value } => {
                self.action = self.action.max(Action::Tag);
                self.tags.push((name.clone(), value.clone()));
            }
            Say::Count { .. } => self.counts.extend(Count::of(say)),
        }
    }
}

fn level_demand(level: Level, action: LevelAction) -> Option<Demand> {
    match action {
        LevelAction::Throttle { per, rate } => Some(Demand { limit: level.limit_name().into(), per, rate }),
        LevelAction::Allow | LevelAction::Block => None,
    }
}

fn listed(list: &str) -> Reason {
    Reason {
        rule: CONFIGURATION.into(),
        reason: format!("list.{list}").into(),
        points: 0,
        verb: Some("block"),
        observed: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{RuleOutcome, ScriptError};

    fn rate(per_second: f64) -> Rate {
        Rate::new(per_second).unwrap()
    }

    fn rulebook() -> Rulebook {
        let mut levels = Levels::default();
        let throttle = LevelAction::Throttle { per: Per::Client, rate: rate(5.0) };
        assert!(levels.begin(Level::Medium, 40, throttle));
        assert!(levels.begin(Level::Critical, 90, LevelAction::Block));
        let kp = CountryCode::parse("KP").unwrap();
        Rulebook { levels, on_error: OnError::Skip, country_limits: vec![(kp, "country".into(), rate(3.0))] }
    }

    fn evaluation(outcomes: Vec<(Mode, Spoken)>) -> Evaluation {
        let mut evaluation = Evaluation::default();
        for (mode, spoken) in outcomes {
            evaluation.push(RuleOutcome { rule: "rule".into(), mode, spoken });
        }
        evaluation
    }

    fn enforced(says: Vec<Say>) -> Evaluation {
        evaluation(vec![(Mode::Enforce, Spoken::Whole(says.into()))])
    }

    fn add(points: i64) -> Say {
        Say::Add { reason: "a.b".into(), points }
    }

    fn failure() -> Spoken {
        Spoken::Failed(ScriptError { message: "broken".into(), line: 1, column: 2 })
    }

    fn decide(evaluation: &Evaluation) -> Decision {
        rulebook().decide(evaluation, CountryCode::UNKNOWN, None)
    }

    #[test]
    fn points_make_a_level_and_the_level_an_action() {
        assert_eq!(decide(&enforced(vec![add(39)])).action(), Action::Allow);
        let medium = decide(&enforced(vec![add(39), add(1)]));
        assert_eq!((medium.level(), medium.action()), (Level::Medium, Action::Throttle));
        assert_eq!(medium.demands()[0].limit, "level.medium");
        let critical = decide(&enforced(vec![add(90)]));
        assert_eq!((critical.action(), critical.demands().len()), (Action::Block, 0));
    }

    #[test]
    fn a_verb_and_the_level_combine_by_severity() {
        let block = Say::Block { reason: "a.block".into() };
        assert_eq!(decide(&enforced(vec![add(40), block])).action(), Action::Block);
        let tag = Say::Tag { name: "x".into(), value: "y".into() };
        assert_eq!(decide(&enforced(vec![tag.clone()])).action(), Action::Tag);
        assert_eq!(decide(&enforced(vec![tag, add(40)])).action(), Action::Throttle);
        let throttle = Say::Throttle { reason: "a.slow".into(), per: Per::Route, rate: rate(1.0) };
        assert_eq!(decide(&enforced(vec![throttle, add(90)])).action(), Action::Block);
    }

    #[test]
    fn trust_ends_score_and_limits_but_not_hard_lists() {
        let trusted = enforced(vec![add(95), Say::Allow { reason: "a.trusted".into() }]);
        let kp = CountryCode::parse("KP").unwrap();
        let decision = rulebook().decide(&trusted, kp, None);
        assert_eq!((decision.score(), decision.action()), (RiskScore::ZERO, Action::Allow));
        assert!(decision.demands().is_empty());
        let listed = rulebook().decide(&trusted, kp, Some("blocklist"));
        assert_eq!(listed.action(), Action::Block);
        assert_eq!(listed.reasons().last().unwrap().reason, "list.blocklist");
    }

    #[test]
    fn a_country_limit_holds_for_everybody_in_it() {
        let kp = CountryCode::parse("KP").unwrap();
        let decision = rulebook().decide(&enforced(vec![]), kp, None);
        assert_eq!(decision.action(), Action::Throttle);
        assert_eq!(
            decision.demands(),
            [Demand { limit: "country".into(), per: Per::Country, rate: rate(3.0) }]
        );
    }

    #[test]
    fn a_limit_of_requests_in_flight_is_asked_once_unless_the_request_is_blocked() {
        let say = || Say::Concurrency { limit: "exports".into() };
        let decision = decide(&enforced(vec![say(), say()]));
        assert_eq!(
            (decision.action(), decision.caps()),
            (Action::Throttle, [Text::from("exports")].as_slice())
        );
        assert_eq!(decision.reasons()[0].reason, "concurrency.exports");
        let blocked = decide(&enforced(vec![say(), Say::Block { reason: "a.block".into() }]));
        assert!(blocked.caps().is_empty());
    }

    #[test]
    fn the_last_upstream_that_is_said_counts_unless_the_request_is_blocked() {
        let say = |name: &str| Say::Route { upstream: name.into() };
        let decision = decide(&enforced(vec![say("slow"), say("honeypot")]));
        assert_eq!((decision.action(), decision.upstream()), (Action::Allow, Some(&"honeypot".into())));
        assert_eq!(decision.reasons()[1].reason, "route.honeypot");
        let trusted = decide(&enforced(vec![say("slow"), Say::Allow { reason: "a.trusted".into() }]));
        assert_eq!(trusted.upstream(), Some(&"slow".into()));
        let blocked = decide(&enforced(vec![say("slow"), Say::Block { reason: "a.block".into() }]));
        assert_eq!(blocked.upstream(), None);
        let observed = evaluation(vec![(Mode::Observe, Spoken::Whole(vec![say("slow")].into()))]);
        assert_eq!(decide(&observed).upstream(), None);
    }

    #[test]
    fn an_observed_script_is_recorded_and_never_enforced() {
        let says = vec![add(95), Say::Block { reason: "a.block".into() }];
        let decision = decide(&evaluation(vec![(Mode::Observe, Spoken::Whole(says.into()))]));
        assert_eq!((decision.score(), decision.action()), (RiskScore::ZERO, Action::Allow));
        assert!(decision.reasons().iter().all(|reason| reason.observed));
        assert_eq!(decision.reasons().len(), 2);
    }

    #[test]
    fn a_failing_script_is_skipped_or_blocks_as_configured() {
        let failing = evaluation(vec![
            (Mode::Enforce, failure()),
            (Mode::Enforce, Spoken::Whole(vec![add(40)].into())),
        ]);
        assert_eq!(decide(&failing).level(), Level::Medium);
        let strict = Rulebook { on_error: OnError::Block, ..rulebook() };
        let decision = strict.decide(&failing, CountryCode::UNKNOWN, None);
        assert_eq!(decision.action(), Action::Block);
        assert_eq!(decision.reasons().last().unwrap().reason, "script.error");
        let observed = evaluation(vec![(Mode::Observe, failure())]);
        assert_eq!(strict.decide(&observed, CountryCode::UNKNOWN, None).action(), Action::Allow);
    }
}
