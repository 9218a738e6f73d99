//! Weeks of simulated traffic with a simulated clock: is a flood told within seconds, and ordinary life never?
//!
//! Ten seconds of requests are drawn at a time, always the same ones.

use super::study::LASTING_INTERVALS;
use super::*;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
/// 2026-11-23T00:00:00Z, a Monday.
const MONDAY_MILLIS: u64 = 1_795_392_000_000;

/// The same numbers in each run.
#[derive(Clone)]
struct Random(u64);

impl Random {
    /// From 0 to 1, neither included.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 20) as f64 + 1.0) / ((1u64 << 44) as f64 + 2.0)
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// How many events there are when `mean` are expected.
    fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 50.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as u64;
        }
        let (mut count, mut product, least) = (0, self.uniform(), (-mean).exp());
        while product > least {
            count += 1;
            product *= self.uniform();
        }
        count
    }
}

/// A country under observation, and its traffic.
#[derive(Clone)]
struct Town {
    study: Study,
    random: Random,
    total: u64,
    /// Since that Monday.
    second: u64,
    began: u32,
    ended: u32,
    accepted: u32,
}

impl Town {
    fn new(seed: u64) -> Self {
        let (study, random) = (Study::new(), Random(seed));
        Self { study, random, total: 0, second: 0, began: 0, ended: 0, accepted: 0 }
    }

    /// Lives until `until`, at so many requests/s at each second.
    fn live(&mut self, until: u64, rate: impl Fn(u64) -> f64) {
        while self.second < until {
            let half = rate(self.second) * 5.0;
            self.total += self.random.poisson(half);
            let turn = self.study.look(self.total);
            self.note(turn);
            self.total += self.random.poisson(half);
            self.second += SAMPLE_SECONDS;
            let turn = self.study.complete(self.total, 10.0, self.wall());
            self.note(turn);
        }
    }

    fn wall(&self) -> Wall {
        Wall::from_millis(MONDAY_MILLIS + self.second * 1_000)
    }

    fn note(&mut self, turn: Option<Turn>) {
        match turn {
            Some(Turn::Began) => self.began += 1,
            Some(Turn::Ended { .. }) => self.ended += 1,
            Some(Turn::Accepted { .. }) => self.accepted += 1,
            Some(Turn::Lasts { .. }) | None => {}
        }
    }

    fn surges(&self) -> bool {
        self.study.surging().is_some()
    }

    fn turns(&self) -> (u32, u32, u32) {
        (self.began, self.ended, self.accepted)
    }

    /// What is usual in the middle of an hour of the week.
    fn usual(&self, hour: u64) -> f64 {
        let wall = Wall::from_millis(MONDAY_MILLIS + (hour * HOUR + HOUR / 2) * 1_000);
        self.study.week().expected(wall).unwrap().rate
    }

    /// Seconds of a flood until it is told, looked for four times a second; it begins in the midst of an interval.
    fn told_after(&self, rate: f64) -> Option<f64> {
        let mut town = self.clone();
        let calm = town.usual_now() * 5.0;
        town.total += town.random.poisson(calm);
        for quarter in 0..60 {
            town.total += town.random.poisson(rate / 4.0);
            let turn = if quarter % 40 == 19 {
                town.study.complete(town.total, 10.0, town.wall())
            } else {
                town.study.look(town.total)
            };
            if turn == Some(Turn::Began) {
                return Some(f64::from(quarter + 1) / 4.0);
            }
        }
        None
    }

    fn usual_now(&self) -> f64 {
        self.study.usual().unwrap()
    }
}

/// A shop: 2 requests/s at night, 40 in the day, half of that at the weekend; it fills and empties over three hours.
fn shop(second: u64) -> f64 {
    let hour = (second % DAY) as f64 / HOUR as f64;
    let open = ((hour - 6.0) / 3.0).clamp(0.0, 1.0).min(((22.0 - hour) / 3.0).clamp(0.0, 1.0));
    let most = if second % WEEK / DAY >= 5 { 20.0 } else { 40.0 };
    2.0 + (most - 2.0) * open
}

#[test]
fn a_quiet_country_that_floods_is_told_within_fifteen_seconds() {
    for known in [HOUR, DAY, 3 * WEEK] {
        let mut town = Town::new(1);
        town.live(known, |_| 0.2);
        assert_eq!(town.turns(), (0, 0, 0));
        let after = town.told_after(40.0);
        assert!(after.is_some_and(|seconds| seconds <= 5.0), "{known}: {after:?}");
    }
}

#[test]
fn fifteen_times_as_much_is_told_within_fifteen_seconds_in_each_hour_of_the_week() {
    let mut town = Town::new(2);
    town.live(2 * WEEK, shop);
    for hour in 0..168 {
        town.live(2 * WEEK + hour * HOUR + HOUR / 3, shop);
        let after = town.told_after(15.0 * shop(town.second));
        assert!(after.is_some_and(|seconds| seconds <= 15.0), "hour {hour}: {after:?}");
    }
}

#[test]
fn days_and_nights_and_mondays_are_no_surge_not_even_the_first_ones() {
    for (seed, size) in [(3, 0.1), (4, 1.0), (5, 10.0)] {
        let mut town = Town::new(seed);
        town.live(5 * WEEK, |second| size * shop(second));
        assert_eq!(town.turns(), (0, 0, 0), "{size}");
        assert!((town.usual(12) / (40.0 * size) - 1.0).abs() < 0.1, "{size}: {}", town.usual(12));
        assert!((town.usual(3) / (2.0 * size) - 1.0).abs() < 0.3, "{size}: {}", town.usual(3));
    }
}

#[test]
fn a_month_of_chance_is_no_surge() {
    for (seed, rate) in [0.01, 0.1, 0.2, 1.0, 5.0, 50.0].into_iter().cycle().take(24).enumerate() {
        let mut town = Town::new(100 + seed as u64);
        town.live(30 * DAY, |_| rate);
        assert_eq!(town.turns(), (0, 0, 0), "{rate}");
    }
}

#[test]
fn three_requests_instead_of_one_are_no_surge() {
    let mut town = Town::new(6);
    town.live(WEEK, |_| 0.02);
    assert_eq!(town.told_after(0.3), None);
    let mut watch = Watch::new();
    watch.run(7_200.0, 10.0, 1);
    let usual = watch.pulse();
    assert!((usual.rate - 0.1).abs() < 0.01 && (usual.usual - 0.1).abs() < 0.01, "{usual:?}");
    assert_eq!(watch.run(10.0, 10.0, 3), 0);
    let Pulse { rate, surge, anomaly, .. } = watch.pulse();
    assert!((rate - 0.3).abs() < 0.01 && surge < 1.5 && anomaly == 0.0, "{rate} {surge} {anomaly}");
}

#[test]
fn an_attack_of_half_a_day_is_one_surge_and_teaches_nothing() {
    let mut town = Town::new(7);
    let noon = 3 * WEEK + 12 * HOUR;
    town.live(noon, shop);
    let before = town.clone();
    town.live(noon + 12 * HOUR, |second| 20.0 * shop(second));
    assert!(town.surges());
    assert_eq!(town.turns(), (1, 0, 0));
    for hour in 12..24 {
        assert!(town.usual(hour) < 1.1 * before.usual(hour), "{hour}: {}", town.usual(hour));
    }
    town.live(noon + 12 * HOUR + 180, shop);
    assert_eq!(town.turns(), (1, 1, 0));
    assert!(town.told_after(10.0 * shop(town.second)).is_some_and(|seconds| seconds <= 15.0));
}

#[test]
fn more_that_stays_below_a_surge_becomes_usual_slowly() {
    let mut town = Town::new(8);
    town.live(4 * WEEK, |_| 20.0);
    town.live(4 * WEEK + DAY, |_| 40.0);
    assert_eq!(town.turns(), (0, 0, 0));
    let usual = town.usual(12);
    assert!((22.0..27.0).contains(&usual), "{usual}");
    assert!((town.usual(36) - 20.0).abs() < 1.0, "tuesday is another day: {}", town.usual(36));
}

#[test]
fn a_flash_crowd_is_one_surge_that_ends_when_it_goes() {
    let mut town = Town::new(9);
    let eight = 2 * WEEK + 20 * HOUR;
    town.live(eight, |_| 20.0);
    // Eight times as much within five minutes, for half an hour, and gone in another five.
    let crowd = |second: u64| {
        let minute = (second - eight) as f64 / 60.0;
        20.0 * (1.0 + 7.0 * (minute / 5.0).min((40.0 - minute) / 5.0).clamp(0.0, 1.0))
    };
    town.live(eight + HOUR, crowd);
    assert_eq!(town.turns(), (1, 1, 0));
    assert!(town.usual(20) < 1.1 * 20.0, "{}", town.usual(20));
}

#[test]
fn on_and_off_within_a_minute_is_one_surge() {
    let mut town = Town::new(10);
    town.live(2 * WEEK, |_| 5.0);
    town.live(2 * WEEK + HOUR, |second| if second % 40 < 20 { 200.0 } else { 5.0 });
    assert_eq!(town.turns(), (1, 0, 0));
}

#[test]
fn what_lasts_for_three_days_is_the_new_usual() {
    let mut town = Town::new(11);
    town.live(2 * WEEK, |_| 5.0);
    let lasting = u64::from(LASTING_INTERVALS) * SAMPLE_SECONDS;
    town.live(2 * WEEK + lasting - 60, |_| 100.0);
    assert_eq!(town.turns(), (1, 0, 0));
    town.live(2 * WEEK + lasting + DAY, |_| 100.0);
    assert_eq!(town.turns(), (1, 0, 1));
    assert!((town.usual_now() - 100.0).abs() < 5.0);
}

/// One key, with the clocks that the rotating task has.
struct Watch {
    baseline: Baseline,
    tick: f64,
    wall: u64,
}

impl Watch {
    fn new() -> Self {
        let baseline = Baseline::new(2, Tick::from_elapsed(Duration::ZERO));
        Self { baseline, tick: 0.0, wall: MONDAY_MILLIS }
    }

    fn now(&self) -> Now {
        let tick = Tick::from_elapsed(Duration::from_secs_f64(self.tick));
        Now { tick, wall: Wall::from_millis(self.wall) }
    }

    /// A task that is called every `step` seconds while so many requests come in each; how often surges began.
    fn run(&mut self, seconds: f64, step: f64, requests: u64) -> usize {
        let mut began = 0;
        for _ in 0..(seconds / step) as u64 {
            (0..requests).for_each(|_| self.baseline.count(0));
            self.tick += step;
            self.wall += (step * 1e3) as u64;
            self.baseline.rotate(self.now().tick);
            let turns = self.baseline.learn(self.now());
            began += turns.iter().filter(|surging| surging.index == 0 && surging.turn == Turn::Began).count();
        }
        began
    }

    fn pulse(&self) -> Pulse {
        self.baseline.pulse(0, self.now().tick)
    }
}

#[test]
fn nothing_is_unusual_before_there_is_evidence() {
    let mut watch = Watch::new();
    assert_eq!(watch.run(1_200.0, 0.25, 5) + watch.run(300.0, 0.25, 500), 0);
    let pulse = watch.pulse();
    assert!((pulse.rate - 2_000.0).abs() < 1.0);
    assert_eq!((pulse.usual, pulse.surge, pulse.anomaly), (pulse.rate, 1.0, 0.0));
}

#[test]
fn a_surge_shows_in_the_pulse_of_who_surges_only() {
    let mut watch = Watch::new();
    watch.run(7_200.0, 0.25, 1);
    let pulse = watch.pulse();
    assert!(
        (pulse.usual - 4.0).abs() < 0.1 && (pulse.surge - 1.0).abs() < 0.1 && pulse.anomaly < 1.0,
        "{pulse:?}"
    );
    assert_eq!(watch.run(15.0, 0.25, 25), 1);
    let pulse = watch.pulse();
    assert!((pulse.rate - 100.0).abs() < 1.0 && pulse.surge > 18.0 && pulse.anomaly >= 8.0, "{pulse:?}");
    let other = watch.baseline.pulse(1, watch.now().tick);
    assert_eq!((other.rate, other.surge, other.anomaly), (0.0, 1.0, 0.0));
    assert_eq!(watch.baseline.surging().iter().map(|surging| surging.index).collect::<Vec<_>>(), [0]);
}

#[test]
fn what_came_while_the_task_slept_is_neither_told_nor_learned() {
    let mut watch = Watch::new();
    watch.run(7_200.0, 0.25, 1);
    let usual = watch.pulse().usual;
    (0..100_000).for_each(|_| watch.baseline.count(0));
    watch.tick += 600.0;
    watch.wall += 600_000;
    assert_eq!(watch.run(120.0, 0.25, 1), 0);
    assert!((watch.pulse().usual - usual).abs() < 0.2);
    assert_eq!(watch.run(15.0, 0.25, 25), 1, "a flood after it is told");
}

#[test]
fn a_task_that_is_late_by_seconds_still_tells() {
    let mut watch = Watch::new();
    watch.run(7_200.0, 7.0, 28);
    assert!((watch.pulse().usual - 4.0).abs() < 0.1);
    assert_eq!(watch.run(14.0, 7.0, 700), 1);
}

#[test]
fn a_wall_clock_that_jumps_raises_no_surge() {
    let mut watch = Watch::new();
    watch.run(3.0 * 3_600.0, 5.0, 20);
    for jump in [-5 * 3_600_000_i64, 9 * 3_600_000, -40 * 86_400_000, 400 * 86_400_000] {
        watch.wall = watch.wall.saturating_add_signed(jump);
        assert_eq!(watch.run(3_600.0, 5.0, 20), 0, "{jump}");
    }
    watch.wall = 0;
    assert_eq!(watch.run(60.0, 5.0, 20), 0);
    assert_eq!(watch.run(15.0, 5.0, 500), 1, "and a flood is told all the same");
}

#[test]
fn after_a_restart_all_is_known_at_once() {
    let mut before = Watch::new();
    before.run(7_200.0, 5.0, 20);
    let name = |index: usize| ["AD", "LI"][index].to_owned();
    let family = before.baseline.kept(name, Absent::Silent);
    let json = serde_json::to_string(&family).unwrap();
    let family: Family = serde_json::from_str(&json).unwrap();
    assert_eq!(family.weeks.keys().collect::<Vec<_>>(), ["AD"], "who was silent takes no room");

    let mut after = Watch { wall: before.wall, ..Watch::new() };
    let weeks = after.baseline.recalled(&family, name, Absent::Silent, 0).unwrap();
    after.baseline.recall(weeks, after.now().wall);
    assert!((after.pulse().usual - 4.0).abs() < 0.1, "{:?}", after.pulse());
    assert_eq!(after.baseline.pulse(1, after.now().tick).usual, 0.0, "silence is known too");
    assert_eq!(after.run(600.0, 0.25, 1), 0);
    assert_eq!(after.run(15.0, 0.25, 25), 1);
}

#[test]
fn a_route_of_which_nothing_was_kept_is_new() {
    let (mut before, name) = (Watch::new(), |index: usize| ["a", "b"][index].to_owned());
    before.run(7_200.0, 5.0, 20);
    let family = before.baseline.kept(name, Absent::New);
    let after = Watch::new();
    let renamed = |index: usize| ["a", "c"][index].to_owned();
    let weeks = after.baseline.recalled(&family, renamed, Absent::New, 0).unwrap();
    after.baseline.recall(weeks, before.now().wall);
    assert!((after.pulse().usual - 4.0).abs() < 0.1);
    assert!(after.baseline.signs[1].read().is_none());
}

#[test]
fn memory_depends_on_the_number_of_keys_alone() {
    let mut watch = Watch::new();
    let bytes = |watch: &Watch| (watch.baseline.tally_bytes(), watch.baseline.study_bytes());
    let before = bytes(&watch);
    watch.run(600.0, 0.25, 1_000);
    assert_eq!(bytes(&watch), before);
    assert!(before.1 / 2 < 1_300, "{before:?}");
}
