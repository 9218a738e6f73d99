//! What really happened to a request.

use serde::Serialize;

/// What happened, in the past tense, as records and metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It went to an origin.
    Allowed,
    /// A limit turned it away.
    Throttled,
    /// It was asked for a proof. Reserved.
    Challenged,
    /// It was refused.
    Blocked,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Allowed, Self::Throttled, Self::Challenged, Self::Blocked];

    /// `allowed throttled challenged blocked`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Throttled => "throttled",
            Self::Challenged => "challenged",
            Self::Blocked => "blocked",
        }
    }
}
