//! Delay instead of refusal: who waits gets through or is told why not, the room is bounded, and nobody is left in it.

use riskgate::facts::problem::Problem;

use crate::net::origin::{Answer, Gate, Origin};
use crate::net::{Body, Client, Request};
use crate::support::{Running, Setup, eventually, from};

const US: &str = "8.8.8.8";
const DE: &str = "203.0.113.9";

/// Four requests/s for each client, held over a second.
fn brisk() -> Setup {
    Setup::new()
        .section("traffic", "window = \"1s\"\nslots = 1024\ncounter_slots = 1024")
        .rule("10-slow", "risk.throttle(\"a.slow\", \"client\", 4);")
}

/// One request in ten seconds for each client, and whoever comes next may wait that long.
fn slow(waiting: usize) -> Setup {
    Setup::new()
        .rule("10-slow", "risk.throttle(\"a.slow\", \"client\", 0.1);")
        .section("limits.\"a.slow\"", &format!("delay = \"30s\"\nwaiting = {waiting}"))
}

fn begin(gate: &Running, request: &Request) -> Client {
    let mut client = gate.connect();
    client.write(&request.to_bytes()).unwrap();
    client
}

/// Comes back when so many requests wait.
fn wait_until_waiting(gate: &Running, count: usize) {
    let line = format!("riskgate_waiting {count}");
    eventually(&line, || gate.metrics().lines().any(|found| found == line).then_some(()));
}

#[test]
fn a_client_that_paces_itself_badly_gets_all_it_asks_for() {
    let gate = brisk().start();
    let answers: Vec<u16> = (0..6).map(|_| gate.send(&from(US, "/")).status).collect();
    assert!(answers.contains(&429), "without a delay: {answers:?}");

    let echo = Origin::start(|received| Answer::new(200, received.body.clone()));
    let gate = brisk().section("limits.\"a.slow\"", "delay = \"5s\"").origin(&[echo.addr()]).start();
    let mut client = gate.connect();
    for n in 0..3 {
        assert_eq!(client.send(&from(US, "/")).unwrap().status, 200, "GET {n}");
        let post = Request::new("POST", "/").header("x-forwarded-for", US);
        let answer = client.send(&post.body(Body::Full(b"a body that waits, too".to_vec()))).unwrap();
        assert_eq!((answer.status, answer.text()), (200, "a body that waits, too"), "POST {n}");
    }
    let records = gate.records(6);
    let waited: Vec<u64> = records.iter().filter_map(|record| record["waited_ms"].as_u64()).collect();
    assert!((1..=4).contains(&waited.len()), "the limit is held over a second: {waited:?}");
    assert!(waited.iter().all(|waited| (1..5_000).contains(waited)), "{waited:?}");
    for record in records.iter().filter(|record| record["waited_ms"].is_u64()) {
        assert_eq!((&record["action"], &record["limit"]), (&"allowed".into(), &serde_json::Value::Null));
        let (judge, total) = (record["judge_us"].as_u64().unwrap(), record["total_us"].as_u64().unwrap());
        let waited = record["waited_ms"].as_u64().unwrap() * 1_000;
        assert!(
            total + 1_000 >= waited && judge < total - waited + 1_000,
            "waiting is no part of it: {record}"
        );
    }
    let metrics = gate.metrics();
    let delayed = format!("riskgate_delayed_total{{action=\"allowed\",per=\"client\"}} {}", waited.len());
    let count = format!("riskgate_delay_seconds_count {}", waited.len());
    assert!([delayed, count].iter().all(|line| metrics.lines().any(|found| found == line)), "{metrics}");
}

#[test]
fn the_room_has_so_many_places_and_the_next_request_is_refused_at_once() {
    let gate = slow(1).start();
    assert_eq!(gate.send(&from(US, "/")).status, 200);
    let waiting = begin(&gate, &from(US, "/"));
    wait_until_waiting(&gate, 1);
    let refused = gate.send(&from(US, "/"));
    assert_eq!((refused.status, refused.headers.first("ratelimit").is_some()), (429, true));
    let wait: u64 = refused.headers.first("retry-after").unwrap().parse().unwrap();
    assert!(wait >= 10, "one waits already, and another ten seconds are for that: {wait}");
    let record = gate.record_of(&refused);
    assert_eq!((&record["limit"], &record["waited_ms"]), (&"a.slow".into(), &serde_json::Value::Null));

    assert_eq!(gate.send(&from(DE, "/")).status, 200, "a client within its limit does not wait");
    assert_eq!(gate.send(&from(DE, "/")).status, 429, "there is one place for all clients of the limit");
    drop(waiting);
    wait_until_waiting(&gate, 0);
    let records = gate.records(5);
    let left = records.iter().find(|record| record["fault"] == "client_gone").unwrap();
    assert_eq!((&left["status"], &left["action"]), (&499.into(), &"throttled".into()));
    assert!(left["limit"] == "a.slow" && left["waited_ms"].as_u64() >= Some(1), "{left}");
}

#[test]
fn who_would_have_to_wait_too_long_is_refused_at_once() {
    let gate = slow(100).start();
    assert_eq!(gate.send(&from(US, "/")).status, 200);
    // The first has to wait for 5 to 15 s, and each other for 10 s more than the one before.
    let settled = |count: usize| {
        let metrics = gate.metrics();
        let value = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name));
            line.map_or(0, |value| value.trim().parse::<usize>().unwrap())
        };
        let (waiting, refused) =
            (value("riskgate_waiting "), value("riskgate_throttled_total{country=\"US\",per=\"client\"} "));
        (waiting + refused == count).then_some((waiting, refused))
    };
    let mut clients = Vec::new();
    for count in 1..=6 {
        clients.push(begin(&gate, &from(US, "/")));
        let (waiting, refused) = eventually("the next to wait or to be refused", || settled(count));
        assert!(waiting >= count.min(2) && waiting <= 3, "{waiting} wait, {refused} are refused");
    }
    assert_eq!(clients.last_mut().unwrap().response_to("GET").unwrap().status, 429);
}

#[test]
fn a_gate_that_stops_refuses_who_waits() {
    let gate = slow(10).start();
    assert_eq!(gate.send(&from(US, "/")).status, 200);
    let mut waiting = begin(&gate, &from(US, "/"));
    wait_until_waiting(&gate, 1);
    gate.begin_stop();
    let refused = waiting.response_to("GET").unwrap();
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.headers.first("retry-after").unwrap().parse().unwrap();
    assert!((1..=25).contains(&wait), "{wait}");
    let records = gate.stop().records(2);
    assert_eq!((&records[1]["status"], &records[1]["limit"]), (&429.into(), &"a.slow".into()));
}

#[test]
fn who_waits_is_not_in_flight_to_the_origin() {
    let held = Gate::default();
    let opened = held.clone();
    let origin = Origin::start(move |received| match received.target.as_str() {
        "/held" => Answer::new(200, "late").behind(&opened),
        _ => Answer::new(200, "now"),
    });
    let throttle = "if req.path == \"/slow\" { risk.throttle(\"a.slow\", \"client\", 0.1); }";
    let gate = slow(10)
        .section("concurrency.slots", "per = \"client\"\nmost = 1")
        .rule("10-slow", &format!("risk.concurrency(\"slots\"); {throttle}"))
        .origin(&[origin.addr()])
        .start();
    assert_eq!(gate.send(&from(US, "/slow")).status, 200);
    let _waiting = begin(&gate, &from(US, "/slow"));
    wait_until_waiting(&gate, 1);
    let mut other = begin(&gate, &from(US, "/held"));
    origin.wait_for(2);
    assert_eq!(gate.send(&from(US, "/")).status, 429, "the one place is taken by the one in flight");
    held.open();
    assert_eq!(other.response_to("GET").unwrap().status, 200);
}

#[test]
fn who_has_to_pass_two_limits_waits_in_one_line_after_the_other() {
    let both = "risk.throttle(\"a.slow\", \"client\", 2); risk.throttle(\"b.slow\", \"route\", 4);";
    let gate = brisk()
        .section("traffic", "window = \"1s\"\nfair = false\nslots = 1024\ncounter_slots = 1024")
        .rule("10-slow", both)
        .section("limits.\"a.slow\"", "delay = \"10s\"")
        .section("limits.\"b.slow\"", "delay = \"10s\"")
        .start();
    let clients: Vec<Client> = (0..8).map(|n| begin(&gate, &from([US, DE][n % 2], "/"))).collect();
    for mut client in clients {
        assert_eq!(client.response_to("GET").unwrap().status, 200);
    }
    wait_until_waiting(&gate, 0);
    let records = gate.records(8);
    let waited = records.iter().filter(|record| record["waited_ms"].is_u64()).count();
    assert!((1..=6).contains(&waited), "{records:?}");
}

#[test]
fn a_delay_comes_and_goes_with_a_reload() {
    let gate = slow(10).start();
    let config = std::fs::read_to_string(gate.files().config()).unwrap();
    let without = config.replace("[limits.\"a.slow\"]\ndelay = \"30s\"\nwaiting = 10\n", "");
    assert_ne!(config, without);
    assert_eq!(gate.send(&from(US, "/")).status, 200);
    let _waiting = begin(&gate, &from(US, "/"));
    wait_until_waiting(&gate, 1);
    gate.files().write("riskgate.toml", without);
    assert_eq!(gate.ask(&Request::new("POST", "/api/reload")).status, 200);
    assert_eq!(gate.send(&from(US, "/")).status, 429, "nothing waits any more");
    wait_until_waiting(&gate, 1);
    gate.files().write("riskgate.toml", config);
    assert_eq!(gate.ask(&Request::new("POST", "/api/reload")).status, 200);
    let _second = begin(&gate, &from(US, "/"));
    wait_until_waiting(&gate, 2);
}

#[test]
fn a_limit_that_does_not_exist_is_named_with_those_that_do() {
    let problems = |name: &str| {
        let setup = slow(10).section(&format!("limits.\"{name}\""), "delay = \"1s\"");
        let problems = setup.try_start().err().expect("it is refused");
        problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
    };
    let said = problems("a.slwo");
    assert!(
        said.contains("`[limits]` names `a.slwo`, but there is no such limit; did you mean `a.slow`?"),
        "{said}"
    );
    let said = problems("nothing at all");
    assert!(said.contains("; there are `a.slow`, `level.high`, `level.medium`"), "{said}");
}
