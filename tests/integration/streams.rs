//! Requests over HTTP/2: how many there may be, of all and of one client, however few connections they come on; and that
//! a place is free again however a request ends.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{Request, Response};
use riskgate::signals::{Facts, Kind, Name, Root, Signal, Value, Vocabulary};

use crate::http2::{block_on, clear};
use crate::net;
use crate::support::{Running, Setup, eventually, raw_origin, read_head};

/// An origin that answers nothing of `/wait`, and all else at once.
fn setup(bounds: &str) -> Setup {
    let origin = raw_origin(|mut stream| {
        use std::io::{Read as _, Write as _};
        let head = read_head(&mut stream);
        if head.starts_with("GET /wait") {
            let _ = stream.read(&mut [0]);
            return;
        }
        let length = if head.starts_with("GET /long") { 1 << 20 } else { 2 };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b'x'; length]));
    });
    let server = format!("threads = 2\nread_timeout = \"1s\"\n{bounds}");
    Setup::new()
        .listener("http2 = true")
        .section("client", "trusted_proxies = []")
        .section("server", &server)
        .origin(&[origin])
}

fn ask(client: &mut SendRequest<Bytes>, path: &str) -> (ResponseFuture, h2::SendStream<Bytes>) {
    let request = Request::get(format!("http://a{path}")).body(()).unwrap();
    client.send_request(request, true).unwrap()
}

async fn answer(client: &mut SendRequest<Bytes>, path: &str) -> Response<h2::RecvStream> {
    ask(client, path).0.await.unwrap()
}

/// Waits until so many requests are under way.
async fn under_way(gate: &Running, count: usize) {
    let line = format!("riskgate_http2_requests {count}");
    while !gate.metrics().lines().any(|found| found == line) {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

#[test]
fn all_clients_have_so_many_requests_and_one_more_is_told_to_come_back() {
    let gate = setup("max_requests = 2").start();
    block_on(async {
        let (mut first, mut second) = (clear(gate.addr).await, clear(gate.addr).await);
        let waiting = [ask(&mut first, "/wait"), ask(&mut second, "/wait")];
        under_way(&gate, 2).await;
        let refused = answer(&mut second, "/").await;
        assert_eq!((refused.status().as_u16(), refused.headers().contains_key("retry-after")), (503, true));
        // Over HTTP/1.1 a connection is bounded by itself.
        assert_eq!(gate.send(&net::Request::get("/").header("host", "a")).status, 200);
        for (_, mut stream) in waiting {
            stream.send_reset(h2::Reason::CANCEL);
        }
        under_way(&gate, 0).await;
        assert_eq!(answer(&mut second, "/").await.status(), 200);
    });
    let refused = |record: &serde_json::Value| record["fault"] == "busy";
    let record = eventually("a refusal", || gate.records(0).into_iter().find(refused));
    assert_eq!((&record["status"], &record["action"]), (&503.into(), &"throttled".into()), "{record}");
    assert_eq!(record["reasons"][0]["reason"], "request.busy");
    assert!(gate.metrics().contains("riskgate_reasons_total{reason=\"request.busy\"} 1"));
}

#[test]
fn one_client_has_so_many_requests_however_many_connections_they_come_on() {
    let gate = setup("max_requests_per_client = 2").start();
    block_on(async {
        let mut client = clear(gate.addr).await;
        let _waiting = [ask(&mut client, "/wait"), ask(&mut client, "/wait")];
        under_way(&gate, 2).await;
        let refused = answer(&mut clear(gate.addr).await, "/").await;
        assert_eq!((refused.status().as_u16(), refused.headers().contains_key("retry-after")), (429, true));
    });
    let refused = |record: &serde_json::Value| record["fault"] == "too_many";
    let record = eventually("a refusal", || gate.records(0).into_iter().find(refused));
    assert_eq!((&record["status"], &record["action"]), (&429.into(), &"throttled".into()), "{record}");
    assert_eq!(record["reasons"][0]["reason"], "request.too_many");
}

#[test]
fn a_trusted_proxy_speaks_for_many() {
    let trusted = "trusted_proxies = [\"127.0.0.0/8\"]";
    let gate = setup("max_requests_per_client = 1").section("client", trusted).start();
    block_on(async {
        let mut client = clear(gate.addr).await;
        let _waiting = [ask(&mut client, "/wait"), ask(&mut client, "/wait")];
        under_way(&gate, 2).await;
        assert_eq!(answer(&mut client, "/").await.status(), 200);
    });
}

#[test]
fn a_place_is_free_again_however_a_request_ends() {
    let files = setup("max_requests = 1")
        .rule("10-bomb", "if req.bomb != \"fine\" { risk.block(\"test.never\"); }")
        .write();
    let gate =
        Running::start_with(files, Vocabulary::standard().with(BOMB)).unwrap_or_else(|_| panic!("it starts"));
    block_on(async {
        let mut client = clear(gate.addr).await;
        assert_eq!(answer(&mut client, "/").await.status(), 200, "answered");
        under_way(&gate, 0).await;
        assert_eq!(answer(&mut client, "/boom").await.status(), 500, "a panic");
        under_way(&gate, 0).await;
        let (_, mut stream) = ask(&mut client, "/wait");
        under_way(&gate, 1).await;
        stream.send_reset(h2::Reason::CANCEL);
        under_way(&gate, 0).await;
        // Nobody grants room for more of it than a window.
        let stuck = answer(&mut client, "/long").await;
        under_way(&gate, 1).await;
        under_way(&gate, 0).await;
        drop(stuck);
        let mut other = clear(gate.addr).await;
        let waiting = ask(&mut other, "/wait");
        under_way(&gate, 1).await;
        drop((other, waiting));
        under_way(&gate, 0).await;
        assert_eq!(answer(&mut client, "/").await.status(), 200);
    });
}

const BOMB: Signal = Signal::property(Root::Request, "bomb", Kind::Text, "panics for some", bomb);

fn bomb<'a>(facts: &Facts<'a>, _: &Name) -> Value<'a> {
    if facts.head.path() == "/boom" {
        panic!("a signal of another program makes a mistake");
    }
    Value::text("fine")
}
