//! Simulated traffic with a simulated clock: do limits hold under threads, are estimates right, is nobody touched
//! who keeps below? Also the small vocabulary that the tests of this folder share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::{
    Admission, Check, Interval, Limit, LimitSpec, Per, Rate, RouteKey, Settings, Shape, Sharing, Subject,
    Traffic, Weight,
};
use crate::facts::client::Prefix;
use crate::facts::place::{Asn, CountryCode};
use crate::facts::time::Tick;

pub(super) fn at(seconds: f64) -> Tick {
    Tick::from_elapsed(Duration::from_secs_f64(seconds))
}

pub(super) fn interval(seconds: u64) -> Interval {
    Interval::new(Duration::from_secs(seconds)).unwrap()
}

pub(super) fn rate(per_second: f64) -> Rate {
    Rate::new(per_second).unwrap()
}

/// Smaller than the default, which takes long to build without optimisation.
pub(super) fn traffic() -> Traffic {
    let shape = Shape::new(32_768).unwrap();
    Traffic::new(Settings { keys: shape, counter_slots: 8_192, ..Settings::default() }, at(0.0))
}

pub(super) fn limit(traffic: &Traffic, name: &str, per: Per, seconds: u64) -> Arc<Limit> {
    let spec = LimitSpec { name: name.to_owned(), per, window: interval(seconds), sharing: Sharing::Fair };
    traffic.limits(&[spec], at(0.0)).unwrap().remove(0)
}

/// A limit that is not fair.
pub(super) fn first_come(traffic: &Traffic, name: &str, per: Per, seconds: u64) -> Arc<Limit> {
    let sharing = Sharing::FirstCome;
    let spec = LimitSpec { name: name.to_owned(), per, window: interval(seconds), sharing };
    traffic.limits(&[spec], at(0.0)).unwrap().remove(0)
}

/// The `n`th client of a country, in a network and on a route that all of them share.
pub(super) fn subject(country: &str, n: u32) -> Subject {
    let address = std::net::Ipv4Addr::from(n << 8);
    Subject {
        client: Prefix::parse(&format!("{address}/24")).unwrap(),
        country: CountryCode::parse(country).unwrap(),
        asn: Asn::new(64_500),
        route: RouteKey::named("*/"),
        weight: Weight::default(),
        token: None,
    }
}

const THREADS: u64 = 4;
const STEPS_PER_WINDOW: u64 = 100;
const WINDOWS: u64 = 20;

/// What became of the requests of one country.
#[derive(Default)]
struct Fate {
    admitted: AtomicU64,
    rejected: AtomicU64,
}

/// All threads take the same steps in time; in each, they share the requests that arrive in it.
struct Stampede<'a> {
    traffic: &'a Traffic,
    limit: &'a Limit,
    rate: f64,
    step: Duration,
    start: Duration,
    barrier: Barrier,
}

impl Stampede<'_> {
    fn run(&self, thread: u64, loud: &Fate, quiet: &Fate) {
        let (mut loud_sent, mut quiet_sent) = (thread, thread);
        for step in 0..WINDOWS * STEPS_PER_WINDOW {
            self.barrier.wait();
            let elapsed = self.step * u32::try_from(step).unwrap();
            let now = Tick::from_elapsed(self.start + elapsed);
            if thread == 0 && step % (STEPS_PER_WINDOW / 4) == 3 {
                self.traffic.rotate(now);
            }
            let due = |factor: f64| (elapsed.as_secs_f64() * self.rate * factor) as u64;
            self.send(&subject("KP", 1), due(10.0), &mut loud_sent, loud, now);
            self.send(&subject("LI", 2), due(0.95), &mut quiet_sent, quiet, now);
        }
    }

    fn send(&self, from: &Subject, due: u64, sent: &mut u64, fate: &Fate, now: Tick) {
        let checks = [Check { limit: self.limit, rate: rate(self.rate) }];
        while *sent < due {
            match self.traffic.admit(from, &checks, now) {
                Admission::Admit => fate.admitted.fetch_add(1, Ordering::Relaxed),
                Admission::Reject(_) => fate.rejected.fetch_add(1, Ordering::Relaxed),
            };
            *sent += THREADS;
        }
    }
}

fn stampede(per_second: f64, window: u64, start: Duration) {
    let traffic = traffic();
    let limit = limit(&traffic, "country", Per::Country, window);
    traffic.rotate(Tick::from_elapsed(start));
    let stampede = Stampede {
        traffic: &traffic,
        limit: &limit,
        rate: per_second,
        step: interval(window).duration() / STEPS_PER_WINDOW as u32,
        start,
        barrier: Barrier::new(THREADS as usize),
    };
    let (loud, quiet) = (Fate::default(), Fate::default());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (stampede, loud, quiet) = (&stampede, &loud, &quiet);
            scope.spawn(move || stampede.run(thread, loud, quiet));
        }
    });
    let allowed = per_second * (window * WINDOWS) as f64;
    let admitted = loud.admitted.into_inner() as f64;
    let context = format!("{admitted} of {allowed} at {per_second}/s over {window} s from {start:?}");
    assert!((admitted / allowed - 1.0).abs() <= 0.05, "{context}");
    assert!(loud.rejected.into_inner() as f64 > 8.0 * allowed, "{context}");
    assert_eq!(quiet.rejected.into_inner(), 0, "{context}");
}

#[test]
fn a_limit_holds_against_threads_and_touches_no_country_below_it() {
    for (per_second, window) in [(20.0, 1), (100.0, 1), (5_000.0, 1), (20.0, 10), (100.0, 10)] {
        for start in [0.0, 1_000.5] {
            stampede(per_second, window, Duration::from_secs_f64(start));
        }
    }
}

/// Exponential gaps between arrivals, from a linear congruential generator: the same in each run.
struct Poisson {
    state: u64,
    rate: f64,
    next: f64,
}

impl Poisson {
    fn new(seed: u64, rate: f64) -> Self {
        let mut arrivals = Self { state: seed, rate, next: 0.0 };
        arrivals.advance();
        arrivals
    }

    fn advance(&mut self) {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = ((self.state >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
        self.next += -uniform.ln() / self.rate;
    }
}

/// Sends the arrivals of `client` up to `until`, and remembers exactly those of the last 10 s.
fn arrive(
    traffic: &Traffic,
    client: &Subject,
    arrivals: &mut Poisson,
    exact: &mut VecDeque<f64>,
    until: f64,
) {
    while arrivals.next <= until {
        traffic.offer(client, at(arrivals.next));
        exact.push_back(arrivals.next);
        arrivals.advance();
    }
    while exact.front().is_some_and(|first| *first <= until - 10.0) {
        exact.pop_front();
    }
}

#[test]
fn a_sliding_rate_is_close_to_an_exact_one() {
    let traffic = traffic();
    for (n, per_second, mean_bound, worst_bound) in
        [(1, 300.0, 0.01, 0.04), (2, 50.0, 0.02, 0.10), (3, 5.0, 0.06, 0.30)]
    {
        let client = subject("DE", n);
        let (mut arrivals, mut exact) = (Poisson::new(n.into(), per_second), VecDeque::new());
        let (mut sum, mut worst, mut looks) = (0.0, 0.0_f64, 0);
        let start = f64::from(n - 1) * 300.0;
        arrivals.next += start;
        for look in 1..=2_500 {
            let now = start + f64::from(look) * 0.1;
            arrive(&traffic, &client, &mut arrivals, &mut exact, now);
            // Noise: each look another client that comes once.
            traffic.offer(&subject("FR", 1_000 * n + look), at(now));
            traffic.rotate(at(now));
            if look > 200 {
                let truth = exact.len() as f64 / 10.0;
                let error = (traffic.client_rate(&client.client, at(now)) - truth).abs() / per_second;
                (sum, worst, looks) = (sum + error, worst.max(error), looks + 1);
            }
        }
        let mean = sum / f64::from(looks);
        assert!(mean < mean_bound && worst < worst_bound, "{per_second}/s: mean {mean}, worst {worst}");
    }
}
