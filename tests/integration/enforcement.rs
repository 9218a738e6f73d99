//! What follows from a judgement: who passes, who waits, who is turned away, and what they are told.

use crate::net::origin::{Answer, Origin};
use crate::net::{Request, Response};
use crate::support::{Setup, from, json};

/// Requests that are admitted within one window of a limit: rate times ten seconds.
const KP_QUOTA: usize = 5;

/// The policy of these tests: one rule for each verb, chosen by path.
fn policy() -> Setup {
    Setup::new()
        .rule("10-block", "if req.path == \"/blocked\" { risk.block(\"secret.block\"); }")
        .rule("20-weight", "risk.add(\"secret.weight\", req.geo.weight);")
        .section("countries", "KP = { weight = 45, limit = 0.5 }\nFR = { weight = 95 }")
        .section("levels", "medium = { from = 40, action = \"throttle\", per = \"client\", rate = 1000 }")
}

/// Nothing that the gate knows or thinks is in the answer.
fn assert_discreet(response: &Response) {
    let shown = format!("{:?} {}", response.headers, response.text()).to_lowercase();
    for word in [
        "secret",
        "weight",
        "10-block",
        "score",
        "level",
        "reason",
        "rule",
        "country",
        "geo",
        "throttle.",
        "medium",
        "175.45",
        "8.8.8",
        "203.0.113",
        "127.0.0",
        "origin:",
        "upstream",
        "risk_",
        "kp\"",
    ] {
        assert!(!shown.contains(word), "`{word}`: {shown}");
    }
}

fn seconds(response: &Response, name: &str) -> u64 {
    let value = response.headers.first(name).unwrap_or_else(|| panic!("no `{name}`"));
    value.parse().unwrap_or_else(|_| panic!("`{name}: {value}` is no whole number"))
}

#[test]
fn two_countries_get_different_scores() {
    let origin = Origin::start(|_| Answer::new(200, ""));
    let gate = policy().origin(&[origin.addr()]).start();
    let mut client = gate.connect();
    for (address, score, level) in [("8.8.8.8", "0", "low"), ("175.45.176.1", "45", "medium")] {
        assert_eq!(client.send(&from(address, "/")).unwrap().status, 200);
        let seen = origin.received().pop().unwrap();
        let told = (seen.headers.first("riskgate-score"), seen.headers.first("riskgate-level"));
        assert_eq!(told, (Some(score), Some(level)), "{address}");
    }
    let records = gate.records(2);
    let kept = |at: usize, name: &str| records[at][name].clone();
    assert_eq!((kept(0, "country"), kept(0, "score")), ("US".into(), 0.into()));
    assert_eq!((kept(1, "country"), kept(1, "score")), ("KP".into(), 45.into()));
}

#[test]
fn a_country_that_used_up_its_limit_is_told_when_to_come_back() {
    let gate = policy().start();
    let mut client = gate.connect();
    // Neighbours in different networks of the country share its limit.
    let from_kp = |n: usize| from(&format!("175.45.{}.9", 176 + n % 4), "/");
    for n in 0..KP_QUOTA {
        assert_eq!(client.send(&from_kp(n)).unwrap().status, 200, "request {n}");
    }
    let refused = client.send(&from_kp(KP_QUOTA)).unwrap();
    assert_eq!(refused.status, 429);
    assert!((1..=26).contains(&seconds(&refused, "retry-after")));
    // Not what the country has, but what this client may have of it.
    let policy = refused.headers.first("ratelimit-policy").unwrap();
    let share = policy.strip_prefix("\"client\";q=").and_then(|rest| rest.strip_suffix(";w=10"));
    assert!((1..=5).contains(&share.unwrap().parse::<u32>().unwrap()), "{policy}");
    let state = refused.headers.first("ratelimit").unwrap();
    let reset: u64 = state.strip_prefix("\"client\";r=0;t=").unwrap().parse().unwrap();
    assert!((1..=20).contains(&reset), "{state}");
    assert_eq!(refused.headers.first("cache-control"), Some("no-store"));
    let problem = json(&refused);
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#abnormal-usage-detected");
    let id = refused.headers.first("riskgate-decision").unwrap();
    assert_eq!(problem["instance"], format!("urn:riskgate:decision:{id}"));
    assert_discreet(&refused);
    assert_eq!(client.send(&from("8.8.8.8", "/")).unwrap().status, 200, "others are not touched");
    let record = &gate.records(KP_QUOTA + 2)[KP_QUOTA];
    assert_eq!((&record["action"], &record["limit"]), (&"throttled".into(), &"country".into()));
    assert_eq!((&record["status"], &record["id"]), (&429.into(), &id.into()));
}

#[test]
fn a_block_is_a_403_that_names_the_decision_and_nothing_else() {
    let origin = Origin::start(|_| Answer::new(200, ""));
    let gate = policy().origin(&[origin.addr()]).start();
    let refused = gate.send(&from("8.8.8.8", "/blocked"));
    assert_eq!(refused.status, 403);
    assert_eq!(refused.headers.first("content-type"), Some("application/problem+json"));
    assert_eq!(refused.headers.first("cache-control"), Some("no-store"));
    for absent in ["retry-after", "ratelimit", "ratelimit-policy"] {
        assert_eq!(refused.headers.first(absent), None);
    }
    assert_discreet(&refused);
    let record = &gate.records(1)[0];
    assert_eq!(refused.headers.first("riskgate-decision"), record["id"].as_str());
    assert_eq!((&record["action"], &record["wanted"]), (&"blocked".into(), &"block".into()));
    assert!(origin.received().is_empty());
}

#[test]
fn a_level_blocks_if_the_operator_says_so() {
    let gate = policy().section("levels", "critical = { from = 90, action = \"block\" }").start();
    let refused = gate.send(&from("198.51.100.4", "/"));
    assert_eq!(refused.status, 403);
    assert_discreet(&refused);
    let record = &gate.records(1)[0];
    assert_eq!((&record["level"], &record["score"]), (&"critical".into(), &95.into()));
}

#[test]
fn a_person_who_navigates_gets_a_page() {
    let gate = policy().start();
    let navigation = from("8.8.8.8", "/blocked").header("sec-fetch-mode", "navigate");
    let old_browser =
        from("8.8.8.8", "/blocked").header("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    for request in [navigation, old_browser.clone()] {
        let page = gate.send(&request);
        assert_eq!((page.status, page.headers.first("cache-control")), (403, Some("no-store")));
        assert_eq!(page.headers.first("content-type"), Some("text/html; charset=utf-8"));
        let id = page.headers.first("riskgate-decision").unwrap();
        assert!(page.text().starts_with("<!doctype html>") && page.text().contains(id));
        assert_discreet(&page);
    }
    let program = gate.send(&old_browser.header("authorization", "Bearer x"));
    assert_eq!(program.headers.first("content-type"), Some("application/problem+json"));
}

#[test]
fn a_refusal_of_head_has_no_body() {
    let gate = policy().start();
    let mut client = gate.connect();
    let refused = client.send(&Request::new("HEAD", "/blocked")).unwrap();
    assert!(refused.status == 403 && refused.headers.first("content-length") != Some("0"));
    assert_eq!(client.send(&Request::get("/")).unwrap().status, 200);
}

#[test]
fn trust_ends_the_evaluation_and_level_and_country_limits() {
    let gate = policy()
        .rule("00-trust", "if req.header(\"user-agent\") == \"probe\" { risk.allow(\"test.trusted\"); }")
        .start();
    let mut client = gate.connect();
    for _ in 0..3 * KP_QUOTA {
        let probe = from("175.45.176.1", "/blocked").header("user-agent", "probe");
        assert_eq!(client.send(&probe).unwrap().status, 200);
    }
    let record = &gate.records(1)[0];
    assert_eq!((&record["score"], &record["wanted"]), (&0.into(), &"allow".into()));
    assert_eq!(record["reasons"].as_array().unwrap().len(), 1, "later scripts are not asked");
}

#[test]
fn a_hard_list_blocks_although_a_script_allows() {
    let gate = Setup::new()
        .rule("10-trust", "risk.allow(\"test.trusted\");")
        .hard_list(
            "sanctions",
            "# single addresses and networks\n203.0.113.77\n2001:db8:dead::/48 ; a network\n",
        )
        .start();
    let mut client = gate.connect();
    for (address, status) in
        [("203.0.113.77", 403), ("203.0.113.78", 200), ("2001:db8:dead::1", 403), ("2001:db8:beef::1", 200)]
    {
        assert_eq!(client.send(&from(address, "/")).unwrap().status, status, "{address}");
    }
    let reasons = gate.records(1)[0]["reasons"].to_string();
    assert!(reasons.contains("\"list.sanctions\"") && !reasons.contains("203"), "{reasons}");
}

#[test]
fn a_list_that_scripts_ask_about_is_matched_by_full_address() {
    let gate = Setup::new()
        .rule("10-listed", "if req.client.listed(\"abusers\") { risk.block(\"test.listed\"); }")
        .list("abusers", "203.0.113.77\n")
        .start();
    let mut client = gate.connect();
    assert_eq!(client.send(&from("203.0.113.77", "/")).unwrap().status, 403);
    assert_eq!(client.send(&from("203.0.113.78", "/")).unwrap().status, 200);
}

#[test]
fn what_is_only_observed_is_recorded_and_never_enforced() {
    let origin = Origin::start(|_| Answer::new(200, ""));
    let verbs = "risk.block(\"watched.block\"); risk.add(\"watched.points\", 99); risk.count(\"seen\"); \
                 risk.throttle(\"watched.slow\", \"client\", 0.1);";
    let gate = Setup::new()
        .rule("50-watched", verbs)
        .rule("60-counted", "if req.count(\"seen\") > 0 { risk.block(\"test.counted\"); }")
        .section("policy", "observe_only = [\"50-watched\"]\non_error = \"block\"")
        .section("counters.seen", "per = \"client\"\nwindow = \"10m\"")
        .origin(&[origin.addr()])
        .start();
    let mut client = gate.connect();
    for _ in 0..3 {
        assert_eq!(client.send(&from("8.8.8.8", "/")).unwrap().status, 200);
    }
    let record = &gate.records(3)[2];
    assert_eq!((&record["score"], &record["wanted"]), (&0.into(), &"allow".into()));
    let reasons = record["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), 3);
    assert!(reasons.iter().all(|reason| reason["observed"] == true), "{reasons:?}");
    assert_eq!(origin.received()[2].headers.first("riskgate-reasons"), None);
}

#[test]
fn a_script_that_fails_has_no_say_or_blocks_as_the_operator_chose() {
    for (on_error, status) in [("skip", 200), ("block", 403)] {
        let gate = Setup::new()
            .rule(
                "10-broken",
                "risk.add(\"test.lost\", 99);\n    let parts = req.path.split(\"/\"); parts[7];",
            )
            .rule("20-whole", "risk.add(\"test.kept\", 7);")
            .section("policy", &format!("on_error = \"{on_error}\""))
            .start();
        let response = gate.send(&from("8.8.8.8", "/"));
        assert_eq!(response.status, status, "{on_error}");
        let record = &gate.records(1)[0];
        assert_eq!(record["score"], 7, "{on_error}: half of what a failing script said does not count");
        let error = &record["errors"][0];
        assert_eq!((&error["rule"], &error["line"]), (&"10-broken".into(), &3.into()), "{error}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
        let counted = "riskgate_script_errors_total{script=\"10-broken\"} 1";
        assert!(gate.metrics().lines().any(|line| line == counted), "{}", gate.metrics());
    }
}

#[test]
fn a_throttle_counts_for_each_client_by_itself() {
    let gate = Setup::new().rule("10-slow", "risk.throttle(\"test.slow\", \"client\", 0.2);").start();
    let mut client = gate.connect();
    for address in ["8.8.8.8", "203.0.113.5", "2001:db8:1::1"] {
        let statuses: Vec<u16> = (0..4).map(|_| client.send(&from(address, "/")).unwrap().status).collect();
        assert_eq!(statuses, [200, 200, 429, 429], "{address}");
    }
    assert_eq!(gate.records(12)[2]["limit"], "test.slow");
}

#[test]
fn a_throttle_of_a_route_counts_for_all_its_clients() {
    let gate = Setup::new()
        .rule("10-slow", "risk.throttle(\"test.slow\", \"route\", 0.2);")
        .route("*", "/a", "origin")
        .route("*", "/b", "origin")
        .upstream("origin", "builtin = true")
        .start();
    let mut client = gate.connect();
    let mut status = |address, path| client.send(&from(address, path)).unwrap().status;
    assert_eq!(
        [status("8.8.8.8", "/a"), status("203.0.113.5", "/a/x"), status("192.0.2.1", "/a")],
        [200, 200, 429]
    );
    assert_eq!(
        [status("8.8.8.8", "/b"), status("203.0.113.5", "/b"), status("192.0.2.1", "/b")],
        [200, 200, 429]
    );
}

#[test]
fn failures_that_the_origin_reports_lead_to_a_throttle() {
    let origin =
        Origin::start(|received| Answer::new(if received.target == "/login" { 401 } else { 200 }, ""));
    let login = "fn assess(req, risk) {\n\
                     if req.count(\"login_failed\") >= 3 { risk.throttle(\"login.stuffing\", \"client\", 0.1); }\n\
                 }\n\
                 fn observe(req, res, risk) {\n\
                     if req.path == \"/login\" && res.status == 401 { risk.count(\"login_failed\"); }\n\
                 }\n";
    let gate = Setup::new()
        .script("30-login", login)
        .section("counters.login_failed", "per = \"client\"\nwindow = \"10m\"")
        .origin(&[origin.addr()])
        .start();
    let mut client = gate.connect();
    let mut sent = 0;
    let mut status = |address: &str, path: &str| {
        let status = client.send(&from(address, path)).unwrap().status;
        sent += 1;
        // The response is observed after the client has it: wait until it is recorded.
        gate.records(sent);
        status
    };
    let statuses: Vec<u16> = (0..6).map(|_| status("8.8.8.8", "/login")).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 429, 429], "three failures, then one request in ten seconds");
    assert_eq!(status("203.0.113.9", "/login"), 401, "another client is not slowed down");
}

#[test]
fn counters_of_assess_are_counted_once_per_request() {
    let gate = Setup::new()
        .rule("10-count", "risk.count(\"seen\"); risk.tag(\"seen\", req.count(\"seen\"));")
        .section("counters.seen", "per = \"country\"\nwindow = \"10m\"")
        .start();
    let mut client = gate.connect();
    for expected in ["0", "1", "2"] {
        let echo = json(&client.send(&from("8.8.8.8", "/")).unwrap());
        assert_eq!(echo["headers"]["riskgate-seen"], expected);
    }
    let other = json(&client.send(&from("203.0.113.5", "/")).unwrap());
    assert_eq!(other["headers"]["riskgate-seen"], "0");
}

/// A script that fails has no say; if size alone could make one fail, anybody could switch it off.
#[test]
fn no_request_can_make_a_script_fail_by_its_size() {
    let gate = Setup::new()
        .rule(
            "10-agent",
            "if req.header(\"user-agent\").to_lower().contains(\"x\") { risk.add(\"a.agent\", 1); }",
        )
        .rule(
            "20-query",
            "let all = req.path + \"?\" + req.query; if all.contains(\"..\") { risk.add(\"a.query\", 1); }",
        )
        .start();
    let mut client = gate.connect();
    let long_query = format!("/?file=../../etc&{}", "token=a&".repeat(7_000));
    let fits = format!("/?file=../../etc&{}", "token=a&".repeat(1_000));
    for (request, status) in [
        (Request::get("/").header("user-agent", &format!("x{}", "\u{130}".repeat(40_000))), 431),
        (Request::get("/").header("user-agent", &"X".repeat(16 * 1024 + 1)), 431),
        (Request::get("/").header("user-agent", &"X".repeat(16 * 1024)), 200),
        (Request::get(&long_query), 414),
        (Request::get(&fits), 200),
    ] {
        assert_eq!(client.send(&request).unwrap().status, status);
    }
    for record in gate.records(5) {
        assert_eq!(record["errors"], serde_json::json!([]), "{record}");
        assert_ne!(record["reasons"], serde_json::json!([]), "{record}");
    }
}

#[test]
fn an_origin_that_tells_of_its_limits_is_made_no_laxer_than_the_gate() {
    let origin = Origin::start(|_| Answer::new(200, "").header("RateLimit", "\"default\";r=100;t=60"));
    let gate = Setup::new()
        .rule("10-api", "if req.path == \"/api\" { risk.throttle(\"api.calls\", \"client\", 0.5); }")
        .rule("20-all", "if req.path == \"/all\" { risk.throttle(\"all.calls\", \"country\", 0.5); }")
        .origin(&[origin.addr()])
        .start();
    let told = |target| gate.send(&from("8.8.8.8", target)).headers.first("ratelimit").map(str::to_owned);
    assert_eq!(told("/free").as_deref(), Some("\"default\";r=100;t=60"));
    assert_eq!(told("/api").as_deref(), Some("\"default\";r=4;t=60"), "five in ten seconds, one is gone");
    assert_eq!(told("/api").as_deref(), Some("\"default\";r=3;t=60"));
    assert_eq!(told("/all").as_deref(), Some("\"default\";r=100;t=60"), "what others use is not told");
}

#[test]
fn clients_that_are_refused_at_once_are_not_sent_back_at_once() {
    let gate = Setup::new().rule("10-slow", "risk.throttle(\"a.slow\", \"client\", 0.1);").start();
    assert_eq!(gate.send(&from("8.8.8.8", "/")).status, 200);
    let extra = |_| {
        let refused = gate.send(&from("8.8.8.8", "/"));
        let reset = refused.headers.first("ratelimit").unwrap().strip_prefix("\"client\";r=0;t=").unwrap();
        let reset: u64 = reset.parse().unwrap();
        let extra = seconds(&refused, "retry-after").checked_sub(reset).expect("never too early");
        assert!(extra <= 1 + reset / 4, "{extra} more than {reset}");
        extra
    };
    let extras: std::collections::BTreeSet<u64> = (0..60).map(extra).collect();
    assert!(extras.len() > 1, "{extras:?}");
}
