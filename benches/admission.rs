//! What limits cost a request: under a client's, a country's and a route's limit at once, the latter two fair.
//!
//! `cargo bench --bench admission`; with `-- --test` every bench runs once, as a check that it works. Time is made up: a
//! request every ten microseconds.

#![expect(clippy::expect_used, reason = "a bench that cannot begin has nobody else to tell")]

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use divan::{AllocProfiler, Bencher, black_box};
use mimalloc::MiMalloc;
use riskgate::facts::client::Prefix;
use riskgate::facts::place::{Asn, CountryCode};
use riskgate::facts::time::Tick;
use riskgate::traffic::{
    Check, Interval, Limit, LimitSpec, Per, Rate, RouteKey, Settings, Sharing, Subject, Traffic, Weight,
};

#[global_allocator]
static ALLOCATOR: AllocProfiler<MiMalloc> = AllocProfiler::new(MiMalloc);

/// How many clients take turns.
const CLIENTS: [usize; 3] = [1, 1_000, 100_000];

thread_local! {
    /// How many requests this thread has made. Not shared, or threads would wait for each other here.
    static TURN: Cell<u64> = const { Cell::new(0) };
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

fn admit(bencher: Bencher<'_, '_>, clients: usize, country: f64) {
    let traffic = Traffic::new(Settings::default(), Tick::default());
    let limits = [Per::Client, Per::Country, Per::Route].map(|per| limit(&traffic, per));
    let rates = [1e9, country, 1e9].map(|rate| Rate::new(rate).expect("a rate"));
    let subjects: Vec<Subject> = (0..clients).map(subject).collect();
    bencher.bench(|| {
        let turn = TURN.replace(TURN.get() + 1);
        let [client, country, route] = &limits;
        let [for_client, for_country, for_route] = rates;
        let checks = [
            Check { limit: client, rate: for_client },
            Check { limit: country, rate: for_country },
            Check { limit: route, rate: for_route },
        ];
        let subject = subjects.get(turn as usize % clients).expect("a client");
        traffic.admit(black_box(subject), &checks, Tick::from_elapsed(Duration::from_micros(10 * turn)))
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
