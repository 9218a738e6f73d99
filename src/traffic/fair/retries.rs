//! Simulated clients that do as they are told: they come back after `Retry-After`, rounded up and with jitter as the
//! edge does it. Does a retry pass then, and is what the limit has used?

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::facts::place::Asn;
use crate::traffic::simulation::{at, first_come, limit, rate, subject, traffic};
use crate::traffic::{Admission, Check, Per, Rejection, Sharing, Subject, Weight};

/// Clients of a shared limit.
#[derive(Clone, Copy)]
struct Crowd {
    per: Per,
    sharing: Sharing,
    /// Requests per window.
    quota: f64,
    window: u64,
    /// Clients that send 10 requests per window each, and do not retry.
    ordinary: u32,
    /// Clients that send all the time until they are refused, and then wait as they are told.
    greedy: u32,
    /// Milliseconds between two requests of these.
    gap: u64,
    network: u32,
    /// The weight of every fourth of these.
    weight: u16,
    /// Requests per window of clients that come once: half of those who are refused never come back.
    visitors: f64,
}

/// What became of a crowd in 25 windows.
#[derive(Debug)]
struct Fate {
    retries: u32,
    /// The part of the retries that passed.
    passed: f64,
    /// The part of the limit that was used.
    used: f64,
}

impl Crowd {
    fn of(per: Per, quota: f64, greedy: u32, gap: u64) -> Self {
        let (sharing, window, ordinary, network, weight, visitors) = (Sharing::Fair, 10, 0, 64_501, 1, 0.0);
        Self { per, sharing, quota, window, ordinary, greedy, gap, network, weight, visitors }
    }

    fn subject(&self, client: u32) -> Subject {
        let asn = Asn::new(if client < self.ordinary { 64_500 + client % 7 } else { self.network });
        let weight = if client >= self.ordinary && client.is_multiple_of(4) { self.weight } else { 1 };
        Subject { asn, weight: Weight::new(weight).unwrap(), ..subject("KP", client) }
    }

    fn play(&self) -> Fate {
        let (traffic, mut random) = (traffic(), fastrand::Rng::with_seed(11));
        let limit = match self.sharing {
            Sharing::Fair => limit(&traffic, "country", self.per, self.window),
            Sharing::FirstCome => first_come(&traffic, "country", self.per, self.window),
        };
        let check = [Check { limit: &limit, rate: rate(self.quota / self.window as f64) }];
        let (window, mut due) = (self.window * 1_000, BinaryHeap::new());
        let visitors = self.ordinary + self.greedy;
        for client in 0..visitors + u32::from(self.visitors > 0.0) {
            due.push(Reverse((random.u64(0..1_000), client, false)));
        }
        let (mut tried, mut passed, mut next_visitor) = (0, 0, visitors + 1);
        let mut admitted = [0_u32; 30];
        while let Some(Reverse((now, client, retry))) = due.pop().filter(|due| due.0.0 < 30 * window) {
            let admission = traffic.admit(&self.subject(client), &check, at(now as f64 / 1e3));
            let passes = u32::from(admission == Admission::Admit);
            admitted[(now / window) as usize] += passes;
            if retry && now > 5 * window {
                (tried, passed) = (tried + 1, passed + passes);
            }
            let mut chance = |windows: f64| (-(1.0 - random.f64()).ln() * windows * window as f64) as u64;
            if client >= visitors && !retry {
                due.push(Reverse((now + chance(1.0 / self.visitors), next_visitor, false)));
                next_visitor += 1;
            }
            match admission {
                _ if client < self.ordinary => {
                    due.push(Reverse((now + window / 20 + chance(0.05), client, false)));
                }
                Admission::Admit if client < visitors => due.push(Reverse((now + self.gap, client, false))),
                Admission::Reject(_) if client >= visitors && random.bool() => {}
                Admission::Reject(rejection) => {
                    due.push(Reverse((now + edge(&rejection, random.f64()), client, true)));
                }
                Admission::Admit => {}
            }
        }
        let used = admitted[5..].iter().sum::<u32>();
        Fate {
            retries: tried,
            passed: f64::from(passed) / f64::from(tried.max(1)),
            used: f64::from(used) / (25.0 * self.quota),
        }
    }
}

/// When a client comes back, in milliseconds: rounded up and with jitter, as the edge says it.
fn edge(rejection: &Rejection, jitter: f64) -> u64 {
    let (wait, kept) = (rejection.retry_after.as_secs_f64().ceil().max(1.0), rejection.kept.as_secs_f64());
    let most = if kept > 0.0 { kept.min(wait / 4.0) } else { wait / 4.0 };
    1_000 * (wait + (jitter * (1.0 + most)).floor()) as u64
}

#[test]
fn nine_of_ten_retries_pass_when_they_are_told_to() {
    let fair = |quota, greedy, gap| Crowd::of(Per::Country, quota, greedy, gap);
    let first_come =
        |per, quota, greedy| Crowd { sharing: Sharing::FirstCome, ..Crowd::of(per, quota, greedy, 100) };
    let among = |greedy, gap| Crowd { ordinary: 200, ..fair(2_400.0, greedy, gap) };
    for (name, crowd) in [
        ("one client, its own limit", Crowd::of(Per::Client, 50.0, 1, 50)),
        ("one client, alone in a country", fair(50.0, 1, 50)),
        ("an abuser among ordinary clients", among(1, 10)),
        ("many abusers among ordinary clients", among(10, 10)),
        ("a few who want all", fair(200.0, 5, 20)),
        ("many who want all", fair(1_000.0, 100, 20)),
        ("a small limit", fair(50.0, 20, 100)),
        ("a tiny limit", fair(20.0, 10, 100)),
        ("a tiny limit and a few", fair(20.0, 3, 100)),
        ("less than one request a window for each", fair(100.0, 300, 100)),
        ("a network full of names", Crowd { network: 666, ..among(3_000, 5_000) }),
        ("a small limit on a route", Crowd { per: Per::Route, ..fair(50.0, 20, 100) }),
        ("clients with a clearance", Crowd { weight: 4, ..fair(200.0, 20, 20) }),
        ("clients with a clearance at a small limit", Crowd { weight: 4, ..fair(50.0, 12, 20) }),
        ("a longer window", Crowd { window: 60, ..fair(20.0, 10, 100) }),
        ("a shorter window", Crowd { window: 1, ..fair(50.0, 10, 20) }),
        ("first come in a country", first_come(Per::Country, 50.0, 20)),
        ("first come in a country, a tiny limit", first_come(Per::Country, 20.0, 10)),
        ("first come on a route", first_come(Per::Route, 50.0, 20)),
        ("first come on a busy route", first_come(Per::Route, 200.0, 50)),
    ] {
        let fate = crowd.play();
        assert!(fate.passed >= 0.9 && fate.retries >= 20, "{name}: {fate:?}");
    }
}

#[test]
fn places_that_are_kept_for_those_who_never_come_are_not_wasted() {
    for (name, crowd) in [
        ("a tiny limit", Crowd::of(Per::Country, 20.0, 50, 100)),
        ("a small limit", Crowd::of(Per::Country, 50.0, 20, 100)),
        ("on a route", Crowd::of(Per::Route, 100.0, 20, 100)),
        ("first come", Crowd { sharing: Sharing::FirstCome, ..Crowd::of(Per::Country, 200.0, 20, 100) }),
    ] {
        // Twice as many as pass come once; of those who are refused, half come back.
        let fate = Crowd { visitors: 2.0 * crowd.quota, ..crowd }.play();
        assert!((0.9..1.05).contains(&fate.used), "{name}: {fate:?}");
        assert!(fate.passed >= 0.9 && fate.retries >= 20, "{name}: {fate:?}");
    }
}

#[test]
fn hammering_changes_neither_when_one_is_let_in_nor_when_others_are() {
    let told = |hammering: u32| {
        let traffic = traffic();
        let limit = limit(&traffic, "country", Per::Country, 10);
        let check = [Check { limit: &limit, rate: rate(2.0) }];
        let wait = |client, seconds| match traffic.admit(&subject("KP", client), &check, at(seconds)) {
            Admission::Admit => 0.0,
            Admission::Reject(rejection) => seconds + rejection.retry_after.as_secs_f64(),
        };
        (0..40).for_each(|n| _ = wait(n % 10, 5.0));
        let first = wait(1, 6.0);
        let hammered = (0..hammering).map(|n| wait(1, 6.0 + f64::from(n) / 1e3));
        assert!(hammered.into_iter().all(|told| (told - first).abs() < 0.2));
        let others: Vec<f64> = (2..10).map(|client| wait(client, 7.0)).collect();
        assert_eq!(wait(1, first + 0.3), 0.0);
        (first, others)
    };
    assert_eq!(told(0), told(900));
}
