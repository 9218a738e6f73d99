//! Requests over HTTP/2 with bodies: what reaches the origin, answers that begin or end before the body does, and who
//! breaks off.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};

use super::http2::{gates, noticed, old, over_http2, setup};
use crate::http2::{block_on, clear, send};
use crate::net::PATIENCE;
use crate::net::origin::{Answer, Origin};
use crate::support::{Running, Setup, eventually, quoted, raw_origin, read_head};

/// Begins a request with a body.
pub(super) async fn begin(
    client: &mut SendRequest<Bytes>,
    path: &str,
) -> (ResponseFuture, SendStream<Bytes>) {
    let request = over_http2("POST", path).body(()).unwrap();
    client.send_request(request, false).unwrap()
}

/// So many bytes of an answer.
async fn take(body: &mut RecvStream, count: usize) -> Vec<u8> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let data = body.data().await.expect("more of the answer").unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        taken.extend_from_slice(&data);
    }
    taken
}

/// Sends so many bytes as there is room for them, and ends. How many there was room for.
pub(super) async fn send_all(stream: &mut SendStream<Bytes>, count: usize) -> usize {
    let mut sent = 0;
    while sent < count {
        stream.reserve_capacity((count - sent).min(16 << 10));
        let Some(Ok(room)) = std::future::poll_fn(|context| stream.poll_capacity(context)).await else {
            break;
        };
        let piece = Bytes::from(vec![b'x'; room.min(count - sent)]);
        sent += piece.len();
        if stream.send_data(piece, sent == count).is_err() {
            break;
        }
    }
    sent
}

/// What an origin tells, while the client's connection goes on.
pub(super) async fn told_of<T>(told: &mpsc::Receiver<T>) -> T {
    loop {
        match told.try_recv() {
            Ok(told) => return told,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

#[test]
fn every_byte_of_a_body_reaches_the_origin_alike_framed_as_it_was() {
    let origin = Origin::start(|request| Answer::new(200, request.body.len().to_string()));
    let gates = gates(setup, origin.addr());
    let large: &'static [u8] = vec![b'x'; 300_000].leak();
    for method in ["POST", "PUT", "PATCH", "DELETE", "GET", "HEAD", "OPTIONS"] {
        for (length, body) in [(None, &b"abc"[..]), (Some(3), b"abc"), (Some(300_000), large), (None, large)]
        {
            let [short, long] = gates.each_ref().map(|(_, gate)| {
                let request = over_http2(method, "/").header("content-type", "text/plain");
                let request =
                    length.into_iter().fold(request, |it, length| it.header("content-length", length));
                let pieces: Vec<_> = body.chunks(10_000).collect();
                block_on(async {
                    send(&mut clear(gate.addr).await, request, &pieces).await.unwrap();
                });
                let seen = origin.received().pop().unwrap();
                let mut lines = seen.headers.0;
                lines.retain(|(name, _)| name != "riskgate-decision");
                lines.sort();
                (seen.method, lines, seen.body)
            });
            assert_eq!(short, long);
            assert!(short.2 == body, "{method} {} bytes", short.2.len());
            let named = |name: &str| short.1.iter().any(|(line, _)| line.eq_ignore_ascii_case(name));
            assert_eq!(
                (named("content-length"), named("transfer-encoding")),
                (length.is_some(), length.is_none())
            );
        }
    }
}

/// An origin that sends back what comes: the chunks of a request are those of its answer.
fn echoing() -> SocketAddr {
    raw_origin(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        let mut copy = stream.try_clone().unwrap();
        let _ = std::io::copy(&mut stream, &mut copy);
    })
}

fn hasty_clients_only() -> Setup {
    setup().section("request", "min_body_rate = \"1KiB\"\nbody_grace = \"1s\"")
}

#[test]
fn a_client_that_talks_with_the_origin_may_be_slow() {
    for (way, gate) in &gates(hasty_clients_only, echoing()) {
        block_on(async {
            let mut client = clear(gate.addr).await;
            let (answer, mut stream) = begin(&mut client, "/").await;
            let mut answer = answer.await.unwrap().into_body();
            for _ in 0..15 {
                // What would be too slow takes its time.
                tokio::time::sleep(Duration::from_millis(100)).await;
                stream.send_data(Bytes::from("x"), false).unwrap();
                assert_eq!(take(&mut answer, 1).await, b"x", "{way:?}");
            }
        });
    }
}

/// Says a few words and hears each of them, and then a lot of both at once.
async fn talk(gate: &Running) {
    let mut client = clear(gate.addr).await;
    let (answer, mut stream) = begin(&mut client, "/").await;
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut answer = answer.into_body();
    for word in ["one", "two", "three"] {
        stream.send_data(Bytes::from(word), false).unwrap();
        assert_eq!(take(&mut answer, word.len()).await, word.as_bytes());
    }
    let large = 4 << 20;
    let (sent, taken) = tokio::join!(send_all(&mut stream, large), take(&mut answer, large));
    assert_eq!((sent, taken.len()), (large, large));
    while let Some(rest) = answer.data().await {
        assert!(rest.unwrap().is_empty());
    }
}

#[test]
fn both_sides_may_talk_in_turn() {
    for (_, gate) in &gates(setup, echoing()) {
        block_on(talk(gate));
    }
}

#[test]
fn so_they_may_if_the_origin_speaks_tls() {
    let upstream = format!("servers = {}\ntls = {{ verify = false }}", quoted(&[old(echoing())]));
    let gate = setup().upstream("origin", &upstream).start();
    block_on(talk(&gate));
}

#[test]
fn an_origin_may_refuse_a_body_before_it_has_come() {
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let origin = raw_origin(move |mut stream| {
        read_head(&mut stream);
        let refusal = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 4\r\nconnection: close\r\n\r\nless";
        stream.write_all(refusal.as_bytes()).unwrap();
        // What is closed on something unread is reset, and the answer may be lost with it.
        wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
    });
    for (way, gate) in &gates(setup, origin) {
        block_on(async {
            let mut client = clear(gate.addr).await;
            let (answer, mut stream) = begin(&mut client, "/early").await;
            stream.send_data(Bytes::from("some"), false).unwrap();
            let (head, mut body) = answer.await.unwrap().into_parts();
            assert_eq!((head.status.as_u16(), take(&mut body, 4).await), (413, b"less".to_vec()), "{way:?}");
            go.send(()).unwrap();
            // Until the stream is reset.
            send_all(&mut stream, 64 << 20).await;
            assert!(
                noticed(&mut client, over_http2("GET", "/next"), b"").await.starts_with("200"),
                "{way:?}"
            );
        });
        let record = eventually("a record", || gate.records(0).into_iter().find(|it| it["path"] == "/early"));
        assert_eq!((&record["status"], record["fault"].is_null()), (&413.into(), true), "{record}");
    }
}

/// An origin that answers at once, and tells how much of a body it got in the end.
fn hasty() -> (SocketAddr, mpsc::Receiver<usize>) {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = raw_origin(move |mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").unwrap();
        let (mut body, mut piece) = (Vec::new(), [0; 4096]);
        while !body.ends_with(b"0\r\n\r\n") {
            match stream.read(&mut piece) {
                Ok(count) if count > 0 => body.extend_from_slice(&piece[..count]),
                _ => break,
            }
        }
        let count = body.iter().filter(|byte| **byte == b'y').count();
        tell.lock().unwrap().send(count).unwrap();
    });
    (origin, told)
}

#[test]
fn what_is_left_of_a_body_after_the_answer_reaches_the_origin() {
    let (origin, told) = hasty();
    for (way, gate) in &gates(setup, origin) {
        block_on(async {
            let mut client = clear(gate.addr).await;
            let (answer, mut stream) = begin(&mut client, "/").await;
            stream.send_data(Bytes::from("yy"), false).unwrap();
            assert_eq!(take(answer.await.unwrap().body_mut(), 2).await, b"hi", "{way:?}");
            stream.send_data(Bytes::from("yyyyy"), true).unwrap();
            let count = told_of(&told).await;
            assert_eq!(count, 7, "{way:?}");
        });
    }
}

#[test]
fn a_client_that_does_not_go_on_after_the_answer_is_not_waited_for() {
    let (origin, told) = hasty();
    let server = "threads = 1\nread_timeout = \"1s\"";
    let gate =
        setup().section("server", server).upstream("origin", &format!("servers = {}", quoted(&[origin])));
    let gate = gate.start();
    block_on(async {
        let mut client = clear(gate.addr).await;
        let (answer, mut stream) = begin(&mut client, "/").await;
        stream.send_data(Bytes::from("yy"), false).unwrap();
        assert_eq!(take(answer.await.unwrap().body_mut(), 2).await, b"hi");
        while gate.metrics().lines().all(|line| line != "riskgate_http2_requests 0") {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(told.recv_timeout(PATIENCE), Ok(2));
    let record = gate.records(1).remove(0);
    assert_eq!((&record["status"], record["fault"].is_null()), (&200.into(), true), "{record}");
}

fn narrow() -> Setup {
    setup().section("request", "max_body = \"1KiB\"")
}

#[test]
fn only_what_may_be_repeated_is_sent_again_with_its_body_which_is_measured_anew() {
    // The second request on a connection is read and not answered.
    let origin = raw_origin(|mut stream: TcpStream| {
        read_head(&mut stream);
        let body = read_head(&mut stream);
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).unwrap();
        read_head(&mut stream);
        read_head(&mut stream);
    });
    let sent: &'static [u8] = vec![b'x'; 700].leak();
    let whole = format!("2BC\r\n{}\r\n0\r\n\r\n", "x".repeat(700));
    for (method, expected) in [("PUT", [200; 4]), ("POST", [200, 502, 200, 502])] {
        for (way, gate) in &gates(narrow, origin) {
            let statuses = [0; 4].map(|_| {
                block_on(async {
                    let mut client = clear(gate.addr).await;
                    let answer = send(&mut client, over_http2(method, "/"), &[sent]).await.unwrap();
                    let is_whole = *answer.body() == whole;
                    assert_eq!(is_whole, answer.status() == 200, "{way:?} {method} {}", answer.body());
                    answer.status().as_u16()
                })
            });
            assert_eq!(statuses, expected, "{way:?} {method}");
        }
    }
}

#[test]
fn a_body_that_its_client_breaks_off_ends_the_origins_work() {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = raw_origin(move |mut stream| {
        read_head(&mut stream);
        stream.read_exact(&mut [0; 5]).unwrap();
        tell.lock().unwrap().send("begun").unwrap();
        let rest = stream.read_to_end(&mut Vec::new());
        tell.lock().unwrap().send(if rest.is_ok_and(|count| count > 5) { "more" } else { "left" }).unwrap();
    });
    for (way, gate) in &gates(setup, origin) {
        block_on(async {
            let mut client = clear(gate.addr).await;
            let (_answer, mut stream) = begin(&mut client, "/broken").await;
            stream.send_data(Bytes::from("abc"), false).unwrap();
            let begun = told_of(&told).await;
            assert_eq!(begun, "begun", "{way:?}");
            stream.send_reset(h2::Reason::CANCEL);
            assert!(noticed(&mut client, over_http2("GET", "/next"), b"").await.starts_with("200"));
        });
        assert_eq!(told.recv_timeout(PATIENCE), Ok("left"), "{way:?}");
        let broken = |gate: &Running| gate.records(0).into_iter().find(|it| it["path"] == "/broken");
        let record = eventually("a record", || broken(gate));
        assert_eq!((&record["fault"], &record["status"]), (&"client_gone".into(), &499.into()), "{record}");
    }
}
