//! Trails by themselves: racing threads, quotas that change, clocks that jump.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::*;
use crate::facts::time::Tick;
use crate::traffic::reading::Reading;
use crate::traffic::settings::Interval;

fn moment(seconds: f64) -> Moment {
    Moment::at(Interval::TEN_SECONDS, Tick::from_elapsed(Duration::from_secs_f64(seconds)))
}

/// What the two counts of a key would say.
fn seen(previous: u64, current: u64) -> Reading {
    Reading { previous, current, remaining: 1, interval: Interval::TEN_SECONDS }
}

/// A trail in which `count` were counted for a quota, from a time on, so far apart.
fn trail(quota: u64, count: u32, from: f64, gap: f64) -> Trail {
    let trail = Trail::new();
    (0..count).for_each(|n| trail.record(quota, 0, moment(from + f64::from(n) * gap)));
    trail
}

#[test]
fn two_cache_lines_make_a_trail() {
    assert_eq!(size_of::<Trail>(), 128);
}

#[test]
fn a_small_quota_is_told_to_the_event() {
    let trail = trail(10, 10, 100.0, 0.5);
    for (seconds, wait) in [(105.0, 5_000), (109.9, 100), (110.4, 0)] {
        let said = trail.wait(10, moment(seconds)).unwrap() / 1_000_000;
        assert!(said.abs_diff(wait) <= 1, "{said} at {seconds}");
    }
    for (seconds, room) in [(105.0, 0), (110.4, 1), (111.1, 3), (113.9, 8), (119.9, 10)] {
        assert_eq!(trail.room(10, 10, moment(seconds)), Some(room), "{seconds}");
    }
}

#[test]
fn a_wait_ends_to_the_nanosecond() {
    let trail = trail(300, 300, 3.3, 0.01);
    let now = moment(7.7);
    let wait = Duration::from_nanos(trail.wait(300, now).unwrap());
    let later = |wait: Duration| moment((Duration::from_secs_f64(7.7) + wait).as_secs_f64());
    assert!(wait > Duration::from_secs(5));
    assert_eq!(trail.take(300, 0, later(wait)), Some(Ok(())));
    let early = later(wait - Duration::from_nanos(100));
    assert!(trail.wait(300, early).unwrap() > 0);
}

#[test]
fn of_threads_that_race_for_the_last_places_as_many_get_one_as_there_are() {
    for quota in [1_u64, 7, 50, 400] {
        let trail = trail(quota, 0, 0.0, 0.0);
        let (barrier, taken) = (Barrier::new(4), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    barrier.wait();
                    for _ in 0..quota {
                        if trail.take(quota, 0, moment(5.0)) == Some(Ok(())) {
                            taken.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), quota);
    }
}

#[test]
fn what_is_given_back_makes_room() {
    let trail = trail(20, 20, 1.0, 0.1);
    assert!(trail.take(20, 0, moment(4.0)).unwrap().is_err());
    trail.give_back(1);
    assert_eq!(trail.take(20, 0, moment(4.0)), Some(Ok(())));
    assert!(trail.take(20, 0, moment(4.0)).unwrap().is_err());
    let empty = Trail::new();
    empty.give_back(1);
    assert_eq!(empty.room(20, 0, moment(4.0)), Some(20));
}

#[test]
fn another_quota_is_told_as_well_while_groups_suit_it_and_relearned_when_not() {
    let trail = trail(100, 80, 1.0, 0.01);
    assert_eq!(trail.wait(60, moment(5.0)).map(|wait| wait > 0), Some(true));
    assert_eq!((trail.wait(10_000, moment(5.0)), trail.wait(5, moment(5.0))), (None, None));
    trail.record(10_000, 0, moment(5.0));
    assert_eq!(trail.wait(10_000, moment(9.0)), None, "it is young");
    trail.record(10_000, 0, moment(15.0));
    trail.record(10_000, 0, moment(25.0));
    assert_eq!(trail.wait(10_000, moment(26.0)), Some(0));
}

#[test]
fn a_clock_that_lags_changes_nothing_and_one_that_jumps_starts_afresh() {
    let lagging = trail(20, 20, 31.0, 0.01);
    assert!(lagging.wait(20, moment(29.9)).unwrap() > 0);
    for jump in [0.0, 5.0, 3_600.0, 31.0 + 4.0 * 10.0] {
        let trail = trail(20, 20, 31.0, 0.01);
        assert_eq!(trail.wait(20, moment(jump)), Some(0), "{jump}");
        assert!(trail.is_idle(moment(jump)));
        assert_eq!(trail.take(20, 0, moment(jump)), Some(Ok(())));
        assert_eq!(trail.room(20, 1, moment(jump)), Some(19));
    }
}

#[test]
fn what_came_before_a_trail_counts_as_old_as_it_may_be() {
    let trail = Trail::new();
    trail.record(50, 1, moment(14.0));
    assert_eq!(trail.room(50, 2, moment(14.0)), Some(48));
    assert_eq!(trail.room(50, 2, moment(20.1)), Some(49));
    assert_eq!(trail.room(50, 2, moment(24.1)), Some(50));
}

#[test]
fn a_trail_goes_to_who_needs_it_more() {
    let trails = Trails::hashed(4);
    let spots: Vec<Spot> = (1..6_u64).map(|n| trails.at_hash(n << 40)).collect();
    let take = |spot: Spot, before, seconds| trails.take(spot, 50, &seen(0, before), moment(seconds));
    for spot in &spots[..4] {
        (1..20).for_each(|before| assert_eq!(take(*spot, before, 1.0), Some(Ok(()))));
    }
    // Whoever has as much, or less, finds no place; whoever has more takes one, which is young.
    assert_eq!(take(spots[4], 5, 2.0), None);
    assert_eq!(trails.room(spots[4], 50, 5, moment(2.0)), None);
    assert_eq!(take(spots[4], 40, 3.0), Some(Ok(())));
    assert_eq!(trails.wait(spots[4], 50, moment(3.0)), None);
    let kept = spots[..4].iter().filter(|spot| trails.room(**spot, 50, 19, moment(3.0)).is_some());
    assert_eq!(kept.count(), 3);
    // Who is idle makes room for anybody.
    assert_eq!(take(spots[0], 1, 40.0), Some(Ok(())));
}
