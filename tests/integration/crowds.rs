//! Many clients at once, over real connections: limits hold, and nobody pays for somebody else.

use std::thread;
use std::time::Instant;

use crate::net::Request;
use crate::support::{Running, Setup, from};

const THREADS: usize = 8;
const REQUESTS: usize = 60;
/// Requests/s of the limited country, over windows of ten seconds.
const LIMIT: f64 = 5.0;

/// The statuses that this many threads get for the same requests.
fn hammer(gate: &Running, request: impl Fn(usize) -> Request + Sync) -> Vec<u16> {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..THREADS)
            .map(|thread| {
                let request = &request;
                scope.spawn(move || {
                    let mut client = gate.connect();
                    let send = |n| client.send(&request(thread * REQUESTS + n)).unwrap().status;
                    (0..REQUESTS).map(send).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn a_hammered_country_keeps_to_its_limit_and_another_is_never_touched() {
    let gate = Setup::new()
        .section("countries", &format!("KP = {{ limit = {LIMIT} }}\nUS = {{ limit = 1000 }}"))
        .start();
    let begin = Instant::now();
    let statuses = hammer(&gate, |n| match n % 4 {
        0 => from("8.8.8.8", "/us"),
        _ => from(&format!("175.45.{}.{}", 176 + n % 4, n % 250), "/kp"),
    });
    let seconds = begin.elapsed().as_secs_f64();
    let kept = gate.stop().records(THREADS * REQUESTS);
    assert_eq!(kept.len(), THREADS * REQUESTS, "every request is recorded");
    let with = |country: &str, action: &str| {
        kept.iter().filter(|record| record["country"] == country && record["action"] == action).count()
    };
    assert_eq!(with("US", "throttled"), 0);
    assert_eq!(with("US", "allowed"), THREADS * REQUESTS / 4);
    // One window's worth and what its end gave back while the test ran, within the twentieth that sharing may take.
    let admitted = with("KP", "allowed");
    let (least, most) = (0.95 * LIMIT * 10.0, 1.05 * LIMIT * (10.0 + seconds) + 1.0);
    assert!((least..=most).contains(&(admitted as f64)), "{admitted} admitted in {seconds} s");
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), with("KP", "throttled"));
}

#[test]
fn threads_that_race_for_the_last_places_do_not_all_get_them() {
    let gate = Setup::new().rule("10-slow", "risk.throttle(\"test.slow\", \"route\", 1);").start();
    let begin = Instant::now();
    let statuses = hammer(&gate, |_| from("8.8.8.8", "/"));
    let admitted = statuses.iter().filter(|status| **status == 200).count();
    let most = 10.0 + begin.elapsed().as_secs_f64() + 1.0;
    assert!(admitted >= 10 && admitted as f64 <= most, "{admitted} of {}", statuses.len());
}
