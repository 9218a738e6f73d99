//! The decision log: one line for every request, complete, and enough to judge each request again.

use std::collections::BTreeSet;

use riskgate::pipeline::judge;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::net::origin::{Answer, Origin};
use crate::net::{Body, Request, free_addr};
use crate::support::{Setup, from};

/// The members of a record in their order, and those that are there only if there is something to say.
const ALWAYS: &str = "id time generation route method path host status country asn client level score wanted action \
                      reasons errors signals judge_us total_us";
const SOMETIMES: [&str; 2] = ["limit", "fault"];

/// The names of an object's members, in the order of the text.
fn members(line: &str) -> Vec<String> {
    let object: Map<String, Value> = serde_json::from_str(line).unwrap();
    let place = |name: &String| line.find(&format!("\"{name}\":")).unwrap();
    let mut names: Vec<String> = object.keys().cloned().collect();
    names.sort_by_key(place);
    names
}

#[test]
fn a_record_says_everything_about_an_allowed_request_in_a_fixed_order() {
    let gate = Setup::new().rule("10-add", "risk.add(\"test.points\", 12);").start();
    let response = gate.send(&from("203.0.113.9", "/a/%62?token=abc&x=1").header("host", "API.example:80"));
    let record = gate.records(1).remove(0);
    assert_eq!(members(gate.stop().log().trim_end()), ALWAYS.split(' ').collect::<Vec<_>>());
    assert_eq!(record["id"].as_str(), response.headers.first("riskgate-decision"));
    let id: uuid::Uuid = record["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(id.get_version_num(), 7);
    let time = record["time"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.len() >= "2026-01-01T00:00:00Z".len(), "{time}");
    for (name, value) in [
        ("generation", 1.into()),
        ("route", "default".into()),
        ("method", "GET".into()),
        ("path", "/a/b".into()),
        ("host", "api.example".into()),
        ("status", 200.into()),
        ("country", "DE".into()),
        ("asn", 0.into()),
        ("level", "low".into()),
        ("score", 12.into()),
        ("wanted", "allow".into()),
        ("action", "allowed".into()),
        ("reasons", serde_json::json!([{ "rule": "10-add", "reason": "test.points", "points": 12 }])),
        ("errors", serde_json::json!([])),
        ("signals", serde_json::json!({ "geo.country": "DE" })),
    ] {
        assert_eq!(record[name], value, "{name}");
    }
    let client = record["client"].as_str().unwrap();
    assert!(client.len() == 16 && client.bytes().all(|byte| byte.is_ascii_hexdigit()), "{client}");
    assert!(record["judge_us"].is_u64() && record["total_us"].as_u64() >= record["judge_us"].as_u64());
}

#[test]
fn every_request_is_one_line_whatever_became_of_it() {
    let origin = Origin::start(|_| Answer::new(201, "made"));
    let gate = Setup::new()
        .rule("10-block", "if req.path == \"/blocked\" { risk.block(\"test.block\"); }")
        .rule("20-slow", "if req.path == \"/slow\" { risk.throttle(\"test.slow\", \"client\", 0.1); }")
        .route("api.example", "/", "good")
        .route("api.example", "/dead", "dead")
        .upstream("good", &format!("servers = [\"{}\"]", origin.addr()))
        .upstream("dead", &format!("servers = [\"{}\"]", free_addr()))
        .start();
    let expected = [
        ("/", 201, "allowed", "allow", None, None),
        ("/blocked", 403, "blocked", "block", None, None),
        ("/slow", 201, "allowed", "throttle", None, None),
        ("/slow", 429, "throttled", "throttle", Some("test.slow"), None),
        ("/dead", 502, "allowed", "allow", None, Some("upstream_failed")),
    ];
    for (path, status, action, wanted, limit, fault) in expected {
        let response = gate.send(&from("8.8.8.8", path));
        let record = gate.record_of(&response);
        assert_eq!((record["path"].as_str(), record["status"].as_u64()), (Some(path), Some(status)));
        assert_eq!(
            (record["action"].as_str(), record["wanted"].as_str()),
            (Some(action), Some(wanted)),
            "{path}"
        );
        assert_eq!((record["limit"].as_str(), record["fault"].as_str()), (limit, fault), "{path}");
    }
    let nowhere = gate.record_of(&gate.send(&from("8.8.8.8", "/").header("host", "other.example")));
    assert_eq!((&nowhere["fault"], &nowhere["status"]), (&"no_route".into(), &404.into()));
    let files = gate.stop();
    assert_eq!(files.log().lines().count(), expected.len() + 1);
    let known: BTreeSet<&str> = ALWAYS.split(' ').chain(SOMETIMES).collect();
    for line in files.log().lines() {
        assert!(members(line).iter().all(|name| known.contains(name.as_str())), "{line}");
    }
}

#[test]
fn what_waits_to_be_written_is_written_on_stop() {
    let gate = Setup::new().start();
    let mut client = gate.connect();
    for n in 0..200 {
        client.send(&from("8.8.8.8", &format!("/{n}"))).unwrap();
    }
    let log = gate.stop().log();
    let paths: BTreeSet<String> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((log.lines().count(), paths.len()), (200, 200));
}

/// Every kind of signal is read here, by name and by a name that is computed, and some requests make it fail.
const CURIOUS: &str = r#"
fn assess(req, risk) {
    if req.geo.rate > 0.05 || req.client.rate > 0.05 || req.geo.surge > 1.01 { risk.add("curious.busy", 3); }
    if req.geo.usual > 1000.0 { risk.add("curious.usual", 1); }
    if req.time.hour >= 0 && req.time.weekday >= 1 { risk.add("curious.time", 1); }
    if req.size > 100 { risk.add("curious.size", 20); }
    if req.param("q").contains("'") || req.query.len() > 40 { risk.add("curious.query", 33); }
    if req.has_header("x-odd") { risk.add("curious.odd", req.header("x-odd").len()); }
    if req.cookie("session") != "" { risk.add("curious.session", -5); }
    let name = if req.method == "GET" { "user-agent" } else { "content-type" };
    if req.header(name) == "" { risk.add("curious.silent", 15); }
    if req.client.listed("watched") { risk.add("curious.listed", 50); }
    if req.count("seen") > 3 { risk.add("curious.seen", 10); }
    if req.geo.continent == "AS" && req.geo.asn == 0 { risk.add("curious.place", 9); }
    risk.count("seen");
    if req.path.starts_with("/fail") { let parts = req.path.split("/"); risk.tag("part", parts[9]); }
}
"#;

fn curious() -> Setup {
    Setup::new()
        .rule("00-trust", "if req.header(\"user-agent\") == \"probe\" { risk.allow(\"test.probe\"); }")
        .script("10-curious", CURIOUS)
        .rule(
            "20-verbs",
            "if req.path == \"/blocked\" { risk.block(\"test.block\"); } \
                           if req.path == \"/slow\" { risk.throttle(\"test.slow\", \"client\", 0.1); } \
                           risk.tag(\"client\", req.client.id + req.client.prefix);",
        )
        .rule("30-watched", "risk.add(\"watched.points\", 50); risk.block(\"watched.block\");")
        .section("policy", "observe_only = [\"30-watched\"]\non_error = \"block\"")
        .section("counters.seen", "per = \"country\"\nwindow = \"10m\"")
        .section("countries", "KP = { weight = 45, limit = 0.5 }")
        .list("watched", "203.0.113.0/25\n")
        .hard_list("sanctions", "2001:db8:dead::/48\n")
}

/// Requests of every kind.
fn varied() -> Vec<Request> {
    let mut requests = Vec::new();
    for address in ["8.8.8.8", "175.45.176.9", "203.0.113.9", "2001:db8:dead::1", "2001:db8:1::1", "0.0.0.0"]
    {
        for path in
            ["/", "/blocked", "/slow", "/slow", "/fail/x", "/?q=it's&token=geheim", "/caf%C3%A9?%ff=\u{7f}"]
        {
            requests.push(from(address, path).header("user-agent", "curl/8"));
        }
        requests.push(from(address, "/blocked").header("user-agent", "probe"));
        requests.push(from(address, "/").header("cookie", "session=abc").header("x-odd", "\u{e9}\"\\ x"));
        let body = Body::Full(vec![b'x'; 300]);
        requests.push(Request::new("POST", "/").header("x-forwarded-for", address).body(body));
        requests.push(from(address, "/nowhere").header("host", "other.example"));
    }
    requests
}

fn json_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

#[derive(Serialize)]
struct ErrorLine<'a> {
    rule: &'a str,
    message: &'a str,
    line: usize,
    column: usize,
}

#[test]
fn a_recorded_request_is_judged_again_to_the_same_byte() {
    let gate = curious().route("api.example", "/", "origin").upstream("origin", "builtin = true").start();
    let mut client = gate.connect();
    let requests = varied();
    for request in &requests {
        client.send(request).unwrap();
    }
    let snapshot = gate.live.pin();
    let log = gate.stop().log();
    assert_eq!(log.lines().count(), requests.len());
    let mut kinds = BTreeSet::new();
    for line in log.lines() {
        let record: Map<String, Value> = serde_json::from_str(line).unwrap();
        let (context, missing) =
            snapshot.policy().needs().read_recorded(record["signals"].as_object().unwrap());
        assert_eq!(missing, [""; 0]);
        let judgement = judge(&snapshot, &context);
        let decision = &judgement.decision;
        let errors: Vec<_> = judgement
            .evaluation
            .errors()
            .map(|(outcome, error)| ErrorLine {
                rule: &outcome.rule,
                message: &error.message,
                line: error.line,
                column: error.column,
            })
            .collect();
        let head = format!(
            "\"level\":{},\"score\":{},\"wanted\":{},\"action\":",
            json_text(&decision.level()),
            json_text(&decision.score()),
            json_text(&decision.action())
        );
        let tail = format!(
            "\"reasons\":{},\"errors\":{},\"signals\":{},\"judge_us\":",
            json_text(&decision.reasons()),
            json_text(&errors),
            json_text(&context)
        );
        assert!(line.contains(&head), "{head}\n{line}");
        assert!(line.contains(&tail), "{tail}\n{line}");
        kinds.insert(format!("{} {} {}", record["wanted"], record["level"], errors.len()));
    }
    assert!(kinds.len() >= 5, "the run is varied: {kinds:?}");
    assert!(
        !log.contains("geheim") && !log.contains("session=abc"),
        "secrets are recorded as pseudonyms only"
    );
}
