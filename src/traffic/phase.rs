//! Whose turn it is among the three generations of a window, in one word.
//!
//! All of it changes together or not at all, so that one compare-and-swap moves a window on and no thread ever
//! sees two generations in one role.

/// Which interval is running and which generation counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phase {
    /// Ticks divided by the interval.
    pub(super) epoch: u64,
    pub(super) turn: Turn,
    pub(super) spare: Spare,
}

/// The generation that is current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    First,
    Second,
    Third,
}

/// The state of the generation that will be current next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spare {
    /// Ready to count.
    Zero,
    /// It retired and still holds what it counted.
    Used,
}

impl Phase {
    /// The first phase of a window, which has counted nothing.
    pub(super) fn starting(epoch: u64) -> Self {
        Self { epoch, turn: Turn::First, spare: Spare::Zero }
    }

    /// The same phase once its spare was zeroed.
    pub(super) fn zeroed(self) -> Self {
        Self { spare: Spare::Zero, ..self }
    }

    /// Spare becomes current, current previous, and previous a spare to be zeroed.
    pub(super) fn next(self, epoch: u64) -> Self {
        let turn = match self.turn {
            Turn::First => Turn::Second,
            Turn::Second => Turn::Third,
            Turn::Third => Turn::First,
        };
        Self { epoch, turn, spare: Spare::Used }
    }

    /// The epoch to move to on the way to `target`, if any. A jump takes two moves, so that both generations
    /// that still hold counts retire.
    pub(super) fn next_epoch(self, target: u64) -> Option<u64> {
        match target {
            near if near == self.epoch || near + 1 == self.epoch => None,
            next if next == self.epoch + 1 => Some(next),
            far => Some(far.saturating_sub(1)),
        }
    }

    /// Epochs are below 2^35: nanoseconds in 64 bits, divided by at least a second.
    pub(super) fn encode(self) -> u64 {
        let turn = match self.turn {
            Turn::First => 0,
            Turn::Second => 1,
            Turn::Third => 2,
        };
        let spare = match self.spare {
            Spare::Zero => 0,
            Spare::Used => 4,
        };
        self.epoch << 3 | spare | turn
    }

    pub(super) fn decode(bits: u64) -> Self {
        let turn = match bits & 3 {
            0 => Turn::First,
            1 => Turn::Second,
            _ => Turn::Third,
        };
        let spare = if bits & 4 == 0 { Spare::Zero } else { Spare::Used };
        Self { epoch: bits >> 3, turn, spare }
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Interval;
    use super::*;

    #[test]
    fn a_phase_fits_into_a_word() {
        for turn in [Turn::First, Turn::Second, Turn::Third] {
            for spare in [Spare::Zero, Spare::Used] {
                let phase = Phase { epoch: u64::MAX / Interval::SHORTEST.nanos(), turn, spare };
                assert_eq!(Phase::decode(phase.encode()), phase);
            }
        }
    }
}
