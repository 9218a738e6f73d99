//! Clients that mean harm by what they send, or by what they do not take: each is ended, and nobody else with it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use http::Request as Head;

use crate::net::{PATIENCE, Request};
use crate::support::{Running, Setup, eventually, raw_origin, read_head};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await.expect("in time") })
}

fn serves(gate: &Running) {
    assert_eq!(gate.send(&Request::get("/").header("host", "a")).status, 200);
}

/// Begins HTTP/2, sends `before` once and then `frame` again and again, and takes what comes back, until the gate has had
/// enough of it; how many it took.
pub(crate) fn flood(gate: SocketAddr, before: &[u8], frame: &[u8]) -> usize {
    const MOST: usize = 100_000;
    let stream = TcpStream::connect(gate).unwrap();
    let (mut reader, mut writer) = (stream.try_clone().unwrap(), stream);
    reader.set_read_timeout(Some(PATIENCE)).unwrap();
    // Whatever it says is taken, or it would stop to read.
    let reading = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => return assert_ne!(error.kind(), ErrorKind::WouldBlock, "it was not ended"),
            }
        }
    });
    let begun = writer.write_all(PREFACE).and_then(|()| writer.write_all(before));
    let sent = (0..MOST).take_while(|_| begun.is_ok() && writer.write_all(frame).is_ok()).count();
    assert!(sent < MOST, "all were taken");
    reading.join().unwrap();
    sent
}

#[test]
fn frames_without_content_end_the_connection_and_nobody_elses() {
    let gate = Setup::new().listener("http2 = true").start();
    let ping = b"\0\0\x08\x06\0\0\0\0\0riskgate";
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    let priority = b"\0\0\x05\x02\0\0\0\0\x01\0\0\0\0\x01";
    let grant = b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01";
    for frame in [&ping[..], settings, priority, grant] {
        assert!(flood(gate.addr, b"", frame) >= 1000, "fewer are nothing strange");
        serves(&gate);
    }
}

#[test]
fn a_head_without_an_end_ends_the_connection() {
    let gate = Setup::new().listener("http2 = true").start();
    // HEADERS without END_HEADERS, then CONTINUATION for ever, each with a field (RFC 7541, 6.2.2).
    let begin = b"\0\0\x03\x01\x01\0\0\0\x01\x82\x86\x84";
    let more = b"\0\0\x05\x09\0\0\0\0\x01\0\x01a\x01b";
    flood(gate.addr, begin, more);
    serves(&gate);
}

/// An origin whose answers are long, and are written as far as anybody takes them.
fn long_answers() -> SocketAddr {
    raw_origin(|mut stream| {
        let head = read_head(&mut stream);
        let length = if head.starts_with("GET /long") { 1 << 20 } else { 2 };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(&vec![b'x'; length]));
    })
}

#[test]
fn an_answer_that_nobody_grants_room_for_is_given_up_and_others_on_its_connection_are_not() {
    let gate = Setup::new()
        .listener("http2 = true")
        .section("server", "threads = 2\nread_timeout = \"1s\"")
        .origin(&[long_answers()])
        .start();
    block_on(async {
        let stream = tokio::net::TcpStream::connect(gate.addr).await.unwrap();
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(1 << 20);
        let (client, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let mut client = client.ready().await.unwrap();
        let get = |path: &str| Head::get(format!("http://a{path}")).body(()).unwrap();
        let (long, _) = client.send_request(get("/long"), true).unwrap();
        let mut long = long.await.unwrap().into_body();
        let mut taken = 0;
        let error = loop {
            // What came is taken from the library, but no room is granted for more.
            match long.data().await.expect("it does not end well") {
                Ok(data) => taken += data.len(),
                Err(error) => break error,
            }
        };
        assert!(taken == 65_535 && error.is_reset(), "{taken} bytes, {error}");
        let (short, _) = client.send_request(get("/short"), true).unwrap();
        assert_eq!(short.await.unwrap().status(), 200);
    });
    let actions = gate.records(2);
    assert!(actions.iter().all(|record| record["action"] == "allowed"), "{actions:?}");
}

#[test]
fn an_answer_that_nobody_reads_is_given_up() {
    let gate = Setup::new()
        .section("server", "threads = 2\nread_timeout = \"1s\"\nmax_connections = 1")
        .origin(&[raw_origin(|mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
            let part = vec![b'x'; 1 << 20];
            while stream.write_all(&part).is_ok() {}
        })])
        .start();
    let mut silent = TcpStream::connect(gate.addr).unwrap();
    silent.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    // The only place there is was taken from it.
    eventually("the place", || {
        let mut next = TcpStream::connect(gate.addr).ok()?;
        next.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        next.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").ok()?;
        let mut begin = [0; 12];
        next.read_exact(&mut begin).ok()?;
        (&begin == b"HTTP/1.1 200").then_some(())
    });
    drop(silent);
}
