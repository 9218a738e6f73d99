//! Clocks that jump, forward and back, by seconds to years: does everything that keeps times go on within two windows,
//! refuse nobody for longer, and admit no flood meanwhile?
//!
//! The gate's own clock is monotonic, so only a machine that was asleep, or a fault, makes it jump; the calendar may
//! be set at any time. What is promised is in `docs/architecture.md`.

use std::sync::Arc;
use std::time::Duration;

use super::simulation::{at, first_come, interval, limit, rate, subject, traffic};
use super::{
    Admission, CapSpec, Check, Claim, Combination, Counted, CounterSpec, Dimension, Limit, Most, Per,
    Settings, Shape, Traffic,
};
use crate::facts::time::{Now, Wall};

/// When the simulations begin: late enough to go back from there.
const BEGIN: f64 = 500.0 * DAY;
const DAY: f64 = 86_400.0;
const WINDOW: f64 = 10.0;
const QUOTA: u64 = 400;
/// By how many seconds clocks jump: within a window, by windows, hours, days, a year, and so far that the numbers of
/// intervals and steps come around.
const JUMPS: [f64; 16] = [
    4.0,
    15.0,
    61.0,
    3_600.0,
    DAY,
    30.0 * DAY,
    365.0 * DAY,
    2_560.0,
    40_960.0,
    -4.0,
    -15.0,
    -61.0,
    -3_600.0,
    -DAY,
    -30.0 * DAY,
    -2_560.0,
];

/// What became of the requests of one window.
#[derive(Debug, Default)]
struct Fate {
    admitted: u64,
    /// Of a client who asks for little.
    modest_refused: u64,
    longest_wait: Duration,
}

/// Ten clients ask for five times as much as they may have, another one for a request a second.
fn flood(traffic: &Traffic, limit: &Limit, from: f64) -> Fate {
    window(traffic, limit, from, 200)
}

/// Ten clients ask for half of what they may have.
fn calm(traffic: &Traffic, limit: &Limit, from: f64) -> Fate {
    window(traffic, limit, from, 20)
}

/// Ten clients ask so often in a window, another one for a request a second.
fn window(traffic: &Traffic, limit: &Limit, from: f64, steps: u32) -> Fate {
    let quota = if limit.spec().per == Per::Client { QUOTA / 10 } else { QUOTA };
    let (mut fate, checks) = (Fate::default(), [Check { limit, rate: rate(quota as f64 / WINDOW) }]);
    for step in 0..steps {
        let now = at(from + WINDOW * f64::from(step) / f64::from(steps));
        if step % 5 == 0 {
            traffic.rotate(now);
        }
        for n in 0..10 {
            match traffic.admit(&subject("KP", n), &checks, now) {
                Admission::Admit => fate.admitted += 1,
                Admission::Reject(refused) => fate.longest_wait = fate.longest_wait.max(refused.retry_after),
            }
        }
        if limit.spec().per != Per::Client {
            // Somebody who comes once, and never again when it is told to.
            let once = subject("KP", 1_000 + (now.elapsed().as_millis() % 1_000_000_007) as u32);
            fate.admitted += u64::from(traffic.admit(&once, &checks, now) == Admission::Admit);
        }
        if step % (steps / 10) == 0 {
            match traffic.admit(&subject("KP", 99), &checks, now) {
                Admission::Admit => fate.admitted += 1,
                Admission::Reject(_) => fate.modest_refused += 1,
            }
        }
    }
    fate
}

/// `is_kind`: to whom asks for little.
fn after_jumps(make: impl Fn(&Traffic) -> Arc<Limit>, is_kind: bool) {
    for jump in JUMPS {
        let traffic = traffic();
        let limit = make(&traffic);
        for window in 0..4 {
            flood(&traffic, &limit, BEGIN + WINDOW * f64::from(window));
        }
        let start = BEGIN + 4.0 * WINDOW + jump;
        let fates: Vec<Fate> =
            (0..5).map(|window| flood(&traffic, &limit, start + WINDOW * f64::from(window))).collect();
        let context = format!("{jump}: {fates:?}");
        for (window, fate) in fates.iter().enumerate() {
            // What was counted at other times is forgotten: a window may have one quota more.
            let most = if window == 0 { 2 * QUOTA } else { QUOTA + QUOTA / 10 };
            assert!(fate.admitted <= most, "a flood passes, {context}");
            assert!(window < 2 || fate.admitted >= QUOTA * 4 / 5, "refused for too long, {context}");
            assert!(window < 2 || !is_kind || fate.modest_refused == 0, "who asks for little, {context}");
            // Turns that were handed out ahead of a clock that goes back stay ahead for a while.
            let ahead = if -12.0 * WINDOW < jump && jump < 0.0 { -jump } else { 0.0 };
            let wait = Duration::from_secs_f64(if window < 2 { 12.0 * WINDOW } else { 2.0 * WINDOW + ahead });
            assert!(fate.longest_wait <= wait, "told to wait, {context}");
        }
        let after = [5.0, 6.0, 7.0, 8.0].map(|window| calm(&traffic, &limit, start + WINDOW * window));
        let asked = if limit.spec().per == Per::Client { 210 } else { 230 };
        assert_eq!(after[3].admitted, asked, "what was held is let go, {jump}: {after:?}");
    }
}

#[test]
fn a_limit_and_its_trail_go_on_after_a_jump() {
    after_jumps(|traffic| first_come(traffic, "country", Per::Country, 10), false);
    after_jumps(|traffic| first_come(traffic, "route", Per::Route, 10), false);
}

#[test]
fn a_fair_limit_goes_on_after_a_jump() {
    after_jumps(|traffic| limit(traffic, "country", Per::Country, 10), true);
    after_jumps(|traffic| limit(traffic, "route", Per::Route, 10), true);
}

#[test]
fn a_limit_of_each_client_goes_on_after_a_jump() {
    after_jumps(|traffic| limit(traffic, "client", Per::Client, 10), true);
}

#[test]
fn a_counter_goes_on_after_a_jump() {
    for jump in JUMPS {
        for kind in [Counted::Events, Counted::Distinct] {
            let traffic = traffic();
            let per = Combination::from(Dimension::Client);
            let spec = CounterSpec { name: "c".into(), per, kind, window: interval(60) };
            let (counter, who) = (traffic.counters(&[spec], at(BEGIN)).remove(0), subject("DE", 1));
            let count = |from: f64| {
                for second in 0..60 {
                    let now = at(from + f64::from(second));
                    traffic.rotate(now);
                    match kind {
                        Counted::Events => counter.count(&who, now),
                        Counted::Distinct => counter.count_value(&who, &format!("{second}"), now),
                    }
                }
                counter.value(&who, at(from + 60.0))
            };
            let before = count(BEGIN);
            assert!((50..=66).contains(&before), "{before}");
            let after = count(BEGIN + 60.0 + jump);
            // At most what was counted in the window before the jump is counted in the one after it, too.
            assert!((45..=126).contains(&after), "{kind:?} {jump}: {after}");
            let later = count(BEGIN + 120.0 + jump);
            assert!((50..=66).contains(&later), "{kind:?} {jump}: {later}");
        }
    }
}

/// A country at ten requests/s that is known, and a gate that has just started.
fn observed(seconds: u32) -> Traffic {
    let settings = Settings { keys: Shape::new(1_024).unwrap(), counter_slots: 1_024, ..Settings::default() };
    let traffic = Traffic::new(settings, at(BEGIN));
    observe(&traffic, BEGIN, BEGIN, seconds);
    traffic
}

/// Ten requests/s while both clocks go on from here; how many surges were told.
fn observe(traffic: &Traffic, tick: f64, wall: f64, seconds: u32) -> usize {
    let mut told = 0;
    for second in 0..seconds {
        let gone = f64::from(second);
        (0..10).for_each(|_| traffic.offer(&subject("DE", 1), at(tick + gone)));
        let now = Now { wall: Wall::from_millis(((wall + gone) * 1e3) as u64), tick: at(tick + gone + 1.0) };
        traffic.rotate(now.tick);
        told += traffic.learn(now).len();
    }
    told
}

#[test]
fn rates_and_what_is_usual_go_on_after_a_jump_and_it_is_no_surge() {
    for jump in [61.0, 3_600.0, 30.0 * DAY, -4.0, -3_600.0, -30.0 * DAY] {
        for (of_tick, of_wall) in [(jump, 0.0), (0.0, jump)] {
            let traffic = observed(1_900);
            let country = subject("DE", 1).country;
            let (tick, wall) = (BEGIN + 1_900.0 + of_tick, BEGIN + 1_900.0 + of_wall);
            assert_eq!(observe(&traffic, tick, wall, 120), 0, "{of_tick} {of_wall}");
            let pulse = traffic.country(country, at(tick + 120.0));
            assert!((9.0..=11.0).contains(&pulse.rate), "{of_tick} {of_wall}: {pulse:?}");
            assert!((5.0..=15.0).contains(&pulse.usual), "{of_tick} {of_wall}: {pulse:?}");
        }
    }
}

#[test]
fn what_was_kept_in_the_future_or_long_ago_is_recalled_for_what_it_is_worth() {
    let traffic = observed(2_400);
    let country = subject("DE", 1).country;
    let saved = BEGIN + 2_400.0;
    let memory = traffic.memory_of_usual(Wall::from_millis((saved * 1e3) as u64));
    for (jump, is_known) in [
        (0.0, true),
        (-DAY, true),
        (-400.0 * DAY, true),
        (7.0 * DAY, true),
        (365.0 * DAY, false),
        (1e9, false),
    ] {
        let later = observed(0);
        later.recall(&memory, Wall::from_millis(((saved + jump) * 1e3) as u64)).unwrap();
        let usual = later.country(country, at(BEGIN)).usual;
        let expected = if is_known { 5.0..=11.0 } else { 0.0..=0.1 };
        assert!(expected.contains(&usual), "{jump}: {usual}");
        assert_eq!(observe(&later, BEGIN, saved + jump, 120), 0, "{jump}");
    }
    // Even from the end of time.
    let mut memory = memory;
    memory.saved = u64::MAX;
    observed(0).recall(&memory, Wall::from_millis(0)).unwrap();
}

#[test]
fn requests_in_flight_end_whatever_the_clock_says() {
    for jump in JUMPS {
        let (traffic, who) = (traffic(), subject("DE", 1));
        let cap = traffic.caps(&[CapSpec { name: "cap".into(), per: Per::Client }]).remove(0);
        let claims = [Claim { cap: &cap, most: Most::new(1).unwrap() }];
        let held = traffic.hold(&who, &claims, at(BEGIN)).unwrap();
        held.end(at(BEGIN + jump));
        let held = traffic.hold(&who, &claims, at(BEGIN + jump)).unwrap();
        let full = traffic.hold(&who, &claims, at(BEGIN)).map(|_| ()).unwrap_err();
        // As long as the first one took, which is nothing if the clock went back.
        assert_eq!(full.retry_after, Duration::from_secs_f64(jump.clamp(1.0, 60.0)), "{jump}");
        held.end(at(BEGIN));
    }
}
