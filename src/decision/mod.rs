//! From what scripts said to what the gate wants: score, level, action.
//!
//! An [`Evaluation`] holds everything that was said, and every error. [`Rulebook::decide`] weighs it by the
//! operator's configuration into a [`Decision`]. Both are data; nothing here performs an effect, and whether a
//! failing script lets a request through is decided in one function, [`Rulebook::judge_errors`].

pub mod evaluation;
pub mod level;
pub mod score;

mod decide;
mod outcome;

pub use decide::{Count, Decision, Demand, OnError, Rulebook};
pub use evaluation::{Evaluation, Mode, Reason, RuleOutcome, Says, ScriptError, Spoken};
pub use level::{Action, Level, LevelAction, Levels};
pub use outcome::Outcome;
pub use score::RiskScore;
