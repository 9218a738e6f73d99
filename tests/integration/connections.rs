//! Connections: how many there may be, and how long a head may take.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::net::{Client, Request};
use crate::support::{Setup, eventually};

fn hello() -> Request {
    Request::get("/").header("host", "a")
}

#[test]
fn one_client_has_so_many_connections_and_they_are_free_again_when_they_end() {
    let gate = Setup::new()
        .section("client", "trusted_proxies = []")
        .section("server", "threads = 2\nmax_connections_per_client = 2")
        .start();
    let mut held = [gate.connect(), gate.connect()];
    for client in &mut held {
        assert_eq!(client.send(&hello()).unwrap().status, 200);
    }
    assert!(Client::connect(gate.addr).unwrap().send(&hello()).is_err(), "a third one is closed");
    let metrics = gate.metrics();
    assert!(metrics.contains("riskgate_connections_refused_total{bound=\"client\"} 1"), "{metrics}");
    drop(held);
    eventually("a free place", || {
        let answer = Client::connect(gate.addr).unwrap().send(&hello()).ok()?;
        (answer.status == 200).then_some(())
    });
}

#[test]
fn all_clients_have_so_many_connections() {
    let gate = Setup::new().section("server", "threads = 2\nmax_connections = 1").start();
    let mut first = gate.connect();
    assert_eq!(first.send(&hello()).unwrap().status, 200);
    assert!(Client::connect(gate.addr).unwrap().send(&hello()).is_err());
    assert_eq!(first.send(&hello()).unwrap().status, 200);
}

/// Sends a byte of a head now and then, until the gate has had enough.
fn drip(mut stream: TcpStream) -> Duration {
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let (begin, mut buffer) = (Instant::now(), [0; 64]);
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx: ").unwrap();
    while begin.elapsed() < Duration::from_secs(30) {
        let closed = match stream.read(&mut buffer) {
            Ok(count) => count == 0,
            Err(error) => {
                !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
            }
        };
        if closed || stream.write_all(b"x").is_err() {
            return begin.elapsed();
        }
    }
    panic!("dripped for half a minute");
}

#[test]
fn a_head_that_drips_in_is_ended_on_new_and_on_old_connections() {
    let gate = Setup::new().section("server", "threads = 2\nhead_timeout = \"1s\"").start();
    drip(TcpStream::connect(gate.addr).unwrap());

    let mut old = TcpStream::connect(gate.addr).unwrap();
    old.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut client = Client::over(old.try_clone().unwrap()).unwrap();
    assert_eq!(client.response_to("GET").unwrap().status, 200);
    drip(old);

    let mut silent = TcpStream::connect(gate.addr).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(silent.read(&mut [0; 8]).unwrap(), 0, "a connection that never speaks is closed");
}

#[test]
fn a_connection_that_rests_between_requests_is_not_hurried() {
    let gate = Setup::new().section("server", "threads = 2\nhead_timeout = \"1s\"").start();
    let mut client = gate.connect();
    assert_eq!(client.send(&hello()).unwrap().status, 200);
    // Longer than a head may take: another connection's silence is what tells that the time has passed.
    let mut silent = TcpStream::connect(gate.addr).unwrap();
    assert_eq!(silent.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(client.send(&hello()).unwrap().status, 200);
    assert_eq!(client.send(&Request::get("/delay/1200").header("host", "a")).unwrap().status, 200);
}

#[test]
fn whoever_wastes_connections_is_turned_away_and_whoever_asks_for_something_is_not() {
    let gate = Setup::new()
        .section("client", "trusted_proxies = []")
        .section("server", "threads = 2\nmax_wasted_per_client = 2")
        .start();
    for _ in 0..40 {
        assert_eq!(gate.connect().send(&hello()).unwrap().status, 200);
    }
    let mut kept = gate.connect();
    assert_eq!(kept.send(&hello()).unwrap().status, 200);
    // Ten seconds' worth may be wasted; that they were is known when they have ended.
    eventually("to be turned away", || {
        drop(gate.connect());
        gate.metrics().lines().any(|line| line.starts_with(WASTED) && !line.ends_with(" 0")).then_some(())
    });
    assert!(Client::connect(gate.addr).and_then(|mut client| client.send(&hello())).is_err());
    assert_eq!(kept.send(&hello()).unwrap().status, 200, "who is inside stays");
    eventually("to be let in again", || {
        let answer = Client::connect(gate.addr).ok()?.send(&hello()).ok()?;
        (answer.status == 200).then_some(())
    });
}

const WASTED: &str = "riskgate_connections_refused_total{bound=\"wasted\"}";
