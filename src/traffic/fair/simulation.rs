//! Simulated countries over their limit, with a simulated clock: who is let through, how many in all, how soon?
//!
//! Arrivals are Poisson from fixed seeds, so that every run is the same. Time is counted in windows.

use crate::traffic::simulation::{at, limit, rate, subject, traffic};
use crate::traffic::{Admission, Check, Limit, Per, Subject, Traffic, Weight};
use crate::facts::place::Asn;

/// The length of a window in seconds.
const WINDOW: f64 = 10.0;

/// A group of clients that behave alike.
struct Group {
    first: u32,
    clients: u32,
    /// Requests per window of each client.
    each: f64,
    /// From and until which window it sends, of how many: all of them for `(0, 1, 1)`.
    on: fn(f64) -> bool,
    network: fn(u32) -> u32,
    weight: u16,
    offered: Vec<u64>,
    admitted: Vec<u64>,
}

/// A country with a limit.
struct Country {
    traffic: Traffic,
    groups: Vec<Group>,
    /// Requests per window.
    quota: f64,
    per: Per,
    random: fastrand::Rng,
}

fn group(first: u32, clients: u32, each: f64) -> Group {
    Group {
        first,
        clients,
        each,
        on: |_| true,
        network: |client| 64_500 + client % 7,
        weight: 1,
        offered: Vec::new(),
        admitted: Vec::new(),
    }
}

impl Group {
    fn on(self, on: fn(f64) -> bool) -> Self {
        Self { on, ..self }
    }

    fn network(self, network: fn(u32) -> u32) -> Self {
        Self { network, ..self }
    }

    /// The part of its requests that passed from one window to another.
    fn passed(&self, from: usize, to: usize) -> f64 {
        let sum = |counts: &[u64]| counts[from..to].iter().sum::<u64>() as f64;
        sum(&self.admitted) / sum(&self.offered)
    }

    /// Requests per window and client that passed.
    fn each_got(&self, from: usize, to: usize) -> f64 {
        self.admitted[from..to].iter().sum::<u64>() as f64 / (to - from) as f64 / f64::from(self.clients)
    }
}

impl Country {
    fn new(quota: f64, groups: Vec<Group>) -> Self {
        Self { traffic: traffic(), groups, quota, per: Per::Country, random: fastrand::Rng::with_seed(7) }
    }

    /// Lets so many windows go by.
    fn run(&mut self, windows: usize) {
        let limit = limit(&self.traffic, "country", self.per, WINDOW as u64);
        let mut arrivals: Vec<(f64, usize, u32)> = Vec::new();
        for window in 0..windows {
            arrivals.clear();
            for (at, group) in self.groups.iter().enumerate() {
                let total = group.each * f64::from(group.clients);
                let mut time = window as f64;
                loop {
                    time -= (1.0 - self.random.f64()).ln() / total;
                    if time >= (window + 1) as f64 {
                        break;
                    }
                    if (group.on)(time) {
                        arrivals.push((time, at, self.random.u32(0..group.clients)));
                    }
                }
            }
            arrivals.sort_by(|a, b| a.0.total_cmp(&b.0));
            self.window(&limit, &arrivals);
        }
    }

    fn window(&mut self, limit: &Limit, arrivals: &[(f64, usize, u32)]) {
        for group in &mut self.groups {
            group.offered.push(0);
            group.admitted.push(0);
        }
        let check = [Check { limit, rate: rate(self.quota / WINDOW) }];
        for (n, (time, at_group, client)) in arrivals.iter().enumerate() {
            let group = &mut self.groups[*at_group];
            let client = group.first + client;
            let from = Subject {
                asn: Asn::new((group.network)(client)),
                weight: Weight::new(group.weight).unwrap(),
                ..subject("KP", client)
            };
            let passes = self.traffic.admit(&from, &check, at(time * WINDOW)) == Admission::Admit;
            *group.offered.last_mut().unwrap() += 1;
            *group.admitted.last_mut().unwrap() += u64::from(passes);
            if n % 97 == 0 {
                self.traffic.rotate(at(time * WINDOW));
            }
        }
    }

    /// What was admitted in a window, as a part of the limit.
    fn total(&self, window: usize) -> f64 {
        self.groups.iter().map(|group| group.admitted[window]).sum::<u64>() as f64 / self.quota
    }

    fn mean_total(&self, from: usize, to: usize) -> f64 {
        (from..to).map(|window| self.total(window)).sum::<f64>() / (to - from) as f64
    }

    fn report(&self, name: &str, from: usize) {
        let to = self.groups[0].offered.len();
        let totals: Vec<String> = (0..to).map(|window| format!("{:.3}", self.total(window))).collect();
        println!("{name}: total {}", totals.join(" "));
        for group in &self.groups {
            println!("  {} x {}: passed {:.4}, each {:.2}", group.clients, group.each, group.passed(from, to), group.each_got(from, to));
        }
    }

    /// The limit is met from window `from` on: by each window, and closely on average.
    fn meets_its_limit(&self, from: usize) {
        let to = self.groups[0].offered.len();
        for window in from..to {
            assert!((0.93..=1.07).contains(&self.total(window)), "window {window}: {}", self.total(window));
        }
        let mean = self.mean_total(from, to);
        assert!((0.95..=1.05).contains(&mean), "{mean}");
    }
}

/// 200 ordinary clients, as many requests as the scale says, and a limit of 1.2 times their traffic.
fn country(each: f64, others: Vec<Group>) -> Country {
    let mut groups = vec![group(0, 200, each)];
    groups.extend(others);
    Country::new(200.0 * each * 1.2, groups)
}

#[test]
fn one_abuser_starves_himself_and_not_his_country() {
    for each in [1.0, 3.0, 10.0, 30.0] {
        let mut country = country(each, vec![group(1_000, 1, 50.0 * each)]);
        country.run(24);
        country.report(&format!("one abuser, {each}"), 3);
    }
}

#[test]
fn a_hard_abuser() {
    for each in [3.0, 10.0] {
        let mut country = country(each, vec![group(1_000, 1, 1_000.0 * each)]);
        country.run(24);
        country.report(&format!("hard abuser, {each}"), 3);
    }
}

#[test]
fn many_abusers_get_the_same_each() {
    for (abusers, each) in [(5, 10.0), (20, 10.0), (100, 10.0)] {
        let late: fn(f64) -> bool = |time| time > 5.0;
        let mut country = country(each, vec![group(1_000, abusers, 50.0 * each).on(late)]);
        country.run(20);
        country.report(&format!("{abusers} abusers"), 8);
    }
}

#[test]
fn on_off() {
    let blinking: fn(f64) -> bool = |time| (time / 2.0) as u64 % 2 == 1;
    let mut country = country(10.0, vec![group(1_000, 3, 500.0).on(blinking)]);
    country.run(24);
    country.report("on/off", 3);
}

#[test]
fn pseudonyms() {
    let late: fn(f64) -> bool = |time| time > 12.0;
    let flood = group(1_000, 5_000, 2.0).on(late).network(|_| 666);
    let mut country = country(10.0, vec![flood]);
    country.run(40);
    country.report("pseudonyms, warm", 15);
    let cold = group(1_000, 5_000, 2.0).network(|_| 666);
    let mut country = self::country(10.0, vec![cold]);
    country.run(30);
    country.report("pseudonyms, cold", 15);
}
