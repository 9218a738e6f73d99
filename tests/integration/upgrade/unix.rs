//! Unix sockets on their way from one gate to the next: nobody is refused, the file stays as long as somebody listens, and
//! goes with the last gate.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use nix::sys::signal::Signal;

use super::{CLIENTS, GENERATIONS, hammer, number, setup, upgrading, who};
use crate::net::{Client, Request};
use crate::process::Process;
use crate::support::{Files, eventually};

fn files() -> Files {
    setup().listener("[[listener]]\naddress = \"unix:@/gate.sock\"\nmode = \"0600\"").write()
}

/// Changes the configuration.
fn change(files: &Files, from: &str, to: &str) {
    let config = fs::read_to_string(files.config()).unwrap();
    assert!(config.contains(from));
    files.write("riskgate.toml", config.replace(from, to));
}

#[test]
fn no_request_over_a_unix_socket_fails_while_one_gate_after_the_other_takes_over() {
    let files = files();
    let path = files.path("gate.sock");
    number(&files, 0);
    let mut gate = Process::start(&files);
    let inode = fs::metadata(&path).unwrap().ino();
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for client in 0..2 * CLIENTS {
            let (stop, asked, path) = (&stop, &asked, &path);
            scope.spawn(move || hammer(|| Client::at(path), client % 2 == 0, stop, asked));
        }
        for generation in 1..GENERATIONS {
            let before = asked.load(Ordering::SeqCst);
            eventually("some requests", || (asked.load(Ordering::SeqCst) > before + 200).then_some(()));
            number(&files, generation);
            let next = Process::run(&files, &mut upgrading(&files));
            assert_eq!(gate.wait(), Some(0), "the one that ran has ended by itself");
            gate = next;
            assert_eq!(who(&mut Client::at(&path).unwrap()), generation.to_string());
            assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "it is the same socket all the time");
        }
        stop.store(true, Ordering::SeqCst);
    });
    gate.signal(Signal::SIGTERM);
    assert_eq!(gate.wait(), Some(0));
    assert_eq!(files.log().lines().count() as u64, asked.load(Ordering::SeqCst) + GENERATIONS - 1);
    assert!(!path.exists(), "it goes with the last gate");
}

#[test]
fn a_gate_that_does_not_take_over_leaves_the_socket_as_it_was() {
    let files = files();
    let path = files.path("gate.sock");
    let mut old = Process::start(&files);
    // It has been given all sockets when it finds out that it cannot bind another.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let good = fs::read_to_string(files.config()).unwrap();
    let bad = format!("{good}\n[[listener]]\naddress = \"{}\"\n", taken.local_addr().unwrap());
    files.write("riskgate.toml", bad.replace("\"0600\"", "\"0666\""));
    assert_eq!(upgrading(&files).output().unwrap().status.code(), Some(1));
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    assert_eq!(Client::at(&path).unwrap().send(&Request::get("/")).unwrap().status, 200);

    files.write("riskgate.toml", good.replace("\"0600\"", "\"0666\""));
    let _new = Process::run(&files, &mut upgrading(&files));
    assert_eq!(old.wait(), Some(0));
    assert_eq!(mode(), 0o666, "who takes over sets the mode that it was told");
    assert_eq!(Client::at(&path).unwrap().send(&Request::get("/")).unwrap().status, 200);
}

#[test]
fn a_unix_socket_that_is_gone_from_the_configuration_goes_with_the_old_gate() {
    let files = files();
    let (path, other) = (files.path("gate.sock"), files.path("other.sock"));
    let mut old = Process::start(&files);
    change(&files, "gate.sock", "other.sock");
    let _new = Process::run(&files, &mut upgrading(&files));
    assert_eq!(old.wait(), Some(0));
    eventually("the file to go", || (!path.exists()).then_some(()));
    assert_eq!(Client::at(&other).unwrap().send(&Request::get("/")).unwrap().status, 200);
    let told = fs::read_to_string(files.path("log")).unwrap();
    assert!(told.contains(&format!("a socket that listened on `unix:{}` is closed", path.display())));
}

#[test]
fn a_socket_that_a_killed_gate_left_behind_is_replaced() {
    let files = files();
    let path = files.path("gate.sock");
    let mut killed = Process::start(&files);
    killed.signal(Signal::SIGKILL);
    killed.wait();
    let refused = Client::at(&path).map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "nobody listens, but the file is there");
    let mut gate = Process::run(&files, &mut upgrading(&files));
    assert_eq!(Client::at(&path).unwrap().send(&Request::get("/")).unwrap().status, 200);
    gate.signal(Signal::SIGTERM);
    assert_eq!((gate.wait(), path.exists()), (Some(0), false));
}
