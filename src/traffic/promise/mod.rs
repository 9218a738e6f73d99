//! Promises: who is refused at a limit that others share is told a time, and a place is kept for it then.
//!
//! Without it a told time is a guess, since whoever comes in between takes the place. A client has one promise at a
//! time, so that hammering brings nothing; it is kept once, for a short time, and only as many are given as the limit
//! lets through anyway. Others are let in while that leaves room for those who are expected. All of it is
//! fixed memory, two words of a client's hash, without locks; where there is no room for a promise, a time is told without.

mod calendar;
mod outlook;

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::quality::SeedableRandomState;

use self::calendar::{Calendar, Calendars};
pub(super) use self::outlook::Outlook;
use super::cell::Moment;
use super::subject::Key;

/// The promises of one limit.
pub(super) struct Promises {
    lines: Box<[Line]>,
    calendars: Calendars,
    hasher: SeedableRandomState,
}

/// Promises side by side, in a cache line.
#[derive(Default)]
#[repr(align(64))]
struct Line([AtomicU64; WAYS]);

/// One client at one key of a limit.
#[derive(Clone, Copy)]
pub(super) struct Visit<'a> {
    promises: &'a Promises,
    moment: Moment,
    /// The key of the limit.
    pool: u64,
    /// The hash of the client there.
    member: u64,
}

/// A place that is kept for somebody.
#[derive(Clone, Copy)]
pub(super) struct Promise<'a> {
    slot: &'a AtomicU64,
    word: u64,
}

const WAYS: usize = 8;
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
/// 8,192 promises: 64 KiB.
const LINES: usize = 1_024;
/// Times of promises are told apart so finely, in parts of a window.
const UNITS: u64 = 64;
/// Bits of a time, and of a client's hash.
const BITS: u32 = 20;
const TAG_BITS: u32 = 64 - 2 * BITS;
const TIME: u64 = (1 << BITS) - 1;
/// A place is kept for this part of a window, since clients that come back are spread,
const KEPT: u32 = 8;
/// and a little longer, since times are told in whole seconds and requests take time.
const TRAVEL: Duration = Duration::from_millis(500);

impl Promises {
    pub(super) fn new() -> Self {
        // Nobody outside may choose whose promises share a line; simulations should be the same in each run.
        let hasher = if cfg!(test) { SeedableRandomState::fixed() } else { SeedableRandomState::random() };
        Self { lines: (0..LINES).map(|_| Line::default()).collect(), calendars: Calendars::new(), hasher }
    }

    /// The hash of a client.
    pub(super) fn hash(&self, member: Key) -> u64 {
        self.hasher.hash_one(member)
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.lines) + self.calendars.bytes()
    }

    /// Whether no place is kept at this key.
    pub(super) fn is_quiet(&self, pool: u64, moment: Moment) -> bool {
        self.calendars.find(pool).is_none_or(|calendar| calendar.is_quiet(moment))
    }

    /// A client, by its hash, at a key.
    pub(super) fn visit(&self, pool: u64, member: u64, moment: Moment) -> Visit<'_> {
        Visit { promises: self, moment, pool, member }
    }
}

/// For how long a place is kept after the time that was told.
pub(super) fn kept(moment: Moment) -> Duration {
    moment.interval.duration() / KEPT
}

/// For how long after the moment that was meant somebody comes mostly: the edge rounds up, and adds as much as a place is kept.
fn spread(moment: Moment) -> Duration {
    kept(moment) + Duration::from_secs(1)
}

/// For how long after the moment that was meant somebody may come.
fn late(moment: Moment) -> Duration {
    spread(moment) + TRAVEL
}

impl<'a> Visit<'a> {
    /// The promise that this client has.
    pub(super) fn promise(&self) -> Option<Promise<'a>> {
        let mine = |slot: &'a AtomicU64| {
            let promise = Promise { slot, word: slot.load(Ordering::Relaxed) };
            (promise.word >> (2 * BITS) == self.tag() && promise.is_valid(self.moment)).then_some(promise)
        };
        self.lines().flatten().find_map(mine)
    }

    /// What is expected at this key, apart from the client itself, which has this `promise`.
    pub(super) fn outlook(&self, promise: Option<&Promise<'_>>) -> Outlook {
        let calendar = self.promises.calendars.find(self.pool);
        let busy = calendar.filter(|calendar| !calendar.is_quiet(self.moment));
        busy.map_or(Outlook::EMPTY, |calendar| calendar.outlook(promise.map(Promise::due), self.moment))
    }

    /// Promises a place and answers when: not before `soonest`, nor before there is a free one. Those who wait for
    /// `places`, so many in a window, do so one after the other. `None` if there is no room for a promise.
    pub(super) fn make(&self, soonest: Duration, free: Duration, places: Option<u64>) -> Option<Duration> {
        let calendar = self.promises.calendars.claim(self.pool, self.moment)?;
        let turn = match places {
            Some(places) => calendar.turn(free, places, self.moment)?,
            None => free,
        };
        let wait = turn.max(soonest);
        if !self.note(calendar, wait) {
            return None;
        }
        if places.is_some() {
            calendar.take_turn(turn, self.moment);
        }
        // A wait of nothing is no refusal.
        Some(wait.max(Duration::from_nanos(1)))
    }

    /// Crosses out a promise, since the client was let in, when it was due or before.
    pub(super) fn redeem(&self, promise: &Promise<'_>) {
        let came = promise.is_due(self.moment);
        if self.take_back(promise)
            && came
            && let Some(calendar) = self.promises.calendars.find(self.pool)
        {
            calendar.note_kept();
        }
    }

    /// Crosses out a promise; false if another thread did.
    pub(super) fn take_back(&self, promise: &Promise<'_>) -> bool {
        let taken = promise.slot.compare_exchange(promise.word, 0, Ordering::Relaxed, Ordering::Relaxed);
        if taken.is_ok()
            && let Some(calendar) = self.promises.calendars.find(self.pool)
        {
            calendar.cross_out(promise.due());
        }
        taken.is_ok()
    }

    /// Writes the promise down.
    fn note(&self, calendar: &Calendar, wait: Duration) -> bool {
        let now = unit_at(self.moment);
        let (due, last) =
            (now + units(wait, self.moment), now + units(wait + late(self.moment), self.moment) + 1);
        let word = self.tag() << (2 * BITS) | (due & TIME) << BITS | last & TIME;
        let free = |slot: &&AtomicU64| {
            let before = Promise { slot, word: slot.load(Ordering::Relaxed) };
            (before.word == 0 || !before.is_valid(self.moment))
                && slot.compare_exchange(before.word, word, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        let noted = calendar.has_room(wait, self.moment) && self.lines().flatten().any(|slot| free(&slot));
        if noted {
            calendar.enter(due, wait, self.moment);
        }
        noted
    }

    /// The two lines where its promise may be: of one alone, some would be full while most have room.
    fn lines(&self) -> impl Iterator<Item = &'a [AtomicU64; WAYS]> {
        let lines = &self.promises.lines;
        [self.member, self.member.wrapping_mul(ODD).rotate_left(32)].into_iter().filter_map(|bits| {
            let at = ((bits & 0xffff_ffff) * lines.len() as u64) >> 32;
            lines.get(at as usize).map(|line| &line.0)
        })
    }

    /// Never 0.
    fn tag(&self) -> u64 {
        (self.member >> (64 - TAG_BITS)).max(1)
    }
}

impl Promise<'_> {
    /// How long it takes until the place is kept; zero if it is kept now.
    pub(super) fn wait(&self, moment: Moment) -> Duration {
        let ahead = self.due().wrapping_sub(unit_at(moment)) & TIME;
        if ahead <= 1 || ahead > TIME / 2 {
            return Duration::ZERO;
        }
        moment.interval.duration().mul_f64(ahead as f64 / UNITS as f64)
    }

    /// Whether the place is kept now.
    pub(super) fn is_due(&self, moment: Moment) -> bool {
        self.wait(moment).is_zero()
    }

    fn due(&self) -> u64 {
        self.word >> BITS & TIME
    }

    fn is_valid(&self, moment: Moment) -> bool {
        // What is past, or left over from ages ago, looks far ahead.
        (self.word & TIME).wrapping_sub(unit_at(moment)) & TIME <= calendar::LONGEST as u64 * UNITS * 2
    }
}

/// Time in units of the window. Wraps in a promise.
fn unit_at(moment: Moment) -> u64 {
    let length = moment.interval.nanos();
    let gone = length - moment.remaining.min(length);
    moment.epoch * UNITS + gone * UNITS / length
}

fn units(wait: Duration, moment: Moment) -> u64 {
    (wait.as_nanos() * u128::from(UNITS) / u128::from(moment.interval.nanos())) as u64
}

#[cfg(test)]
mod tests;
