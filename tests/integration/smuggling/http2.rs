//! The same over HTTP/2, where nothing of a head is a line: what would be one, or a second request, once the origin gets it
//! over HTTP/1.1.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::floods::PREFACE;
use crate::net::origin::{Answer, Origin};
use crate::net::{PATIENCE, Request};
use crate::support::Setup;

/// Fields of a head in their order, and what follows as DATA.
type Shape = (&'static [(&'static str, &'static str)], &'static str);

const GET: (&str, &str) = (":method", "GET");
const POST: (&str, &str) = (":method", "POST");
const HEAD: (&str, &str) = (":method", "HEAD");
const HTTP: (&str, &str) = (":scheme", "http");
const A: (&str, &str) = (":authority", "a");
const X: (&str, &str) = (":path", "/x");
const INNER: &str = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

/// None of these may reach the origin, whole or in part.
const SHAPES: &[Shape] = &[
    // Framing that HTTP/2 does not have.
    (&[POST, HTTP, A, X, ("transfer-encoding", "chunked")], INNER),
    (&[POST, HTTP, A, X, ("transfer-encoding", "identity")], INNER),
    (&[GET, HTTP, A, X, ("connection", "close")], ""),
    (&[GET, HTTP, A, X, ("connection", "transfer-encoding")], ""),
    (&[GET, HTTP, A, X, ("keep-alive", "1")], ""),
    (&[GET, HTTP, A, X, ("upgrade", "websocket")], ""),
    (&[GET, HTTP, A, X, ("te", "chunked")], ""),
    // Lengths that are not those of the body.
    (&[POST, HTTP, A, X, ("content-length", "3")], "abcGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"),
    (&[POST, HTTP, A, X, ("content-length", "9")], "abc"),
    (&[POST, HTTP, A, X, ("content-length", "3"), ("content-length", "4")], "abc"),
    (&[POST, HTTP, A, X, ("content-length", "3, 3")], "abc"),
    (&[POST, HTTP, A, X, ("content-length", "+3")], "abc"),
    (&[POST, HTTP, A, X, ("content-length", "3"), ("content-length", "3")], "abc"),
    (&[POST, HTTP, A, X, ("content-length", "3")], ""),
    (&[GET, HTTP, A, X, ("content-length", "3")], ""),
    (&[HEAD, HTTP, A, X, ("content-length", "3")], ""),
    (&[HEAD, HTTP, A, X, ("content-length", "9")], "abc"),
    // Tunnels.
    (&[(":method", "CONNECT"), (":authority", "a:80")], ""),
    (&[(":method", "CONNECT"), (":authority", "a:80")], INNER),
    (&[(":method", "CONNECT"), (":protocol", "websocket"), HTTP, A, X], ""),
    // Fields that would be lines.
    (&[GET, HTTP, A, X, ("y", "1\r\nz: 2")], ""),
    (&[GET, HTTP, A, X, ("y", "1\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n")], ""),
    (&[GET, HTTP, A, X, ("y", "1\nz: 2")], ""),
    (&[GET, HTTP, A, X, ("y", "1\rz: 2")], ""),
    (&[GET, HTTP, A, X, ("y", "1\x002")], ""),
    (&[GET, HTTP, A, X, ("y: 1\r\nz", "2")], ""),
    (&[GET, HTTP, A, X, ("y z", "1")], ""),
    (&[GET, HTTP, A, X, ("y:", "1")], ""),
    (&[GET, HTTP, A, X, ("", "1")], ""),
    (&[GET, HTTP, A, X, ("Y", "1")], ""),
    // What would be the first line.
    (&[GET, HTTP, A, (":path", "/x HTTP/1.1\r\nhost: a\r\n\r\nGET /smuggled")], ""),
    (&[GET, HTTP, A, (":path", "x")], ""),
    (&[GET, HTTP, A, (":path", "")], ""),
    (&[(":method", "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\nGET"), HTTP, A, X], ""),
    (&[(":method", "G T"), HTTP, A, X], ""),
    (&[GET, (":scheme", "http://a/smuggled?"), A, X], ""),
    // Whose request it is.
    (&[GET, HTTP, (":authority", "a\r\nx: y"), X], ""),
    (&[GET, HTTP, (":authority", "a/smuggled?"), X], ""),
    (&[GET, HTTP, A, A, X], ""),
    (&[GET, HTTP, A, X, (":path", "/smuggled")], ""),
    (&[GET, HTTP, A, X, (":method", "POST")], ""),
    (&[GET, HTTP, A, ("y", "1"), X], ""),
    (&[GET, HTTP, A, X, (":other", "1")], ""),
    (&[GET, HTTP, A], ""),
    (&[GET, HTTP, X], ""),
];

/// So written, what is in order is served: what others lack is what they are refused for.
const FINE: &[Shape] = &[
    (&[GET, HTTP, A, X, ("y", "1"), ("te", "trailers")], ""),
    (&[POST, HTTP, A, X, ("content-length", "3")], "abc"),
    (&[POST, HTTP, A, X], INNER),
    (&[HEAD, HTTP, A, X, ("content-length", "3"), ("expect", "100-continue")], "abc"),
    (&[(":method", "OPTIONS"), HTTP, A, (":path", "*")], ""),
];

/// This one may reach it as far as it says how long it is.
const MORE_THAN_ITS_LENGTH: Shape =
    (&[POST, HTTP, A, X, ("content-length", "0")], "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n");

/// A frame of stream 1.
fn frame(kind: u8, flags: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], content].concat()
}

/// A head without compression (RFC 7541, section 6.2.2), and what follows.
fn bytes((fields, body): &Shape) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in *fields {
        head.push(0);
        for text in [name, value] {
            head.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text"));
            head.extend_from_slice(text.as_bytes());
        }
    }
    let end = u8::from(body.is_empty());
    let data = if body.is_empty() { Vec::new() } else { frame(0, 1, body.as_bytes()) };
    [PREFACE, &frame(1, 4 | end, &head), &data].concat()
}

/// A connection that begins with this, and a PING.
fn begun(gate: SocketAddr, shape: &Shape) -> TcpStream {
    let mut stream = TcpStream::connect(gate).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let ping = b"\0\0\x08\x06\0\0\0\0\0riskgate";
    stream.write_all(&[bytes(shape), ping.to_vec()].concat()).unwrap();
    stream
}

/// All that the gate says to this, until it ends the connection or has answered the PING.
fn said(gate: SocketAddr, shape: &Shape) -> Vec<u8> {
    let mut stream = begun(gate, shape);
    let (mut said, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut piece).unwrap_or(0);
        said.extend_from_slice(&piece[..count]);
        if count == 0 || said.windows(8).any(|eight| eight == b"riskgate") {
            return said;
        }
    }
}

#[test]
fn what_would_be_two_requests_at_the_origin_is_none() {
    let origin = Origin::start(|_| Answer::new(200, "fine"));
    let gate = Setup::new().listener("http2 = true").origin(&[origin.addr()]).start();
    for shape in SHAPES {
        let said = said(gate.addr, shape);
        assert!(!said.windows(4).any(|four| four == b"fine"), "{shape:?}");
    }
    assert_eq!(gate.send(&Request::new("POST", "/last")).status, 200);
    for (at, shape) in FINE.iter().enumerate() {
        let _open = begun(gate.addr, shape);
        origin.wait_for(at + 2);
    }
    let received = origin.received();
    let seen: Vec<_> =
        received.iter().map(|it| (&*it.method, &*it.target, String::from_utf8_lossy(&it.body))).collect();
    let expected = [
        ("POST", "/last", ""),
        ("GET", "/x", ""),
        ("POST", "/x", "abc"),
        ("POST", "/x", INNER),
        ("HEAD", "/x", "abc"),
        ("OPTIONS", "*", ""),
    ];
    assert_eq!(seen, expected.map(|(method, target, body)| (method, target, body.into())));
}

#[test]
fn what_is_more_than_the_length_of_a_body_is_no_request_at_the_origin() {
    let origin = Origin::start(|_| Answer::new(200, "fine"));
    let gate = Setup::new().listener("http2 = true").origin(&[origin.addr()]).start();
    for _ in 0..20 {
        said(gate.addr, &MORE_THAN_ITS_LENGTH);
    }
    assert_eq!(gate.send(&Request::new("POST", "/last")).status, 200);
    for request in origin.received().iter().filter(|request| request.target != "/last") {
        assert_eq!((&*request.method, &*request.target, &*request.body), ("POST", "/x", &b""[..]));
    }
}
