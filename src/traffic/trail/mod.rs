//! Trails: when a key was counted, so that a limit that it is near need not guess.
//!
//! Two counts of a window ([`Cell`](super::cell::Cell)) say how often, not when: after a burst they fade what should
//! stay whole or go at once. So a key that may reach its quota leaves a trail. Its events are numbered, and of every
//! few the first one's time is kept. One more fits into a quota of `q` when the event `q` before it has left the
//! window, or the first of its group has: so nobody is refused who had less than the quota in the window, and nobody
//! gets a twentieth more, or one, however his requests come. Quotas up to 54 are told to the event.

mod pool;

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

pub(super) use self::pool::{Spot, Trails};
use super::cell::Moment;

/// The trail of one key, in two cache lines.
#[repr(align(128))]
struct Trail {
    /// The hash of the key; 0 if it is nobody's.
    owner: AtomicU64,
    head: AtomicU64,
    /// When the first event of each group was counted, in [`UNITS`] of the window; groups take turns.
    marks: [AtomicU16; MARKS],
}

/// What a trail consists of, besides marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    /// Events so far.
    count: u64,
    /// A group is so many events, as a power of two.
    shift: u32,
    /// How many intervals have to begin before the trail is as long as a window; until then it knows too little.
    youth: u64,
    /// The interval of the last event, as far as it is kept.
    epoch: u64,
}

/// Groups whose time is kept.
const MARKS: usize = 56;
/// Groups that can be asked for: another one may be on its way.
const REACH: u64 = MARKS as u64 - 2;
/// The fewest groups that a quota is told by.
const COARSEST: u64 = 12;
/// How finely time is told, in parts of a window. Times are kept modulo 4 windows.
const UNITS: u64 = 1 << UNIT_BITS;
const UNIT_BITS: u32 = 14;

const COUNT_BITS: u32 = 36;
const SHIFT_BITS: u32 = 5;
const YOUTH_BITS: u32 = 2;
const EPOCHS: u64 = (1 << (64 - COUNT_BITS - SHIFT_BITS - YOUTH_BITS)) - 1;
/// A trail of so many events begins anew.
const MOST: u64 = 1 << (COUNT_BITS - 1);

/// How often a key is counted in two intervals before it leaves a trail. Of these, those of the running interval are
/// known to be no older than it; the others go unnoticed.
pub(super) const fn unnoticed(quota: u64) -> u64 {
    if quota < 4 {
        0
    } else if quota < 256 {
        1
    } else {
        quota / 128
    }
}

impl Trail {
    const fn new() -> Self {
        Self {
            owner: AtomicU64::new(0),
            head: AtomicU64::new(0),
            marks: [const { AtomicU16::new(0) }; MARKS],
        }
    }

    /// Nanoseconds until one more fits into `quota`, 0 if it fits now; `None` if the trail does not know. To be asked
    /// only when a quota may have been counted in the last two windows: times are not kept for longer.
    fn wait(&self, quota: u64, moment: Moment) -> Option<u64> {
        let head = self.head(moment);
        if !head.knows(quota) {
            return None;
        }
        let Some(event) = head.count.checked_sub(quota) else { return Some(0) };
        let left = UNITS.saturating_sub(self.age(head, event, moment));
        Some(if left == 0 { 0 } else { until(left, moment) })
    }

    /// How many more fit into `quota` now; `None` if the trail does not know. No more than `used` were counted in the
    /// last two windows.
    fn room(&self, quota: u64, used: u64, moment: Moment) -> Option<u64> {
        let head = self.head(moment);
        if !head.knows(quota) {
            return None;
        }
        // Events are in order: how many of the last have left the window?
        let (mut gone, mut kept) = (head.count.saturating_sub(quota.min(used)), head.count);
        while gone < kept {
            let middle = gone.midpoint(kept);
            if self.age(head, middle, moment) >= UNITS { gone = middle + 1 } else { kept = middle }
        }
        Some(quota - (head.count - gone))
    }

    /// Counts one if it fits into `quota`; otherwise the nanoseconds until it does. `None` if the trail does not
    /// know; nothing is counted then. Of threads that race for the last place, one gets it.
    fn take(&self, quota: u64, unseen: u64, moment: Moment) -> Option<Result<(), u64>> {
        loop {
            let word = self.head.load(Ordering::Acquire);
            match self.wait(quota, moment)? {
                0 if self.step(word, 1, quota, unseen, moment) => return Some(Ok(())),
                0 => {}
                wait => return Some(Err(wait)),
            }
        }
    }

    /// Counts one. `unseen` were counted before it in this interval, should the trail begin here.
    fn record(&self, quota: u64, unseen: u64, moment: Moment) {
        self.record_some(1, quota, unseen, moment);
    }

    /// Counts `events` at once, fewer than a group.
    fn record_some(&self, events: u64, quota: u64, unseen: u64, moment: Moment) {
        while !self.step(self.head.load(Ordering::Acquire), events, quota, unseen, moment) {}
    }

    /// Counts `events` after `word`, unless another thread was faster.
    fn step(&self, word: u64, events: u64, quota: u64, unseen: u64, moment: Moment) -> bool {
        let head = match Head::of(word).at(moment.epoch) {
            head if head.suits(quota) => head,
            head if head.count == 0 => Head::new(quota, head.youth, moment.epoch),
            _ => Head::new(quota, Head::YOUNG, moment.epoch),
        };
        let head = self.begun(head, unseen.min(unnoticed(quota)), moment);
        let group = head.count.div_ceil(1 << head.shift);
        if group << head.shift < head.count + events {
            // Before the event can be seen. Who loses the race has the same time, or nearly.
            self.mark(group).store(units(moment) as u16, Ordering::Relaxed);
        }
        let next = Head { count: head.count + events, ..head }.word();
        self.head.compare_exchange(word, next, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// A trail that begins, with what was not seen of it: it is as old as the interval at most.
    fn begun(&self, head: Head, unseen: u64, moment: Moment) -> Head {
        if head.count > 0 || head.youth > 0 {
            return head;
        }
        for group in 0..unseen.div_ceil(1 << head.shift) {
            self.mark(group).store((moment.epoch * UNITS) as u16, Ordering::Relaxed);
        }
        Head { count: unseen, ..head }
    }

    /// Uncounts the last events.
    fn give_back(&self, events: u64) {
        let back =
            |word| Some(Head { count: Head::of(word).count.checked_sub(events)?, ..Head::of(word) }.word());
        // An error says that there is nothing to take back.
        let _ = self.head.fetch_update(Ordering::Release, Ordering::Acquire, back);
    }

    /// Whether nothing that it says is about the window before now.
    fn is_idle(&self, moment: Moment) -> bool {
        self.head(moment).count == 0
    }

    /// Whether more than `groups` groups of it are in the window before now.
    fn is_busier(&self, groups: u64, moment: Moment) -> bool {
        let head = self.head(moment);
        let event = head.count.checked_sub(groups.min(REACH) << head.shift);
        event.is_some_and(|event| event > 0 && self.age(head, event - 1, moment) < UNITS)
    }

    /// How long ago the first event of this event's group was counted, if that is less than two windows.
    fn age(&self, head: Head, event: u64, moment: Moment) -> u64 {
        let mark = self.mark(event >> head.shift).load(Ordering::Relaxed);
        match (units(moment) as u16).wrapping_sub(mark) {
            // A thread or a clock that is a little ahead.
            age if age > u16::MAX - UNITS as u16 => 0,
            age => u64::from(age),
        }
    }

    fn mark(&self, group: u64) -> &AtomicU16 {
        let [first, ..] = &self.marks;
        self.marks.get(group as usize % MARKS).unwrap_or(first)
    }

    fn head(&self, moment: Moment) -> Head {
        Head::of(self.head.load(Ordering::Acquire)).at(moment.epoch)
    }
}

impl Head {
    /// Two intervals have to begin until one has been seen as a whole.
    const YOUNG: u64 = 2;

    /// Made for this quota.
    fn new(quota: u64, youth: u64, epoch: u64) -> Self {
        let groups = quota.div_ceil(REACH).next_power_of_two();
        Self { count: 0, shift: groups.ilog2(), youth, epoch: epoch & EPOCHS }
    }

    fn of(word: u64) -> Self {
        let bits = |from: u32, count: u32| word >> from & ((1 << count) - 1);
        Self {
            count: bits(0, COUNT_BITS),
            shift: bits(COUNT_BITS, SHIFT_BITS) as u32,
            youth: bits(COUNT_BITS + SHIFT_BITS, YOUTH_BITS),
            epoch: word >> (COUNT_BITS + SHIFT_BITS + YOUTH_BITS),
        }
    }

    const fn word(self) -> u64 {
        let tail = self.epoch << YOUTH_BITS | self.youth;
        (tail << SHIFT_BITS | self.shift as u64) << COUNT_BITS | self.count
    }

    /// Moved on to an interval.
    fn at(self, epoch: u64) -> Self {
        let epoch = epoch & EPOCHS;
        match epoch.wrapping_sub(self.epoch) & EPOCHS {
            0 | EPOCHS => self,
            1 if self.count < MOST => Self { youth: self.youth.saturating_sub(1), epoch, ..self },
            1 => Self { count: 0, youth: Self::YOUNG, epoch, ..self },
            // Whatever it was, it has left the window.
            _ => Self { count: 0, youth: 0, epoch, ..self },
        }
    }

    /// Whether a trail like this tells about such a quota.
    fn suits(self, quota: u64) -> bool {
        quota <= REACH << self.shift && (self.shift == 0 || quota >= COARSEST << self.shift)
    }

    fn knows(self, quota: u64) -> bool {
        self.youth == 0 && (self.count == 0 || self.suits(quota))
    }
}

/// Time in units of the window.
fn units(moment: Moment) -> u64 {
    let length = moment.interval.nanos();
    let gone = length - moment.remaining.min(length);
    moment.epoch * UNITS + (gone << UNIT_BITS) / length
}

/// Nanoseconds until so many more units have begun.
fn until(more: u64, moment: Moment) -> u64 {
    let length = moment.interval.nanos();
    let gone = length - moment.remaining.min(length);
    let unit = (gone << UNIT_BITS) / length + more;
    (unit * length).div_ceil(UNITS).saturating_sub(gone).max(1)
}

#[cfg(test)]
mod tests;
