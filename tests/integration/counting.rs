//! What is counted, on every way that a request can take: once in `assess`, once in `observe`, with the status that the
//! client got.

use crate::net::origin::{Answer, Gate, Origin};
use crate::net::{Request, free_addr};
use crate::support::{Running, Setup, from};

/// A gate that counts every request but those to `/probe`: when it is judged, when it is over, and if it was over with
/// this status. What else `assess` does with it is `body`.
fn counting(status: u16, body: &str) -> Setup {
    let counters = ["asked", "answered", "wanted"].map(|name| (name, "per = \"client\"\nwindow = \"10m\""));
    let script = format!(
        "fn assess(req, risk) {{\n    if req.path == \"/probe\" {{\n        risk.tag(\"n\", req.count(\"asked\") \
         + req.count(\"answered\") + req.count(\"wanted\"));\n        return;\n    }}\n    risk.count(\"asked\");\n    \
         {body}\n}}\nfn observe(req, res, risk) {{\n    if req.path == \"/probe\" {{ return; }}\n    \
         risk.count(\"answered\");\n    if res.status == {status} {{ risk.count(\"wanted\"); }}\n}}\n"
    );
    let setup = Setup::new().script("10-count", &script).upstream("probed", "builtin = true");
    let setup = setup.route("*", "/probe", "probed");
    counters.into_iter().fold(setup, |setup, (name, text)| setup.section(&format!("counters.{name}"), text))
}

/// How often it was asked, answered, and answered as wanted, once `requests` are over.
fn counts(gate: &Running, requests: usize) -> [u64; 3] {
    gate.records(requests);
    let probe = gate.record_of(&gate.send(&Request::get("/probe")));
    ["asked", "answered", "wanted"].map(|name| probe["signals"][format!("count({name})")].as_u64().unwrap())
}

fn to(setup: Setup, origin: &Origin) -> Setup {
    setup.route("*", "/", "origin").origin(&[origin.addr()])
}

#[test]
fn what_the_origin_answers_is_counted_once() {
    let origin = Origin::start(|_| Answer::new(401, "who are you"));
    let gate = to(counting(401, ""), &origin).start();
    assert_eq!(gate.send(&Request::get("/")).status, 401);
    assert_eq!(counts(&gate, 1), [1, 1, 1]);
}

#[test]
fn a_refused_request_is_counted_once() {
    let origin = Origin::start(|_| Answer::new(200, "never"));
    let gate = to(counting(403, "risk.block(\"a.b\");"), &origin).start();
    assert_eq!(gate.send(&Request::get("/")).status, 403);
    assert_eq!(counts(&gate, 1), [1, 1, 1]);
}

#[test]
fn a_throttled_request_is_counted_once() {
    let origin = Origin::start(|_| Answer::new(200, "once"));
    let gate = to(counting(429, "risk.throttle(\"a.b\", \"client\", 0.1);"), &origin).start();
    assert_eq!(gate.send(&Request::get("/")).status, 200);
    assert_eq!(gate.send(&Request::get("/")).status, 429);
    assert_eq!(counts(&gate, 2), [2, 2, 1]);
}

#[test]
fn a_request_that_cannot_be_served_is_counted_once() {
    let gate = counting(404, "").route("*", "/elsewhere", "probed").start();
    assert_eq!(gate.send(&Request::get("/nowhere")).status, 404);
    assert_eq!(counts(&gate, 1), [1, 1, 1]);
    let gate = counting(414, "").start();
    assert_eq!(gate.send(&Request::get(&format!("/{}", "x".repeat(9_000)))).status, 414);
    assert_eq!(counts(&gate, 1), [1, 1, 1]);
}

#[test]
fn an_origin_that_fails_is_counted_once() {
    // Two servers, so that the connection is tried again.
    let gate = counting(502, "").route("*", "/", "origin").origin(&[free_addr(), free_addr()]).start();
    assert_eq!(gate.send(&Request::get("/")).status, 502);
    assert_eq!(counts(&gate, 1), [1, 1, 1]);
}

#[test]
fn an_origin_that_is_too_slow_is_counted_once() {
    let opening = Gate::default();
    let held = opening.clone();
    let silent = Origin::start(move |_| Answer::new(200, "late").behind(&held));
    let upstream = format!("servers = [\"{}\"]\nread_timeout = \"300ms\"", silent.addr());
    let gate = counting(504, "").route("*", "/", "slow").upstream("slow", &upstream).start();
    assert_eq!(gate.send(&Request::get("/")).status, 504);
    assert_eq!(counts(&gate, 1), [1, 1, 1]);
    opening.open();
}

#[test]
fn an_answer_that_breaks_off_is_counted_once_with_the_status_that_was_sent() {
    let origin = Origin::start(|_| Answer::new(200, "a long body").cut_after(4));
    let gate = to(counting(200, ""), &origin).start();
    assert!(gate.connect().send(&Request::get("/")).is_err());
    assert_eq!(counts(&gate, 1), [1, 1, 1]);
}

#[test]
fn a_client_that_leaves_is_counted_once_as_499() {
    let opening = Gate::default();
    let held = opening.clone();
    let origin = Origin::start(move |_| Answer::new(200, "late").behind(&held));
    let gate = to(counting(499, ""), &origin).start();
    let mut client = gate.connect();
    client.write(&Request::get("/").to_bytes()).unwrap();
    origin.wait_for(1);
    drop(client);
    assert_eq!(counts(&gate, 1), [1, 1, 1]);
    opening.open();
}

#[test]
fn an_upgraded_connection_is_counted_once_when_it_ends() {
    let origin = Origin::start(|_| Answer::echo("websocket"));
    let gate = to(counting(101, ""), &origin).start();
    let mut client = gate.connect();
    let upgrade = Request::get("/ws").header("connection", "Upgrade").header("upgrade", "websocket");
    assert_eq!(client.send(&upgrade).unwrap().status, 101);
    drop(client);
    assert_eq!(counts(&gate, 1), [1, 1, 1]);
}

#[test]
fn an_observer_sees_status_size_duration_and_headers_of_what_was_sent() {
    let seen = [
        ("status", "res.status == 203"),
        ("size", "res.size == 12"),
        ("duration", "res.duration > 0.0 && res.duration < 60.0"),
        ("headers", "res.header(\"x-kind\") == \"a\""),
        (
            "refusals",
            "!res.from_origin && res.status == 403 && res.size > 50 && res.duration > 0.0 && \
         res.header(\"content-type\") == \"application/problem+json\"",
        ),
    ];
    let counts: String =
        seen.iter().map(|(name, is)| format!("    if {is} {{ risk.count(\"{name}\"); }}\n")).collect();
    let reads: String = seen.iter().map(|(name, _)| format!(" + req.count(\"{name}\")")).collect();
    let script = format!(
        "fn assess(req, risk) {{\n    if req.path == \"/no\" {{ risk.block(\"a.b\"); }}\n    risk.tag(\"n\", 0{reads});\n}}\n\
         fn observe(req, res, risk) {{\n{counts}}}\n"
    );
    let origin = Origin::start(|_| Answer::new(203, "twelve bytes").header("x-kind", "a"));
    let setup = Setup::new().script("10-see", &script).origin(&[origin.addr()]);
    let declared = "per = \"client\"\nwindow = \"10m\"";
    let gate = seen
        .iter()
        .fold(setup, |setup, (name, _)| setup.section(&format!("counters.{name}"), declared))
        .start();
    assert_eq!(gate.send(&Request::get("/")).status, 203);
    assert_eq!(gate.send(&Request::get("/no")).status, 403);
    gate.records(2);
    let probe = gate.record_of(&gate.send(&Request::get("/")));
    let counted = seen.map(|(name, _)| (name, probe["signals"][format!("count({name})")].as_u64()));
    // The duration of both.
    assert_eq!(counted.map(|(_, count)| count), [1, 1, 2, 1, 1].map(Some), "{counted:?}");
}

/// Who counts together, and what: three clients with two credentials on two paths.
#[test]
fn counters_tell_apart_what_they_are_per() {
    let counted = "if req.path != \"/probe\" { risk.count(\"by_user\"); risk.count(\"paths\", req.path); \
                   risk.count(\"both\"); }\n    risk.tag(\"n\", req.count(\"by_user\") + req.count(\"paths\") + \
                   req.count(\"both\"));";
    let gate = Setup::new()
        .rule("10-count", counted)
        .section("counters.by_user", "per = \"token\"\nwindow = \"1h\"")
        .section("counters.paths", "per = \"client\"\nkind = \"distinct\"\nwindow = \"1h\"")
        .section("counters.both", "per = [\"client\", \"token\"]\nwindow = \"1h\"")
        .start();
    // `alice:one`, `alice:two` and `bob:one`.
    let (first, second, bob) = ("Basic YWxpY2U6b25l", "Basic YWxpY2U6dHdv", "Basic Ym9iOm9uZQ==");
    for (address, path, user) in [
        ("8.8.8.8", "/a", Some(first)),
        ("8.8.8.9", "/a", Some(second)),
        ("8.8.4.4", "/b", Some(second)),
        ("8.8.8.8", "/b", Some(bob)),
        ("8.8.8.8", "/b", None),
    ] {
        let request = from(address, path);
        let request = user.into_iter().fold(request, |request, user| request.header("authorization", user));
        assert_eq!(gate.send(&request).status, 200);
    }
    // Some more, since two may be taken for one.
    (0..8).for_each(|n| assert_eq!(gate.send(&from("8.8.8.8", &format!("/{n}"))).status, 200));
    let seen = |address: &str, user: &str| {
        let probe = gate.record_of(&gate.send(&from(address, "/probe").header("authorization", user)));
        ["by_user", "paths", "both"].map(|name| probe["signals"][format!("count({name})")].as_u64().unwrap())
    };
    let [user, paths, both] = seen("8.8.8.1", first);
    assert!((6..=12).contains(&paths), "10 paths, all but exactly: {paths}");
    assert_eq!([user, both], [3, 2]);
    assert_eq!(seen("8.8.4.1", second), [3, 1, 1]);
    assert_eq!(seen("8.8.4.1", bob), [1, 1, 0]);
    assert_eq!(seen("192.0.2.1", "Bearer other"), [0, 0, 0]);
    let written = format!("{}{}", gate.files().log(), gate.metrics());
    assert!(!written.contains("alice") && !written.contains("YWxpY2U"), "a credential is never written");
}
