//! Several servers behind a gate: who is asked, what happens when one fails, and what a reload changes.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::net::TcpStream;

use crate::net::origin::{Answer, Gate, Origin};
use crate::net::{Body, Client, Request, Response, free_addr};
use crate::support::{Running, Setup, eventually, json, quoted, raw_origin, read_head, shown};

pub(crate) mod grpc;
mod identity;
mod names;
mod reload;
mod routing;
mod transport;
mod windows;

/// A server on a thread of its own, for as long as the test process lives, that does this with every connection.
pub(crate) fn serving<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let (told, addr) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream));
            }
        });
    });
    addr.recv().unwrap()
}

/// An origin that says its name.
fn named(name: &'static str) -> Origin {
    Origin::start(move |_| Answer::new(200, name))
}

fn servers(servers: &[SocketAddr], more: &str) -> Setup {
    Setup::new().upstream("origin", &format!("servers = {}\n{more}", quoted(servers)))
}

fn text(gate: &Running, request: &Request) -> String {
    let response = gate.send(request);
    assert_eq!(response.status, 200, "{}", response.text());
    response.text().to_owned()
}

fn tally(gate: &Running, request: &Request, count: usize) -> BTreeMap<String, usize> {
    (0..count).fold(BTreeMap::new(), |mut tally, _| {
        *tally.entry(text(gate, request)).or_default() += 1;
        tally
    })
}

/// The state of a server by its address, as operators see it.
fn state(gate: &Running, server: SocketAddr) -> String {
    let seen = json(&gate.ask(&Request::get("/api/upstreams")));
    let servers = seen["upstreams"][0]["servers"].as_array().unwrap().clone();
    let row = servers.iter().find(|row| row["server"] == server.to_string());
    row.unwrap_or_else(|| panic!("{servers:?}"))["state"].as_str().unwrap().to_owned()
}

fn has_metric(gate: &Running, line: &str) {
    let metrics = gate.metrics();
    assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
}

#[test]
fn servers_take_turns_by_their_weight() {
    let (a, b) = (named("a"), named("b"));
    let list = format!("[{{ address = \"{}\", weight = 3 }}, \"{}\"]", a.addr(), b.addr());
    let gate = Setup::new().upstream("origin", &format!("servers = {list}")).start();
    let tally = tally(&gate, &Request::get("/"), 40);
    assert_eq!((tally["a"], tally["b"]), (30, 10));
    let shown = json(&gate.ask(&Request::get("/api/upstreams")));
    let servers = shown["upstreams"][0]["servers"].as_array().unwrap();
    assert_eq!(servers.iter().map(|row| row["weight"].as_u64()).collect::<Vec<_>>(), [Some(3), Some(1)]);
    has_metric(&gate, &format!("riskgate_upstream_healthy{{server=\"{}\",upstream=\"origin\"}} 1", a.addr()));
}

#[test]
fn a_busy_server_gets_less_when_connections_are_counted() {
    let opening = Gate::default();
    let held = opening.clone();
    let slow = Origin::start(move |_| Answer::new(200, "slow").behind(&held));
    let quick = named("quick");
    let gate = servers(&[slow.addr(), quick.addr()], "balance = \"least_connections\"").start();
    // Until the slow one is taken once, nobody is busy.
    let mut waiting: Vec<Client> = Vec::new();
    while slow.received().is_empty() {
        let mut client = gate.connect();
        client.write(&Request::get("/").to_bytes()).unwrap();
        let done = quick.received().len() + 1;
        eventually("the request", || {
            (quick.received().len() >= done || !slow.received().is_empty()).then_some(())
        });
        waiting.push(client);
    }
    // Of two draws at least one is the quick one, unless both are the slow one: a quarter at most.
    let before = slow.received().len();
    let mut clients: Vec<Client> = (0..40).map(|_| gate.connect()).collect();
    clients.iter_mut().for_each(|client| client.write(&Request::get("/").to_bytes()).unwrap());
    eventually("40 requests", || {
        (slow.received().len() + quick.received().len() >= waiting.len() + 40).then_some(())
    });
    assert!(slow.received().len() - before <= 30, "{} of 40", slow.received().len() - before);
    opening.open();
}

#[test]
fn requests_with_the_same_header_go_to_the_same_server() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let hash = "balance = \"hash\"\nhash = \"header:x-tenant\"";
    let gate = servers(&[a.addr(), b.addr(), c.addr()], hash).start();
    let mut seen = BTreeMap::new();
    for tenant in 0..24 {
        let request = Request::get("/").header("x-tenant", &format!("t{tenant}"));
        let tally = tally(&gate, &request, 3);
        assert_eq!(tally.len(), 1, "{tenant}: {tally:?}");
        seen.extend(tally);
    }
    assert!(seen.len() > 1, "all tenants at one server");
    assert_eq!(tally(&gate, &Request::get("/"), 3).len(), 3, "without the header they take turns");
}

#[test]
fn a_cookie_keeps_a_client_at_its_server_and_tells_nothing() {
    let (a, b) = (named("a"), named("b"));
    let list = format!("[{{ address = \"{}\", id = \"first\" }}, \"{}\"]", a.addr(), b.addr());
    let gate = Setup::new().upstream("origin", &format!("servers = {list}\nsticky = \"at\"")).start();
    let first = gate.send(&Request::get("/"));
    let cookie = first.headers.first("set-cookie").unwrap().to_owned();
    assert_eq!((first.text(), cookie.as_str()), ("a", "at=first; Path=/; HttpOnly; SameSite=Lax"));
    let second = gate.send(&Request::get("/"));
    let unnamed = second.headers.first("set-cookie").unwrap().to_owned();
    assert!(second.text() == "b" && !unnamed.contains(&b.addr().port().to_string()), "{unnamed}");
    for (cookie, name) in [(&cookie, "a"), (&unnamed, "b")] {
        let pair = cookie.split(';').next().unwrap();
        for method in ["GET", "POST"] {
            let response = gate.send(&Request::new(method, "/").header("cookie", pair));
            assert_eq!((response.text(), response.headers.first("set-cookie")), (name, None), "{method}");
        }
    }
    let forged = gate.send(&Request::get("/").header("cookie", "at=127.0.0.1"));
    assert!(forged.headers.first("set-cookie").is_some());
}

/// A server that reads a request and hangs up, and how often it did.
fn hangup() -> (SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let addr = raw_origin(move |mut stream| {
        read_head(&mut stream);
        counted.fetch_add(1, Ordering::SeqCst);
    });
    (addr, count)
}

#[test]
fn an_idempotent_request_is_tried_at_another_server_and_no_other_is() {
    let ((bad, tried), good) = (hangup(), named("good"));
    let gate = servers(&[bad, good.addr()], "eject_after = 0").start();
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let body = if method == "PUT" { Body::Full(b"new".to_vec()) } else { Body::None };
        for _ in 0..2 {
            assert_eq!(text(&gate, &Request::new(method, "/").body(body.clone())), "good", "{method}");
        }
    }
    assert!(good.received().iter().all(|request| request.method != "PUT" || request.body == b"new"));
    let before = tried.load(Ordering::SeqCst);
    assert!(before >= 4, "{before}");
    let post = Request::new("POST", "/").body(Body::Full(b"order".to_vec()));
    let statuses: Vec<_> = (0..4).map(|_| gate.send(&post).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 2, "{statuses:?}");
    assert_eq!(tried.load(Ordering::SeqCst), before + 2);
    has_metric(&gate, &format!("riskgate_upstream_retries_total{{upstream=\"origin\"}} {before}"));
}

#[test]
fn nothing_is_tried_again_once_an_answer_began() {
    let bad = raw_origin(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
    });
    let good = named("good");
    let gate = servers(&[bad, good.addr()], "").start();
    assert!(
        gate.connect().send(&Request::get("/")).is_err(),
        "the client can tell that something is missing"
    );
    assert_eq!(good.received().len(), 0);
}

#[test]
fn an_outage_is_not_amplified_beyond_the_budget() {
    let ((one, first), (other, second)) = (hangup(), hangup());
    let gate = servers(&[one, other], "eject_after = 0\nretry_budget = 10").start();
    assert!((0..100).all(|_| gate.send(&Request::get("/")).status == 502));
    let asked = first.load(Ordering::SeqCst) + second.load(Ordering::SeqCst);
    // Ten, one more for every ten requests, and ten again if the test is slow enough for a second window.
    assert!((110..=130).contains(&asked), "{asked}");
}

#[test]
fn a_server_that_keeps_failing_is_left_alone_until_none_is_left() {
    let ((bad, tried), good) = (hangup(), named("good"));
    let eject = "eject_after = 2\neject_time = \"10m\"\neject_longest = \"10m\"";
    let gate = servers(&[bad, good.addr()], eject).start();
    assert_eq!(tally(&gate, &Request::get("/"), 20)["good"], 20);
    assert_eq!((tried.load(Ordering::SeqCst), state(&gate, bad)), (2, "ejected".to_owned()));
    has_metric(&gate, &format!("riskgate_upstream_healthy{{server=\"{bad}\",upstream=\"origin\"}} 0"));
    drop(good);
    // With both ejected, both are asked.
    let statuses: Vec<_> = (0..6).map(|_| gate.send(&Request::get("/")).status).collect();
    assert!(statuses.iter().all(|status| *status == 502), "{statuses:?}");
    assert!(tried.load(Ordering::SeqCst) > 2);
    let shown = json(&gate.ask(&Request::get("/api/upstreams")));
    assert_eq!(shown["upstreams"][0]["all_down"], true, "{shown}");
}

#[test]
fn a_server_that_keeps_answering_with_an_error_is_left_alone() {
    let bad = Origin::start(|_| Answer::new(503, "not now"));
    let good = named("good");
    let eject = "eject_after = 2\neject_time = \"10m\"\neject_longest = \"10m\"";
    for (more, method, left_alone) in [
        ("", "GET", true),
        ("", "DELETE", true),
        ("\neject_status = [500, 503]", "GET", true),
        ("\neject_status = [500]", "GET", false),
        ("\neject_status = []", "DELETE", false),
    ] {
        let gate = servers(&[bad.addr(), good.addr()], &format!("{eject}{more}")).start();
        let statuses: Vec<_> = (0..12).map(|_| gate.send(&Request::new(method, "/")).status).collect();
        let errors = statuses.iter().filter(|status| **status == 503).count();
        assert_eq!(errors, if left_alone { 2 } else { 6 }, "{more} {method}: nobody hides what it says");
        assert_eq!(state(&gate, bad.addr()), if left_alone { "ejected" } else { "up" }, "{more}");
    }
}

#[test]
fn more_requests_than_all_servers_may_have_are_told_to_come_back() {
    let opening = Gate::default();
    let held = opening.clone();
    let origin = Origin::start(move |_| Answer::new(200, "done").behind(&held));
    let gate = servers(&[origin.addr()], "max_connections = 2").start();
    let mut clients: Vec<Client> = (0..2).map(|_| gate.connect()).collect();
    clients.iter_mut().for_each(|client| client.write(&Request::get("/").to_bytes()).unwrap());
    origin.wait_for(2);
    for method in ["GET", "POST"] {
        let refused: Response = gate.send(&Request::new(method, "/"));
        assert_eq!(refused.status, 503, "{method}");
        assert_eq!(refused.headers.first("content-type"), Some("application/problem+json"));
        let wait: u64 = refused.headers.first("retry-after").unwrap().parse().unwrap();
        assert!((1..=2).contains(&wait), "{wait}");
        assert_eq!(gate.record_of(&refused)["fault"], "upstream_busy");
    }
    opening.open();
    for client in &mut clients {
        assert_eq!(client.response_to("GET").unwrap().text(), "done");
    }
    eventually("a free place", || (gate.send(&Request::get("/")).status == 200).then_some(()));
}

#[test]
fn mistakes_of_servers_are_told_at_start_with_their_place() {
    let refusal = |text: &str| {
        let refused = Setup::new().upstream("origin", text).try_start();
        shown(&refused.err().expect("a gate that does not start"))
    };
    let unknown = refusal("servers = [\"127.0.0.1:80\", \"nowhere.invalid:80\"]");
    assert!(
        unknown.contains("riskgate.toml:") && unknown.contains("`nowhere.invalid:80` cannot be found"),
        "{unknown}"
    );
    assert!(refusal("servers = [{ address = \"127.0.0.1:80\", weight = 0 }]").contains("from 1 to 100"));
    assert!(refusal("servers = [\"127.0.0.1:80\", \"127.0.0.1:80\"]").contains("named twice"));
    assert!(refusal("servers = [\"127.0.0.1:80\"]\nbalance = \"random\"").contains("`balance` must be"));
    assert!(refusal("servers = [\"127.0.0.1:80\"]\nbalance = \"hash\"").contains("not said by what"));
}

#[test]
fn a_server_that_refuses_connections_is_passed_over_for_every_method() {
    let good = named("good");
    let gate = servers(&[free_addr(), good.addr()], "").start();
    for method in ["GET", "POST", "PATCH"] {
        for _ in 0..2 {
            let body = if method == "GET" { Body::None } else { Body::Full(b"x".to_vec()) };
            assert_eq!(text(&gate, &Request::new(method, "/").body(body)), "good", "{method}");
        }
    }
}

#[test]
fn a_server_that_fails_its_checks_is_not_asked_until_it_passes_again() {
    let healthy = Arc::new(AtomicUsize::new(200));
    let status = Arc::clone(&healthy);
    let moody = Origin::start(move |request| match request.target.as_str() {
        "/healthz" => Answer::new(status.load(Ordering::SeqCst) as u16, "checked"),
        _ => Answer::new(200, "moody"),
    });
    let good = Origin::start(|request| match request.target.as_str() {
        "/healthz" => Answer::new(200, "checked"),
        _ => Answer::new(200, "good"),
    });
    let check = "check = \"/healthz\"\ncheck_interval = \"100ms\"\ncheck_failures = 2\ncheck_passes = 1";
    let gate = servers(&[moody.addr(), good.addr()], check).start();
    let reached = |wanted: &str| eventually(wanted, || (state(&gate, moody.addr()) == wanted).then_some(()));
    assert_eq!(tally(&gate, &Request::get("/"), 10).len(), 2);
    healthy.store(503, Ordering::SeqCst);
    reached("down");
    assert_eq!(tally(&gate, &Request::get("/"), 10)["good"], 10);
    has_metric(
        &gate,
        &format!("riskgate_upstream_healthy{{server=\"{}\",upstream=\"origin\"}} 0", moody.addr()),
    );
    healthy.store(200, Ordering::SeqCst);
    reached("up");
    assert_eq!(tally(&gate, &Request::get("/"), 10).len(), 2);
}

#[test]
fn a_port_that_is_closed_fails_the_check_of_connections() {
    let (good, dead) = (named("good"), free_addr());
    let check = "check = \"tcp\"\ncheck_interval = \"100ms\"\ncheck_failures = 1\neject_after = 0";
    let gate = servers(&[good.addr(), dead], check).start();
    eventually("the check", || (state(&gate, dead) == "down").then_some(()));
    assert_eq!(state(&gate, good.addr()), "up");
}
