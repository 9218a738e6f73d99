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

/// Comes back when the client has its place again, or has it no more.
fn until_status(gate: &Running, wanted: u16) {
    eventually(&format!("a {wanted}"), || (status(gate, US) == wanted).then_some(()));
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
    let metric = |held: u8| format!("riskgate_in_flight{{limit=\"slots\"}} {held}");
    // Another client has its answer sooner than its place is free again.
    let told = |held| eventually("a place", || gate.metrics().contains(&metric(held)).then_some(()));
    told(1);
    let traffic = json(&gate.ask(&Request::get("/api/traffic")));
    let slots = serde_json::json!([{ "name": "slots", "per": "client", "most": 1, "in_flight": 1 }]);
    assert_eq!(traffic["concurrency"], slots);
    held.open();
    assert_eq!(first.response_to("GET").unwrap().text(), "late");
    gate.records(3);
    assert_eq!(status(&gate, US), 200);
    gate.records(4);
    told(0);
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
    gate.records(2);
    assert_eq!(status(&gate, US), 200);
    held.open();
}

#[test]
fn an_origin_that_fails_or_is_tried_again_costs_no_place() {
    let origin = origin(&Gate::default());
    let gate = single().origin(&[free_addr(), origin.addr()]).start();
    for n in 1..=4 {
        // Every other one meets the dead server first, and moves on.
        assert_eq!(status(&gate, US), 200);
        gate.records(n);
    }
    let _ = gate.connect().send(&from(US, "/cut"));
    gate.records(5);
    assert_eq!(status(&gate, US), 200);
    let gate = single().origin(&[free_addr()]).start();
    for n in 1..=3 {
        assert_eq!(status(&gate, US), 502);
        gate.records(n);
    }
}

#[test]
fn a_rate_limit_that_refuses_gives_the_place_back() {
    let gate = single().rule("20-slow", "risk.throttle(\"a.slow\", \"client\", 0.1);").start();
    assert_eq!(status(&gate, US), 200);
    gate.records(1);
    for n in 2..=4 {
        let refused = gate.send(&from(US, "/"));
        assert_eq!((refused.status, &gate.records(n)[n - 1]["limit"]), (429, &"a.slow".into()));
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
    let (ended, tunnel) = (0..20)
        .find_map(|ended| {
            let mut client = gate.connect();
            assert_eq!(client.send(&upgrade).unwrap().status, 101);
            if client.write(b"hello").is_ok() && client.read(5).is_ok() {
                return Some((ended, client));
            }
            gate.records(ended + 1);
            None
        })
        .unwrap();
    assert_eq!(status(&gate, US), 429);
    drop(tunnel);
    gate.records(ended + 2);
    assert_eq!(status(&gate, US), 200);
}

#[test]
fn a_request_that_is_cut_off_gives_its_place_back() {
    let held = Gate::default();
    let origin = origin(&held);
    let upstream = format!("servers = [\"{}\"]\nread_timeout = \"300ms\"", origin.addr());
    let gate = single().section("request", "max_body = \"1KiB\"").upstream("origin", &upstream).start();
    assert_eq!(gate.send(&from(US, "/held")).status, 504);
    until_status(&gate, 200);
    // Too large, which shows only while it is sent on.
    let body = Body::Chunked(vec![vec![b'x'; 600], vec![b'x'; 600]]);
    let large = Request::new("POST", "/").header("x-forwarded-for", US).body(body);
    assert_eq!(gate.send(&large).status, 413);
    until_status(&gate, 200);
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
    until_status(&gate, 429);
    drop(client);
    until_status(&gate, 200);
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
