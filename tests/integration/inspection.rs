//! Bodies that are read as JSON before the request is judged: what scripts see of them, what is refused, and that the
//! origin gets every byte, by whatever framing.

mod http2;

use crate::net::origin::{Answer, Origin};
use crate::net::{Body, Request, Response};
use crate::support::{Running, Setup, json};

const KIB: usize = 1024;

fn origin() -> Origin {
    Origin::start(|request| Answer::new(200, request.body.len().to_string()))
}

/// Orders are read, within 64 KiB; everything else is streamed.
fn setup(origin: &Origin) -> Setup {
    Setup::new()
        .section("privacy", "plain_pointers = [\"/currency\"]")
        .route("*", "/", "origin")
        .route("*", "/orders", "origin")
        .route_with("inspect_json = { max_depth = 4, max_items = 100 }")
        .rule(
            "10-orders",
            "if req.body.number(\"/amount\") > 1000.0 { risk.block(\"orders.large\"); }
             if req.body.has(\"/note\") { risk.tag(\"note\", req.body.json(\"/note\")); }
             risk.tag(\"body\", req.body.kind + \" \" + req.body.json(\"/currency\") + \" \" + req.body.depth);
             let wanted = req.header(\"x-wanted\");
             if wanted != \"\" { risk.tag(\"wanted\", req.body.json(wanted)); }",
        )
        .origin(&[origin.addr()])
}

fn post(path: &str, body: Body) -> Request {
    Request::new("POST", path).body(body)
}

fn order(text: &str) -> Request {
    post("/orders", Body::Full(text.into()))
}

/// A JSON text of exactly so many bytes.
fn text_of(size: usize) -> Vec<u8> {
    let frame = "{\"x\": \"\"}".len();
    let filling: String = ('a'..='z').cycle().take(size - frame).collect();
    format!("{{\"x\": \"{filling}\"}}").into_bytes()
}

fn assert_refused(gate: &Running, response: &Response, status: u16, fault: &str, reason: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(json(response)["status"], status);
    let record = gate.record_of(response);
    assert_eq!((&record["fault"], &record["action"]), (&fault.into(), &"blocked".into()));
    let reasons = record["reasons"].as_array().unwrap();
    assert!(reasons.iter().any(|it| it["rule"] == "gate" && it["reason"] == reason), "{reasons:?}");
}

#[test]
fn scripts_judge_by_what_is_in_a_body() {
    let origin = origin();
    let gate = setup(&origin).start();
    let mut client = gate.connect();
    let small = client.send(&order("{\"amount\": 5, \"currency\": \"EUR\", \"to\": [{\"iban\": \"DE02\"}]}"));
    assert_eq!(small.unwrap().status, 200);
    let seen = origin.received().pop().unwrap();
    assert_eq!(seen.headers.first("riskgate-body"), Some("object EUR 3"));
    let large = client.send(&order("{\"amount\": 1000.5}")).unwrap();
    assert_eq!(large.status, 403);
    assert_eq!(gate.record_of(&large)["signals"]["body.number(/amount)"], 1000.5);
    let chunks = Body::Chunked(vec![b"{\"amount\"".to_vec(), b": 5".to_vec(), b"000}".to_vec()]);
    assert_eq!(client.send(&post("/orders", chunks)).unwrap().status, 403);
    let elsewhere = client.send(&post("/other", Body::Full(b"{\"amount\": 5000}".to_vec()))).unwrap();
    assert_eq!(elsewhere.status, 200, "nobody asked for it there");
    assert_eq!(client.send(&Request::get("/orders")).unwrap().status, 200, "no body, nothing to read");
    assert_eq!(origin.received().len(), 3);
}

#[test]
fn texts_are_pseudonyms_unless_the_operator_says_otherwise() {
    let origin = origin();
    let gate = setup(&origin).start();
    let sent = order("{\"note\": \"s3cret\", \"currency\": \"EUR\", \"deep\": {\"~/\": \"hidd3n\"}}");
    let response = gate.send(&sent.header("x-wanted", "/deep/~0~1"));
    let seen = origin.received().pop().unwrap();
    for name in ["riskgate-note", "riskgate-wanted"] {
        assert!(seen.headers.first(name).unwrap().starts_with('~'), "{:?}", seen.headers);
    }
    let record = gate.record_of(&response).to_string();
    assert!(
        record.contains("\"EUR\"") && !record.contains("s3cret") && !record.contains("hidd3n"),
        "{record}"
    );
}

#[test]
fn the_origin_gets_every_byte_of_a_body_that_was_read() {
    let origin = origin();
    let gate = setup(&origin).start();
    let mut client = gate.connect();
    for size in [9, 1000, 4 * KIB, 16 * KIB + 1, 64 * KIB - 1, 64 * KIB] {
        let text = text_of(size);
        let pieces = |length: usize| Body::Chunked(text.chunks(length).map(<[u8]>::to_vec).collect());
        for body in [Body::Full(text.clone()), pieces(size), pieces(777)] {
            assert_eq!(client.send(&post("/orders", body)).unwrap().text(), size.to_string());
            assert!(origin.received().pop().unwrap().body == text, "{size}");
        }
    }
    let before = origin.received().len();
    for body in [Body::Full(text_of(64 * KIB + 1)), Body::Chunked(vec![text_of(64 * KIB + 1)])] {
        let refused = gate.send(&post("/orders", body));
        assert_refused(&gate, &refused, 413, "large_body", "request.too_large");
    }
    assert_eq!(origin.received().len(), before);
    let streamed = gate.send(&post("/other", Body::Chunked(vec![text_of(300 * KIB)])));
    assert_eq!(streamed.text(), (300 * KIB).to_string(), "other routes stream");
}

#[test]
fn what_is_no_json_or_beyond_its_shape_does_not_reach_the_origin() {
    let origin = origin();
    let gate = setup(&origin).start();
    for text in ["{", "no", "{} {}", "{\"a\": 1, \"a\": 2}", "\u{feff}{}"] {
        assert_refused(&gate, &gate.send(&order(text)), 400, "no_json", "request.json");
    }
    let refused = gate.send(&post("/orders", Body::Chunked(vec![])));
    assert_refused(&gate, &refused, 400, "no_json", "request.json");
    let wide = format!("[{}0]", "0,".repeat(100));
    for text in ["[[[[[1]]]]]", wide.as_str()] {
        assert_refused(&gate, &gate.send(&order(text)), 413, "beyond_shape", "request.json");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_client_that_waits_to_be_asked_for_its_body_is_asked_once() {
    let origin = origin();
    let gate = setup(&origin).start();
    let mut client = gate.connect();
    client
        .write(b"POST /orders HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        .unwrap();
    assert_eq!(client.read(25).unwrap(), b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write(b"[]").unwrap();
    assert_eq!(client.response_to("POST").unwrap().text(), "2");
}

#[test]
fn a_body_that_breaks_off_is_recorded_and_reaches_nobody() {
    let origin = origin();
    let gate = setup(&origin).section("request", "body_grace = \"1s\"").start();
    let mut client = gate.connect();
    client.write(b"POST /orders HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{\"a\"").unwrap();
    let refused = client.response_to("POST").unwrap();
    assert_refused(&gate, &refused, 408, "slow_body", "request.slow_body");
    let chunks = "POST /orders HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut client = gate.connect();
    client.write(format!("{chunks}2\r\n[]X\r\n0\r\n\r\n").as_bytes()).unwrap();
    let refused = client.response_to("POST").unwrap();
    assert_refused(&gate, &refused, 400, "broken_body", "request.malformed");
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_case_may_have_a_body() {
    let case = "[[case]]\nname = \"a large order\"\nrequest = { path = \"/orders\", body = '{\"amount\": 5000}' }\n\
                expect = { action = \"block\", reasons = [\"orders.large\"] }\n";
    let origin = origin();
    drop(setup(&origin).cases("orders", case).start());
    let wrong = case.replace("5000", "5");
    let refused = setup(&origin).cases("orders", &wrong).try_start();
    assert!(refused.is_err(), "the case fails, so nothing starts");
}
