//! What of a request with a body goes to an origin, byte for byte, and whose connection is used for another one: only one on
//! which nothing is left of either side.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use http::HeaderMap;

use super::http2::{noticed, over_http2, setup};
use super::uploads::{begin, told_of};
use crate::http2::{block_on, clear};
use crate::support::{Running, quoted, raw_origin, read_head};

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

/// When an origin answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Before,
    After,
}

/// All that came on each connection of an origin.
type Came = Arc<Mutex<Vec<String>>>;

/// Answers before or after the body, if there is one, and tells when it has all of that.
fn recording(answer: &'static str, when: When) -> (SocketAddr, Came, mpsc::Receiver<()>) {
    let came = Came::default();
    let (all, (tell, told)) = (Arc::clone(&came), mpsc::channel());
    let tell = Mutex::new(tell);
    let origin = raw_origin(move |mut stream: TcpStream| {
        let at = {
            let mut all = all.lock().unwrap();
            all.push(String::new());
            all.len() - 1
        };
        loop {
            let head = read_head(&mut stream);
            all.lock().unwrap()[at] += &head;
            if head.is_empty() || (when == When::Before && stream.write_all(answer.as_bytes()).is_err()) {
                return;
            }
            let body = body(&mut stream, &head);
            all.lock().unwrap()[at] += &body;
            let _ = tell.lock().unwrap().send(());
            if when == When::After && stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    (origin, came, told)
}

/// As much of a body as there is by its head, or until it breaks off.
fn body(stream: &mut TcpStream, head: &str) -> String {
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let length = length.unwrap_or(if head.contains("chunked") { usize::MAX } else { 0 });
    let (mut body, mut byte) = (Vec::new(), [0]);
    while body.len() < length
        && !body.ends_with(b"0\r\n\r\n")
        && stream.read(&mut byte).is_ok_and(|it| it == 1)
    {
        body.push(byte[0]);
    }
    String::from_utf8(body).unwrap()
}

fn gate(origin: SocketAddr) -> Running {
    let upstream = format!("servers = {}", quoted(&[origin]));
    setup().section("server", "threads = 1").upstream("origin", &upstream).start()
}

/// Waits until nothing is under way.
async fn calm(gate: &Running) {
    while gate.metrics().lines().all(|line| line != "riskgate_http2_requests 0") {
        tokio::task::yield_now().await;
    }
}

#[test]
fn trailers_of_a_client_do_not_reach_the_origin_whatever_they_are_called() {
    let (origin, came, _told) = recording(FINE, When::After);
    let gate = gate(origin);
    block_on(async {
        for names in [&["content-length", "host", "x-sum"][..], &["riskgate-decision", "x-forwarded-for"]] {
            let mut client = clear(gate.addr).await;
            let (answer, mut stream) = begin(&mut client, "/").await;
            stream.send_data(Bytes::from("abc"), false).unwrap();
            let mut trailers = HeaderMap::new();
            for name in names {
                trailers.insert(*name, "9".parse().unwrap());
            }
            stream.send_trailers(trailers).unwrap();
            assert_eq!(answer.await.unwrap().status(), 200);
            calm(&gate).await;
        }
    });
    let came = came.lock().unwrap();
    assert_eq!(came.len(), 1, "its connection is used again: {came:#?}");
    assert_eq!(came[0].matches("\r\n\r\n3\r\nabc\r\n0\r\n\r\n").count(), 2, "{}", came[0]);
    for name in ["content-length", "x-sum", "9"] {
        assert!(!came[0].to_lowercase().lines().any(|line| line.starts_with(name)), "{}", came[0]);
    }
    assert_eq!(came[0].to_lowercase().matches("\r\nhost: ").count(), 2, "{}", came[0]);
}

/// How many connections two requests take, of which the first has a body: half of it goes before its answer is awaited, if
/// that comes `When::Before` it has ended. `length`: whether its head says how long it is.
fn connections(answer: &'static str, when: When, length: bool) -> usize {
    let (origin, came, told) = recording(answer, when);
    let gate = gate(origin);
    block_on(async {
        let mut client = clear(gate.addr).await;
        let request = over_http2("POST", "/first");
        let request = if length { request.header("content-length", 4) } else { request };
        let (head, mut stream) = client.send_request(request.body(()).unwrap(), false).unwrap();
        stream.send_data(Bytes::from("ab"), false).unwrap();
        if when == When::Before {
            let mut body = head.await.unwrap().into_body();
            while let Some(piece) = body.data().await {
                piece.unwrap();
            }
            stream.send_data(Bytes::from("cd"), true).unwrap();
        } else {
            stream.send_data(Bytes::from("cd"), false).unwrap();
            stream.send_data(Bytes::new(), true).unwrap();
            assert_eq!(head.await.unwrap().status(), 200);
        }
        told_of(&told).await;
        calm(&gate).await;
        assert!(noticed(&mut client, over_http2("GET", "/second"), b"").await.starts_with("200"));
    });
    let came = came.lock().unwrap();
    let whole = if length { "abcd" } else { "2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n" };
    assert!(came[0].contains(&format!("\r\n\r\n{whole}")), "{came:#?}");
    came.len()
}

#[test]
fn a_connection_is_used_again_only_if_nothing_is_left_of_body_and_answer() {
    let leftover =
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    for length in [true, false] {
        assert_eq!(connections(FINE, When::After, length), 1, "in order");
        assert_eq!(connections(leftover, When::After, length), 2, "more than an answer");
        assert_eq!(connections(FINE, When::Before, length), 2, "an answer before the body has ended");
    }
}
