//! What is too large, too long, too slow or of the wrong type is refused, recorded and counted, and what shows before
//! anything was sent on does not reach an origin.

mod http2;

use crate::net::origin::{Answer, Origin};
use crate::net::{Body, Client, Request, Response};
use crate::support::{Running, Setup, eventually, from, json};

/// A gate whose bounds are narrow.
fn narrow(origin: &Origin) -> Setup {
    Setup::new()
        .section(
            "request",
            "max_uri = \"64B\"\nmax_headers = 8\nmax_header = \"64B\"\nmax_header_bytes = \"256B\"\n\
             max_body = \"1KiB\"\nmin_body_rate = \"1KiB\"\nbody_grace = \"1s\"",
        )
        .route("*", "/", "origin")
        .route("*", "/wide", "origin")
        .route_with("max_body = \"1MiB\"\nmin_body_rate = \"0B\"")
        .route("*", "/json", "origin")
        .route_with("content_types = [\"application/json\", \"text/*\"]")
        .origin(&[origin.addr()])
}

fn origin() -> Origin {
    Origin::start(|request| Answer::new(200, request.body.len().to_string()))
}

fn post(path: &str, body: Body) -> Request {
    Request::new("POST", path).body(body)
}

fn full(size: usize) -> Body {
    Body::Full(vec![b'x'; size])
}

fn chunks(sizes: &[usize]) -> Body {
    Body::Chunked(sizes.iter().map(|size| vec![b'x'; *size]).collect())
}

/// The answer is a problem document that names the decision, and the record says why.
fn assert_refused(gate: &Running, response: &Response, status: u16, fault: &str, reason: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    let problem = json(response);
    assert_eq!(problem["status"], status);
    let record = gate.record_of(response);
    assert_eq!((&record["status"], &record["action"]), (&status.into(), &"blocked".into()));
    assert_eq!(record["fault"], fault);
    let reasons = record["reasons"].as_array().unwrap();
    assert!(reasons.iter().any(|it| it["rule"] == "gate" && it["reason"] == reason), "{reasons:?}");
    let counted = format!("riskgate_reasons_total{{reason=\"{reason}\"}}");
    eventually("a count", || gate.metrics().contains(&counted).then_some(()));
}

#[test]
fn a_head_beyond_its_bounds_is_refused() {
    let origin = origin();
    let gate = narrow(&origin).start();
    let many = (0..9).fold(Request::get("/"), |request, n| request.header(&format!("x-{n}"), ""));
    let heavy =
        (0..5).fold(Request::get("/"), |request, n| request.header(&format!("x-{n}"), &"y".repeat(60)));
    let wide = Request::get("/").header("x-wide", &"y".repeat(65));
    for request in [many, heavy, wide] {
        let refused = gate.send(&request);
        assert_refused(&gate, &refused, 431, "large_headers", "request.large_headers");
    }
    let refused = gate.send(&Request::get(&format!("/{}", "x".repeat(64))));
    assert_refused(&gate, &refused, 414, "long_target", "request.long_uri");
    assert!(origin.received().is_empty());
    assert_eq!(gate.send(&Request::get(&format!("/{}", "x".repeat(63)))).status, 200);
}

#[test]
fn a_body_that_declares_too_much_does_not_reach_the_origin() {
    let origin = origin();
    let gate = narrow(&origin).start();
    let mut client = gate.connect();
    let refused = client.send(&post("/", full(1025))).unwrap();
    assert_refused(&gate, &refused, 413, "large_body", "request.too_large");
    assert_eq!(client.send(&post("/", full(1024))).unwrap().status, 200, "the connection lives on");
    let refused = gate.send(&post("/", full(500_000)));
    assert_refused(&gate, &refused, 413, "large_body", "request.too_large");
    assert_eq!(gate.send(&post("/wide/x", full(500_000))).text(), "500000");
    assert_eq!(origin.received().len(), 2);
}

#[test]
fn a_body_that_turns_out_too_large_is_cut_off() {
    let origin = origin();
    let gate = narrow(&origin).start();
    assert_eq!(gate.send(&post("/", chunks(&[500, 524]))).text(), "1024");
    let mut client = gate.connect();
    let refused = client.send(&post("/", chunks(&[500, 525]))).unwrap();
    assert_refused(&gate, &refused, 413, "large_body", "request.too_large");
    assert!(client.is_closed());
    // Sent to the end all the same, far beyond what a socket holds.
    let refused = gate.send(&post("/", chunks(&[60_000; 20])));
    assert_refused(&gate, &refused, 413, "large_body", "request.too_large");
    assert_eq!(gate.send(&post("/wide", chunks(&[60_000; 10]))).text(), "600000");
    assert_eq!(origin.received().len(), 2, "the origin never saw the end of the others");
}

#[test]
fn a_body_of_another_type_than_the_route_accepts_is_refused() {
    let origin = origin();
    let gate = narrow(&origin).start();
    let typed = |path: &str, media: &str| post(path, full(2)).header("content-type", media);
    for media in ["application/xml", "application/json5", "multipart/form-data; boundary=x", ""] {
        let refused = gate.send(&typed("/json", media));
        assert_refused(&gate, &refused, 415, "media_type", "request.media_type");
    }
    let refused = gate.send(&post("/json", chunks(&[2])));
    assert_refused(&gate, &refused, 415, "media_type", "request.media_type");
    for media in ["application/json", "Application/JSON; charset=utf-8", "text/csv"] {
        assert_eq!(gate.send(&typed("/json", media)).status, 200, "{media}");
    }
    assert_eq!(gate.send(&Request::get("/json")).status, 200, "without a body there is no type");
    assert_eq!(gate.send(&typed("/", "application/xml")).status, 200, "other routes accept all");
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    let origin = origin();
    let gate = narrow(&origin).start();
    for framing in ["content-length: 100", "transfer-encoding: chunked"] {
        let mut client = Client::connect(gate.addr).unwrap();
        client.write(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n").as_bytes()).unwrap();
        let refused = client.response_to("POST").unwrap();
        assert_refused(&gate, &refused, 408, "slow_body", "request.slow_body");
        assert!(client.is_closed());
    }
    assert!(origin.received().is_empty());
}

#[test]
fn what_the_gate_refuses_is_judged_and_counts_all_the_same() {
    let origin = origin();
    let gate = narrow(&origin).rule("10-weight", "risk.add(\"own.weight\", 7);").start();
    let refused = gate.send(&from("8.8.8.8", "/").header("x-wide", &"y".repeat(65)));
    let record = gate.record_of(&refused);
    assert_eq!((&record["score"], &record["country"]), (&7.into(), &"US".into()));
    assert_eq!(record["reasons"][0]["reason"], "own.weight");
    assert_eq!(record["reasons"][1]["reason"], "request.large_headers");
}
