//! Levels and the actions that configuration gives them.

use serde::Serialize;

use super::score::RiskScore;
use crate::traffic::{Per, Rate};

/// How risky a score is, in the operator's terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Below every threshold; flows.
    #[default]
    Low,
    /// Normally throttled.
    Medium,
    /// Normally challenged.
    High,
    /// Normally blocked.
    Critical,
}

/// What the policy wants, in order of severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Let it flow.
    #[default]
    Allow,
    /// Let it flow and tell the origin something.
    Tag,
    /// Let it flow at a certain rate.
    Throttle,
    /// Let it flow after a proof. Reserved; no level or verb can ask for it yet.
    Challenge,
    /// Refuse it.
    Block,
}

/// What configuration does with a level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LevelAction {
    /// Let it flow.
    Allow,
    /// Let it flow at a certain rate.
    Throttle {
        /// Whose requests share the rate.
        per: Per,
        /// How many.
        rate: Rate,
    },
    /// Refuse it.
    Block,
}

/// The thresholds and actions of all levels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Levels {
    /// Ascending by level; a level that is not there is never reached.
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    level: Level,
    from: u8,
    action: LevelAction,
}

impl Level {
    /// Every level, rising.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// `low medium high critical`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Reads what [`Level::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == text)
    }

    /// The name of the limit that this level imposes.
    pub const fn limit_name(self) -> &'static str {
        match self {
            Self::Low => "level.low",
            Self::Medium => "level.medium",
            Self::High => "level.high",
            Self::Critical => "level.critical",
        }
    }
}

impl Action {
    /// Every action, rising in severity.
    pub const ALL: [Self; 5] = [Self::Allow, Self::Tag, Self::Throttle, Self::Challenge, Self::Block];

    /// `allow tag throttle challenge block`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Tag => "tag",
            Self::Throttle => "throttle",
            Self::Challenge => "challenge",
            Self::Block => "block",
        }
    }

    /// Reads what [`Action::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

impl LevelAction {
    /// Its place in the order of severity.
    pub const fn action(self) -> Action {
        match self {
            Self::Allow => Action::Allow,
            Self::Throttle { .. } => Action::Throttle,
            Self::Block => Action::Block,
        }
    }
}

impl Levels {
    /// Adds a level that begins at a score. Thresholds must rise with the levels; `false` if this one does not,
    /// and then nothing is added.
    #[must_use]
    pub fn begin(&mut self, level: Level, from: u8, action: LevelAction) -> bool {
        let rises = self.steps.last().is_none_or(|last| last.level < level && last.from < from);
        if rises {
            self.steps.push(Step { level, from, action });
        }
        rises
    }

    /// The level of a score, and what is done with it.
    pub fn of(&self, score: RiskScore) -> (Level, LevelAction) {
        let reached = self.steps.iter().rev().find(|step| step.from <= score.value());
        reached.map_or((Level::Low, LevelAction::Allow), |step| (step.level, step.action))
    }

    /// The score at which the next level above `score` begins, and that level.
    pub fn next(&self, score: RiskScore) -> Option<(u8, Level)> {
        self.steps.iter().find(|step| step.from > score.value()).map(|step| (step.from, step.level))
    }

    /// Every configured level with its threshold and action, rising.
    pub fn iter(&self) -> impl Iterator<Item = (Level, u8, LevelAction)> + '_ {
        self.steps.iter().map(|step| (step.level, step.from, step.action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_has_the_highest_level_it_reaches() {
        let mut levels = Levels::default();
        assert!(levels.begin(Level::Medium, 40, LevelAction::Allow));
        assert!(levels.begin(Level::Critical, 90, LevelAction::Block));
        for (score, level) in [
            (0, Level::Low),
            (39, Level::Low),
            (40, Level::Medium),
            (89, Level::Medium),
            (90, Level::Critical),
        ] {
            assert_eq!(levels.of(RiskScore::of([score])).0, level, "{score}");
        }
        assert_eq!(levels.next(RiskScore::of([40])), Some((90, Level::Critical)));
        assert_eq!(levels.next(RiskScore::MAX), None);
    }

    #[test]
    fn thresholds_must_rise() {
        let mut levels = Levels::default();
        assert!(levels.begin(Level::High, 40, LevelAction::Block));
        assert!(!levels.begin(Level::Critical, 40, LevelAction::Block));
        assert!(!levels.begin(Level::Medium, 50, LevelAction::Block));
    }

    #[test]
    fn severity_is_the_order_of_the_actions() {
        let order: Vec<_> = Action::ALL.iter().map(|action| action.as_str()).collect();
        assert_eq!(order, ["allow", "tag", "throttle", "challenge", "block"]);
        assert!(Action::ALL.is_sorted());
    }
}
