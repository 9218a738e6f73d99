//! What a client is told when an origin fails: which decision to ask about, and nothing of what lies behind.

use std::io::Write as _;
use std::net::SocketAddr;

use crate::net::origin::{Answer, Gate, Origin};
use crate::net::{Request, Response, free_addr};
use crate::support::{Running, Setup, eventually, json, quoted, raw_origin, read_head};

const SHORT: &str = "connect_timeout = \"2s\"\nread_timeout = \"2s\"";

fn gate_to(servers: &[SocketAddr]) -> Running {
    let upstream = format!("servers = {}\n{SHORT}", quoted(servers));
    Setup::new().route("*", "/", "inner_backend").upstream("inner_backend", &upstream).start()
}

/// The answer is a problem document that names the decision, and the record of that decision says the rest.
fn assert_told(gate: &Running, server: SocketAddr, response: &Response, status: u16, fault: &str) {
    assert_eq!(response.status, status);
    assert_eq!(response.headers.first("content-type"), Some("application/problem+json"));
    assert_eq!(response.headers.first("cache-control"), Some("no-store"));
    let id = response.headers.first("riskgate-decision").unwrap();
    let problem = json(response);
    assert_eq!(problem["status"], status);
    assert_eq!(problem["instance"], format!("urn:riskgate:decision:{id}"));
    let shown = format!("{:?} {}", response.headers, response.text());
    for internal in
        ["inner_backend", "127.0.0.1", &server.port().to_string(), "pingora", "refused", "timed out"]
    {
        assert!(!shown.contains(internal), "{internal}: {shown}");
    }
    let record = &gate.records(1)[0];
    assert_eq!((&record["id"], &record["status"]), (&id.into(), &status.into()));
    assert_eq!((&record["fault"], &record["action"]), (&fault.into(), &"allowed".into()));
    let counted = "riskgate_upstream_errors_total{upstream=\"inner_backend\"} 1";
    assert!(gate.metrics().lines().any(|line| line == counted), "{}", gate.metrics());
}

#[test]
fn an_origin_that_refuses_connections_is_a_bad_gateway() {
    let dead = free_addr();
    let gate = gate_to(&[dead]);
    assert_told(&gate, dead, &gate.send(&Request::get("/")), 502, "upstream_failed");
}

#[test]
fn an_origin_that_talks_garbage_is_a_bad_gateway() {
    let garbage = raw_origin(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"SSH-2.0-OpenSSH\r\n\r\n");
    });
    let gate = gate_to(&[garbage]);
    assert_told(&gate, garbage, &gate.send(&Request::get("/")), 502, "upstream_failed");
}

#[test]
fn an_origin_that_hangs_up_is_a_bad_gateway() {
    let hangup = raw_origin(|mut stream| drop(read_head(&mut stream)));
    let gate = gate_to(&[hangup]);
    assert_told(&gate, hangup, &gate.send(&Request::get("/")), 502, "upstream_failed");
}

#[test]
fn an_origin_that_is_silent_is_a_gateway_timeout() {
    let opening = Gate::default();
    let held = opening.clone();
    let silent = Origin::start(move |_| Answer::new(200, "late").behind(&held));
    let gate = gate_to(&[silent.addr()]);
    assert_told(&gate, silent.addr(), &gate.send(&Request::get("/")), 504, "upstream_timed_out");
    opening.open();
}

#[test]
fn a_person_at_a_browser_gets_a_page() {
    let gate = gate_to(&[free_addr()]);
    let response = gate.send(&Request::get("/").header("sec-fetch-mode", "navigate"));
    assert_eq!(response.status, 502);
    assert_eq!(response.headers.first("content-type"), Some("text/html; charset=utf-8"));
    assert!(response.text().contains(response.headers.first("riskgate-decision").unwrap()));
}

#[test]
fn a_body_that_breaks_off_ends_the_connection_and_is_recorded() {
    let origin = Origin::start(|_| Answer::new(200, "a long body").cut_after(4));
    let gate = gate_to(&[origin.addr()]);
    let mut client = gate.connect();
    assert!(client.send(&Request::get("/")).is_err(), "the client can tell that something is missing");
    let record = &gate.records(1)[0];
    assert_eq!((&record["status"], &record["fault"]), (&200.into(), &"upstream_failed".into()));
}

#[test]
fn a_client_that_leaves_is_recorded_as_gone() {
    let opening = Gate::default();
    let held = opening.clone();
    let origin = Origin::start(move |_| Answer::new(200, "late").behind(&held));
    let gate = Setup::new().origin(&[origin.addr()]).start();
    let mut client = gate.connect();
    client.write(&Request::get("/").to_bytes()).unwrap();
    origin.wait_for(1);
    drop(client);
    let record = &gate.records(1)[0];
    assert_eq!((&record["status"], &record["fault"]), (&499.into(), &"client_gone".into()));
    opening.open();
}

#[test]
fn a_dead_server_among_several_is_not_noticed_by_clients() {
    let good = Origin::start(|_| Answer::new(200, "good"));
    let gate = gate_to(&[free_addr(), good.addr(), free_addr()]);
    let mut client = gate.connect();
    for method in ["GET", "POST", "GET", "DELETE", "GET", "GET"] {
        assert_eq!(client.send(&Request::new(method, "/")).unwrap().text(), "good");
    }
    assert!(gate.records(6).iter().all(|record| record["fault"].is_null()));
}

#[test]
fn servers_take_turns() {
    let origins = ["one", "two"].map(|name| Origin::start(move |_| Answer::new(200, name)));
    let gate = gate_to(&origins.each_ref().map(Origin::addr));
    let mut client = gate.connect();
    let answers: Vec<String> =
        (0..4).map(|_| client.send(&Request::get("/")).unwrap().text().to_owned()).collect();
    assert!(
        answers == ["one", "two", "one", "two"] || answers == ["two", "one", "two", "one"],
        "{answers:?}"
    );
}

#[test]
fn a_gate_goes_on_after_its_origin_came_back() {
    let origin = Origin::start(|_| Answer::new(200, "back").close());
    let gate = gate_to(&[origin.addr()]);
    let mut client = gate.connect();
    for _ in 0..3 {
        assert_eq!(client.send(&Request::get("/")).unwrap().text(), "back");
    }
    eventually("three connections", || (origin.connections() == 3).then_some(()));
}
