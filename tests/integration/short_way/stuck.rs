//! What nobody takes is not read ahead: of an answer that a client of HTTP/2 grants no room for, whatever it asked with, and
//! of a body that an origin does not read.
//!
//! What the system holds between gate and origin comes on top; the origin's own buffer is small.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use http::request::Builder;
use nix::sys::socket::{
    setsockopt,
    sockopt::{RcvBuf, SndBuf},
};
use tokio::net::TcpStream;

use super::http2::{over_http2, setup};
use super::uploads::{begin, send_all, told_of};
use crate::http2::{block_on, clear};
use crate::net::PATIENCE;
use crate::support::{Running, Setup, raw_origin, read_head};

const KIB: usize = 1024;

/// Answers without end, and tells how much of that was taken when it is broken off.
fn endless() -> (SocketAddr, mpsc::Receiver<usize>) {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = raw_origin(move |mut stream| {
        setsockopt(&stream, SndBuf, &4096).unwrap();
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").unwrap();
        let mut taken = 0;
        while let Ok(count) = stream.write(&[b'x'; KIB]) {
            taken += count;
        }
        tell.lock().unwrap().send(taken).unwrap();
    });
    (origin, told)
}

fn gate(origin: SocketAddr, more: &str) -> Running {
    let upstream = format!("servers = [\"{origin}\"]\n{more}");
    let server = "threads = 1\nread_timeout = \"1s\"";
    setup().section("server", server).upstream("origin", &upstream).start()
}

#[test]
fn no_request_over_http2_has_more_of_its_answer_read_than_a_little() {
    let (origin, told) = endless();
    let gate = gate(origin, "");
    let ask = |method: &str| over_http2(method, "/");
    let requests: [(Builder, &'static [u8]); 8] = [
        (ask("GET"), b""),
        (ask("POST"), b"a body"),
        (ask("PUT"), b"a body"),
        (ask("GET"), b"a body"),
        (ask("POST"), b""),
        (ask("GET").header("trailer", "x-sum"), b""),
        (ask("GET").header("proxy-authorization", "a").header("http2-settings", "a"), b""),
        (ask("GET").header("host", "api.example").header("expect", "100-continue"), b""),
    ];
    for (request, sent) in requests {
        let what = format!("{request:?} {} bytes", sent.len());
        let taken = block_on(async {
            let stream = TcpStream::connect(gate.addr).await.unwrap();
            let mut builder = h2::client::Builder::new();
            let (client, connection) =
                builder.initial_window_size(0).handshake::<_, Bytes>(stream).await.unwrap();
            tokio::spawn(async move { drop(connection.await) });
            let mut client = client.ready().await.unwrap();
            let (answer, mut body) = client.send_request(request.body(()).unwrap(), sent.is_empty()).unwrap();
            if !sent.is_empty() {
                body.send_data(Bytes::from_static(sent), true).unwrap();
            }
            let _answer = answer.await.unwrap();
            told_of(&told).await
        });
        assert!((8 * KIB..=256 * KIB).contains(&taken), "{taken} bytes were taken of the answer to {what}");
    }
}

#[test]
fn a_body_that_the_origin_does_not_read_is_not_read_either() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gate = gate(listener.local_addr().unwrap(), "write_timeout = \"1s\"\nread_timeout = \"1s\"");
    let (status, sent) = block_on(async {
        let mut client = clear(gate.addr).await;
        let (answer, mut stream) = begin(&mut client, "/").await;
        // The stream is reset with the answer.
        let (answer, sent) = tokio::join!(answer, send_all(&mut stream, 64 << 20));
        (answer.unwrap().status(), sent)
    });
    drop(listener);
    assert_eq!(status, 504);
    // A window of HTTP/2, and some MiB that the system takes.
    assert!(sent <= 16 << 20, "{sent} bytes were taken of the body");
}

/// What origins answer before they have a body.
const REFUSAL: &[u8] = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 4\r\n\r\nless";

/// Reads a little of a body and then no more of it. Its answer comes when it is told, and it stays until it is told again.
fn fed_up() -> (SocketAddr, mpsc::Sender<()>) {
    let (tell, told) = mpsc::channel();
    let told = Mutex::new(told);
    let origin = raw_origin(move |mut stream| {
        setsockopt(&stream, RcvBuf, &4096).unwrap();
        read_head(&mut stream);
        stream.read_exact(&mut [0; KIB]).unwrap();
        let told = told.lock().unwrap();
        told.recv_timeout(PATIENCE).unwrap();
        stream.write_all(REFUSAL).unwrap();
        let _ = told.recv_timeout(PATIENCE);
    });
    (origin, tell)
}

/// Sends until nothing more is taken.
async fn send_until_stuck(stream: &mut h2::SendStream<Bytes>) {
    loop {
        stream.reserve_capacity(16 * KIB);
        let room = std::future::poll_fn(|context| stream.poll_capacity(context));
        match tokio::time::timeout(Duration::from_millis(500), room).await {
            Ok(room) => stream.send_data(vec![b'x'; room.unwrap().unwrap()].into(), false).unwrap(),
            Err(_) => return,
        }
    }
}

#[test]
fn an_answer_reaches_the_client_while_the_origin_takes_no_more_of_the_body() {
    let (origin, tell) = fed_up();
    let gate = gate(origin, "write_timeout = \"60s\"\nread_timeout = \"60s\"");
    block_on(async {
        let mut client = clear(gate.addr).await;
        let (answer, mut stream) = begin(&mut client, "/").await;
        send_until_stuck(&mut stream).await;
        tell.send(()).unwrap();
        let (head, mut body) = answer.await.unwrap().into_parts();
        assert_eq!(head.status, 413);
        assert_eq!(body.data().await.unwrap().unwrap(), "less");
        assert!(body.data().await.is_none());
    });
}

#[test]
fn a_client_that_leaves_is_noticed_while_the_origin_takes_no_more_of_the_body() {
    let (origin, _tell) = fed_up();
    let gate = gate(origin, "write_timeout = \"60s\"\nread_timeout = \"60s\"");
    block_on(async {
        let mut client = clear(gate.addr).await;
        let (_answer, mut stream) = begin(&mut client, "/").await;
        send_until_stuck(&mut stream).await;
        stream.send_reset(h2::Reason::CANCEL);
        while gate.records(0).is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    let record = gate.records(1).remove(0);
    assert_eq!((&record["fault"], &record["status"]), (&"client_gone".into(), &499.into()), "{record}");
}

fn hasty_clients_only() -> Setup {
    setup().section("request", "min_body_rate = \"1MiB\"\nbody_grace = \"1s\"")
}

#[test]
fn that_the_origin_takes_no_more_of_a_body_is_not_its_clients_fault() {
    let (origin, _tell) = fed_up();
    let upstream = format!("servers = [\"{origin}\"]\nwrite_timeout = \"8s\"\nread_timeout = \"1s\"");
    let gate = hasty_clients_only().section("server", "threads = 1").upstream("origin", &upstream).start();
    let status = block_on(async {
        let mut client = clear(gate.addr).await;
        let (answer, mut stream) = begin(&mut client, "/").await;
        let (answer, _) = tokio::join!(answer, send_all(&mut stream, 64 << 20));
        answer.unwrap().status()
    });
    assert_eq!(status, 504);
    assert_eq!(gate.records(1)[0]["fault"], "upstream_timed_out");
}
