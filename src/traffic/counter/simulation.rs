//! Simulated traffic with a simulated clock: is a value within its stated error of an exact reference?

use std::collections::{HashMap, VecDeque};

use super::super::simulation::{at, interval, subject, traffic};
use super::super::{Settings, Traffic};
use super::*;

/// The same numbers in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 20
    }

    /// From 0 to 1, neither included.
    fn uniform(&mut self) -> f64 {
        (self.next() as f64 + 1.0) / ((1u64 << 44) as f64 + 2.0)
    }

    /// One of `count` clients, the first ones far more often than the last.
    fn zipf(&mut self, count: u32) -> u32 {
        (f64::from(count).powf(self.uniform()) as u32).min(count - 1)
    }
}

/// When everything was counted, for each client.
#[derive(Default)]
struct Exact(HashMap<u32, VecDeque<u64>>);

impl Exact {
    fn within(&self, client: u32, from: u64, to: u64) -> f64 {
        let times = self.0.get(&client).into_iter().flatten();
        times.filter(|time| (from..to).contains(*time)).count() as f64
    }
}

fn counter(traffic: &Traffic, kind: Counted, per: Dimension, seconds: u64) -> Arc<Counter> {
    let spec = CounterSpec { name: "c".into(), per: per.into(), kind, window: interval(seconds) };
    traffic.counters(&[spec], at(0.0)).remove(0)
}

/// Lets clients come as `next` says, and compares each value with what really was in the window.
fn trace(seconds: u64, mut next: impl FnMut(&mut Random, f64) -> (f64, u32)) -> (f64, f64) {
    let (traffic, mut random, mut exact) = (traffic(), Random(7), Exact::default());
    let counter = counter(&traffic, Counted::Events, Dimension::Client, seconds);
    let (window, step) = (counter.spec().window.nanos(), counter.step().nanos());
    let (mut now, mut rotated, mut sum, mut looks, mut wrong) = (0.0, 0.0, 0.0, 0.0, 0.0);
    while now < 4.0 * seconds as f64 {
        let (gap, client) = next(&mut random, now);
        now += gap;
        while rotated < now {
            traffic.rotate(at(rotated));
            rotated += counter.step().seconds() / 4.0;
        }
        let tick = at(now).as_nanos();
        let value = counter.value(&subject("DE", client), at(now)) as f64;
        let truth = exact.within(client, tick.saturating_sub(window), tick + 1);
        // The oldest step, of which a part lies before the window.
        let begin = (tick / step * step).saturating_sub(window);
        let bound = exact.within(client, begin, begin + step);
        assert!((value - truth).abs() <= bound + 0.5, "{value} for {truth} +- {bound} at {now}");
        (sum, looks) = (sum + truth, looks + 1.0);
        // A script that compares with a bound of 20.
        wrong += f64::from(u8::from((value > 20.0) != (truth > 20.0)));
        counter.count(&subject("DE", client), at(now));
        let times = exact.0.entry(client).or_default();
        times.push_back(tick);
        while times.front().is_some_and(|first| *first + 2 * window < tick) {
            times.pop_front();
        }
    }
    assert!(sum > looks, "it has to be about something");
    (wrong / looks, looks)
}

#[test]
fn a_value_is_off_by_no_more_than_the_oldest_step_whatever_the_trace() {
    for seconds in [12, 60, 600, 3_600] {
        let rate = 3_000.0 / seconds as f64;
        let poisson = trace(seconds, |random, _| (-random.uniform().ln() / rate, random.zipf(400)));
        assert!(poisson.0 < 0.01, "{seconds}: {poisson:?}");
        // All of a client's events in one burst, on the edge of a window.
        let edge = seconds as f64;
        let bursts = trace(seconds, |random, now| {
            let left = edge - now % edge;
            if now % edge < 0.01 * edge {
                (edge / 10_000.0, 1)
            } else {
                (left.min(edge / 50.0), random.zipf(9))
            }
        });
        assert!(bursts.0 < 0.01, "{seconds}: {bursts:?}");
    }
}

#[test]
fn distinct_values_are_counted_within_the_stated_error() {
    for (per, words) in [(Dimension::Client, Distinct::WORDS), (Dimension::Asn, Distinct::WORDS_OF_FEW)] {
        let precision = Precision::of(words);
        for part in [0.02, 0.1, 0.5, 1.0] {
            let values = (precision.reach as f64 * part).round().max(2.0);
            let traffic = traffic();
            let counter = counter(&traffic, Counted::Distinct, per, 3_600);
            let (clients, mut sum, mut squares) = (if part < 0.5 { 200 } else { 40 }, 0.0, 0.0);
            for n in 0..clients {
                let who =
                    crate::traffic::Subject { asn: crate::facts::place::Asn::new(n), ..subject("DE", n) };
                let mut now = 0.0;
                for value in 0..values as u32 {
                    now = 1_500.0 * f64::from(value) / values;
                    counter.count_value(&who, &format!("/{n}/{value}"), at(now.min(299.0)));
                    counter.count_value(&who, &format!("/{n}/{}", value / 2), at(now.min(299.0)));
                }
                let error = counter.value(&who, at(now.min(299.0))) as f64 / values - 1.0;
                (sum, squares) = (sum + error, squares + error * error);
            }
            let deviation = (squares / f64::from(clients)).sqrt();
            let context = format!("{per:?}: {deviation} of {values}, mean {}", sum / f64::from(clients));
            assert!(deviation <= 1.25 * precision.error.max(0.08), "{context} {precision:?}");
            assert!((sum / f64::from(clients)).abs() <= 0.05, "{context}");
        }
    }
}

#[test]
fn distinct_values_slide_out_of_the_window() {
    let traffic = traffic();
    let counter = counter(&traffic, Counted::Distinct, Dimension::Client, 600);
    let who = subject("DE", 1);
    for second in 0..3_000 {
        let now = f64::from(second);
        traffic.rotate(at(now));
        // A new value every ten seconds: sixty in a window.
        counter.count_value(&who, &format!("/{}", second / 10), at(now));
        let value = counter.value(&who, at(now)) as f64;
        assert!(second < 650 || (value - 60.0).abs() < 60.0 * 0.4, "{value} at {second}");
    }
}

#[test]
fn a_million_clients_fit_into_64_mib_and_are_counted_exactly() {
    // A tenth of that, which takes a tenth of the time.
    const CLIENTS: u32 = 100_000;
    let settings = Settings { counter_slots: 110_000, ..Settings::default() };
    let traffic = Traffic::new(settings, at(0.0));
    let counter = counter(&traffic, Counted::Events, Dimension::Client, 3_600);
    assert!(10 * counter.bytes() <= 64 << 20, "{}", counter.bytes());
    for n in 0..CLIENTS {
        (0..=n % 2).for_each(|_| counter.count(&subject("DE", n), at(1.0)));
    }
    let wrong = (0..CLIENTS).filter(|n| counter.value(&subject("DE", *n), at(2.0)) != u64::from(n % 2 + 1));
    let wrong = wrong.count();
    assert!(wrong < 100 && counter.forgotten() < 100, "{wrong} wrong, {} forgotten", counter.forgotten());
}

#[test]
fn with_more_clients_than_places_nobody_reads_too_much_and_the_busy_are_kept() {
    let settings = Settings { counter_slots: 16_384, ..Settings::default() };
    let traffic = Traffic::new(settings, at(0.0));
    let counter = counter(&traffic, Counted::Events, Dimension::Client, 600);
    let (mut random, mut truth) = (Random(3), HashMap::<u32, u64>::new());
    for n in 0..400_000 {
        let client = random.zipf(1_000_000);
        counter.count(&subject("DE", client), at(f64::from(n) / 8_000.0));
        *truth.entry(client).or_default() += 1;
    }
    let read = |client: u32| counter.value(&subject("DE", client), at(49.0));
    assert!(truth.iter().all(|(client, count)| read(*client) <= *count));
    let busy: Vec<_> = truth.iter().filter(|(_, count)| **count > 20).collect();
    let exact = busy.iter().filter(|(client, count)| read(**client) as f64 >= 0.9 * **count as f64).count();
    assert!(busy.len() > 500 && exact as f64 >= 0.99 * busy.len() as f64, "{exact} of {}", busy.len());
}
