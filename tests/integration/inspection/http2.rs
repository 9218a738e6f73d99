//! The same over HTTP/2: bodies come in DATA frames of any size, and a stream may end without its body.

use bytes::Bytes;
use h2::client::SendRequest;
use http::Response;
use serde_json::Value;

use super::{KIB, origin, setup, text_of};
use crate::http2::{block_on, clear, send};
use crate::net::Request;
use crate::net::origin::Origin;
use crate::support::{Running, eventually, json};

fn gate(origin: &Origin) -> Running {
    setup(origin).listener("http2 = true").start()
}

fn post(path: &str) -> http::request::Builder {
    http::Request::post(format!("http://api.example{path}"))
}

/// An order that comes in these pieces.
async fn order(client: &mut SendRequest<Bytes>, pieces: &[&'static [u8]]) -> Response<String> {
    send(client, post("/orders"), pieces).await.unwrap()
}

fn pieces_of(text: &'static [u8], length: usize) -> Vec<&'static [u8]> {
    text.chunks(length).collect()
}

fn assert_refused(gate: &Running, answer: &Response<String>, status: u16, fault: &str) {
    assert_eq!(answer.status(), status, "{}", answer.body());
    let id = answer.headers()["riskgate-decision"].to_str().unwrap();
    let named = |record: &Value| record["id"] == id;
    let record = eventually("a record", || gate.records(0).into_iter().find(named));
    assert_eq!((&record["fault"], &record["action"]), (&fault.into(), &"blocked".into()));
}

#[test]
fn scripts_judge_by_a_body_however_its_frames_are_cut() {
    let origin = origin();
    let gate = gate(&origin);
    block_on(async {
        let mut client = clear(gate.addr).await;
        let small: &[u8] = b"{\"amount\": 5, \"currency\": \"EUR\", \"to\": [{\"iban\": \"DE02\"}]}";
        let large: &[u8] = b"{\"currency\": \"EUR\", \"amount\": 1000.5}";
        for length in [1, 2, 7, small.len()] {
            assert_eq!(order(&mut client, &pieces_of(small, length)).await.body(), &small.len().to_string());
            let seen = origin.received().pop().unwrap();
            assert_eq!(seen.headers.first("riskgate-body"), Some("object EUR 3"), "{length}");
            assert_eq!(seen.body, small);
            assert_eq!(order(&mut client, &pieces_of(large, length)).await.status(), 403, "{length}");
        }
        let elsewhere = send(&mut client, post("/other"), &[large]).await.unwrap();
        assert_eq!(elsewhere.status(), 200, "nobody asked for it there");
        let empty = http::Request::get("http://api.example/orders");
        assert_eq!(send(&mut client, empty, &[]).await.unwrap().status(), 200, "no body, nothing to read");
    });
}

#[test]
fn every_byte_of_a_body_that_was_read_is_sent_on_and_more_is_refused() {
    let origin = origin();
    let gate = gate(&origin);
    block_on(async {
        let mut client = clear(gate.addr).await;
        for size in [9, 4 * KIB, 16 * KIB + 1, 64 * KIB] {
            let text: &'static [u8] = text_of(size).leak();
            for length in [777, size] {
                assert_eq!(order(&mut client, &pieces_of(text, length)).await.body(), &size.to_string());
                assert!(origin.received().pop().unwrap().body == text, "{size} {length}");
            }
        }
        let before = origin.received().len();
        let large: &'static [u8] = text_of(64 * KIB + 1).leak();
        for length in [KIB, large.len()] {
            let refused = order(&mut client, &pieces_of(large, length)).await;
            assert_refused(&gate, &refused, 413, "large_body");
        }
        assert_eq!(origin.received().len(), before);
        let streamed: &'static [u8] = text_of(300 * KIB).leak();
        let streamed = send(&mut client, post("/other"), &[streamed]).await.unwrap();
        assert_eq!(streamed.body(), &(300 * KIB).to_string(), "other routes stream");
    });
}

#[test]
fn what_is_no_json_or_too_deep_reaches_nobody_and_the_connection_goes_on() {
    let origin = origin();
    let gate = gate(&origin);
    block_on(async {
        let mut client = clear(gate.addr).await;
        for pieces in
            [&[b"{".as_slice(), b"\"a\"", b": "][..], &[b"no"], &[b"{} ", b"{}"], &[b"{\"a\": 1, \"a\": 2}"]]
        {
            assert_refused(&gate, &order(&mut client, pieces).await, 400, "no_json");
        }
        let wide: &'static [u8] = format!("[{}0]", "0,".repeat(100)).into_bytes().leak();
        for pieces in [&[b"[[[[".as_slice(), b"[1]]]]]"][..], &[wide]] {
            assert_refused(&gate, &order(&mut client, pieces).await, 413, "beyond_shape");
        }
        assert_eq!(origin.connections(), 0);
        assert_eq!(order(&mut client, &[b"[]"]).await.status(), 200, "other streams of it are served");
    });
}

#[test]
fn a_body_that_does_not_come_to_its_end_is_recorded_and_reaches_nobody() {
    let origin = origin();
    let gate = setup(&origin).listener("http2 = true").section("request", "body_grace = \"1s\"").start();
    block_on(async {
        let client = clear(gate.addr).await;
        let begin = async || {
            let mut ready = client.clone().ready().await.unwrap();
            let (answer, mut body) = ready.send_request(post("/orders").body(()).unwrap(), false).unwrap();
            body.send_data(Bytes::from_static(b"{\"a\""), false).unwrap();
            (answer, body)
        };
        let (answer, body) = begin().await;
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 408);
        drop(body);
        let (answer, mut body) = begin().await;
        // What is reset before anybody looks at it is nobody's request.
        let in_flight = || json(&gate.ask(&Request::get("/api/traffic")))["process"]["in_flight"].as_u64();
        while in_flight() != Some(1) {
            tokio::task::yield_now().await;
        }
        body.send_reset(h2::Reason::CANCEL);
        assert!(answer.await.is_err());
    });
    let records = gate.records(2);
    let faults: Vec<_> = records.iter().map(|record| record["fault"].as_str().unwrap_or_default()).collect();
    assert_eq!(faults, ["slow_body", "broken_body"]);
    assert_eq!(origin.connections(), 0);
}
