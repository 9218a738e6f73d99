//! Stopping: whoever is being served is served to the end, and everything is written down.

use nix::sys::signal::Signal;

use crate::net::origin::{Answer, Gate, Origin};
use crate::net::{Client, Request};
use crate::process::{Process, command};
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
    eventually("the gate to be ready", || (gate.ask(&Request::get("/readyz")).status == 200).then_some(()));
    let mut busy = gate.connect();
    busy.write(&Request::get("/").to_bytes()).unwrap();
    origin.wait_for(1);
    gate.begin_stop();
    assert_eq!(gate.ask(&Request::get("/readyz")).status, 503);
    assert_eq!(gate.ask(&Request::get("/healthz")).status, 200);
    opening.open();
    let late = busy.response_to("GET").unwrap();
    assert_eq!((late.status, late.headers.first("connection")), (200, Some("close")), "politely");
    assert!(busy.is_closed());
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

#[test]
fn a_gate_that_leaves_serves_on_and_closes_each_connection_with_its_answer() {
    let refusing = "if req.path == \"/no\" { risk.block(\"x.y\"); }";
    let gate = Setup::new()
        .section("server", "threads = 1\ndrain_delay = \"10m\"")
        .rule("10-refuse", refusing)
        .start();
    let ready = || gate.ask(&Request::get("/readyz"));
    eventually("the gate to be ready", || (ready().status == 200).then_some(()));
    let mut kept = gate.connect();
    let before = kept.send(&Request::get("/")).unwrap();
    assert_eq!(before.status, 200);
    assert_ne!(before.headers.first("connection"), Some("close"));
    gate.leave();
    assert_eq!((ready().status, ready().text().contains("stopping")), (503, true));
    for (target, status) in [("/", 200), ("/no", 403), ("/status/500", 500)] {
        let mut new = gate.connect();
        let answer = new.send(&Request::get(target)).unwrap();
        assert_eq!((answer.status, answer.headers.first("connection")), (status, Some("close")), "{target}");
        assert!(new.is_closed());
    }
    let posted = Request::new("POST", "/").body(crate::net::Body::Full(b"x".to_vec()));
    let after = kept.send(&posted).unwrap();
    assert_eq!((after.status, after.headers.first("connection")), (200, Some("close")));
    assert!(kept.is_closed());
}

#[test]
fn an_upgraded_connection_is_given_the_grace_period() {
    let origin = Origin::start(|_| Answer::echo("websocket"));
    let gate = Setup::new().origin(&[origin.addr()]).start();
    let upgrade = Request::get("/ws").header("connection", "Upgrade").header("upgrade", "websocket");
    // A 101 that overtakes the end of the request's empty body ends the tunnel at once; clients retry.
    let mut talking = eventually("a tunnel", || {
        let mut client = gate.connect();
        assert_eq!(client.send(&upgrade).unwrap().status, 101);
        client.write(b"first").unwrap();
        client.read(5).is_ok().then_some(client)
    });
    gate.begin_stop();
    eventually("the listener to close", || Client::connect(gate.addr).is_err().then_some(()));
    talking.write(b"still here").unwrap();
    assert_eq!(talking.read(10).unwrap(), b"still here");
    drop(talking);
    gate.stop();
}

#[test]
fn each_signal_to_end_waits_for_requests_and_a_second_one_does_not() {
    for (first, second) in [
        (Signal::SIGTERM, Signal::SIGINT),
        (Signal::SIGINT, Signal::SIGTERM),
        (Signal::SIGQUIT, Signal::SIGQUIT),
    ] {
        let opening = Gate::default();
        let held = opening.clone();
        let origin = Origin::start(move |_| Answer::new(200, "never").behind(&held));
        let setup = Setup::new().section("server", "threads = 1\ngrace_period = \"10m\"");
        let files = setup.origin(&[origin.addr()]).write();
        let mut gate = Process::start(&files);
        let mut busy = Client::connect(gate.clients).unwrap();
        busy.write(&Request::get("/").to_bytes()).unwrap();
        origin.wait_for(1);
        gate.signal(first);
        eventually("the listener to close", || Client::connect(gate.clients).is_err().then_some(()));
        gate.signal(second);
        assert_eq!((gate.wait(), busy.is_closed()), (Some(0), true), "{first} {second}");
        opening.open();
    }
}

#[test]
fn a_gate_serves_during_the_delay_and_a_second_signal_ends_it_at_once() {
    let files = Setup::new().section("server", "threads = 1\ndrain_delay = \"10m\"").write();
    let mut gate = Process::start(&files);
    let ready = || {
        let mut operator = Client::connect(gate.operators).unwrap();
        operator.send(&Request::get("/readyz").header("host", "localhost")).unwrap().status
    };
    eventually("the gate to be ready", || (ready() == 200).then_some(()));
    gate.signal(Signal::SIGTERM);
    eventually("the gate to leave", || (ready() == 503).then_some(()));
    let health = |args: &[&str]| {
        let mut command = command(files.folder(), &files.config(), args);
        command.env("RISKGATE_ADMIN", format!("http://{}", gate.operators)).output().unwrap().status.code()
    };
    assert_eq!((health(&["health"]), health(&["health", "--live"])), (Some(1), Some(0)));
    let answer = Client::connect(gate.clients).unwrap().send(&Request::get("/")).unwrap();
    assert_eq!((answer.status, answer.headers.first("connection")), (200, Some("close")));
    gate.signal(Signal::SIGTERM);
    assert_eq!(gate.wait(), Some(0));
    assert_eq!(files.records(1).len(), 1);
}
