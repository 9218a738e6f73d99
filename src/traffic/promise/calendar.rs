//! Calendars: how many places of a key are kept for when, and whose turn it is next.
//!
//! Only keys that refuse have one; it is taken over when nobody is expected there any more. All words are atomics of their own:
//! threads that meet may be off by one, which is what a clients' own decisions do all the time.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::outlook::{Outlook, SLOTS};
use super::{UNITS, late, spread, unit_at};
use crate::traffic::cell::Moment;

/// The calendars of a limit.
pub(super) struct Calendars {
    /// Whose they are; 0 if nobody's.
    owners: Box<[AtomicU64]>,
    calendars: Box<[Calendar]>,
}

/// What is kept at one key.
pub(super) struct Calendar {
    /// The last turn, of those who wait one after the other.
    turn: AtomicU32,
    /// When the last promise is due.
    until: AtomicU32,
    /// The first slot that was not cleared.
    cleared: AtomicU32,
    /// Promises that were kept, and those that nobody came for.
    kept: AtomicU32,
    missed: AtomicU32,
    /// How many are due in each slot.
    due: [AtomicU16; RING],
}

/// Keys that can have a calendar at a time: 65 KiB.
const CALENDARS: usize = 64;
/// Calendars in which a key may be.
const REACH: usize = 4;
const RING: usize = 512;
/// Slots that are looked back at, at most.
const BACK: u32 = 48;
/// No promises are made for later, in windows.
pub(super) const LONGEST: u32 = 28;
/// How finely turns are told apart, in parts of a window.
const TURN_BITS: u32 = 20;
/// Promises of which it is assumed that they are kept, before there is experience.
const TRUST: f32 = 8.0;
/// Not more than every other is expected to be missed.
const LEAST_SHOWS: f32 = 0.5;
/// Places that are promised, at most: the others are for those who come unannounced.
const USED: f32 = 0.9;
/// As many are remembered.
const REMEMBERED: u32 = 128;

impl Calendars {
    pub(super) fn new() -> Self {
        Self {
            owners: (0..CALENDARS).map(|_| AtomicU64::new(0)).collect(),
            calendars: (0..CALENDARS).map(|_| Calendar::new()).collect(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.owners) + size_of_val(&*self.calendars)
    }

    /// The calendar of a key.
    pub(super) fn find(&self, key: u64) -> Option<&Calendar> {
        let owner = key.wrapping_add(1).max(1);
        self.reach(key)
            .find(|(known, _)| known.load(Ordering::Relaxed) == owner)
            .map(|(_, calendar)| calendar)
    }

    /// The calendar of a key, which may have had another one's; `None` if all are in use.
    pub(super) fn claim(&self, key: u64, moment: Moment) -> Option<&Calendar> {
        self.find(key).or_else(|| self.settle(key, moment))
    }

    #[cold]
    fn settle(&self, key: u64, moment: Moment) -> Option<&Calendar> {
        let is_free = |(owner, calendar): &(&AtomicU64, &Calendar)| {
            owner.load(Ordering::Relaxed) == 0 || calendar.is_quiet(moment)
        };
        let (owner, calendar) = self.reach(key).find(is_free)?;
        calendar.forget(moment);
        owner.store(key.wrapping_add(1).max(1), Ordering::Relaxed);
        Some(calendar)
    }

    fn reach(&self, key: u64) -> impl Iterator<Item = (&AtomicU64, &Calendar)> {
        let mixed = key.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let home = (mixed >> 58) as usize / REACH * REACH;
        self.owners.iter().zip(&self.calendars).skip(home).take(REACH)
    }
}

impl Calendar {
    fn new() -> Self {
        Self {
            turn: AtomicU32::new(0),
            until: AtomicU32::new(0),
            cleared: AtomicU32::new(0),
            kept: AtomicU32::new(0),
            missed: AtomicU32::new(0),
            due: [const { AtomicU16::new(0) }; RING],
        }
    }

    /// Whether nobody is expected.
    pub(super) fn is_quiet(&self, moment: Moment) -> bool {
        let until = self.until.load(Ordering::Relaxed).wrapping_add(turns(late(moment), moment));
        let ahead = until.wrapping_sub(turn_at(moment));
        ahead == 0 || ahead > (2 * LONGEST) << TURN_BITS
    }

    /// When it is the next one's turn, not before there is a `free` place, where there are so many `places` in a
    /// window; `None` if that is too far ahead.
    pub(super) fn turn(&self, free: Duration, places: u64, moment: Moment) -> Option<Duration> {
        // More of them, if not all come.
        let pace = pace(places as f32, moment) / self.shows().max(LEAST_SHOWS);
        let gap = moment.interval.duration().div_f32(pace.max(1.0));
        let last = ahead_of(self.turn.load(Ordering::Relaxed), turn_at(moment));
        let next = last.saturating_add(turns(gap, moment)).max(turns(free, moment));
        (next < LONGEST << TURN_BITS).then(|| time(next, moment))
    }

    /// Whether a promise can be entered that is due so far ahead.
    pub(super) fn has_room(&self, wait: Duration, moment: Moment) -> bool {
        let ahead = turns(wait, moment);
        let slot = slot_at(moment).wrapping_add(ahead >> (TURN_BITS - SLOTS.ilog2()));
        ahead < LONGEST << TURN_BITS && self.at(slot).load(Ordering::Relaxed) < u16::MAX / 2
    }

    /// Enters a promise that is due at `unit`, which is after `wait`.
    pub(super) fn enter(&self, unit: u64, wait: Duration, moment: Moment) {
        self.clear(moment);
        self.at(slot_of(unit)).fetch_add(1, Ordering::Relaxed);
        Self::put_off(&self.until, wait, moment);
    }

    /// Notes that it is somebody's turn after `wait`.
    pub(super) fn take_turn(&self, wait: Duration, moment: Moment) {
        Self::put_off(&self.turn, wait, moment);
    }

    fn put_off(word: &AtomicU32, wait: Duration, moment: Moment) {
        let (now, wait) = (turn_at(moment), turns(wait, moment));
        let later = |turn: u32| (wait >= ahead_of(turn, now)).then_some(now.wrapping_add(wait));
        let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// Crosses out a promise that was due at `unit`.
    pub(super) fn cross_out(&self, unit: u64) {
        let less = |count: u16| count.checked_sub(1);
        let _ = self.at(slot_of(unit)).fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Notes that somebody came.
    pub(super) fn note_kept(&self) {
        self.kept.fetch_add(1, Ordering::Relaxed);
    }

    /// What is expected, apart from one who is due at this unit.
    pub(super) fn outlook(&self, apart: Option<u64>, moment: Moment) -> Outlook {
        self.clear(moment);
        let now = slot_at(moment);
        let slots = |time| (turns(time, moment) >> (TURN_BITS - SLOTS.ilog2())) as i32;
        let late = (slots(late(moment)) + 1).min(BACK as i32);
        let spread = (slots(spread(moment)) + 1).min(BACK as i32);
        let apart = apart.map(|unit| slot_of(unit) as usize % RING);
        let promises = (1 - late..=SLOTS as i32).map(|ahead| {
            let slot = now.wrapping_add_signed(ahead);
            let own = u16::from(apart == Some(slot as usize % RING));
            (ahead, self.at(slot).load(Ordering::Relaxed).saturating_sub(own))
        });
        Outlook::of(promises, spread, self.shows())
    }

    /// The part of those who were told a time that comes then.
    fn shows(&self) -> f32 {
        let count = |word: &AtomicU32| word.load(Ordering::Relaxed) as f32;
        let (kept, missed) = (count(&self.kept) + TRUST, count(&self.missed));
        kept / (kept + missed)
    }

    /// Clears slots that nobody will come for any more.
    fn clear(&self, moment: Moment) {
        let (until, from) = (slot_at(moment).wrapping_sub(BACK), self.cleared.load(Ordering::Relaxed));
        let slots = until.wrapping_sub(from) as i32;
        if (-(RING as i32)..=0).contains(&slots) {
            return;
        }
        if self.cleared.compare_exchange(from, until, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let slots = if slots < 0 { RING } else { (slots as usize).min(RING) };
        let clear =
            |slot: usize| u32::from(self.at(from.wrapping_add(slot as u32)).swap(0, Ordering::Relaxed));
        let missed: u32 = (0..slots).map(clear).sum();
        self.missed.fetch_add(missed, Ordering::Relaxed);
        if self.kept.load(Ordering::Relaxed) + self.missed.load(Ordering::Relaxed) > REMEMBERED {
            for word in [&self.kept, &self.missed] {
                word.store(word.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
            }
        }
    }

    #[cold]
    fn forget(&self, moment: Moment) {
        self.due.iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
        self.cleared.store(slot_at(moment).wrapping_sub(BACK), Ordering::Relaxed);
        [&self.kept, &self.missed].iter().for_each(|word| word.store(0, Ordering::Relaxed));
        [&self.turn, &self.until].iter().for_each(|word| word.store(turn_at(moment), Ordering::Relaxed));
    }

    fn at(&self, slot: u32) -> &AtomicU16 {
        let [first, ..] = &self.due;
        self.due.get(slot as usize % RING).unwrap_or(first)
    }
}

/// How many turns there are in a window with so many places. Who is told a time comes within a while after that, by chance:
/// some places are for those who happen to come together.
fn pace(places: f32, moment: Moment) -> f32 {
    let spread = spread(moment).div_duration_f32(moment.interval.duration()).min(1.0);
    (places - (places * spread).sqrt()).min(USED * places)
}

/// How far ahead a turn is. What is past, or left over from ages ago, looks far ahead.
fn ahead_of(turn: u32, now: u32) -> u32 {
    let ahead = turn.wrapping_sub(now);
    if ahead > (2 * LONGEST) << TURN_BITS { 0 } else { ahead }
}

/// Wraps after 4096 windows, of which only a few lie ahead.
fn turn_at(moment: Moment) -> u32 {
    let length = moment.interval.nanos();
    let gone = length - moment.remaining.min(length);
    let within = (gone / (length >> TURN_BITS).max(1)).min((1 << TURN_BITS) - 1);
    ((moment.epoch << TURN_BITS) + within) as u32
}

fn turns(time: Duration, moment: Moment) -> u32 {
    let turns = (time.as_nanos() << TURN_BITS) / u128::from(moment.interval.nanos());
    u32::try_from(turns).unwrap_or(u32::MAX).min(LONGEST << TURN_BITS)
}

fn time(turns: u32, moment: Moment) -> Duration {
    moment.interval.duration().mul_f64(f64::from(turns) / f64::from(1 << TURN_BITS))
}

fn slot_at(moment: Moment) -> u32 {
    slot_of(unit_at(moment))
}

fn slot_of(unit: u64) -> u32 {
    (unit >> (UNITS.ilog2() - SLOTS.ilog2())) as u32
}
