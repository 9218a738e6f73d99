//! The score: 0 is harmless, 100 is certain harm.

use std::fmt;

use serde::Serialize;

/// A risk score, always within 0 and 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct RiskScore(u8);

impl RiskScore {
    /// No risk at all.
    pub const ZERO: Self = Self(0);
    /// As risky as it gets.
    pub const MAX: Self = Self(100);

    /// The sum of all points, saturated once at the end, so that the order of rules does not matter.
    pub fn of(points: impl IntoIterator<Item = i64>) -> Self {
        let sum = points.into_iter().fold(0i64, i64::saturating_add);
        Self(sum.clamp(0, 100) as u8)
    }

    /// The score as a number, 0 to 100.
    pub const fn value(self) -> u8 {
        self.0
    }
}

impl fmt::Display for RiskScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_score_is_bounded_and_knows_no_order(mut points in prop::collection::vec(-100i64..=100, 0..20)) {
            let score = RiskScore::of(points.iter().copied());
            prop_assert!(score <= RiskScore::MAX);
            points.reverse();
            prop_assert_eq!(RiskScore::of(points.iter().copied()), score);
            points.push(1);
            prop_assert!(RiskScore::of(points) >= score);
        }

        #[test]
        fn no_sum_overflows(points in prop::collection::vec(any::<i64>(), 0..20)) {
            RiskScore::of(points);
        }
    }
}
