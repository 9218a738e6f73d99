//! Simulated countries over their limit, with a simulated clock: who is let through, how many in all, how soon?
//!
//! Arrivals are Poisson from fixed seeds, so that every run is the same. Time is counted in windows.

use crate::facts::place::Asn;
use crate::traffic::simulation::{at, limit, rate, subject, traffic};
use crate::traffic::{Admission, Check, Limit, Per, Subject, Traffic, Weight, Whose};

/// The length of a window in seconds.
const WINDOW: f64 = 10.0;

/// A group of clients that behave alike.
struct Group {
    first: u32,
    clients: u32,
    /// Requests per window of each client.
    each: f64,
    /// Whether it sends at this time.
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
    /// Held, so that its counts stay.
    limit: Option<std::sync::Arc<Limit>>,
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
        Self {
            traffic: traffic(),
            groups,
            quota,
            per: Per::Country,
            limit: None,
            random: fastrand::Rng::with_seed(7),
        }
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
        self.limit = Some(limit);
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

/// 200 ordinary clients that send so many requests per window each, and a limit of 1.2 times their traffic.
fn country(each: f64, others: Vec<Group>) -> Country {
    let mut groups = vec![group(0, 200, each)];
    groups.extend(others);
    Country::new(200.0 * each * 1.2, groups)
}

#[test]
fn one_abuser_starves_himself_and_not_his_country() {
    for (each, times) in [(3.0, 50.0), (10.0, 50.0), (3.0, 1_000.0)] {
        let mut country = country(each, vec![group(1_000, 1, times * each)]);
        country.run(14);
        let (from_the_start, then) = (country.groups[0].passed(0, 14), country.groups[0].passed(3, 14));
        assert!(from_the_start >= 0.94 && then >= 0.99, "{each}, {times}: {from_the_start}, {then}");
        country.meets_its_limit(2);
        for window in 3..14 {
            let total = country.total(window);
            assert!((0.95..=1.05).contains(&total), "{each}, {times}: {total} in window {window}");
        }
        // He gets what the others leave.
        assert!(country.groups[1].each_got(3, 14) > 0.8 * 0.2 * 200.0 * each);
    }
}

#[test]
fn many_abusers_get_the_same_each_and_what_is_left() {
    let mut country = country(10.0, vec![group(1_000, 5, 500.0), group(2_000, 5, 2_000.0)]);
    country.run(12);
    assert!(country.groups[0].passed(3, 12) >= 0.99);
    country.meets_its_limit(2);
    let got = [1, 2].map(|group| country.groups[group].each_got(3, 12));
    assert!((0.85..1.18).contains(&(got[0] / got[1])), "{got:?}");
    assert!(got[0] > 25.0, "{got:?}");
}

#[test]
fn where_all_want_more_all_get_the_same() {
    let mut country = Country::new(1_200.0, vec![group(0, 40, 100.0), group(1_000, 20, 400.0)]);
    country.run(10);
    country.meets_its_limit(2);
    let got = [0, 1].map(|group| country.groups[group].each_got(3, 10));
    assert!((0.9..1.1).contains(&(got[0] / got[1])), "{got:?}");
}

#[test]
fn an_abuser_who_comes_and_goes_is_met_each_time() {
    let blinking: fn(f64) -> bool = |time| (time / 2.0) as u64 % 2 == 1;
    let mut country = country(10.0, vec![group(1_000, 3, 500.0).on(blinking)]);
    country.run(14);
    assert!(country.groups[0].passed(0, 14) >= 0.99, "{}", country.groups[0].passed(0, 14));
    assert!((0..14).all(|window| country.total(window) <= 1.06));
}

#[test]
fn clients_that_appear_and_leave_find_a_place_and_leave_it() {
    let mut country = country(10.0, vec![group(1_000, 1, 500.0)]);
    country.groups.push(group(2_000, 30, 10.0).on(|time| (4.0..9.0).contains(&time)));
    country.run(14);
    assert!(country.groups[0].passed(3, 14) >= 0.99 && country.groups[2].passed(4, 9) >= 0.98);
    country.meets_its_limit(2);
    let abuser = &country.groups[1];
    assert!(abuser.each_got(5, 9) < 0.5 * abuser.each_got(2, 4));
    assert!(abuser.each_got(11, 14) > 0.9 * abuser.each_got(2, 4));
}

#[test]
fn one_network_with_thousands_of_names_does_not_take_the_country() {
    let late: fn(f64) -> bool = |time| time > 6.0;
    let flood = group(1_000, 5_000, 1.0).on(late).network(|_| 666);
    let mut country = country(10.0, vec![flood]);
    country.run(14);
    assert!(country.groups[0].passed(9, 14) >= 0.99, "{}", country.groups[0].passed(9, 14));
    country.meets_its_limit(9);
}

#[test]
fn networks_that_are_not_known_are_told_apart_by_a_wider_prefix() {
    let late: fn(f64) -> bool = |time| time > 9.0;
    // Clients of the flood are in 20 networks of 16 bits, the ordinary ones in one.
    let flood = group(1 << 15, 5_000, 1.0).on(late).network(|_| 0);
    let mut country = country(10.0, vec![flood]);
    country.groups[0].network = |_| 0;
    country.run(18);
    assert!(country.groups[0].passed(12, 18) >= 0.97, "{}", country.groups[0].passed(12, 18));
}

#[test]
fn a_network_with_names_is_held_back_even_before_there_is_experience() {
    let flood = group(1_000, 5_000, 1.0).network(|_| 666);
    let mut country = country(10.0, vec![flood]);
    country.run(10);
    // First come would leave them a third, and fairness among clients alone next to nothing.
    assert!(country.groups[0].passed(4, 10) >= 0.55, "{}", country.groups[0].passed(4, 10));
    country.meets_its_limit(3);
}

#[test]
fn weight_is_a_multiple_of_a_share() {
    let mut heavy = group(1_000, 5, 800.0);
    heavy.weight = 4;
    let mut country = Country::new(1_200.0, vec![group(0, 20, 400.0), heavy]);
    country.run(10);
    let got = [0, 1].map(|group| country.groups[group].each_got(4, 10));
    assert!((3.4..4.6).contains(&(got[1] / got[0])), "{got:?}");
    country.meets_its_limit(3);
}

#[test]
fn below_the_limit_nobody_is_touched_whatever_he_takes() {
    let mut country = Country::new(2_400.0, vec![group(0, 100, 5.0), group(1_000, 1, 1_600.0)]);
    country.run(8);
    assert!([0, 1].iter().all(|group| country.groups[*group].passed(0, 8) == 1.0));
    assert_eq!(country.traffic.crowded(at(80.0)), []);
}

#[test]
fn routes_and_networks_are_shared_as_fairly_as_countries() {
    for per in [Per::Route, Per::Asn] {
        let mut country = country(5.0, vec![group(1_000, 2, 300.0).network(|_| 64_500)]);
        country.per = per;
        country.groups[0].network = |_| 64_500;
        country.run(10);
        assert!(country.groups[0].passed(3, 10) >= 0.99, "{per:?}");
        country.meets_its_limit(2);
    }
}

#[test]
fn a_country_over_its_limit_is_shown_with_its_fair_share() {
    let mut country = country(5.0, vec![group(1_000, 4, 300.0)]);
    country.run(6);
    let crowded = country.traffic.crowded(at(60.0));
    let [shown] = crowded.as_slice() else { panic!("{crowded:?}") };
    assert_eq!((shown.limit.as_str(), shown.whose), ("country", Whose::Country(subject("KP", 0).country)));
    assert!((shown.rate - 120.0).abs() < 0.1 && (110.0..127.0).contains(&shown.admitted), "{shown:?}");
    // 200 of 1,200 are left for four.
    assert!((3.0..8.0).contains(&shown.fair_share) && shown.throttled > 60.0, "{shown:?}");
    country.limit = None;
    assert_eq!(country.traffic.crowded(at(60.0)), []);
}
