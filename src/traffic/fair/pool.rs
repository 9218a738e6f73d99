//! A pool: what one key of a fair limit shares among its clients, in one cache line.
//!
//! Countries have a pool each, found by number. Networks and routes find theirs by hash in a small table, where
//! the pool that admitted least makes room if need be. All words are atomics of their own: a thread that reads
//! between two writes sees a pressure that is a step old, which decides the same.

use std::sync::atomic::{AtomicU64, Ordering};

use super::share::Claim;
use crate::facts::place::CountryCode;
use crate::traffic::cell::{Cell, Moment};
use crate::traffic::kept::{Count, Lapse, PoolRow};
use crate::traffic::settings::Interval;
use crate::traffic::subject::Key;

/// What one key has admitted and what its clients may have.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Pool {
    /// The number of the key, plus one; 0 if there was none yet. Not used for countries.
    owner: AtomicU64,
    /// Requests admitted.
    pub(super) admitted: Cell,
    /// Requests refused.
    pub(super) refused: Cell,
    /// Clients that were admitted in an interval.
    pub(super) clients: Cell,
    /// Samples of what was admitted over a long interval.
    pub(super) samples: Cell,
    /// The pressure that is held, and the step in which it was found.
    held: AtomicU64,
    /// What a client has typically, and the last quota.
    known: AtomicU64,
    /// When it is the turn of the last who waits, in each [`Line`].
    queue: AtomicU64,
}

/// All pools of one limit.
pub(super) struct Pools {
    pools: Box<[Pool]>,
    found: Found,
    /// Where a key would go if there was no pool for it, which cannot be.
    stray: Pool,
}

/// How a key finds its pool.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// By the number of the country.
    ByNumber,
    /// By its hash.
    ByHash,
}

/// Where those wait who are turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// For a place in the pool.
    Pool,
    /// For a place of those that a crowded network has.
    Crowd,
}

/// Steps of the controller in an interval.
const STEPS: u64 = 32;
/// After this many steps without a request nothing is held any more.
const IDLE: i32 = 2 * STEPS as i32;
/// Pools of a limit that is not per country: 256 KiB.
const KEYS: usize = 4_096;
/// Pools in which a key may be.
const REACH: usize = 8;
/// Nobody is told to wait for more windows than this.
const LONGEST_QUEUE: f32 = 32.0;
/// Nobody who waits for a place is told to come back sooner, in windows.
const SOONEST: f32 = 1.0 / 32.0;
/// The turn of nobody.
const NOBODY: u32 = 0;
/// How finely turns are told apart.
const WINDOW_TURNS: f32 = (1 << TURN_BITS) as f32;
const TURN_BITS: u32 = 20;
/// How fast what is typical is learned.
const LEARN: f32 = 1.0 / 8.0;

impl Pool {
    /// The pressure that is held, moved on to this moment. `claim` is any request that is looked at now.
    pub(super) fn steer(&self, claim: &Claim, moment: Moment) -> f32 {
        let word = self.held.load(Ordering::Relaxed);
        let (held, step) = unpack(word);
        let now = step_at(moment);
        let elapsed = now.wrapping_sub(step) as i32;
        if (-IDLE..=0).contains(&elapsed) {
            return held;
        }
        let windows = elapsed as f32 / STEPS as f32;
        let next = if (0..IDLE).contains(&elapsed) { claim.steer(held, windows) } else { 0.0 };
        self.step(word, next, now, claim.quota, moment);
        next
    }

    /// Notes that nothing is held now.
    pub(super) fn rest(&self, quota: f32, moment: Moment) {
        let (word, now) = (self.held.load(Ordering::Relaxed), step_at(moment));
        if u64::from(now) / STEPS != u64::from(unpack(word).1) / STEPS {
            self.step(word, 0.0, now, quota, moment);
        }
    }

    /// Holds `next` from now on, unless another thread was faster.
    fn step(&self, word: u64, next: f32, now: u32, quota: f32, moment: Moment) {
        let (held, step) = unpack(word);
        let swapped = self.held.compare_exchange(word, pack(next, now), Ordering::Relaxed, Ordering::Relaxed);
        if swapped.is_ok() && u64::from(now) / STEPS != u64::from(step) / STEPS {
            self.learn(held, quota, moment);
        }
    }

    /// In how many windows it is the turn of one more who waits, where `places` in a window are handed out. Turns are
    /// spaced, so that those who wait do not all come back at once.
    pub(super) fn queue(&self, line: Line, places: f32, moment: Moment) -> f32 {
        let now = turn_at(moment);
        let (gap, most) = (turns(1.0 / places.max(1.0)), turns(LONGEST_QUEUE));
        let turn = |word: u64| {
            let (last, ahead) = (line.of(word), line.of(word).wrapping_sub(now));
            // What is past looks far ahead.
            let ahead = if last == NOBODY || ahead > 2 * most { 0 } else { ahead };
            (ahead + gap).clamp(turns(SOONEST), most)
        };
        let next = |word| Some(line.with(word, now.wrapping_add(turn(word)).max(NOBODY + 1)));
        let word = match self.queue.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(word) | Err(word) => word,
        };
        turn(word) as f32 / WINDOW_TURNS
    }

    /// The pressure that was held last, 0 if that is long ago.
    pub(super) fn held(&self, moment: Moment) -> f32 {
        let (held, step) = unpack(self.held.load(Ordering::Relaxed));
        let elapsed = step_at(moment).wrapping_sub(step) as i32;
        if (-IDLE..IDLE).contains(&elapsed) { held } else { 0.0 }
    }

    /// What a client has typically in a window, 0 if that is not known.
    pub(super) fn typical(&self) -> f32 {
        unpack(self.known.load(Ordering::Relaxed)).0
    }

    /// The quota of the last request that was looked at.
    pub(super) fn quota(&self) -> f32 {
        f32::from_bits(unpack(self.known.load(Ordering::Relaxed)).1)
    }

    /// Notes the quota at once, of a pool that turns somebody away.
    pub(super) fn notice(&self, quota: f32) {
        let word = self.known.load(Ordering::Relaxed);
        let (typical, known) = unpack(word);
        if known != quota.to_bits() {
            let next = pack(typical, quota.to_bits());
            // Who was faster knows as much.
            let _ = self.known.compare_exchange(word, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Learns from the interval that is over what is typical, unless something is held: who is cut is typical too
    /// then, and a crowd could make itself the measure.
    fn learn(&self, held: f32, quota: f32, moment: Moment) {
        let (admitted, clients) =
            (self.admitted.completed(moment.epoch), self.clients.completed(moment.epoch));
        let known = self.typical();
        let typical = match (clients, admitted as f32 / clients as f32) {
            (0, _) => known,
            _ if held > 0.0 => known,
            (_, seen) if known > 0.0 => known + LEARN * (seen - known),
            (_, seen) => seen,
        };
        self.known.store(pack(typical, quota.to_bits()), Ordering::Relaxed);
    }

    fn sweep(&self, moment: Moment, long: Moment) {
        for cell in [&self.admitted, &self.refused, &self.clients] {
            cell.sweep(moment.epoch);
        }
        self.samples.sweep(long.epoch);
        if self.refused.weight(moment.epoch) == 0 {
            // Or a turn of ages ago would look like one to come, when turns have wrapped.
            self.queue.store(0, Ordering::Relaxed);
        }
    }

    /// What is to be kept of it, if anything is.
    pub(super) fn row(&self, key: u64, moment: Moment, long: Moment) -> Option<PoolRow> {
        let count = |cell: &Cell, moment: Moment| {
            let (previous, current) = cell.counts(moment.epoch);
            Count { key: 0, previous, current }
        };
        let short = [&self.admitted, &self.refused, &self.clients].map(|cell| count(cell, moment));
        let [admitted, refused, clients] = short;
        let counts = [admitted, refused, clients, count(&self.samples, long)];
        let known = self.known.load(Ordering::Relaxed);
        let is_used = known != 0 || counts.iter().any(|count| count.previous + count.current > 0);
        is_used.then(|| PoolRow { key, counts, held: self.held.load(Ordering::Relaxed), known })
    }

    /// Goes on with what was kept. Its steps are as old as they are: a pressure of long ago is none.
    pub(super) fn recall(&self, row: &PoolRow, lapse: Lapse, interval: Interval, long: Interval) {
        let [admitted, refused, clients, samples] = row.counts;
        for (cell, count, interval) in [
            (&self.admitted, admitted, interval),
            (&self.refused, refused, interval),
            (&self.clients, clients, interval),
            (&self.samples, samples, long),
        ] {
            if let Some(count) = lapse.age(count, interval) {
                cell.recall(count.previous, count.current, Moment::at(interval, lapse.now));
            }
        }
        // A file may say anything; what is no number would press for ever.
        let is_number = |number: f32| number.is_finite() && number >= 0.0;
        if is_number(unpack(row.held).0) {
            self.held.store(row.held, Ordering::Relaxed);
        }
        let (typical, quota) = unpack(row.known);
        if is_number(typical) && is_number(f32::from_bits(quota)) {
            self.known.store(row.known, Ordering::Relaxed);
        }
    }
}

impl Line {
    /// The half of a word that is this line's.
    const fn of(self, word: u64) -> u32 {
        match self {
            Self::Pool => word as u32,
            Self::Crowd => (word >> 32) as u32,
        }
    }

    const fn with(self, word: u64, turn: u32) -> u64 {
        match self {
            Self::Pool => word >> 32 << 32 | turn as u64,
            Self::Crowd => (turn as u64) << 32 | word as u32 as u64,
        }
    }
}

impl Pools {
    pub(super) fn of_countries() -> Self {
        Self::new(CountryCode::COUNT, Found::ByNumber)
    }

    pub(super) fn of_keys() -> Self {
        Self::new(KEYS + REACH, Found::ByHash)
    }

    fn new(count: usize, found: Found) -> Self {
        Self { pools: (0..count).map(|_| Pool::default()).collect(), found, stray: Pool::default() }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.pools)
    }

    /// The pool of this key.
    pub(super) fn of(&self, key: Key, moment: Moment) -> &Pool {
        self.numbered_so(key.number(), moment).unwrap_or(&self.stray)
    }

    /// The pool of the key with this number.
    pub(super) fn numbered_so(&self, number: u64, moment: Moment) -> Option<&Pool> {
        match self.found {
            Found::ByNumber => self.pools.get(usize::try_from(number).ok()?),
            Found::ByHash => {
                let (owner, at) = (number.wrapping_add(1).max(1), home(number));
                let reach = self.pools.get(at..at + REACH).unwrap_or_default();
                let mine = |pool: &&Pool| pool.owner.load(Ordering::Relaxed) == owner;
                reach.iter().find(mine).or_else(|| settle(reach, owner, moment))
            }
        }
    }

    /// Every pool that has a key, with the key's number.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u64, &Pool)> {
        self.pools.iter().zip(0u64..).filter_map(|(pool, place)| match self.found {
            Found::ByNumber => Some((place, pool)),
            Found::ByHash => Some((pool.owner.load(Ordering::Relaxed).checked_sub(1)?, pool)),
        })
    }

    pub(super) fn sweep(&self, moment: Moment, long: Moment) {
        self.pools.iter().for_each(|pool| pool.sweep(moment, long));
    }
}

/// Where the search for a key's pool begins. Networks and routes are not chosen by clients.
fn home(number: u64) -> usize {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - KEYS.ilog2())) as usize
}

/// Gives a key the pool of the one that admitted least, with what is held there.
#[cold]
fn settle(reach: &[Pool], owner: u64, moment: Moment) -> Option<&Pool> {
    let least = reach
        .iter()
        .min_by_key(|pool| (pool.owner.load(Ordering::Relaxed) != 0, pool.admitted.weight(moment.epoch)))?;
    least.owner.store(owner, Ordering::Relaxed);
    Some(least)
}

fn step_at(moment: Moment) -> u32 {
    let length = moment.interval.nanos();
    let gone = length - moment.remaining.min(length);
    // Wraps after years; only differences matter.
    (moment.epoch * STEPS + gone / (length / STEPS).max(1)) as u32
}

/// Wraps after 4096 windows, of which only a few lie ahead.
fn turn_at(moment: Moment) -> u32 {
    let length = moment.interval.nanos();
    let gone = length - moment.remaining.min(length);
    let within = (gone / (length >> TURN_BITS).max(1)).min((1 << TURN_BITS) - 1);
    ((moment.epoch << TURN_BITS) + within) as u32
}

/// At least one.
fn turns(windows: f32) -> u32 {
    ((windows * WINDOW_TURNS) as u32).max(1)
}

fn pack(first: f32, second: u32) -> u64 {
    u64::from(first.to_bits()) << 32 | u64::from(second)
}

fn unpack(word: u64) -> (f32, u32) {
    (f32::from_bits((word >> 32) as u32), word as u32)
}

#[cfg(test)]
mod tests;
