//! Simulated clients that do as they are told: they come back after `Retry-After`, rounded up and with jitter as the
//! edge does it. Does a retry pass then?

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::facts::place::Asn;
use crate::traffic::simulation::{at, limit, rate, subject, traffic};
use crate::traffic::{Admission, Check, Per, Subject};

/// Clients that send all the time until they are refused, and then wait as they are told.
struct Greedy {
    clients: u32,
    /// Milliseconds between two requests.
    gap: u64,
    network: u32,
}

/// What becomes of retries at a limit of `quota` per 10 s: how many there were in 25 windows, and which part of them
/// passed. `ordinary` clients send 10 requests per window each, and do not retry.
fn retries(per: Per, quota: f64, ordinary: u32, greedy: &Greedy) -> (u32, f64) {
    let (traffic, mut random) = (traffic(), fastrand::Rng::with_seed(11));
    let limit = limit(&traffic, "country", per, 10);
    let check = [Check { limit: &limit, rate: rate(quota / 10.0) }];
    let mut due = BinaryHeap::new();
    for client in 0..ordinary + greedy.clients {
        due.push(Reverse((random.u64(0..1_000), client, false)));
    }
    let (mut tried, mut passed) = (0, 0);
    while let Some(Reverse((now, client, retry))) = due.pop() {
        if now > 300_000 {
            break;
        }
        let obeys = client >= ordinary;
        let asn = Asn::new(if obeys { greedy.network } else { 64_500 + client % 7 });
        let from = Subject { asn, ..subject("KP", client) };
        let admission = traffic.admit(&from, &check, at(now as f64 / 1e3));
        if retry && now > 50_000 {
            tried += 1;
            passed += u32::from(admission == Admission::Admit);
        }
        let next = match admission {
            _ if !obeys => now + 500 + (-(1.0 - random.f64()).ln() * 500.0) as u64,
            Admission::Admit => now + greedy.gap,
            Admission::Reject(rejection) => {
                let wait = rejection.retry_after.as_secs_f64().ceil().max(1.0);
                now + 1_000 * (wait + (random.f64() * (1.0 + wait / 4.0)).floor()) as u64
            }
        };
        due.push(Reverse((next, client, obeys && admission != Admission::Admit)));
    }
    (tried, f64::from(passed) / f64::from(tried.max(1)))
}

#[test]
fn nine_of_ten_retries_pass_when_they_are_told_to_and_fewer_at_small_shared_limits() {
    let greedy = |clients, gap| Greedy { clients, gap, network: 64_501 };
    let names = Greedy { network: 666, ..greedy(3_000, 5_000) };
    // At a quota of a few dozen, a share is one or two requests, and moves by as much.
    let (usual, small) = (0.9, 0.7);
    for (least, name, per, quota, ordinary, greedy) in [
        (usual, "one client, its own limit", Per::Client, 50.0, 0, greedy(1, 50)),
        (usual, "one client, alone in a country", Per::Country, 50.0, 0, greedy(1, 50)),
        (usual, "an abuser among ordinary clients", Per::Country, 2_400.0, 200, greedy(1, 10)),
        (usual, "many abusers among ordinary clients", Per::Country, 2_400.0, 200, greedy(10, 10)),
        (usual, "a few who want all", Per::Country, 200.0, 0, greedy(5, 20)),
        (usual, "many who want all", Per::Country, 1_000.0, 0, greedy(100, 20)),
        (small, "a small limit", Per::Country, 50.0, 0, greedy(20, 100)),
        (small, "a tiny limit", Per::Country, 20.0, 0, greedy(10, 100)),
        (usual, "less than one request a window for each", Per::Country, 100.0, 0, greedy(300, 100)),
        (usual, "a network full of names", Per::Country, 2_400.0, 200, names),
    ] {
        let (tried, passed) = retries(per, quota, ordinary, &greedy);
        assert!(passed >= least && tried >= 20, "{name}: {passed} of {tried}");
    }
}
