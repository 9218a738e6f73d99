//! The admin API: every endpoint, and who may ask.

use crate::net::origin::{Answer, Gate, Origin};
use crate::net::{Body, Client, Request, Response, free_addr};
use crate::support::{Running, Setup, eventually, from, json};

const TOKEN: &str = "0123456789abcdef0123";

fn gate() -> Setup {
    Setup::new().rule("10-geo", "if req.geo.country == \"KP\" { risk.add(\"geo.kp\", 45); }")
}

fn post(path: &str, body: impl Into<Vec<u8>>) -> Request {
    Request::new("POST", path).body(Body::Full(body.into()))
}

/// Sends a request to the admin API under a name of its own choice.
fn ask_as(gate: &Running, host: &str, request: Request) -> Response {
    let mut client = Client::connect(gate.admin).unwrap();
    client.send(&request.header("host", host)).unwrap()
}

fn get(gate: &Running, path: &str) -> Response {
    gate.ask(&Request::get(path))
}

fn decision(response: &Response) -> String {
    response.headers.first("riskgate-decision").expect("an id").to_owned()
}

/// The recent decisions, newest first, once there are so many.
fn recent(gate: &Running, count: usize) -> Vec<serde_json::Value> {
    eventually("recent decisions", || {
        let list = json(&get(gate, "/api/decisions"));
        list.as_array().filter(|list| list.len() >= count).cloned()
    })
}

/// A refusal in the form that every endpoint uses.
fn assert_problem(response: &Response, status: u16, words: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.headers.first("content-type"), Some("application/problem+json"));
    let problem = json(response);
    assert_eq!(problem["status"], status);
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains(words), "{words:?} in {detail:?}");
}

#[test]
fn health_and_readiness_are_open_to_everybody() {
    let gate = gate().section("admin", &format!("address = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"")).start();
    let health = ask_as(&gate, "balancer.example", Request::get("/healthz"));
    assert_eq!((health.status, json(&health)["status"].as_str()), (200, Some("ok")));
    let ready = ask_as(&gate, "balancer.example", Request::get("/readyz"));
    assert_eq!((ready.status, json(&ready)["generation"].as_u64()), (200, Some(1)));
    assert_eq!(ready.headers.first("cache-control"), Some("no-store"));
}

#[test]
fn a_gate_that_stops_is_healthy_but_not_ready() {
    let held = Gate::default();
    let answer = Answer::new(200, "late").behind(&held);
    let origin = Origin::start(move |_| answer.clone());
    let gate = gate().origin(&[origin.addr()]).start();
    let mut client = gate.connect();
    client.write(&Request::get("/slow").to_bytes()).unwrap();
    origin.wait_for(1);
    gate.begin_stop();
    let refused = eventually("a gate that is not ready", || {
        Some(get(&gate, "/readyz")).filter(|response| response.status != 200)
    });
    assert_problem(&refused, 503, "stopping");
    assert_eq!(get(&gate, "/healthz").status, 200);
    held.open();
    assert_eq!(client.response_to("GET").unwrap().text(), "late");
}

#[test]
fn every_metric_of_the_design_is_there() {
    let gate = gate()
        .rule("20-odd", "if req.path == \"/odd\" { let n = 1 / req.param(\"n\").len; }")
        .upstream("origin", "builtin = true")
        .upstream("gone", &format!("servers = [\"{}\"]", free_addr()))
        .route("*", "/", "origin")
        .route("*", "/gone", "gone")
        .start();
    gate.send(&from("175.45.176.1", "/"));
    gate.send(&from("192.0.2.1", "/odd"));
    assert_eq!(gate.send(&from("192.0.2.1", "/gone")).status, 502);
    let metrics = eventually("three decisions", || {
        Some(gate.metrics()).filter(|text| text.contains("riskgate_request_seconds_count 3"))
    });
    for line in [
        "riskgate_decisions_total{action=\"allowed\",country=\"KP\",level=\"medium\"} 1",
        "riskgate_decisions_total{action=\"allowed\",country=\"JP\",level=\"low\"} 2",
        "riskgate_reasons_total{reason=\"geo.kp\"} 1",
        "riskgate_script_errors_total{script=\"20-odd\"} 1",
        "riskgate_reloads_total{outcome=\"published\"} 1",
        "riskgate_generation 1",
        "riskgate_judge_seconds_count 3",
        "riskgate_upstream_errors_total{upstream=\"gone\"} 1",
        "riskgate_decisions_dropped_total 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    assert!(metrics.contains("\nriskgate_last_reload_timestamp_seconds 1"), "{metrics}");
    let response = get(&gate, "/metrics");
    assert_eq!(response.headers.first("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
}

#[test]
fn recent_decisions_are_listed_newest_first() {
    let gate = gate().start();
    assert_eq!(json(&get(&gate, "/api/decisions")), serde_json::json!([]));
    // Of one connection, since those of several end in no order.
    let mut client = gate.connect();
    for path in ["/a", "/b", "/c"] {
        client.send(&from("175.45.176.1", path)).unwrap();
    }
    let paths: Vec<_> = recent(&gate, 3).iter().map(|record| record["path"].clone()).collect();
    assert_eq!(paths, ["/c", "/b", "/a"]);
    assert_eq!(json(&get(&gate, "/api/decisions?limit=1")).as_array().unwrap().len(), 1);
    assert_eq!(json(&get(&gate, "/api/decisions?limit=0")), serde_json::json!([]));
    for limit in ["-1", "many", "", "1e3"] {
        assert_problem(
            &get(&gate, &format!("/api/decisions?limit={limit}")),
            400,
            "`limit` must be a whole number",
        );
    }
}

#[test]
fn a_decision_is_found_in_memory_and_in_the_log() {
    for recent_kept in [100, 0] {
        let gate = gate().section("decisions", &format!("recent = {recent_kept}")).start();
        let id = decision(&gate.send(&from("175.45.176.1", "/a?secret=1")));
        gate.records(1);
        let path = format!("/api/decisions/{id}");
        let found =
            eventually("the decision", || Some(get(&gate, &path)).filter(|found| found.status == 200));
        let record = json(&found);
        assert_eq!(
            (&record["id"], &record["path"], &record["country"]),
            (&id.into(), &"/a".into(), &"KP".into())
        );
        assert_eq!(record["reasons"][0]["reason"], "geo.kp");
        assert_eq!(found.headers.first("content-type"), Some("application/json"));
    }
}

#[test]
fn a_decision_that_nobody_kept_or_made_is_not_found() {
    let gate = gate().start();
    let unknown = get(&gate, "/api/decisions/01a209da-922c-7b6f-9875-5b150f4f2f70");
    assert_problem(&unknown, 404, "no such decision is kept");
    for id in ["7", "01a209da", "..%2f..%2fetc%2fpasswd", "a/b"] {
        assert_problem(&get(&gate, &format!("/api/decisions/{id}")), 400, "no decision id");
    }
}

#[test]
fn the_policy_shows_what_is_loaded_and_how_often_it_spoke() {
    let gate = gate()
        .rule("20-watched", "risk.block(\"watched.all\");")
        .section("policy", "observe_only = [\"20-watched\"]")
        .list("friends", "192.0.2.1\n192.0.2.2\n")
        .hard_list("sanctions", "203.0.113.0/24\n")
        .start();
    (0..2).for_each(|_| drop(gate.send(&from("175.45.176.1", "/"))));
    let policy = eventually("two hits", || {
        let policy = json(&get(&gate, "/api/policy"));
        (policy["scripts"][0]["hits"]["geo.kp"] == 2).then_some(policy)
    });
    assert_eq!(policy["generation"], 1);
    let script = &policy["scripts"][1];
    assert_eq!((&script["name"], &script["mode"]), (&"20-watched".into(), &"observe".into()));
    assert_eq!(script["functions"], serde_json::json!(["assess(req, risk)"]));
    assert_eq!(script["hits"]["watched.all"], 0, "what is only observed does not count");
    let lists = serde_json::json!([
        { "name": "friends", "entries": 2, "hard": false },
        { "name": "sanctions", "entries": 1, "hard": true },
    ]);
    assert_eq!(policy["lists"], lists);
    assert!(policy["signals"].as_array().unwrap().contains(&"geo.country".into()));
    let last = &policy["last_reload"];
    assert_eq!((&last["outcome"], &last["problems"]), (&"published".into(), &serde_json::json!([])));
}

#[test]
fn a_described_request_is_explained() {
    let gate = gate().start();
    let body =
        r#"{ "method": "POST", "path": "/x?y=1", "ip": "175.45.176.77", "headers": { "accept": "*/*" } }"#;
    let response = gate.ask(&post("/api/explain", body));
    assert_eq!(response.status, 200, "{}", response.text());
    let explanation = json(&response);
    assert_eq!((&explanation["score"], &explanation["level"]), (&45.into(), &"medium".into()));
    assert_eq!(explanation["scripts"][0]["said"][0]["reason"], "geo.kp");
    assert_eq!(explanation["scripts"][0]["reads"]["geo.country"], "KP");
    let changes = explanation["changes"].to_string();
    assert!(changes.contains("without `geo.kp`: score 0, level low: allow"), "{changes}");
    assert!(!response.text().contains("175.45.176.77"));
    assert_eq!(
        json(&gate.ask(&Request::new("POST", "/api/explain")))["score"],
        0,
        "no body describes nothing"
    );
}

#[test]
fn a_recorded_request_is_explained() {
    let gate = gate().start();
    let id = decision(&gate.send(&from("175.45.176.1", "/a")));
    recent(&gate, 1);
    let explanation = json(&gate.ask(&post("/api/explain", format!("{{\"id\":\"{id}\"}}"))));
    assert_eq!((&explanation["score"], &explanation["generation"]), (&45.into(), &1.into()));
    assert!(explanation.get("unrecorded").is_none());
    gate.files()
        .write("scripts/20-path.rhai", "fn assess(req, risk) { risk.add(\"path.len\", req.path.len); }");
    assert_eq!(gate.ask(&post("/api/reload", "")).status, 200);
    let explanation = json(&gate.ask(&post("/api/explain", format!("{{\"id\":\"{id}\"}}"))));
    assert_eq!((&explanation["generation"], &explanation["unrecorded"][0]), (&2.into(), &"path".into()));
}

#[test]
fn a_bad_question_is_answered_with_what_is_wrong_with_it() {
    let gate = gate().start();
    for (body, status, words) in [
        ("{", 400, "EOF while parsing"),
        ("[]", 400, "expected a map"),
        ("{\"pth\": \"/\"}", 400, "unknown field `pth`"),
        ("{\"ip\": \"1.2.3\"}", 400, "IP address"),
        ("{\"country\": \"Korea\"}", 400, "`Korea` is no country"),
        ("{\"counts\": {\"logins\": 1}}", 400, "unknown counter `logins`"),
        ("{\"method\": \"\"}", 400, "this is no request"),
        ("{\"id\": \"7\"}", 400, "UUID"),
        ("{\"id\": \"01a209da-922c-7b6f-9875-5b150f4f2f70\", \"path\": \"/\"}", 400, "unknown field `path`"),
        ("{\"id\": \"01a209da-922c-7b6f-9875-5b150f4f2f70\"}", 404, "no such decision is kept"),
    ] {
        assert_problem(&gate.ask(&post("/api/explain", body)), status, words);
    }
}

#[test]
fn a_reload_says_how_it_went() {
    let gate = gate().start();
    let reload = || gate.ask(&post("/api/reload", ""));
    let unchanged = reload();
    assert_eq!((unchanged.status, json(&unchanged)["outcome"].as_str()), (200, Some("unchanged")));
    gate.files().write("scripts/20-more.rhai", "fn assess(req, risk) {}");
    let published = reload();
    assert_eq!((published.status, json(&published)["outcome"].as_str()), (200, Some("published")));
    assert_eq!(json(&published)["generation"], 2);
    gate.files().write("scripts/20-more.rhai", "fn assess(req, risk) {\n    req.geo.contry\n}\n");
    let refused = reload();
    assert_eq!((refused.status, json(&refused)["generation"].as_u64()), (422, Some(2)));
    let problem = &json(&refused)["problems"][0];
    assert!(problem["file"].as_str().unwrap().ends_with("scripts/20-more.rhai"));
    assert_eq!((&problem["line"], &problem["column"]), (&2.into(), &13.into()));
    assert_eq!(problem["message"], "unknown signal `req.geo.contry`");
    assert_eq!(problem["hint"], "did you mean `country`?");
    assert_eq!(json(&get(&gate, "/api/policy"))["last_reload"], json(&refused));
    let metrics = gate.metrics();
    for outcome in ["unchanged", "refused"] {
        assert!(metrics.contains(&format!("riskgate_reloads_total{{outcome=\"{outcome}\"}} 1")), "{metrics}");
    }
    assert!(metrics.contains("riskgate_generation 2"), "{metrics}");
}

#[test]
fn an_unknown_path_is_answered_with_the_known_ones() {
    let gate = gate().start();
    for path in ["/", "/api", "/api/decisions/", "/healthz/", "/api/policyx"] {
        assert_problem(&get(&gate, path), 404, "GET /healthz, GET /readyz, GET /metrics");
    }
}

#[test]
fn a_wrong_method_is_answered_with_the_right_one() {
    let gate = gate().start();
    for (method, path, allow) in [
        ("POST", "/healthz", "GET, HEAD"),
        ("DELETE", "/api/decisions", "GET, HEAD"),
        ("GET", "/api/reload", "POST"),
        ("HEAD", "/api/explain", "POST"),
    ] {
        let response = gate.ask(&Request::new(method, path));
        assert_eq!((response.status, response.headers.first("allow")), (405, Some(allow)), "{method} {path}");
    }
}

#[test]
fn head_is_get_without_a_body() {
    let gate = gate().start();
    let mut client = Client::connect(gate.admin).unwrap();
    for path in ["/healthz", "/api/policy", "/api/decisions"] {
        let head = client.send(&Request::new("HEAD", path).header("host", "localhost")).unwrap();
        let get = client.send(&Request::get(path).header("host", "localhost")).unwrap();
        assert_eq!(
            (head.status, head.headers.first("content-length")),
            (200, get.headers.first("content-length"))
        );
    }
}

#[test]
fn a_body_is_bounded_and_the_connection_survives() {
    let gate = gate().start();
    let mut client = Client::connect(gate.admin).unwrap();
    let padded = |size: usize| format!("{{\"path\": \"/\"{}}}", " ".repeat(size - "{\"path\": \"/\"}".len()));
    for (size, status) in [(64 * 1024, 200), (64 * 1024 + 1, 413), (1024 * 1024, 413), (100, 200)] {
        let request = post("/api/explain", padded(size)).header("host", "localhost");
        assert_eq!(client.send(&request).unwrap().status, status, "{size}");
    }
    let chunks = Body::Chunked(vec![vec![b' '; 40_000]; 2]);
    let chunked = Request::new("POST", "/api/explain").header("host", "localhost").body(chunks);
    assert_problem(&client.send(&chunked).unwrap(), 413, "larger than 64 KiB");
}

#[test]
fn with_a_token_only_who_shows_it_may_ask() {
    let gate = gate().section("admin", &format!("address = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"")).start();
    let shown = |header: Option<&str>, path: &str| {
        let request = Request::get(path);
        ask_as(
            &gate,
            "localhost",
            header.map_or(request.clone(), |value| request.header("authorization", value)),
        )
    };
    for path in
        ["/metrics", "/api/decisions", "/api/policy", "/api/decisions/01a209da-922c-7b6f-9875-5b150f4f2f70"]
    {
        let refused = shown(None, path);
        assert_problem(&refused, 401, "Authorization: Bearer");
        assert_eq!(refused.headers.first("www-authenticate"), Some("Bearer"));
    }
    let wrong =
        ["", "Bearer", "Bearer ", &format!("Bearer {}", &TOKEN[..19]), &format!("Bearer {TOKEN}0"), TOKEN];
    for header in wrong {
        assert_eq!(shown(Some(header), "/api/policy").status, 401, "{header:?}");
    }
    assert_eq!(shown(Some("Basic dXNlcjpwYXNz"), "/api/policy").status, 401);
    let right = format!("Bearer {TOKEN}");
    assert_eq!(shown(Some(&right), "/api/policy").status, 200);
    let named = ask_as(&gate, "gate.example:9090", Request::get("/metrics").header("authorization", &right));
    assert_eq!(named.status, 200, "with a token any name will do");
    for (method, path) in [("POST", "/api/reload"), ("POST", "/api/explain")] {
        assert_eq!(ask_as(&gate, "localhost", Request::new(method, path)).status, 401, "{path}");
    }
}

#[test]
fn without_a_token_a_foreign_name_may_not_ask() {
    let gate = gate().start();
    let port = gate.admin.port();
    for host in
        ["evil.example", &format!("evil.example:{port}"), "localhost.evil.example", "10.0.0.1", "0.0.0.0"]
    {
        for request in [Request::get("/api/decisions"), post("/api/reload", "")] {
            assert_problem(&ask_as(&gate, host, request), 403, "`localhost` or a loopback address");
        }
    }
    for host in
        ["localhost", &format!("localhost:{port}"), &format!("127.0.0.1:{port}"), &format!("[::1]:{port}")]
    {
        assert_eq!(ask_as(&gate, host, Request::get("/api/decisions")).status, 200, "{host}");
    }
    let mut client = Client::connect(gate.admin).unwrap();
    client.write(b"GET /api/decisions HTTP/1.1\r\n\r\n").unwrap();
    assert!(matches!(client.response_to("GET").unwrap().status, 400 | 403), "no name is no good name");
}

#[test]
fn two_names_are_no_way_around_the_one_that_counts() {
    let gate = gate().start();
    for head in [
        "GET http://evil.example/api/decisions HTTP/1.1\r\nHost: localhost\r\n",
        "GET /api/decisions HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n",
        "GET /api/decisions HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n",
    ] {
        let mut client = Client::connect(gate.admin).unwrap();
        client.write(format!("{head}\r\n").as_bytes()).unwrap();
        // A connection that is closed without a word is a refusal, too.
        let answered = client.response_to("GET").is_ok_and(|response| response.status == 200);
        assert!(!answered, "{head}");
    }
}
