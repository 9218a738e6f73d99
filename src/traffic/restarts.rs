//! Restarts: what was counted is kept, and recalled by another process, as many seconds later as it took.

use std::sync::Arc;

use super::simulation::{at, first_come, interval, limit, rate, subject};
use super::{
    Admission, Check, Combination, Counted, Counter, CounterSpec, Dimension, Kept, Lapse, Limit, Per, Range,
    Secret, Settings, Shape, Subject, Traffic,
};

/// A day in the life of processes.
const NOON: f64 = 40_000.0;

fn started(counter_slots: usize) -> Traffic {
    let keys = Shape::new(4_096).unwrap();
    let settings = Settings { keys, counter_slots, ..Settings::default() };
    Traffic::with_routes(settings, Secret::known(), std::iter::empty(), at(NOON))
}

/// What is kept at noon.
fn kept(traffic: &Traffic, range: Range) -> Vec<Kept> {
    let mut kept = Vec::new();
    let all = traffic.keep(range, at(NOON), &mut |piece| {
        kept.push(piece.clone());
        Ok::<(), ()>(())
    });
    assert_eq!(all, Ok(()));
    kept
}

/// Recalls it in `after`, so many seconds later; how many keys were recalled.
fn recall(after: &Traffic, kept: &[Kept], seconds: f64) -> usize {
    let lapse = Lapse { saved: at(NOON), now: at(NOON + seconds) };
    kept.iter().map(|piece| after.recall_counts(piece, lapse)).sum()
}

/// How many of `tries` requests pass.
fn pass(traffic: &Traffic, from: &Subject, limit: &Limit, tries: usize, seconds: f64) -> usize {
    let checks = [Check { limit, rate: rate(2.0) }];
    let admit = |_: &usize| traffic.admit(from, &checks, at(NOON + seconds)) == Admission::Admit;
    (0..tries).filter(admit).count()
}

/// What becomes of 30 requests of one client in a restart of so many seconds, under a limit of 20 in 10 s that it has used up.
fn after_restart(make: impl Fn(&Traffic) -> Arc<Limit>, seconds: f64) -> (usize, usize) {
    let (before, who) = (started(1_024), subject("DE", 1));
    let limit = make(&before);
    assert_eq!(pass(&before, &who, &limit, 30, 0.0), 20);
    let after = started(1_024);
    let (_other, limit) = (first_come(&after, "another", Per::Client, 10), make(&after));
    recall(&after, &kept(&before, Range::WithoutCredentials), seconds);
    (pass(&after, &who, &limit, 30, seconds), pass(&after, &subject("FR", 2), &limit, 30, seconds))
}

#[test]
fn whoever_has_used_up_a_limit_has_not_got_it_back_by_a_restart() {
    let client = |traffic: &Traffic| limit(traffic, "c", Per::Client, 10);
    let country = |traffic: &Traffic| first_come(traffic, "k", Per::Country, 10);
    let fair = |traffic: &Traffic| limit(traffic, "f", Per::Country, 10);
    for seconds in [0.0, 1.0, 9.0] {
        assert_eq!(after_restart(client, seconds), (0, 20), "{seconds}");
        assert_eq!(after_restart(country, seconds), (0, 20), "{seconds}");
        assert_eq!(after_restart(fair, seconds), (0, 20), "{seconds}");
    }
    assert_eq!(
        after_restart(|traffic| first_come(traffic, "r", Per::Route, 10), 1.0),
        (0, 0),
        "who share one"
    );
    assert_eq!(after_restart(|traffic| limit(traffic, "n", Per::Asn, 10), 1.0), (0, 0), "who share one");
}

#[test]
fn a_window_goes_on_sliding_while_no_gate_runs() {
    for seconds in [20.0, 3_600.0, -20.0, -3_600.0] {
        for make in
            [Per::Client, Per::Country].map(|per| move |traffic: &Traffic| limit(traffic, "x", per, 10))
        {
            assert_eq!(after_restart(make, seconds).0, 20, "{seconds}");
        }
    }
    let (fading, _) = after_restart(|traffic| limit(traffic, "x", Per::Client, 10), 15.0);
    assert!((8..=12).contains(&fading), "half of it has left the window: {fading}");
}

#[test]
fn a_crowd_is_held_down_from_the_first_request_after_a_restart() {
    let crowded = |traffic: &Traffic, limit: &Limit, from: f64, windows: u32| {
        let checks = [Check { limit, rate: rate(40.0) }];
        let (mut heavy, mut light) = (0, 0);
        for step in 0..windows * 1_000 {
            let now = at(NOON + from + f64::from(step) / 100.0);
            traffic.rotate(now);
            let admits = |n| usize::from(traffic.admit(&subject("DE", n), &checks, now) == Admission::Admit);
            heavy += admits(1);
            light += if step % 5 == 0 { admits(2 + step / 5 % 20) } else { 0 };
        }
        (heavy, light)
    };
    let before = started(1_024);
    let make = |traffic: &Traffic| limit(traffic, "f", Per::Country, 10);
    let under = make(&before);
    crowded(&before, &under, -60.0, 6);
    let after = started(1_024);
    let goes_on = make(&after);
    assert!(recall(&after, &kept(&before, Range::All), 0.5) > 20);
    let (heavy, light) = crowded(&after, &goes_on, 0.5, 1);
    assert!(light >= 196, "20 clients at one request a second each: {light} of 200");
    assert!(heavy <= 240, "and one who wants 100, of 20 that are left: {heavy}");
    let fresh = started(1_024);
    let unknown = make(&fresh);
    let (heavy, _) = crowded(&fresh, &unknown, 0.5, 1);
    assert!(heavy > 240, "the test can tell: {heavy}");
}

#[test]
fn scripts_read_the_same_rate_of_a_client_as_before() {
    let (before, after) = (started(1_024), started(1_024));
    let who = subject("DE", 1);
    (0..50).for_each(|_| before.offer(&who, at(NOON)));
    recall(&after, &kept(&before, Range::All), 1.0);
    let rate = |traffic: &Traffic| traffic.client_rate(&who.client, at(NOON + 1.0));
    assert_eq!((rate(&after), rate(&before)), (rate(&before), 5.0));
    assert_eq!(after.client_rate(&subject("DE", 2).client, at(NOON + 1.0)), 0.0);
}

fn counter(traffic: &Traffic, per: Dimension, kind: Counted) -> Arc<Counter> {
    counter_since(NOON, traffic, per, kind)
}

/// A counter that is there from then on.
fn counter_since(seconds: f64, traffic: &Traffic, per: Dimension, kind: Counted) -> Arc<Counter> {
    let spec = CounterSpec { name: "c".into(), per: Combination::from(per), kind, window: interval(3_600) };
    traffic.counters(&[spec], at(seconds)).remove(0)
}

/// What a counter reads that counted 7 before a restart of so many seconds.
fn counted(per: Dimension, kind: Counted, range: Range, seconds: f64) -> u64 {
    let (before, after) = (started(1_024), started(1_024));
    let (counting, goes_on) = (counter(&before, per, kind), counter(&after, per, kind));
    let who = Subject { token: Some(before.token(b"alice")), ..subject("DE", 1) };
    for n in 0..7 {
        match kind {
            Counted::Events => counting.count(&who, at(NOON)),
            Counted::Distinct => counting.count_value(&who, &format!("{n}"), at(NOON)),
        }
    }
    recall(&after, &kept(&before, range), seconds);
    let someone = Subject { token: Some(after.token(b"bob")), ..subject("FR", 2) };
    let now = at(NOON + seconds);
    if per == Dimension::Client {
        assert_eq!(goes_on.value(&someone, now), 0);
    }
    goes_on.value(&Subject { token: Some(after.token(b"alice")), ..who }, now)
}

#[test]
fn counters_go_on_as_if_there_had_been_no_restart() {
    for per in [Dimension::Client, Dimension::Country, Dimension::Route] {
        for kind in [Counted::Events, Counted::Distinct] {
            let counted = |seconds| counted(per, kind, Range::WithoutCredentials, seconds);
            assert_eq!([0.0, 60.0, 3_000.0].map(counted), [7, 7, 7], "{per:?} {kind:?}");
            assert_eq!([2.0 * 3_600.0, 86_400.0, -1_000.0].map(counted), [0, 0, 0], "{per:?} {kind:?}");
            assert_eq!(counted(-1.0), 7, "a clock that was set back a little");
        }
    }
}

#[test]
fn what_left_the_window_in_the_meantime_is_gone() {
    let (before, after) = (started(1_024), started(1_024));
    let counting = counter_since(NOON - 3_600.0, &before, Dimension::Client, Counted::Events);
    let goes_on = counter(&after, Dimension::Client, Counted::Events);
    let who = subject("DE", 1);
    for second in (0..3_600).step_by(100) {
        let now = at(NOON - 3_600.0 + f64::from(second));
        before.rotate(now);
        counting.count(&who, now);
    }
    before.rotate(at(NOON));
    recall(&after, &kept(&before, Range::All), 700.0);
    // 28 in whole steps, and a third of three in the oldest.
    assert_eq!(goes_on.value(&who, at(NOON + 700.0)), 29);
}

#[test]
fn what_is_counted_per_credential_is_kept_in_memory_only() {
    let counted = |range| counted(Dimension::Token, Counted::Events, range, 60.0);
    assert_eq!((counted(Range::All), counted(Range::WithoutCredentials)), (7, 0));
}

#[test]
fn what_has_no_place_any_more_is_dropped() {
    let before = started(1_024);
    let counting = counter(&before, Dimension::Client, Counted::Events);
    let (full, who) = (limit(&before, "gone", Per::Client, 10), subject("DE", 1));
    counting.count(&who, at(NOON));
    pass(&before, &who, &full, 20, 0.0);
    let kept = kept(&before, Range::All);
    assert_eq!(recall(&started(1_024), &kept, 0.0), 0, "there is no such limit and no such counter");
    let larger = started(8_192);
    let counter = counter(&larger, Dimension::Client, Counted::Events);
    assert_eq!(recall(&larger, &kept, 0.0), 0, "the places of a counter of another size are others");
    assert_eq!(counter.value(&who, at(NOON)), 0);
}

#[test]
fn after_a_restart_counting_does_not_stop() {
    let (before, after) = (started(1_024), started(1_024));
    let [counting, goes_on] =
        [&before, &after].map(|traffic| counter(traffic, Dimension::Client, Counted::Events));
    let who = subject("DE", 1);
    counting.count(&who, at(NOON));
    recall(&after, &kept(&before, Range::All), 400.0);
    for minute in 0..50 {
        let now = at(NOON + 400.0 + 60.0 * f64::from(minute));
        after.rotate(now);
        goes_on.count(&who, now);
    }
    assert_eq!(goes_on.value(&who, at(NOON + 400.0 + 3_000.0)), 51);
    after.rotate(at(NOON + 9_000.0));
    assert_eq!(goes_on.value(&who, at(NOON + 9_000.0)), 0);
}
