//! Requests in flight: the one too many is refused, and a place is free again however a request ends.

use crate::http2::{block_on, clear, get};
use crate::net::origin::{Answer, Gate, Origin};
use crate::net::{Body, Client, Request, free_addr};
use crate::support::{Running, Setup, eventually, from, json};

const US: &str = "8.8.8.8";

/// One request at once for each client.
fn single() -> Setup {
    Setup::new()
        .section("concurrency.slots", "per = \"client\"\nmost = 1")
        .rule("10-slots", "risk.concurrency(\"slots\");")
}

/// Answers `/held` when the gate is opened, all else at once.
fn origin(held: &Gate) -> Origin {
    let held = held.clone();
    Origin::start(move |received| match received.target.as_str() {
        "/held" => Answer::new(200, "late").behind(&held),
        "/cut" => Answer::new(200, "twelve bytes").cut_after(3),
        "/ws" => Answer::echo("websocket"),
        _ => Answer::new(200, "now"),
    })
}

fn begin(gate: &Running, target: &str) -> Client {
    let mut client = gate.connect();
    client.write(&from(US, target).to_bytes()).unwrap();
    client
}

fn status(gate: &Running, address: &str) -> u16 {
    gate.send(&from(address, "/")).status
}

/// Comes back when so many requests hold a place. A client has its answer sooner than its place is free again, and asking
/// with one more request would take the place that is looked for.
fn until_held(gate: &Running, places: u8) {
    let metric = format!("riskgate_in_flight{{limit=\"slots\"}} {places}\n");
    eventually(&format!("{places} in flight"), || gate.metrics().contains(&metric).then_some(()));
}

#[test]
fn one_request_too_many_is_refused_until_a_response_has_ended() {
    let held = Gate::default();
    let origin = origin(&held);
    let gate = single().origin(&[origin.addr()]).start();
    let mut first = begin(&gate, "/held");
    origin.wait_for(1);
    let refused = gate.send(&from(US, "/"));
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.headers.first("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(refused.headers.first("ratelimit"), None, "it is no rate");
    let record = gate.record_of(&refused);
    assert_eq!((&record["action"], &record["limit"]), (&"throttled".into(), &"concurrency.slots".into()));
    assert_eq!(status(&gate, "203.0.113.9"), 200, "another client has places of its own");
    until_held(&gate, 1);
    let traffic = json(&gate.ask(&Request::get("/api/traffic")));
    let slots = serde_json::json!([{ "name": "slots", "per": "client", "most": 1, "in_flight": 1 }]);
    assert_eq!(traffic["concurrency"], slots);
    held.open();
    assert_eq!(first.response_to("GET").unwrap().text(), "late");
    until_held(&gate, 0);
    assert_eq!(status(&gate, US), 200);
    until_held(&gate, 0);
}

#[test]
fn a_client_that_leaves_gives_its_place_back() {
    let held = Gate::default();
    let origin = origin(&held);
    let gate = single().origin(&[origin.addr()]).start();
    let first = begin(&gate, "/held");
    origin.wait_for(1);
    assert_eq!(status(&gate, US), 429);
    drop(first);
    until_held(&gate, 0);
    assert_eq!(status(&gate, US), 200);
    held.open();
}

#[test]
fn an_origin_that_fails_or_is_tried_again_costs_no_place() {
    let origin = origin(&Gate::default());
    let gate = single().origin(&[free_addr(), origin.addr()]).start();
    for _ in 0..4 {
        // Every other one meets the dead server first, and moves on.
        assert_eq!(status(&gate, US), 200);
        until_held(&gate, 0);
    }
    let _ = gate.connect().send(&from(US, "/cut"));
    until_held(&gate, 0);
    assert_eq!(status(&gate, US), 200);
    let gate = single().origin(&[free_addr()]).start();
    for _ in 0..3 {
        assert_eq!(status(&gate, US), 502);
        until_held(&gate, 0);
    }
}

#[test]
fn a_rate_limit_that_refuses_gives_the_place_back() {
    let gate = single().rule("20-slow", "risk.throttle(\"a.slow\", \"client\", 0.1);").start();
    assert_eq!(status(&gate, US), 200);
    for _ in 0..3 {
        until_held(&gate, 0);
        let refused = gate.send(&from(US, "/"));
        assert_eq!((refused.status, &gate.record_of(&refused)["limit"]), (429, &"a.slow".into()));
    }
}

#[test]
fn an_upgraded_connection_is_in_flight_until_it_closes() {
    let origin = origin(&Gate::default());
    let gate = single().origin(&[origin.addr()]).start();
    let upgrade: Request = from(US, "/ws")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-version", "13");
    // A 101 that overtakes the end of the request's empty body ends the tunnel at once (pingora#946); clients retry.
    let tunnel = (0..20)
        .find_map(|_| {
            let mut client = gate.connect();
            assert_eq!(client.send(&upgrade).unwrap().status, 101);
            if client.write(b"hello").is_ok() && client.read(5).is_ok() {
                return Some(client);
            }
            until_held(&gate, 0);
            None
        })
        .unwrap();
    assert_eq!(status(&gate, US), 429);
    drop(tunnel);
    until_held(&gate, 0);
    assert_eq!(status(&gate, US), 200);
}

#[test]
fn a_request_that_is_cut_off_gives_its_place_back() {
    let held = Gate::default();
    let origin = origin(&held);
    let upstream = format!("servers = [\"{}\"]\nread_timeout = \"1s\"", origin.addr());
    let gate = single().section("request", "max_body = \"1KiB\"").upstream("origin", &upstream).start();
    assert_eq!(gate.send(&from(US, "/held")).status, 504);
    until_held(&gate, 0);
    // Too large, which shows only while it is sent on.
    let body = Body::Chunked(vec![vec![b'x'; 600], vec![b'x'; 600]]);
    let large = Request::new("POST", "/").header("x-forwarded-for", US).body(body);
    assert_eq!(gate.send(&large).status, 413);
    until_held(&gate, 0);
    held.open();
}

#[test]
fn a_client_that_leaves_in_the_midst_of_its_own_body_gives_its_place_back() {
    let origin = origin(&Gate::default());
    let gate = single().origin(&[origin.addr()]).start();
    let mut client = gate.connect();
    let head =
        format!("POST / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {US}\r\ncontent-length: 100\r\n\r\npart");
    client.write(head.as_bytes()).unwrap();
    until_held(&gate, 1);
    assert_eq!(status(&gate, US), 429);
    drop(client);
    until_held(&gate, 0);
    assert_eq!(status(&gate, US), 200);
}

#[test]
fn a_stream_that_is_reset_gives_its_place_back_and_its_connection_goes_on() {
    let held = Gate::default();
    let origin = origin(&held);
    let gate = single().listener("http2 = true").origin(&[origin.addr()]).start();
    block_on(async {
        let mut client = clear(gate.addr).await;
        let request = get("/held").header("x-forwarded-for", US).body(()).unwrap();
        let (answer, mut stream) = client.send_request(request, true).unwrap();
        while origin.received().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(status(&gate, US), 429);
        stream.send_reset(h2::Reason::CANCEL);
        drop(answer);
        let again = || async {
            client
                .clone()
                .send_request(get("/").header("x-forwarded-for", US).body(()).unwrap(), true)
                .unwrap()
                .0
                .await
                .unwrap()
        };
        while again().await.status() != 200 {
            tokio::task::yield_now().await;
        }
    });
    held.open();
}
