//! A gate inside a program whose own signal panics: the request is answered as a fault of the gate, and all others go on.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use riskgate::signals::{Facts, Kind, Name, Root, Signal, Value, Vocabulary};

use crate::http2::{block_on, clear, send};
use crate::net::origin::{Answer, Origin};
use crate::net::{Request, free_addr};
use crate::support::{Running, Setup, eventually, json, quoted, raw_origin, read_head};
use crate::told;
use crate::upstreams::grpc::{Where, server};

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

/// What the gate logs when a server fails once too often, in the filter that notices it.
const NOTICED: &str = "a server keeps failing and is left alone";

/// A gate before this server, and one path that goes elsewhere.
fn wary(server: SocketAddr, more: &str) -> Running {
    Setup::new()
        .listener("http2 = true")
        .section("server", "threads = 2\ngrace_period = \"10m\"")
        .route("*", "/", "origin")
        .route("*", "/fine", "fine")
        .upstream("fine", "builtin = true")
        .upstream("origin", &format!("servers = {}\n{more}", quoted(&[server])))
        .start()
}

/// One request breaks off where its server fails, and is answered and recorded; all others go on.
fn assert_unharmed(server: SocketAddr, method: &str, filter: &str) {
    let gate = wary(server, "eject_after = 1");
    let mut client = gate.connect();
    let broken = client.send(&Request::new(method, "/boom")).unwrap();
    assert_eq!(broken.status, 500, "{filter} {method}: {}", broken.text());
    assert!(client.is_closed(), "{filter} {method}");
    assert_eq!(gate.record_of(&broken)["status"], 500, "{filter} {method}");
    assert_eq!(gate.send(&Request::new(method, "/fine")).status, 200, "{filter} {method}");
    let panics = gate.metrics().lines().any(|line| line == "riskgate_panics_total 1");
    assert!(panics, "{filter} {method}: {}", gate.metrics());
    let shown = || json(&gate.ask(&Request::get("/api/traffic")))["process"]["in_flight"].as_u64();
    eventually("all to end", || (shown() == Some(0)).then_some(()));
    let upstreams = json(&gate.ask(&Request::get("/api/upstreams")));
    let busy = upstreams["upstreams"].as_array().unwrap().iter().flat_map(|upstream| {
        upstream["servers"].as_array().unwrap().iter().map(|server| server["in_flight"].as_u64().unwrap())
    });
    assert_eq!(busy.sum::<u64>(), 0, "{filter} {method}");
}

/// The same where an answer ends, which is the end of a call: it fails or breaks off, and all others on its connection go
/// on.
fn assert_a_call_is_unharmed() {
    let (server, _) = server("14", Where::Trailers);
    let gate = wary(server, "eject_after = 1\nprotocol = \"http2\"");
    block_on(async {
        let mut client = clear(gate.addr).await;
        let call =
            || http::Request::post("http://api.example/boom").header("content-type", "application/grpc");
        let broken = send(&mut client, call(), &[b"\0\0\0\0\0"]).await;
        // The head of its answer may be on its way already.
        let status = broken.ok().map(|answer| answer.headers()["grpc-status"].clone());
        assert!(status.as_ref().is_none_or(|status| status == "13"), "{status:?}");
        let fine = http::Request::post("http://api.example/fine");
        assert_eq!(send(&mut client, fine, &[b"x"]).await.unwrap().status(), 200);
    });
    assert!(gate.metrics().lines().any(|line| line == "riskgate_panics_total 1"), "{}", gate.metrics());
}

/// The same for a request over HTTP/2 while its body is sent, to a server that takes none of it.
fn assert_a_body_is_unharmed(server: SocketAddr) {
    let gate = wary(server, "eject_after = 1");
    block_on(async {
        let mut client = clear(gate.addr).await;
        let post = |path: &str| http::Request::post(format!("http://api.example{path}"));
        let broken = send(&mut client, post("/boom"), &[b"some", b"more"]).await.unwrap();
        assert_eq!(broken.status(), 500, "{}", broken.body());
        assert_eq!(send(&mut client, post("/fine"), &[b"x"]).await.unwrap().status(), 200);
    });
    assert_eq!(panics(&gate), 1);
    let shown = || json(&gate.ask(&Request::get("/api/traffic")))["process"]["in_flight"].as_u64();
    eventually("all to end", || (shown() == Some(0)).then_some(()));
}

#[test]
#[ignore = "started by another test, since it listens to all that this process logs"]
fn a_gate_whose_listener_to_logs_panics() {
    told::listen(|message| assert!(!message.contains(NOTICED), "who listens makes a mistake"));
    let broken = raw_origin(|mut stream| drop(read_head(&mut stream)));
    let ill = Origin::start(|_| Answer::new(503, "ill"));
    // By DELETE the way of Pingora's filters, by GET the short one, which is all one filter.
    for method in ["DELETE", "GET"] {
        assert_unharmed(free_addr(), method, "fail_to_connect");
        assert_unharmed(broken, method, "error_while_proxy");
        assert_unharmed(ill.addr(), method, "response_filter");
    }
    assert_a_call_is_unharmed();
    assert_a_body_is_unharmed(broken);
    println!("all were unharmed");
}

#[test]
fn a_panic_in_a_filter_of_the_way_to_the_origin_or_back_ends_its_own_request_and_nothing_else() {
    let output = told::alone("panics::a_gate_whose_listener_to_logs_panics");
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("all were unharmed"), "{said}{log}");
    assert_eq!(log.matches("who listens makes a mistake").count(), 8, "{log}");
}

/// What the gate logs behind its answer to a request that was not proxied, and where there is no room for a record.
const NOT_PROXIED: &str = "not proxied";
const NO_ROOM: &str = "the decision queue is full";
/// What the thread says that writes records.
const UNWRITTEN: &str = "the decision log cannot be written";

fn panics(gate: &Running) -> u64 {
    let metrics = gate.metrics();
    let count = metrics.lines().find_map(|line| line.strip_prefix("riskgate_panics_total "));
    count.expect("a number").parse().expect("a number")
}

/// Requests to a server that is not there: each is answered and recorded, and the rest of its connection goes on.
fn assert_failures_are_unharmed() {
    let gate = wary(free_addr(), "eject_after = 10");
    for (done, method) in (1..).zip(["DELETE", "GET"]) {
        let mut client = gate.connect();
        let broken = client.send(&Request::new(method, "/boom")).unwrap();
        assert_eq!(broken.status, 502, "{method}");
        assert_eq!(gate.record_of(&broken)["status"], 502, "{method}");
        assert_eq!(panics(&gate), done, "{method}");
    }
    block_on(async {
        let mut client = clear(gate.addr).await;
        let call = |path: &str| http::Request::post(format!("http://api.example{path}"));
        assert_eq!(send(&mut client, call("/boom"), &[b"x"]).await.unwrap().status(), 502);
        assert_eq!(send(&mut client, call("/fine"), &[b"x"]).await.unwrap().status(), 200);
    });
    assert_eq!((panics(&gate), gate.send(&Request::get("/fine")).status), (3, 200));
}

/// Requests until there is no room for their records: the connection stays. `stuck` keeps them from being written.
fn assert_the_end_is_unharmed(stuck: Sender<()>) {
    let files = Setup::new().section("decisions", "queue = 64").section("server", "threads = 2").write();
    std::os::unix::fs::symlink("/dev/full", files.path("decisions.jsonl")).unwrap();
    let gate = Running::start(files).unwrap_or_else(|problems| panic!("{problems:?}"));
    let mut client = gate.connect();
    let mut asks = || assert_eq!(client.send(&Request::get("/")).unwrap().status, 200);
    (0..500).for_each(|_| asks());
    assert_eq!(panics(&gate), 1);
    asks();
    let shown = || json(&gate.ask(&Request::get("/api/traffic")))["process"]["in_flight"].as_u64();
    eventually("all to end", || (shown() == Some(0)).then_some(()));
    drop(stuck);
}

#[test]
#[ignore = "started by another test, since it listens to all that this process logs"]
fn a_gate_whose_listener_to_logs_panics_where_requests_end() {
    // Whoever writes records stands still as long as the other end lives.
    let (stuck, stands_still) = mpsc::channel();
    let stands_still = Mutex::new(stands_still);
    told::listen(move |message| {
        let fine = ![NOT_PROXIED, NO_ROOM].iter().any(|told| message.contains(told));
        assert!(fine, "who listens makes a mistake");
        if message.contains(UNWRITTEN) {
            let _ = stands_still.lock().unwrap().recv();
        }
    });
    assert_failures_are_unharmed();
    assert_the_end_is_unharmed(stuck);
    println!("all were unharmed");
}

#[test]
fn a_panic_where_a_request_ends_takes_nothing_from_the_next_one_on_its_connection() {
    let output = told::alone("panics::a_gate_whose_listener_to_logs_panics_where_requests_end");
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("all were unharmed"), "{said}{log}");
    assert_eq!(log.matches("who listens makes a mistake").count(), 4, "{log}");
}
