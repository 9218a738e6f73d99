//! `riskgate explain`: why a described or a recorded request is judged as it is.

use super::{gate, riskgate};
use crate::support::from;

#[test]
fn explain_says_reason_by_reason_why_and_what_would_change_it() {
    let files = gate().write();
    let args =
        ["explain", "-X", "POST", "-p", "/login?x=1", "--ip", "175.45.176.1", "--count", "login_failed=9"];
    let said = riskgate(&files, &args);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    said.out_has(&[
        "score 100, level critical: block",
        "add geo.weight +60",
        "read geo.weight 60",
        "add login.stuffing +45",
        "read client.listed(friends) false",
        "count(login_failed) 9",
        "path \"/login\"",
        "16 fewer points: score 89, level high: throttle, 20/s per country and 5/s per country",
        "without `geo.weight`: score 45, level medium: throttle, 5/s per client and 5/s per country",
        "without `login.stuffing`: score 60, level medium: throttle, 5/s per client and 5/s per country",
    ]);
    assert!(!said.out.contains("175.45.176.1"), "{}", said.out);
}

#[test]
fn explain_shows_limits_trust_and_hard_lists() {
    let files = gate().write();
    riskgate(&files, &["explain", "--country", "KP"]).out_has(&[
        "score 60, level medium: throttle, 5/s per client (`level.medium`), 5/s per country (`country`)",
        "10 more points: score 70, level high: throttle, 20/s per country and 5/s per country",
        "21 fewer points: score 39, level low: throttle, 5/s per country",
        "said nothing",
    ]);
    riskgate(&files, &["explain", "--country", "KP", "--listed", "friends"]).out_has(&[
        "score 0, level low: allow",
        "allow client.friend",
        "without `client.friend`: score 60, level medium: throttle, 5/s per client and 5/s per country, \
         and the scripts after it are asked",
    ]);
    riskgate(&files, &["explain", "--listed", "sanctions"])
        .out_has(&["score 0, level low: block", "off the list `sanctions`: score 0, level low: allow"]);
}

#[test]
fn a_script_that_fails_is_explained() {
    let setup = gate().rule("50-div", "let n = req.size; risk.add(\"size.odd\", 100 / (n + 1));");
    let files = setup.section("policy", "on_error = \"block\"").cases("login", "").write();
    riskgate(&files, &["explain"]).out_has(&["score 0, level low: block"]);
    let said = riskgate(&files, &["explain"]);
    assert!(said.out.contains("failed") && said.out.contains("at 2:"), "{}", said.out);
    assert!(
        said.out.contains("if `50-div` had not failed and said nothing: score 0, level low: allow"),
        "{}",
        said.out
    );
}

#[test]
fn explain_as_json_is_the_whole_explanation() {
    let files = gate().write();
    let said = riskgate(&files, &["explain", "--country", "kp", "--json", "-H", "User-Agent: curl/8"]);
    let json: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((json["score"].as_u64(), json["level"].as_str()), (Some(60), Some("medium")));
    assert_eq!(
        json["scripts"][0]["said"][0],
        serde_json::json!({ "verb": "add", "reason": "geo.weight", "points": 60 })
    );
    assert_eq!(json["scripts"][0]["reads"]["geo.weight"], 60);
    assert_eq!(json["limits"][0]["name"], "level.medium");
}

#[test]
fn a_recorded_decision_is_judged_again_by_the_policy_of_now() {
    let gate = gate().start();
    let response = gate.send(&from("175.45.176.1", "/files/%1b[2Jx"));
    let id = response.headers.first("riskgate-decision").expect("an id").to_owned();
    gate.records(1);
    let files = gate.stop();
    let same = riskgate(&files, &["explain", &id]);
    same.out_has(&["then score 60, level medium: allowed", "add geo.weight +60"]);
    assert!(same.out.contains(", generation 1, status 200"), "{}", same.out);
    files.write(
        "scripts/10-geo.rhai",
        "fn assess(req, risk) { if req.geo.country == \"KP\" && req.method == \"\" { risk.block(\"geo.kp\"); } }",
    );
    riskgate(&files, &["explain", &id]).out_has(&[
        "then score 60, level medium: allowed",
        "now score 0, level low: block",
        "not in the record, so judged as empty",
        "method",
        "block geo.kp",
        "without `geo.kp`: score 0, level low: throttle, 5/s per country",
    ]);
    let json = riskgate(&files, &["explain", &id, "--json"]).out;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json["recorded"]["id"], &json["unrecorded"][0]), (&id.as_str().into(), &"method".into()));
    let log = files.log();
    files.write("decisions.jsonl", log.replace("\"total_us\"", "\"waited_ms\":250,\"total_us\""));
    riskgate(&files, &["explain", &id])
        .out_has(&["then score 60, level medium: allowed after a wait of 250 ms"]);
}
