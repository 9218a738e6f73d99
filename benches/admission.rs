//! What limits cost a request: under a client's, a country's and a route's limit at once, the latter two fair.
//!
//! `cargo bench --bench admission`; with `-- --test` every bench runs once, as a check that it works. Time is made up: a
//! request every ten microseconds.

#![expect(clippy::expect_used, reason = "a bench that cannot begin has nobody else to tell")]

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use divan::{AllocProfiler, Bencher, black_box};
use mimalloc::MiMalloc;
use riskgate::facts::client::Prefix;
use riskgate::facts::place::{Asn, CountryCode};
use riskgate::facts::time::Tick;
use riskgate::traffic::{
    Admission, Check, Interval, Limit, LimitSpec, Per, Rate, RouteKey, Settings, Sharing, Subject, Traffic,
    Weight,
};

#[global_allocator]
static ALLOCATOR: AllocProfiler<MiMalloc> = AllocProfiler::new(MiMalloc);

/// How many clients take turns.
const CLIENTS: [usize; 3] = [1, 1_000, 100_000];

/// How many clients each thread has to itself where threads share none.
const OWN_CLIENTS: usize = 1_000;
/// What a key may have per second that is near its limit, and what it has had when the bench begins.
const NEAR: (f64, u64) = (60_000.0, 300_000);

/// Threads that have made requests.
static THREADS: AtomicUsize = AtomicUsize::new(0);
/// Benches that have begun.
static BENCHES: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// How many requests this thread has made, and in which bench. Not shared, or threads would wait for each other here.
    static TURN: Cell<(usize, u64)> = const { Cell::new((0, 0)) };
    /// The number of this thread.
    static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

fn main() {
    divan::main();
}

/// Nobody is near a limit.
#[divan::bench(args = CLIENTS, sample_size = 1000)]
fn calm(bencher: Bencher<'_, '_>, clients: usize) {
    admit(bencher, clients, 1e9);
}

/// The country's clients want a hundred times what it may have: most requests are refused, and told for how long.
#[divan::bench(args = CLIENTS, sample_size = 1000)]
fn pressed(bencher: Bencher<'_, '_>, clients: usize) {
    admit(bencher, clients, 1000.0);
}

/// Everybody at once under one key.
#[divan::bench(threads = [1, 2], sample_size = 1000)]
fn one_key(bencher: Bencher<'_, '_>) {
    admit(bencher, 1, 1e9);
}

/// Everybody at once in one country and on one route, each thread with clients of its own.
#[divan::bench(threads = [1, 2], sample_size = 1000)]
fn one_country(bencher: Bencher<'_, '_>) {
    let bench = Bench::new(1e9, 1e9);
    let subjects: Vec<Subject> = (0..2 * OWN_CLIENTS).map(subject).collect();
    bencher.bench(|| {
        let turn = bench.turn();
        let own = NUMBER.with(|number| number % 2) * OWN_CLIENTS;
        let subject = subjects.get(own + turn as usize % OWN_CLIENTS).expect("a client");
        bench.admit(black_box(subject), turn)
    });
}

/// Everybody at once under one key whose requests are noted one by one, since it is near its limit; under this limit alone.
#[divan::bench(threads = [1, 2], sample_size = 1000)]
fn trail(bencher: Bencher<'_, '_>) {
    let (rate, before) = NEAR;
    let bench = Bench::new(rate, 1e9);
    let (subject, [check, ..]) = (subject(0), bench.checks());
    for _ in 0..before {
        let _ = bench.traffic.admit(&subject, &[check], Tick::default());
    }
    bencher.bench(|| {
        let turn = bench.turn();
        bench.traffic.admit(black_box(&subject), &[check], moment(turn))
    });
}

/// Three limits, and what counts under them.
struct Bench {
    number: usize,
    traffic: Traffic,
    limits: [Arc<Limit>; 3],
    rates: [Rate; 3],
}

impl Bench {
    fn new(client: f64, country: f64) -> Self {
        let traffic = Traffic::new(Settings::default(), Tick::default());
        let limits = [Per::Client, Per::Country, Per::Route].map(|per| limit(&traffic, per));
        let rates = [client, country, 1e9].map(|rate| Rate::new(rate).expect("a rate"));
        Self { number: 1 + BENCHES.fetch_add(1, Ordering::Relaxed), traffic, limits, rates }
    }

    /// The number of the next request of this thread; every thread of a bench begins at 0.
    fn turn(&self) -> u64 {
        let (bench, turn) = TURN.get();
        let turn = if bench == self.number { turn } else { 0 };
        TURN.set((self.number, turn + 1));
        turn
    }

    fn checks(&self) -> [Check<'_>; 3] {
        let [client, country, route] = &self.limits;
        let [for_client, for_country, for_route] = self.rates;
        [
            Check { limit: client, rate: for_client },
            Check { limit: country, rate: for_country },
            Check { limit: route, rate: for_route },
        ]
    }

    fn admit(&self, subject: &Subject, turn: u64) -> Admission {
        self.traffic.admit(subject, &self.checks(), moment(turn))
    }
}

fn moment(turn: u64) -> Tick {
    Tick::from_elapsed(Duration::from_micros(10 * turn))
}

fn admit(bencher: Bencher<'_, '_>, clients: usize, country: f64) {
    let bench = Bench::new(1e9, country);
    let subjects: Vec<Subject> = (0..clients).map(subject).collect();
    bencher.bench(|| {
        let turn = bench.turn();
        let subject = subjects.get(turn as usize % clients).expect("a client");
        bench.admit(black_box(subject), turn)
    });
}

fn limit(traffic: &Traffic, per: Per) -> Arc<Limit> {
    let spec =
        LimitSpec { name: "bench".to_owned(), per, window: Interval::TEN_SECONDS, sharing: Sharing::Fair };
    let limits = traffic.limits(&[spec], Tick::default()).expect("a limit");
    limits.into_iter().next().expect("one limit")
}

/// One of the clients of a country, in one of its 50 networks.
fn subject(number: usize) -> Subject {
    let number = number as u32;
    let prefix = format!("{}/24", Ipv4Addr::from(number << 8));
    Subject {
        client: Prefix::parse(&prefix).expect("a prefix"),
        country: CountryCode::parse("KP").expect("a country"),
        asn: Asn::new(64_500 + number % 50),
        route: RouteKey::named("*/"),
        weight: Weight::default(),
        token: None,
    }
}
