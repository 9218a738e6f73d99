//! Another binary takes over while clients keep asking: no request fails, no connection is refused, and every decision is
//! written down. All gates are processes of their own.

mod http2;
mod unix;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::net::origin::{Answer, Gate, Origin};
use crate::net::{Client, Request, free_addr};
use crate::process::{Process, command};
use crate::support::{Files, Setup, eventually};

/// How many gates take over from each other.
const GENERATIONS: u64 = 4;
/// How many clients of each kind ask at the same time.
const CLIENTS: usize = 3;

fn setup() -> Setup {
    Setup::new()
        .section("server", "threads = 2\ngrace_period = \"30s\"\nupgrade_socket = \"@/run/upgrade.sock\"")
}

fn upgrading(files: &Files) -> Command {
    command(files.folder(), &files.config(), &["run", "--upgrade"])
}

/// A rule that tells which gate answered: its number is the status of `/who`.
fn number(files: &Files, number: u64) {
    let rule = format!("fn assess(req, risk) {{ risk.tag(\"gate\", \"{number}\"); }}\n");
    files.write("scripts/10-number.rhai", rule);
}

/// The number of the gate that answers at an address.
fn who(client: &mut Client<impl Read + Write>) -> String {
    let answer = client.send(&Request::get("/who")).unwrap();
    answer
        .text()
        .split("\"riskgate-gate\": \"")
        .nth(1)
        .expect("the built-in origin")
        .chars()
        .take(1)
        .collect()
}

/// Asks again and again until told to stop; how often. Fails the test if one request does.
fn hammer<S: Read + Write>(
    connect: impl Fn() -> io::Result<Client<S>>,
    keep: bool,
    stop: &AtomicBool,
    asked: &AtomicU64,
) {
    let mut client = None::<Client<S>>;
    while !stop.load(Ordering::SeqCst) {
        let mut connected = client.take().unwrap_or_else(|| connect().expect("nobody is refused"));
        let answer = connected.send(&Request::get("/")).expect("no request fails");
        assert_eq!(answer.status, 200);
        asked.fetch_add(1, Ordering::SeqCst);
        let closing = answer.headers.first("connection") == Some("close");
        client = (keep && !closing).then_some(connected);
    }
}

#[test]
fn no_request_fails_while_one_gate_after_the_other_takes_over() {
    let files = setup().write();
    number(&files, 0);
    let mut gate = Process::start(&files);
    let (clients, operators) = (gate.clients, gate.operators);
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for client in 0..2 * CLIENTS {
            let (stop, asked) = (&stop, &asked);
            scope.spawn(move || hammer(|| Client::connect(clients), client % 2 == 0, stop, asked));
        }
        for generation in 1..GENERATIONS {
            let before = asked.load(Ordering::SeqCst);
            eventually("some requests", || (asked.load(Ordering::SeqCst) > before + 200).then_some(()));
            number(&files, generation);
            let next = Process::run(&files, &mut upgrading(&files));
            assert_eq!((next.clients, next.operators), (clients, operators), "{}", next.banner);
            assert_eq!(gate.wait(), Some(0), "the one that ran has ended by itself");
            gate = next;
            assert_eq!(who(&mut Client::connect(clients).unwrap()), generation.to_string());
            asked.fetch_add(1, Ordering::SeqCst);
        }
        stop.store(true, Ordering::SeqCst);
    });
    gate.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(gate.wait(), Some(0));
    let log = files.log();
    let ids: BTreeSet<_> = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].to_string())
        .collect();
    assert_eq!(
        (log.lines().count() as u64, ids.len() as u64),
        (asked.load(Ordering::SeqCst), asked.load(Ordering::SeqCst))
    );
    assert!(!files.path("run/upgrade.sock").exists(), "the last one leaves nothing behind");
}

#[test]
fn a_request_in_flight_and_an_idle_connection_outlive_the_upgrade() {
    let opening = Gate::default();
    let held = opening.clone();
    let origin = Origin::start(move |received| match received.target.as_str() {
        "/slow" => Answer::new(200, "slow").behind(&held),
        _ => Answer::new(200, "quick"),
    });
    let files = setup().origin(&[origin.addr()]).write();
    let mut old = Process::start(&files);
    let (mut busy, mut idle) = (Client::connect(old.clients).unwrap(), Client::connect(old.clients).unwrap());
    assert_eq!(idle.send(&Request::get("/")).unwrap().text(), "quick");
    busy.write(&Request::get("/slow").to_bytes()).unwrap();
    origin.wait_for(2);
    let new = Process::run(&files, &mut upgrading(&files));
    let log = || fs::read_to_string(files.path("log")).unwrap();
    eventually("the takeover", || log().contains("another gate has taken over").then_some(()));
    let late = idle.send(&Request::get("/")).unwrap();
    assert_eq!((late.text(), late.headers.first("connection")), ("quick", Some("close")), "politely");
    opening.open();
    assert_eq!(busy.response_to("GET").unwrap().text(), "slow");
    assert_eq!(old.wait(), Some(0));
    assert_eq!(Client::connect(new.clients).unwrap().send(&Request::get("/")).unwrap().text(), "quick");
}

#[test]
fn a_gate_that_is_not_good_never_takes_over() {
    let files = setup().write();
    let mut old = Process::start(&files);
    let place = files.path("run/upgrade.sock");
    eventually("the place", || place.exists().then_some(()));
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place), mode(&files.path("run"))), (0o600, 0o700), "for its user only");

    let good = fs::read_to_string(files.config()).unwrap();
    files.write("scripts/20-bad.rhai", "fn assess(req, risk) { risk.add(\"a.b\", req.nothing); }");
    let said = upgrading(&files).output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&said.stderr).contains("unknown signal `req.nothing`"));
    fs::remove_file(files.path("scripts/20-bad.rhai")).unwrap();

    // It was given the sockets already when it finds out that it cannot bind another.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    files.write("riskgate.toml", format!("{good}\n[[listener]]\naddress = \"{address}\"\n"));
    let said = upgrading(&files).output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&said.stderr).contains(&format!("`{address}` is already in use")));

    // Somebody who says something else.
    std::io::Write::write_all(&mut UnixStream::connect(&place).unwrap(), b"GET / HTTP/1.1\r\n\r\n").unwrap();
    files.write("riskgate.toml", &good);
    let said = command(files.folder(), &files.config(), &["run"]).output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    let told = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(told.contains("a gate runs already") && told.contains("riskgate run --upgrade"), "{told}");

    assert_eq!(Client::connect(old.clients).unwrap().send(&Request::get("/")).unwrap().status, 200);
    let new = Process::run(&files, &mut upgrading(&files));
    assert_eq!((old.wait(), new.clients), (Some(0), old.clients));
}

#[test]
fn listeners_that_are_new_are_bound_and_those_that_are_gone_are_closed() {
    let (gone, added) = (free_addr(), free_addr());
    let files = setup().write();
    let config = fs::read_to_string(files.config()).unwrap();
    files.write("riskgate.toml", format!("{config}\n[[listener]]\naddress = \"{gone}\"\n"));
    let mut old = Process::start(&files);
    assert!(Client::connect(gone).is_ok());
    files.write("riskgate.toml", format!("{config}\n[[listener]]\naddress = \"{added}\"\n"));
    let new = Process::run(&files, &mut upgrading(&files));
    assert_eq!(old.wait(), Some(0));
    for address in [new.clients, added] {
        assert_eq!(Client::connect(address).unwrap().send(&Request::get("/")).unwrap().status, 200);
    }
    assert!(Client::connect(gone).is_err(), "nobody listens any more");
    let told = fs::read_to_string(files.path("log")).unwrap();
    assert!(told.contains(&format!("a socket that listened on `{gone}` is closed")), "{told}");
}

#[test]
fn without_a_gate_to_take_over_it_is_a_start_like_any_other() {
    let files = setup().write();
    files.write("run/upgrade.sock", "");
    fs::remove_file(files.path("run/upgrade.sock")).unwrap();
    // A socket that a gate left behind which was killed.
    drop(std::os::unix::net::UnixListener::bind(files.path("run/upgrade.sock")).unwrap());
    fs::set_permissions(files.path("run"), fs::Permissions::from_mode(0o700)).unwrap();
    let gate = Process::run(&files, &mut upgrading(&files));
    assert_eq!(Client::connect(gate.clients).unwrap().send(&Request::get("/")).unwrap().status, 200);

    let files = Setup::new().write();
    let said = upgrading(&files).output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&said.stderr).contains("`--upgrade` needs `upgrade_socket` in `[server]`")
    );
}

#[test]
fn a_place_that_others_can_write_to_is_refused() {
    let files = setup().write();
    fs::create_dir(files.path("run")).unwrap();
    fs::set_permissions(files.path("run"), fs::Permissions::from_mode(0o777)).unwrap();
    let said = command(files.folder(), &files.config(), &["run"]).output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&said.stderr).contains("others can write to"));
}
