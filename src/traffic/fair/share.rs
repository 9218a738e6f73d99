//! Who has to wait when a pool is over its limit: the arithmetic of fair sharing, pure.
//!
//! A pool has one number, its pressure, in octaves: with each octave the most that one client may have halves. Each
//! request has a standing, the pressure at which it is refused, so that one comparison decides. Who has much stands
//! low, and so does everybody in a network that has grown beyond its usual part of the pool, since one client may
//! come under thousands of names. Among clients of ordinary networks this is max-min fairness: those who are cut
//! have the same, and nobody who has less is touched.
//!
//! Pressure is held by a controller (proportional and integral) so that what is admitted in total meets the limit:
//! the adaptive share of Core-Stateless Fair Queueing (Stoica, Shenker, Zhang 1998). Admitting by count rather than
//! by chance needs no randomness and lets nobody profit from trying more often.

/// One request in a pool, in requests per window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Claim {
    /// What the pool may admit.
    pub(super) quota: f32,
    /// What it has admitted.
    pub(super) admitted: f32,
    /// What a client of this pool has typically; 0 if that is not known yet.
    pub(super) typical: f32,
    /// What this client has, counting this request by half, per share of its weight.
    pub(super) own: f32,
    /// What this client has, whatever its weight.
    pub(super) taken: f32,
    /// How many times its usual part of the pool the client's network has.
    pub(super) growth: f32,
}

/// Part of the quota that is kept free for bursts of those who are below their share.
const RESERVE: f32 = 0.015;
/// No more than this part of what others have: who is alone may have all.
const RESERVE_OF_OTHERS: f32 = 0.125;
/// Octaves of pressure for an excess of one whole quota,
const GAIN: f32 = 58.0;
/// or for each request, if that is less: a single one should not halve a share.
const GAIN_OF_ONE: f32 = 0.25;
/// How many windows the integral takes to match the proportional part.
const SETTLE: f32 = 0.6;
/// The most pressure there can be.
const MOST: f32 = 64.0;
/// How many times what is typical a client may have before it is asked first.
const MODEST: f32 = 3.0;
/// Without experience: what part of the quota a client may have before it is asked first.
const MODEST_PART: f32 = 1.0 / 64.0;
/// Octaves of standing for each octave of pressure among the modest.
const SQUEEZE: f32 = 2.0;
/// How many times its usual part a network may have before its clients stand lower.
const GROWN: f32 = 1.25;
/// Octaves of standing for each octave of growth beyond.
const CROWDING: f32 = 4.0;
/// Octaves of growth that matter.
const GROWTHS: f32 = 4.0;

/// What may be admitted in all to those who are below their share: a twentieth more than the quota, which is room
/// for their bursts while those who are cut fade from the window.
pub(super) fn ceiling(quota: u64) -> u64 {
    quota + quota / 20
}

impl Claim {
    /// Whether it passes at once, whoever it is.
    pub(super) fn is_calm(quota: f32, admitted: f32, held: f32) -> bool {
        held <= 0.0 && admitted + 0.5 <= quota * (1.0 - RESERVE)
    }

    /// Whether it passes under the pressure that is held.
    pub(super) fn passes(&self, held: f32) -> bool {
        self.standing() > self.pressure(held)
    }

    /// The pressure on this request.
    pub(super) fn pressure(&self, held: f32) -> f32 {
        held + self.gain() * self.excess()
    }

    /// The pressure that is held after `windows` more in which what was admitted was this much.
    pub(super) fn steer(&self, held: f32, windows: f32) -> f32 {
        let step = self.gain() / SETTLE * self.excess().clamp(-0.25, 0.1) * windows.min(0.25);
        (held + step).clamp(0.0, MOST)
    }

    /// Whether the client's network is why it is asked to wait, more than the client itself.
    pub(super) fn is_for_its_network(&self) -> bool {
        self.crowding() > 0.0 && self.own <= 1.0
    }

    /// The most that this client, whose weight counts, has at this pressure, in requests per window.
    pub(super) fn share(&self, pressure: f32) -> f32 {
        let (modest, first) = (self.modest(), (self.quota / self.modest()).log2());
        if pressure <= first {
            self.quota * (-pressure.max(0.0)).exp2()
        } else {
            let octaves = (pressure - first) * SQUEEZE - CROWDING * GROWTHS + self.crowding();
            modest * (-octaves.max(0.0)).exp2()
        }
    }

    fn gain(&self) -> f32 {
        GAIN.min(GAIN_OF_ONE * self.quota)
    }

    /// What is admitted beyond what should be, as a part of the quota.
    fn excess(&self) -> f32 {
        let others = (self.admitted - self.taken).max(0.0);
        let reserve = (RESERVE * self.quota).min(RESERVE_OF_OTHERS * others);
        (self.admitted + 0.5 - (self.quota - reserve)) / self.quota
    }

    fn standing(&self) -> f32 {
        let modest = self.modest();
        if self.own > modest {
            (self.quota / self.own).log2()
        } else {
            let among_modest = (modest / self.own).log2() + CROWDING * GROWTHS - self.crowding();
            (self.quota / modest).log2() + among_modest / SQUEEZE
        }
    }

    /// Up to this much a client is not asked before its network is.
    fn modest(&self) -> f32 {
        let modest = if self.typical > 0.0 { MODEST * self.typical } else { MODEST_PART * self.quota };
        modest.clamp(1.0, self.quota.max(1.0))
    }

    /// By how much the client's network lowers its standing.
    fn crowding(&self) -> f32 {
        if self.growth > GROWN { CROWDING * (self.growth / GROWN).log2().min(GROWTHS) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(own: f32, growth: f32) -> Claim {
        Claim { quota: 2_400.0, admitted: 2_350.0, typical: 10.0, own, taken: own, growth }
    }

    #[test]
    fn who_has_much_is_asked_first_and_so_is_who_comes_in_a_crowd() {
        let order =
            [claim(500.0, 1.0), claim(31.0, 9.0), claim(2.0, 8.0), claim(29.0, 1.2), claim(10.0, 1.0)];
        let standings: Vec<f32> = order.iter().map(Claim::standing).collect();
        assert!(standings.is_sorted(), "{standings:?}");
    }

    #[test]
    fn who_is_alone_may_have_all_and_who_is_not_leaves_a_reserve() {
        let alone = Claim { admitted: 2_399.0, ..claim(2_399.5, 1.0) };
        let alone = Claim { taken: 2_399.0, ..alone };
        assert!(alone.passes(0.0));
        assert!(!Claim { admitted: 2_400.0, own: 2_400.5, taken: 2_400.0, ..alone }.passes(0.0));
        assert!(!Claim { admitted: 2_399.0, ..claim(1_900.0, 1.0) }.passes(0.0));
    }

    proptest! {
        #[test]
        fn a_share_is_the_most_that_passes(
            quota in 10f32..1e6, pressure in 0f32..40.0, growth in 0.1f32..30.0, typical in 0f32..50.0,
        ) {
            let claim = Claim { quota, admitted: quota, typical, own: 0.5, taken: 0.0, growth };
            let share = claim.share(pressure);
            let (less, more) = (Claim { own: share * 0.99, ..claim }, Claim { own: share * 1.01, ..claim });
            // Between the two kinds of asking, a share stays where it is.
            let stays = share >= claim.modest() * 0.999;
            prop_assert!(less.standing() > pressure || stays);
            prop_assert!(more.standing() < pressure || stays);
        }

        #[test]
        fn who_asks_for_more_never_stands_better(
            own in 0.5f32..5e3, more in 1f32..9.0, growth in 0.1f32..300.0,
        ) {
            let claim = claim(own, growth);
            let greedier = Claim { own: own * more, ..claim };
            let in_a_greedier_network = Claim { growth: growth * more, ..claim };
            prop_assert!(greedier.standing() <= claim.standing());
            prop_assert!(in_a_greedier_network.standing() <= claim.standing());
        }
    }
}
