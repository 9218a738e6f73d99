//! `/readyz` from the first moment that somebody can ask to the last: `starting`, ready, `stopping`, and never otherwise.

use std::fs;
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread;

use riskgate::app::{self, Manner, Ready};
use riskgate::facts::problem::Problem;
use riskgate::proxy::drain::Signals;
use riskgate::proxy::server::Scheduling;
use riskgate::signals::Vocabulary;

use crate::net::{Client, PATIENCE, Request, free_addr};
use crate::support::{Files, Setup, json};
use crate::told;

/// A gate that has loaded all it needs, and whose sockets listen, but that does not run yet.
fn prepared(files: &Files) -> Result<Ready, Vec<Problem>> {
    let loaded = app::load(&files.config(), Vocabulary::standard())?;
    let manner = Manner { signals: Signals::Ignored, scheduling: Scheduling::Stealing, ..Manner::default() };
    app::prepare(loaded, manner)
}

/// What `/readyz` says: the status, and the reason or `ready`.
fn said(operator: &mut Client) -> (u16, String) {
    let answer = operator.send(&Request::get("/readyz").header("host", "localhost")).unwrap();
    let body = json(&answer);
    let word = body["detail"].as_str().or(body["status"].as_str());
    (answer.status, word.unwrap_or_default().to_owned())
}

/// A listener begins to accept by giving its socket the mode that it is to have. That this one's file is gone is worth a
/// warning, and whoever hears the warning keeps the listener waiting.
#[test]
#[ignore = "started by another test, since it listens to all that this process logs"]
fn a_gate_that_is_long_in_starting() {
    let files = Setup::new()
        .section("server", "threads = 2\ngrace_period = \"10s\"\ndrain_delay = \"10m\"")
        .listener("[[listener]]\naddress = \"unix:@/gate.sock\"")
        .write();
    let gate = prepared(&files).unwrap_or_else(|problems| panic!("{problems:?}"));
    fs::remove_file(files.path("gate.sock")).unwrap();
    let (opening, opens) = mpsc::channel();
    let (go, goes) = mpsc::channel::<()>();
    let both = Mutex::new((opening, goes));
    told::listen(move |message| {
        if message.contains("the mode of") {
            let (opening, goes) = &*both.lock().unwrap_or_else(PoisonError::into_inner);
            opening.send(()).unwrap();
            goes.recv_timeout(PATIENCE).unwrap();
        }
    });
    let (clients, operators, drain) = (gate.listeners[0], gate.admin.unwrap(), gate.drain.clone());
    let running = thread::spawn(move || gate.run());

    opens.recv_timeout(PATIENCE).unwrap();
    let mut operator = Client::connect(operators).unwrap();
    assert_eq!(said(&mut operator), (503, "starting".to_owned()), "not all listeners accept");
    go.send(()).unwrap();
    while said(&mut operator) == (503, "starting".to_owned()) {}
    assert_eq!(said(&mut operator), (200, "ready".to_owned()));
    let ask = || Client::connect(clients).unwrap().send(&Request::get("/")).unwrap().status;
    assert_eq!(ask(), 200);

    drain.leave();
    assert_eq!(said(&mut operator), (503, "stopping".to_owned()));
    assert_eq!(ask(), 200, "readiness goes off first");
    drain.begin();
    running.join().unwrap().unwrap();
}

#[test]
fn a_gate_is_starting_then_ready_then_stopping() {
    let output = told::alone("readiness::a_gate_that_is_long_in_starting");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[test]
fn nobody_can_ask_a_gate_whose_policy_is_not_good() {
    let operators = free_addr();
    let files = Setup::new()
        .section("admin", &format!("address = \"{operators}\""))
        .rule("10-typo", "risk.add(\"a.b\", req.wieght);")
        .write();
    assert!(prepared(&files).is_err());
    assert!(Client::connect(operators).is_err(), "it is neither ready nor starting");
}
