//! A gate inside a program whose own signal panics: the request is answered as a fault of the gate, and all others go on.

use std::thread;
use std::time::{Duration, Instant};

use riskgate::signals::{Facts, Kind, Name, Root, Signal, Value, Vocabulary};

use crate::net::Request;
use crate::support::{Running, Setup, eventually, json};

/// How many requests break off, on threads of their own.
const BROKEN: usize = 40;

const BOMB: Signal = Signal::property(Root::Request, "bomb", Kind::Text, "panics for some", bomb);

fn bomb<'a>(facts: &Facts<'a>, _: &Name) -> Value<'a> {
    if facts.head.path() == "/boom" {
        panic!("a signal of another program makes a mistake");
    }
    Value::text("fine")
}

const FUSE: Signal = Signal::property(Root::Response, "fuse", Kind::Text, "panics for some", bomb);

/// A gate with room for one request of each client at a time, so that a place that is not given back shows.
fn gate() -> Running {
    let files = Setup::new()
        .section("server", "threads = 2\ngrace_period = \"10m\"")
        .section("concurrency.one", "per = \"country\"\nmost = 3")
        .rule("10-bomb", "risk.concurrency(\"one\"); if req.bomb != \"fine\" { risk.block(\"test.never\"); }")
        .write();
    Running::start_with(files, Vocabulary::standard().with(BOMB)).unwrap_or_else(|_| panic!("it starts"))
}

#[test]
fn a_panic_ends_its_own_request_and_nothing_else() {
    let gate = gate();
    thread::scope(|scope| {
        for _ in 0..BROKEN {
            scope.spawn(|| {
                let mut client = gate.connect();
                let broken = client.send(&Request::get("/boom")).unwrap();
                assert_eq!(broken.status, 500);
                assert_eq!(broken.headers.first("content-type"), Some("application/problem+json"));
                assert!(broken.headers.first("riskgate-decision").is_some());
                assert!(!broken.text().contains("mistake"), "nobody is told what the panic said");
                assert!(client.is_closed());
            });
        }
    });
    let mut kept = gate.connect();
    for _ in 0..BROKEN {
        assert_eq!(kept.send(&Request::get("/")).unwrap().status, 200);
    }
    let panics = format!("riskgate_panics_total {BROKEN}");
    assert!(gate.metrics().lines().any(|line| line == panics), "{}", gate.metrics());
    let in_flight = || json(&gate.ask(&Request::get("/api/traffic")))["process"]["in_flight"].as_u64();
    eventually("all to end", || (in_flight() == Some(0)).then_some(()));

    let begun = Instant::now();
    let files = gate.stop();
    assert!(begun.elapsed() < Duration::from_secs(60), "nothing is waited for");
    assert_eq!(files.records(BROKEN).len(), BROKEN, "what was judged is recorded");
}

#[test]
fn a_panic_after_the_answer_takes_nothing_from_the_client_nor_its_record() {
    let script = "fn observe(req, res, risk) { if res.fuse != \"fine\" { risk.count(\"never\"); } }\n\
                  fn assess(req, risk) {}\n";
    let files = Setup::new()
        .section("counters.never", "per = \"client\"\nwindow = \"1m\"")
        .script("10-fuse", script)
        .write();
    let vocabulary = Vocabulary::standard().with(FUSE);
    let gate = Running::start_with(files, vocabulary).unwrap_or_else(|problems| panic!("{problems:?}"));
    let mut client = gate.connect();
    for path in ["/boom", "/", "/boom", "/"] {
        let answer = client.send(&Request::get(path)).unwrap();
        assert_eq!(answer.status, 200, "{path}, on the same connection");
        let record = gate.record_of(&answer);
        assert_eq!((&record["path"], &record["status"]), (&path.into(), &200.into()));
    }
    assert!(gate.metrics().lines().any(|line| line == "riskgate_panics_total 2"), "{}", gate.metrics());
}
