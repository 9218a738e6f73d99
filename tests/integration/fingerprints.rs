//! What clients with a certain fingerprint are called: a file that is checked and changed while the gate runs.

use std::fs;

use serde_json::Value;

use crate::net::{Body, Request};
use crate::support::{Running, Setup, json};

const CHROMIUM: &str = "t13d1516h2_8daaf6152771_e5627efa2ab1";

fn gate(fingerprints: &str) -> Setup {
    Setup::new()
        .section("fingerprints", "ja4 = \"@/fingerprints.txt\"")
        .file("fingerprints.txt", fingerprints)
        .rule("10-tls", "if req.tls.class == \"bot\" { risk.add(\"tls.bot\", 30); }\nif req.tls.ja4 == \"\" { risk.add(\"tls.none\", 1); }")
}

/// How a request of a client with this fingerprint is judged.
fn explained(gate: &Running) -> Value {
    let body = format!("{{\"tls\": {{\"ja4\": \"{CHROMIUM}\"}}}}");
    let answer = gate.ask(&Request::new("POST", "/api/explain").body(Body::Full(body.into_bytes())));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!answer.text().contains("8daaf6152771"), "{}", answer.text());
    json(&answer)
}

fn reload(gate: &Running) -> Value {
    json(&gate.ask(&Request::new("POST", "/api/reload")))
}

#[test]
fn classes_change_while_the_gate_runs_and_wrong_ones_are_refused() {
    let gate = gate(&format!("{CHROMIUM} browser")).start();
    assert_eq!(explained(&gate)["score"], 0);

    fs::write(gate.files().path("fingerprints.txt"), format!("# now\n{CHROMIUM} bot\n")).unwrap();
    assert_eq!(reload(&gate)["outcome"], "published");
    let judged = explained(&gate);
    assert_eq!((&judged["score"], &judged["signals"]["tls.ja4"]), (&30.into(), &"bot".into()), "{judged}");

    fs::write(gate.files().path("fingerprints.txt"), format!("{CHROMIUM} bot\n8daaf6152771 bot\n")).unwrap();
    let refused = reload(&gate);
    assert_eq!(refused["outcome"], "refused", "{refused}");
    let problem = &refused["problems"][0];
    assert_eq!(problem["line"], 2, "{problem}");
    assert!(problem["message"].as_str().unwrap().contains("is no JA4 fingerprint"), "{problem}");
    assert_eq!(explained(&gate)["score"], 30, "the last good one stays");
}

#[test]
fn without_the_file_a_gate_does_not_start() {
    let Err(problems) = Setup::new().section("fingerprints", "ja4 = \"@/nothing.txt\"").try_start() else {
        panic!("it starts")
    };
    assert!(problems[0].to_string().contains("nothing.txt"), "{}", problems[0]);
}
