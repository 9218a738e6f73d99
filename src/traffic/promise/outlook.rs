//! What is expected at a key: how many come for the places that are kept for them, over the next window. Pure.
//!
//! Somebody who was told a time comes then or a little later, at any moment alike, or never. Whoever comes
//! unannounced is let in if, at every moment of the next window, as many places are free as are called for until then.

use std::time::Duration;

/// How finely the outlook tells time, in parts of a window.
pub(super) const SLOTS: usize = 16;

/// How many slots are looked at. Who is let in stays for a whole window, but what comes later can still be decided later.
const REACH: usize = 13;

/// How many are expected from now until a little after each of the next moments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::traffic) struct Outlook {
    expected: [f32; SLOTS + 1],
}

/// Those who come before this part of a slot is over find a place although none has become free in it.
const AHEAD: f32 = 0.35;
/// So many times the square root of those who come next may come as well, by chance.
const CHANCE: f32 = 0.3;

impl Outlook {
    /// Nobody is expected.
    pub(in crate::traffic) const EMPTY: Self = Self { expected: [0.0; SLOTS + 1] };

    /// From promises: in how many slots from now they are due, and how many. Who comes does so within `spread` slots
    /// after that; `shows` is the part that comes at all.
    pub(super) fn of(promises: impl Iterator<Item = (i32, u16)>, spread: i32, shows: f32) -> Self {
        let mut change = [0.0_f32; SLOTS + 1];
        let mut add = |slot: i32, pace: f32| {
            if let Some(change) = usize::try_from(slot).ok().and_then(|slot| change.get_mut(slot)) {
                *change += pace;
            }
        };
        for (due, count) in promises.filter(|(_, count)| *count > 0) {
            let from = due.max(0);
            let to = (due + spread).max(from + 1);
            let pace = f32::from(count) * shows / (to - from) as f32;
            add(from, pace);
            add(to, -pace);
        }
        let (mut pace, mut before) = (0.0, 0.0);
        let expected = change.map(|change| {
            pace += change;
            before += pace;
            before - (1.0 - AHEAD) * pace
        });
        Self { expected }
    }

    /// When one more fits for good: at once, later, or not for a while. `room` tells how many places are
    /// free after so many windows if nobody is let in until then.
    pub(in crate::traffic) fn free(&self, window: Duration, room: impl Fn(f32) -> f32) -> Option<Duration> {
        let part = |slot: usize| slot as f32 / SLOTS as f32;
        let [_, next, ..] = self.expected;
        let misfits = |(slot, expected): (usize, &f32)| {
            room(part(slot)) < 1.0 + expected + CHANCE * expected.min(next).sqrt()
        };
        let free = self.expected.iter().take(REACH).enumerate().rposition(misfits).map_or(0, |slot| slot + 1);
        (free < REACH).then(|| window.mul_f32(part(free)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(16);

    fn outlook(promises: &[(i32, u16)], shows: f32) -> Outlook {
        Outlook::of(promises.iter().copied(), 2, shows)
    }

    fn free(promises: &[(i32, u16)], room: impl Fn(f32) -> f32) -> Option<u64> {
        outlook(promises, 1.0).free(WINDOW, room).map(|time| time.as_secs())
    }

    #[test]
    fn whoever_comes_unannounced_leaves_room_for_those_who_were_told_to_come() {
        assert_eq!(free(&[], |_| 1.0), Some(0));
        assert_eq!(free(&[(4, 3)], |_| 5.0), Some(0));
        assert_eq!(free(&[(4, 3)], |_| 3.0), None);
        // There is more room later, or just when they come.
        assert_eq!(free(&[(4, 3)], |windows| if windows < 0.5 { 1.0 } else { 9.0 }), Some(8));
        assert_eq!(free(&[(4, 3)], |windows| if windows < 0.25 { 1.0 } else { 9.0 }), Some(0));
    }

    #[test]
    fn those_who_are_late_are_waited_for_and_those_who_never_come_are_not_reckoned_with() {
        assert_eq!(free(&[(-1, 4)], |_| 3.0), None);
        assert_eq!(free(&[(-1, 4)], |_| 6.0), Some(0));
        assert_eq!(outlook(&[(-1, 4)], 0.25).free(WINDOW, |_| 3.0), Some(Duration::ZERO));
    }
}
