//! What a client and an origin notice of the gate between them when nothing is wrong: nothing.

use std::io::{Read as _, Write as _};

use crate::net::origin::{Answer, Gate, Origin};
use crate::net::{Body, Client, Request};
use crate::support::{Setup, from, raw_origin, read_head};

fn hello() -> Origin {
    Origin::start(|_| Answer::new(200, "hello"))
}

#[test]
fn one_connection_serves_many_requests_also_after_refusals() {
    let gate = Setup::new()
        .rule("10-block", "if req.path == \"/blocked\" { risk.block(\"test.block\"); }")
        .rule("20-slow", "if req.path == \"/slow\" { risk.throttle(\"test.slow\", \"client\", 0.1); }")
        .route("api.example", "/", "origin")
        .upstream("origin", "builtin = true")
        .start();
    let mut client = gate.connect();
    let small = Request::new("POST", "/blocked").body(Body::Full(b"dropped".to_vec()));
    let nowhere = Request::get("/").header("host", "elsewhere.example");
    for (request, status) in [
        (Request::get("/"), 200),
        (Request::get("/blocked"), 403),
        (Request::get("/slow"), 200),
        (Request::get("/slow"), 429),
        (nowhere, 404),
        (Request::new("HEAD", "/blocked"), 403),
        (small, 403),
        (Request::get("/"), 200),
    ] {
        let response = client.send(&request).unwrap();
        assert_eq!(response.status, status, "{request:?}");
        assert_eq!(response.headers.first("connection"), Some("keep-alive"), "{request:?}");
    }
    assert_eq!(gate.records(8).len(), 8);
}

#[test]
fn the_most_specific_route_serves_a_request() {
    let origins =
        ["any", "exact", "below", "deep"].map(|name| Origin::start(move |_| Answer::new(200, name)));
    let server = |at: usize| format!("servers = [\"{}\"]", origins[at].addr());
    let gate = Setup::new()
        .route("*", "/", "any")
        .route("api.example", "/", "exact")
        .route("*.example", "/", "below")
        .route("api.example", "/v1", "deep")
        .upstream("any", &server(0))
        .upstream("exact", &server(1))
        .upstream("below", &server(2))
        .upstream("deep", &server(3))
        .start();
    let mut client = gate.connect();
    for (host, path, served_by) in [
        ("somewhere.test", "/v1", "any"),
        ("api.example", "/", "exact"),
        ("API.example:8080", "/v1x", "exact"),
        ("shop.example", "/v1", "below"),
        ("api.example", "/v1", "deep"),
        ("api.example", "/v1/users?all", "deep"),
        ("api.example", "/%76%31/users", "deep"),
        ("example", "/", "any"),
    ] {
        let response = client.send(&Request::get(path).header("host", host)).unwrap();
        assert_eq!(response.text(), served_by, "{host}{path}");
    }
}

#[test]
fn the_origin_gets_the_target_and_the_headers_as_they_were_sent() {
    let origin = hello();
    let gate = Setup::new().origin(&[origin.addr()]).start();
    let request = Request::get("/a/../%7Eb//c?x=%20&y")
        .header("X-Own", "1")
        .header("x-own", "2")
        .header("te", "trailers");
    assert_eq!(gate.send(&request).status, 200);
    let received = &origin.wait_for(1)[0];
    assert_eq!((received.method.as_str(), received.target.as_str()), ("GET", "/a/../%7Eb//c?x=%20&y"));
    assert_eq!(received.headers.all("x-own").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(received.headers.first("host"), Some("api.example"));
}

#[test]
fn large_bodies_pass_both_ways_in_either_framing() {
    let large: Vec<u8> = (0..1_500_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let origin = Origin::start(|received| match received.target.as_str() {
        "/chunked" => Answer::new(200, "").chunks(&[&"x".repeat(700_000), &"y".repeat(700_000)]),
        _ => Answer::new(200, received.body.clone()),
    });
    let gate = Setup::new().origin(&[origin.addr()]).start();
    let mut client = gate.connect();
    let chunks: Vec<Vec<u8>> = large.chunks(100_000).map(<[u8]>::to_vec).collect();
    for body in [Body::Full(large.clone()), Body::Chunked(chunks)] {
        let response = client.send(&Request::new("PUT", "/echo").body(body)).unwrap();
        assert!(response.body == large, "{} bytes came back", response.body.len());
    }
    for _ in 0..2 {
        let response = client.send(&Request::get("/chunked")).unwrap();
        assert_eq!(response.body.len(), 1_400_000);
    }
    assert_eq!(origin.connections(), 2, "one with bodies, one without: each connection is used again");
}

#[test]
fn a_response_reaches_the_client_while_the_origin_still_writes_it() {
    let opening = Gate::default();
    let held = opening.clone();
    let origin = Origin::start(move |_| Answer::new(200, "").chunks(&["first", "second"]).behind(&held));
    let gate = Setup::new().origin(&[origin.addr()]).start();
    let mut client = gate.connect();
    client.write(&Request::get("/").to_bytes()).unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"5\r\nfirst\r\n") {
        seen.extend(client.read(1).unwrap());
    }
    opening.open();
    assert_eq!(client.read(16).unwrap(), b"6\r\nsecond\r\n0\r\n\r\n");
}

#[test]
fn a_request_reaches_the_origin_while_the_client_still_writes_it() {
    let duplex = raw_origin(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        let mut buffer = [0; 100];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if buffer[..count].ends_with(b"0\r\n\r\n") {
                stream.write_all(b"0\r\n\r\n").unwrap();
                return;
            }
            stream.write_all(b"4\r\npong\r\n").unwrap();
        }
    });
    let gate = Setup::new().origin(&[duplex]).start();
    let mut client = gate.connect();
    client.write(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nping\r\n").unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"4\r\npong\r\n") {
        seen.extend(client.read(1).unwrap());
    }
    client.write(b"4\r\nping\r\n").unwrap();
    assert_eq!(client.read(9).unwrap(), b"4\r\npong\r\n");
    client.write(b"0\r\n\r\n").unwrap();
    assert_eq!(client.read(5).unwrap(), b"0\r\n\r\n");
}

#[test]
fn a_client_that_asks_before_it_sends_a_body_is_told_to_go_on() {
    let origin = Origin::start(|received| Answer::new(200, received.body.clone()));
    let gate = Setup::new()
        .rule("10-block", "if req.path == \"/blocked\" { risk.block(\"test.block\"); }")
        .origin(&[origin.addr()])
        .start();
    let asking = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
            .into_bytes()
    };
    let mut client = gate.connect();
    client.write(&asking("/")).unwrap();
    let mut interim = Vec::new();
    while !interim.ends_with(b"\r\n\r\n") {
        interim.extend(client.read(1).unwrap());
    }
    assert!(interim.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&interim));
    client.write(b"hello").unwrap();
    assert_eq!(client.response_to("POST").unwrap().text(), "hello");
    let mut client = gate.connect();
    client.write(&asking("/blocked")).unwrap();
    assert_eq!(client.response_to("POST").unwrap().status, 403, "nobody asks for a body that is not wanted");
}

#[test]
fn a_refusal_does_not_wait_for_a_large_body() {
    let gate = Setup::new().rule("10-block", "risk.block(\"test.block\");").start();
    for framing in ["content-length: 100000000", "transfer-encoding: chunked"] {
        let mut client = gate.connect();
        client.write(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n").as_bytes()).unwrap();
        let refused = client.response_to("POST").unwrap();
        assert_eq!((refused.status, refused.headers.first("connection")), (403, Some("close")), "{framing}");
        assert!(client.is_closed());
    }
}

#[test]
fn a_client_that_stops_in_the_middle_of_a_body_is_not_waited_for() {
    let origin = hello();
    let gate =
        Setup::new().section("server", "threads = 1\nread_timeout = \"1s\"").origin(&[origin.addr()]).start();
    let mut client = gate.connect();
    client.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").unwrap();
    let refused = client.response_to("POST").unwrap();
    assert_eq!((refused.status, &gate.record_of(&refused)["fault"]), (408, &"slow_body".into()));
    assert!(client.is_closed());
}

#[test]
fn responses_without_bodies_leave_the_connection_usable() {
    let origin = Origin::start(|received| match received.target.as_str() {
        "/204" => Answer::new(204, ""),
        "/304" => Answer::new(304, "").header("etag", "\"x\""),
        _ => Answer::new(200, "twelve bytes"),
    });
    let gate = Setup::new().origin(&[origin.addr()]).start();
    let mut client = gate.connect();
    let head = client.send(&Request::new("HEAD", "/")).unwrap();
    assert_eq!((head.status, head.headers.first("content-length")), (200, Some("12")));
    assert_eq!(client.send(&Request::get("/204")).unwrap().status, 204);
    let unchanged = client.send(&Request::get("/304")).unwrap();
    assert_eq!((unchanged.status, unchanged.headers.first("etag")), (304, Some("\"x\"")));
    assert_eq!(client.send(&Request::get("/")).unwrap().text(), "twelve bytes");
}

#[test]
fn an_upgraded_connection_carries_bytes_both_ways() {
    let origin = Origin::start(|_| Answer::echo("websocket"));
    let gate = Setup::new().origin(&[origin.addr()]).start();
    let upgrade = Request::get("/ws")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-version", "13");
    let talk = |client: &mut Client| {
        client.write(b"hello").ok()?;
        let first = client.read(5).ok()?;
        client.write(b"again").ok()?;
        Some([first, client.read(5).ok()?].concat())
    };
    // A 101 that overtakes the end of the request's empty body ends the tunnel at once (pingora#946); clients retry.
    let talked = (0..20).find_map(|_| {
        let mut client = gate.connect();
        let response = client.send(&upgrade).unwrap();
        assert_eq!((response.status, response.headers.first("upgrade")), (101, Some("websocket")));
        talk(&mut client)
    });
    assert_eq!(talked.as_deref(), Some(b"helloagain".as_slice()));
    assert_eq!(gate.records(1)[0]["status"], 101);
}

#[test]
fn no_other_protocol_is_upgraded_to() {
    let origin = hello();
    let gate = Setup::new().origin(&[origin.addr()]).start();
    let h2c = Request::get("/").header("connection", "Upgrade, HTTP2-Settings").header("upgrade", "h2c");
    let response = gate.send(&h2c.header("http2-settings", "AAMAAABkAAQAAP__"));
    assert_eq!((response.status, response.text()), (200, "hello"));
    let received = &origin.received()[0].headers;
    for name in ["connection", "upgrade", "http2-settings"] {
        assert_eq!(received.first(name), None, "{name}");
    }
}

#[test]
fn a_client_cannot_have_headers_of_the_gate_removed() {
    let origin = hello();
    let gate = Setup::new().origin(&[origin.addr()]).start();
    let response =
        gate.send(&Request::get("/").header("connection", "riskgate-score, riskgate-decision, x-own"));
    assert_eq!(response.status, 200);
    let received = &origin.received()[0].headers;
    for name in ["riskgate-score", "riskgate-decision", "x-forwarded-for", "x-forwarded-proto", "host"] {
        assert!(received.first(name).is_some(), "{name}");
    }
    for nominated in ["x-forwarded-proto", "x-forwarded-for", "host", ":path", "no token"] {
        let refused = gate.send(&Request::get("/").header("connection", nominated));
        assert_eq!((refused.status, origin.received().len()), (400, 1), "{nominated}");
        assert_eq!(gate.record_of(&refused)["fault"], "client_broke");
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let gate =
        Setup::new().rule("10-block", "if req.path == \"/no\" { risk.block(\"test.block\"); }").start();
    let mut client = gate.connect();
    let post = Request::new("POST", "/2").body(Body::Full(b"hi".to_vec()));
    let requests = [Request::get("/1"), post, Request::get("/no"), Request::get("/3")];
    let bytes: Vec<u8> = requests.iter().flat_map(Request::to_bytes).collect();
    client.write(&bytes).unwrap();
    for (path, status) in [("/1", 200), ("/2", 200), ("/no", 403), ("/3", 200)] {
        let response = client.response_to("GET").unwrap();
        assert_eq!(response.status, status, "{path}");
        assert!(
            status == 403 || response.text().contains(&format!("\"path\": \"{path}\"")),
            "{}",
            response.text()
        );
    }
}

#[test]
fn pipelined_requests_are_answered_wherever_the_network_cuts_them() {
    let gate =
        Setup::new().rule("10-block", "if req.path == \"/no\" { risk.block(\"test.block\"); }").start();
    let full = || Body::Full(b"GET / ".to_vec());
    let chunked = || Body::Chunked(vec![b"a\n\n".to_vec(), b"\r\n\r\nb".to_vec()]);
    let orders = [
        [("POST", "/1", full()), ("GET", "/2", Body::None), ("GET", "/3", Body::None)],
        [("GET", "/1", Body::None), ("POST", "/2", chunked()), ("GET", "/no", Body::None)],
        [("GET", "/1", Body::None), ("POST", "/no", full()), ("HEAD", "/3", Body::None)],
    ];
    for requests in orders {
        let requests = requests.map(|(method, path, body)| {
            let bytes = Request::new(method, path).body(body).to_bytes();
            (method, if path == "/no" { 403 } else { 200 }, bytes)
        });
        let all = requests.iter().flat_map(|(.., bytes)| bytes).copied().collect::<Vec<_>>();
        for cut in (0..all.len()).step_by(3) {
            let (first, rest) = all.split_at(cut);
            let mut client = gate.connect();
            client.write(first).unwrap();
            // What is whole is answered before the rest is sent, so that it is the network that cuts.
            let (mut end, mut late) = (0, Some(rest));
            for (method, status, bytes) in &requests {
                end += bytes.len();
                if end > cut
                    && let Some(rest) = late.take()
                {
                    client.write(rest).unwrap();
                }
                let response = client.response_to(method).unwrap();
                assert_eq!(response.status, *status, "{method}, cut at {cut}");
            }
        }
    }
}

#[test]
fn a_request_that_serves_no_route_is_told_so_and_nothing_else() {
    let gate =
        Setup::new().route("api.example", "/v1", "origin").upstream("origin", "builtin = true").start();
    let mut client = gate.connect();
    for request in [Request::get("/v2"), Request::get("/v1").header("host", "other.example")] {
        let response = client.send(&request).unwrap();
        assert_eq!(response.status, 404);
        assert_eq!(response.headers.first("content-type"), Some("application/problem+json"));
    }
    let records = gate.records(2);
    assert_eq!((&records[0]["fault"], &records[0]["route"]), (&"no_route".into(), &serde_json::Value::Null));
}

#[test]
fn a_request_without_a_host_is_refused_unless_it_is_http_1_0() {
    let gate = Setup::new().start();
    let mut client = gate.connect();
    client.write(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let refused = client.response_to("GET").unwrap();
    assert_eq!((refused.status, &gate.record_of(&refused)["fault"]), (400, &"no_host".into()));
    let mut client = gate.connect();
    client.write(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let served = client.response_to("GET").unwrap();
    assert_eq!((served.status, &gate.record_of(&served)["fault"]), (200, &serde_json::Value::Null));
    assert!(client.is_closed());
}

#[test]
fn a_request_with_two_lengths_cannot_smuggle_another_one() {
    let origin = hello();
    let gate = Setup::new().origin(&[origin.addr()]).start();
    let mut client = gate.connect();
    let both = "POST /outer HTTP/1.1\r\nhost: a\r\ncontent-length: 45\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let hidden = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";
    client.write(format!("{both}{hidden}").as_bytes()).unwrap();
    let _ = client.response_to("POST").unwrap();
    assert!(client.is_closed(), "whatever follows two lengths is not believed");
    assert!(origin.received().iter().all(|received| received.target != "/hidden"));
}

#[test]
fn an_idle_connection_is_closed_when_its_time_is_over() {
    let gate = Setup::new().section("server", "threads = 1\nkeepalive = \"1s\"").start();
    let mut client = gate.connect();
    for _ in 0..2 {
        assert_eq!(client.send(&from("8.8.8.8", "/")).unwrap().status, 200);
    }
    assert!(client.is_closed());
}
