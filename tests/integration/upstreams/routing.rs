//! Scripts send requests to other upstreams.

use super::*;

fn gate(rule: &str) -> (Running, Origin, Origin) {
    let (real, honeypot) = (named("real"), named("honeypot"));
    let gate = Setup::new()
        .upstream("origin", &format!("servers = {}", quoted(&[real.addr()])))
        .upstream("honeypot", &format!("servers = {}", quoted(&[honeypot.addr()])))
        .route("*", "/api", "origin")
        .rule("50-route", rule)
        .start();
    (gate, real, honeypot)
}

#[test]
fn a_script_sends_a_request_to_another_upstream_and_the_record_says_so() {
    let (gate, _real, _honeypot) =
        gate("if req.header(\"user-agent\") == \"scanner\" { risk.route(\"honeypot\"); }");
    assert!(gate.notes.is_empty(), "{}", shown(&gate.notes));
    let scanner = |method: &str, path: &str| Request::new(method, path).header("user-agent", "scanner");
    let (plain, sent) = (gate.send(&Request::get("/api/x")), gate.send(&scanner("GET", "/api/x")));
    assert_eq!((plain.text(), sent.text()), ("real", "honeypot"));
    assert_eq!(gate.send(&scanner("POST", "/api/x")).text(), "honeypot");
    let record = gate.record_of(&sent);
    assert_eq!((&record["upstream"], &record["action"]), (&"honeypot".into(), &"allowed".into()));
    assert_eq!(record["reasons"][0]["reason"], "route.honeypot");
    assert!(gate.record_of(&plain).get("upstream").is_none());
    // Also where no route serves it.
    assert_eq!(gate.send(&scanner("GET", "/.env")).text(), "honeypot");
    assert_eq!(gate.send(&Request::get("/.env")).status, 404);
    let explained = gate.ask(
        &Request::new("POST", "/api/explain")
            .body(Body::Full(br#"{"headers": {"user-agent": "scanner"}}"#.to_vec())),
    );
    assert_eq!(json(&explained)["upstream"], "honeypot", "{}", explained.text());
}

#[test]
fn whoever_is_blocked_goes_nowhere() {
    let (gate, real, honeypot) = gate("risk.route(\"honeypot\"); risk.block(\"a.block\");");
    assert_eq!(gate.send(&Request::get("/api")).status, 403);
    assert_eq!((real.received().len(), honeypot.received().len()), (0, 0));
}

#[test]
fn an_upstream_that_is_not_there_is_a_mistake_of_the_script() {
    let refused = Setup::new().rule("50-route", "risk.route(\"orign\");").try_start().err().unwrap();
    let told = shown(&refused);
    assert!(told.contains("50-route.rhai:2:16: unknown upstream `orign`; did you mean `origin`?"), "{told}");
}

#[test]
fn a_case_can_expect_an_upstream() {
    let setup = |expected: &str| {
        let case = format!("[[case]]\nname = \"scanner\"\nexpect = {{ upstream = \"{expected}\" }}\n");
        Setup::new().rule("50-route", "risk.route(\"origin\");").cases("route", &case).try_start()
    };
    assert!(setup("origin").is_ok());
    let told = shown(&setup("").err().unwrap());
    assert!(told.contains("upstream is `origin`, expected ``"), "{told}");
}
