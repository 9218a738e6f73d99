//! What the gate ends, and what its clients break off, is seen: connections in a metric, requests in the log of decisions.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use serde_json::Value;

use crate::certificates::Authority;
use crate::floods::{PREFACE, flood};
use crate::http2::{block_on, clear, get, send};
use crate::net::origin::{Answer, Gate, Origin};
use crate::net::{PATIENCE, Request, free_addr};
use crate::support::{Running, Setup, eventually, json, raw_origin, read_head};

const REASONS: [&str; 6] = ["flood", "frames", "handshake", "head", "protocol", "stalled"];

/// How many connections were ended, for each reason in the order of [`REASONS`].
fn ended(gate: &Running) -> [u64; 6] {
    let metrics = gate.metrics();
    REASONS.map(|reason| {
        let name = format!("riskgate_connections_ended_total{{reason=\"{reason}\"}} ");
        let value =
            metrics.lines().find_map(|line| line.strip_prefix(&name)).expect("a count from the start");
        value.parse().unwrap()
    })
}

/// An origin that answers `/` and never comes to an end of anything else.
fn endless() -> SocketAddr {
    raw_origin(|mut stream| {
        if read_head(&mut stream).starts_with("GET / ") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
        let part = vec![b'x'; 1 << 20];
        while stream.write_all(&part).is_ok() {}
    })
}

/// Sends this, and reads until the gate ends the connection.
fn until_ended(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let ended = stream.read_to_end(&mut Vec::new());
    let timed_out = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(!timed_out, "it was not ended");
}

#[test]
fn connections_that_the_gate_ends_are_counted_by_the_reason() {
    let tls = free_addr();
    let issued = Authority::new("test authority").server(&["a"]);
    let gate = Setup::new()
        .section("server", "threads = 2\nhead_timeout = \"2s\"\nread_timeout = \"1s\"")
        .listener("http2 = true")
        .listener(&format!(
            "[[listener]]\naddress = \"{tls}\"\ntls = {{ cert = \"@/cert.pem\", key = \"@/key.pem\" }}"
        ))
        .file("cert.pem", issued.cert.as_str())
        .file("key.pem", issued.key.as_str())
        .origin(&[endless()])
        .start();
    // Who behaves is not among them.
    assert_eq!(gate.send(&Request::get("/")).status, 200);
    block_on(async {
        let answer = send(&mut clear(gate.addr).await, get("/"), &[]).await.unwrap();
        assert_eq!(answer.status(), 200);
    });
    let mut wanted = [0; 6];
    assert_eq!(ended(&gate), wanted);

    let stalled = TcpStream::connect(gate.addr).unwrap();
    (&stalled).write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    // HEADERS without END_HEADERS, then CONTINUATION for ever.
    flood(gate.addr, b"\0\0\x03\x01\x01\0\0\0\x01\x82\x86\x84", b"\0\0\x05\x09\0\0\0\0\x01\0\x01a\x01b");
    flood(gate.addr, b"", b"\0\0\x08\x06\0\0\0\0\0riskgate");
    until_ended(tls, b"");
    until_ended(tls, b"\x16\x03\x01");
    until_ended(gate.addr, b"GET / HTTP/1.1\r\nhost: a\r\nx: ");
    // A body that belongs to no stream.
    until_ended(gate.addr, &[PREFACE, b"\0\0\x01\0\0\0\0\0\0x"].concat());
    wanted = [1, 1, 2, 1, 1, 1];
    eventually("all to be counted", || (ended(&gate) == wanted).then_some(()));
    drop(stalled);
    assert_eq!(gate.send(&Request::get("/")).status, 200);
    assert_eq!(ended(&gate), wanted);
}

/// The record of the request for a path, once it is written.
fn record(gate: &Running, path: &str) -> Value {
    let of_path = |record: &Value| record["path"] == path;
    eventually("a record", || gate.records(0).into_iter().find(of_path))
}

#[test]
fn streams_that_a_client_breaks_off_are_recorded_and_nothing_of_them_is_left() {
    let opening = Gate::default();
    let held = opening.clone();
    let origin = Origin::start(move |received| match received.target.as_str() {
        "/before" => Answer::new(200, "late").behind(&held),
        "/during" => Answer::new(200, "").chunks(&["first", "last"]).behind(&held),
        _ => Answer::new(200, "quick"),
    });
    let gate = Setup::new().listener("http2 = true").origin(&[origin.addr()]).start();
    block_on(async {
        let mut client = clear(gate.addr).await;
        let ask = |client: &mut h2::client::SendRequest<Bytes>, path: &str| {
            client.send_request(get(path).body(()).unwrap(), true).unwrap()
        };
        let (before, mut stream) = ask(&mut client, "/before");
        while origin.received().is_empty() {
            tokio::task::yield_now().await;
        }
        stream.send_reset(h2::Reason::CANCEL);
        drop(before);
        let (during, mut stream) = ask(&mut client, "/during");
        let mut body = during.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "first");
        stream.send_reset(h2::Reason::CANCEL);
        drop(body);
        assert_eq!(send(&mut client, get("/quick"), &[]).await.unwrap().body(), "quick");
        let in_flight = || json(&gate.ask(&Request::get("/api/traffic")))["process"]["in_flight"].as_u64();
        while in_flight() != Some(0) {
            tokio::task::yield_now().await;
        }
    });
    let (before, during) = (record(&gate, "/before"), record(&gate, "/during"));
    assert_eq!((&before["status"], &before["fault"]), (&499.into(), &"client_gone".into()), "{before}");
    assert_eq!((&during["status"], &during["fault"]), (&200.into(), &"client_gone".into()), "{during}");
    assert_eq!(gate.records(3).len(), 3);
    assert_eq!(ended(&gate), [0; 6], "the connection has done nothing wrong");
    opening.open();
}
