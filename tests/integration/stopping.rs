//! Stopping: whoever is being served is served to the end, and everything is written down.

use crate::net::origin::{Answer, Gate, Origin};
use crate::net::{Client, Request};
use crate::support::{Setup, eventually, from};

#[test]
fn a_request_in_flight_is_finished_before_the_gate_ends() {
    let opening = Gate::default();
    let held = opening.clone();
    let origin = Origin::start(move |received| match received.target.as_str() {
        "/slow" => Answer::new(200, "").chunks(&["first", "last"]).behind(&held),
        _ => Answer::new(200, "quick"),
    });
    let gate = Setup::new().origin(&[origin.addr()]).start();
    let (mut busy, mut idle) = (gate.connect(), gate.connect());
    assert_eq!(idle.send(&Request::get("/quick")).unwrap().text(), "quick");
    busy.write(&Request::get("/slow").to_bytes()).unwrap();
    origin.wait_for(2);
    gate.begin_stop();
    let addr = gate.addr;
    eventually("the listener to close", || Client::connect(addr).is_err().then_some(()));
    assert!(idle.is_closed(), "an idle connection is closed at once");
    opening.open();
    assert_eq!(busy.response_to("GET").unwrap().text(), "firstlast");
    let records = gate.stop().records(2);
    assert_eq!((&records[1]["path"], &records[1]["status"]), (&"/slow".into(), &200.into()));
}

#[test]
fn a_gate_that_stops_is_not_ready() {
    let opening = Gate::default();
    let held = opening.clone();
    let origin = Origin::start(move |_| Answer::new(200, "late").behind(&held));
    let gate = Setup::new().origin(&[origin.addr()]).start();
    assert_eq!(gate.ask(&Request::get("/readyz")).status, 200);
    let mut busy = gate.connect();
    busy.write(&Request::get("/").to_bytes()).unwrap();
    origin.wait_for(1);
    gate.begin_stop();
    assert_eq!(gate.ask(&Request::get("/readyz")).status, 503);
    assert_eq!(gate.ask(&Request::get("/healthz")).status, 200);
    opening.open();
    assert_eq!(busy.response_to("GET").unwrap().status, 200);
}

#[test]
fn the_grace_period_ends_a_request_that_never_would() {
    let opening = Gate::default();
    let held = opening.clone();
    let origin = Origin::start(move |_| Answer::new(200, "never").behind(&held));
    let gate = Setup::new()
        .section("server", "threads = 1\ngrace_period = \"100ms\"")
        .origin(&[origin.addr()])
        .start();
    assert_eq!(gate.send(&from("8.8.8.8", "/").header("host", "\t")).status, 400);
    let mut busy = gate.connect();
    busy.write(&Request::get("/").to_bytes()).unwrap();
    origin.wait_for(1);
    let log = gate.stop().log();
    assert_eq!(log.lines().count(), 1, "what was answered is recorded, what was cut off is not");
    assert!(busy.is_closed());
    opening.open();
}
