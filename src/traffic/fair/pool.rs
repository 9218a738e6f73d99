//! A pool: what one key of a fair limit shares among its clients, in one cache line.
//!
//! Countries have a pool each, found by number. Networks and routes find theirs by hash in a small table, where
//! the pool that admitted least makes room if need be. All words are atomics of their own: a thread that reads
//! between two writes sees a pressure that is a step old, which decides the same.

use std::sync::atomic::{AtomicU64, Ordering};

use super::share::Claim;
use crate::facts::place::CountryCode;
use crate::traffic::cell::{Cell, Moment};
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
    /// For how many windows those wait who come after one another, and the interval in which that was found.
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

    /// For how many windows those have to wait who come after one another. Of those who are admitted, each is refused
    /// once before; where more than that are refused, they were told to come too soon.
    pub(super) fn queue(&self, refused: f32, admitted: f32, moment: Moment) -> f32 {
        let word = self.queue.load(Ordering::Relaxed);
        let ((windows, epoch), now) = (unpack(word), moment.epoch as u32);
        let windows = windows.clamp(1.0, LONGEST_QUEUE);
        if epoch == now {
            return windows;
        }
        let adapted = windows * (refused / admitted.max(1.0)).clamp(0.7, 2.0);
        let next = pack(adapted.clamp(1.0, LONGEST_QUEUE), now);
        let _ = self.queue.compare_exchange(word, next, Ordering::Relaxed, Ordering::Relaxed);
        windows
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
        let pool = match self.found {
            Found::ByNumber => self.pools.get(key.index()),
            Found::ByHash => {
                let (owner, at) = (key.number().wrapping_add(1).max(1), home(key));
                let reach = self.pools.get(at..at + REACH).unwrap_or_default();
                let mine = |pool: &&Pool| pool.owner.load(Ordering::Relaxed) == owner;
                reach.iter().find(mine).or_else(|| settle(reach, owner, moment))
            }
        };
        pool.unwrap_or(&self.stray)
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
fn home(key: Key) -> usize {
    let mixed = key.number().wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
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

fn pack(first: f32, second: u32) -> u64 {
    u64::from(first.to_bits()) << 32 | u64::from(second)
}

fn unpack(word: u64) -> (f32, u32) {
    (f32::from_bits((word >> 32) as u32), word as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::time::Tick;
    use crate::traffic::settings::Interval;

    fn moment(seconds: f64) -> Moment {
        Moment::at(Interval::TEN_SECONDS, Tick::from_elapsed(std::time::Duration::from_secs_f64(seconds)))
    }

    fn claim(admitted: f32) -> Claim {
        Claim { quota: 100.0, admitted, typical: 0.0, own: 50.0, taken: 50.0, growth: 1.0 }
    }

    #[test]
    fn a_pool_is_a_cache_line() {
        assert_eq!(size_of::<Pool>(), 64);
    }

    #[test]
    fn pressure_rises_above_the_limit_falls_below_and_is_forgotten() {
        let pool = Pool::default();
        pool.steer(&claim(110.0), moment(0.0));
        let risen: Vec<f32> =
            (1..9).map(|n| pool.steer(&claim(110.0), moment(f64::from(n) * 0.32))).collect();
        assert!(risen.is_sorted() && risen[7] > 1.0, "{risen:?}");
        assert_eq!(pool.steer(&claim(0.0), moment(2.5)), risen[7]);
        assert!(pool.steer(&claim(80.0), moment(3.0)) < risen[7]);
        assert_eq!((pool.held(moment(40.0)), pool.steer(&claim(110.0), moment(40.0))), (0.0, 0.0));
    }

    #[test]
    fn keys_have_pools_of_their_own_and_the_quietest_makes_room() {
        let pools = Pools::of_keys();
        for n in 0..KEYS as u64 * 2 {
            let pool = pools.of(Key::numbered(n), moment(1.0));
            if n < 16 {
                pool.admitted.add(1, moment(1.0));
            }
        }
        for n in 0..16 {
            let pool = pools.of(Key::numbered(n), moment(1.0));
            assert_eq!(pool.admitted.read(moment(1.0)).current, 1, "{n}");
        }
        assert!(pools.numbered().count() > KEYS / 2);
    }
}
