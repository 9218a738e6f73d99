//! Pools: pressure, turns, and who has which.

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
    let risen: Vec<f32> = (1..9).map(|n| pool.steer(&claim(110.0), moment(f64::from(n) * 0.32))).collect();
    assert!(risen.is_sorted() && risen[7] > 1.0, "{risen:?}");
    assert_eq!(pool.steer(&claim(0.0), moment(2.5)), risen[7]);
    assert!(pool.steer(&claim(80.0), moment(3.0)) < risen[7]);
    assert_eq!((pool.held(moment(40.0)), pool.steer(&claim(110.0), moment(40.0))), (0.0, 0.0));
}

#[test]
fn who_is_turned_away_in_the_first_interval_tells_of_what() {
    let pool = Pool::default();
    pool.steer(&claim(110.0), moment(0.0));
    assert_eq!((pool.quota(), pool.typical()), (0.0, 0.0));
    pool.notice(100.0);
    pool.notice(100.0);
    assert_eq!((pool.quota(), pool.typical()), (100.0, 0.0));
}

#[test]
fn those_who_wait_come_one_after_the_other_and_nobody_waits_for_ever() {
    let pool = Pool::default();
    let waits = |line, seconds, count: u32| {
        let turns: Vec<f32> = (0..count).map(|_| pool.queue(line, 100.0, moment(seconds))).collect();
        assert!(turns.is_sorted(), "{turns:?}");
        turns[turns.len() - 1]
    };
    assert!((waits(Line::Pool, 1.0, 150) - 1.5).abs() < 0.04);
    assert!(waits(Line::Crowd, 1.0, 1) < 0.04);
    // Half a window later, half a window less is left.
    assert!((waits(Line::Pool, 6.0, 1) - 1.04).abs() < 0.04);
    assert_eq!(waits(Line::Pool, 6.0, 10_000), LONGEST_QUEUE);
    assert!(waits(Line::Pool, 900.0, 1) < 0.04);
}

#[test]
fn a_pool_that_was_kept_presses_as_it_did() {
    let (pool, other, now) = (Pool::default(), Pool::default(), moment(12.0));
    (0..20).for_each(|n| _ = pool.steer(&claim(110.0), moment(f64::from(n) * 0.5)));
    pool.admitted.add(7, moment(9.5));
    let row = pool.row(3, moment(9.5), moment(9.5)).unwrap();
    let lapse = Lapse {
        saved: Tick::from_elapsed(std::time::Duration::from_millis(9_500)),
        now: Tick::from_elapsed(std::time::Duration::from_secs(12)),
    };
    other.recall(&row, lapse, Interval::TEN_SECONDS, Interval::TEN_SECONDS);
    assert!(pool.held(now) > 1.0);
    assert_eq!((other.held(now), other.typical()), (pool.held(now), pool.typical()));
    assert_eq!((other.quota(), other.admitted.counts(now.epoch)), (pool.quota(), (7, 0)));
    let forged = Pool::default();
    for bad in [f32::NAN, f32::INFINITY, -1.0] {
        let row = PoolRow { held: pack(bad, unpack(row.held).1), known: pack(1.0, bad.to_bits()), ..row };
        forged.recall(&row, lapse, Interval::TEN_SECONDS, Interval::TEN_SECONDS);
        assert_eq!((forged.held(now), forged.typical(), forged.quota()), (0.0, 0.0, 0.0), "{bad}");
    }
}

#[test]
fn nobody_waits_for_a_turn_of_before_turns_have_wrapped() {
    let (pool, wrapped) = (Pool::default(), 4_096.0 * 10.0);
    assert!(pool.queue(Line::Pool, 100.0, moment(wrapped - 5.0)) < 0.04, "nobody has waited yet");
    pool.refused.add(1, moment(100.0));
    (0..1_000).for_each(|_| _ = pool.queue(Line::Pool, 100.0, moment(100.0)));
    pool.sweep(moment(110.0), moment(110.0));
    assert!(pool.queue(Line::Pool, 100.0, moment(110.0)) > 8.0, "they still wait");
    pool.sweep(moment(200.0), moment(200.0));
    assert!(pool.queue(Line::Pool, 100.0, moment(wrapped + 100.0)) < 0.04, "ages ago");
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
