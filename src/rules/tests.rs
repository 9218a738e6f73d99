//! What policies do when they run, and what they cannot do however they try.

use serde_json::{Value as Json, json};

use super::{Policy, Script, Terms};
use crate::actions::Say;
use crate::decision::{Evaluation, Mode, Says, Spoken};
use crate::signals::Vocabulary;

fn policy(texts: &[&str], observe_only: &[&str]) -> Result<Policy, Vec<String>> {
    let observe_only: Vec<String> = observe_only.iter().map(ToString::to_string).collect();
    let vocabulary = Vocabulary::standard();
    let terms = Terms {
        lists: &["blocklist".to_owned()],
        counters: &["hits".into(), crate::rules::Declared::distinct("paths")],
        caps: &["slots".to_owned()],
        observe_only: &observe_only,
        ..Terms::of(&vocabulary)
    };
    let script =
        |(at, text): (usize, &&str)| Script { path: format!("{at}.rhai").into(), text: (*text).into() };
    let scripts: Vec<Script> = texts.iter().enumerate().map(script).collect();
    Policy::load(&scripts, &terms).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn evaluate(policy: &Policy, signals: Json) -> Evaluation {
    let (context, _) = policy.needs().read_recorded(signals.as_object().unwrap());
    policy.evaluate(&context)
}

fn run(body: &str, signals: Json) -> Spoken {
    let text = format!("fn assess(req, risk) {{\n{body}\n}}");
    let policy = policy(&[&text], &[]).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let evaluation = evaluate(&policy, signals);
    assert_eq!(evaluation.asked(), 1);
    // Who says nothing has no outcome.
    evaluation.outcomes().first().map_or(Spoken::Whole(Says::new()), |outcome| outcome.spoken.clone())
}

fn error(body: &str) -> String {
    match run(body, json!({})) {
        Spoken::Failed(error) => error.to_string(),
        Spoken::Whole(says) => panic!("{body} said {says:?}"),
    }
}

fn points(body: &str, signals: Json) -> i64 {
    match run(body, signals) {
        Spoken::Whole(says) => {
            says.iter().map(|say| if let Say::Add { points, .. } = say { *points } else { 0 }).sum()
        }
        Spoken::Failed(error) => panic!("{body}: {error}"),
    }
}

#[test]
fn scripts_read_signals_of_every_type() {
    let signals = json!({
        "path": "/login", "size": 12, "client.rate": 2.5, "client.listed(blocklist)": true,
        "header(user-agent)": "Curl/8", "count(hits)": 7, "geo.country": "KP",
    });
    let body = r#"
        if req.path == "/login" && req.size > 10 { risk.add("a.a", 1); }
        if req.client.rate > 2 && req.client.listed("blocklist") { risk.add("a.b", 2); }
        let agent = req.header("User-Agent").to_lower();
        if agent.contains("curl") && agent.starts_with("cu") { risk.add("a.c", 4); }
        if req.geo.country in ["KP", "IR"] { risk.add("a.d", req.count("hits")); }
        let g = req.geo;
        switch g.country { "KP" => risk.add("a.e", 16), _ => () }
    "#;
    assert_eq!(points(body, signals), 1 + 2 + 4 + 7 + 16);
}

#[test]
fn every_verb_is_heard() {
    let body = r#"
        risk.add("a.add", 1.6); risk.throttle("a.slow", "country", 2); risk.tag("x", req.size); risk.count("hits");
        risk.block("a.block");
    "#;
    let Spoken::Whole(says) = run(body, json!({ "size": 5 })) else { panic!("failed") };
    assert_eq!(says.iter().map(Say::verb).collect::<Vec<_>>(), ["add", "throttle", "tag", "count", "block"]);
    assert_eq!(says[0], Say::Add { reason: "a.add".into(), points: 2 });
    assert_eq!(says[2], Say::Tag { name: "x".into(), value: "5".into() });
}

#[test]
fn a_counter_that_nobody_declares_is_an_error_of_its_script_when_its_name_is_computed() {
    let Spoken::Failed(error) = run("risk.count(\"hi\" + req.method);", json!({ "method": "GET" })) else {
        panic!("it was counted")
    };
    assert!(error.to_string().contains("unknown counter `hiGET`: declare it in `[counters]`"), "{error}");
}

#[test]
fn constants_closures_and_own_functions_work() {
    let text = r#"
        const POINTS = 3;
        const TOOLS = ["curl", "wget"];
        fn is_tool(agent) { TOOLS.some(|tool| agent.contains(tool)) }
        fn assess(req, risk) {
            if is_tool(req.header("user-agent")) { risk.add("a.tool", POINTS * 2); }
            for name in ["a", "b"] { if req.has_header(name) { risk.add("a.header", 10); } }
        }"#;
    let policy = policy(&[text], &[]).unwrap();
    let signals = json!({ "header(user-agent)": "xcurlx", "has_header(*)": { "b": true } });
    let evaluation = evaluate(&policy, signals);
    assert_eq!(evaluation.errors().map(|(_, error)| error.to_string()).collect::<Vec<_>>(), [""; 0]);
    let reasons: Vec<_> =
        evaluation.reasons().map(|reason| (reason.reason.to_string(), reason.points)).collect();
    assert_eq!(reasons, [("a.tool".to_owned(), 6), ("a.header".to_owned(), 10)]);
}

#[test]
fn trust_ends_this_script_and_all_later_ones() {
    let first = "fn assess(req, risk) { risk.allow(\"a.trusted\"); risk.block(\"a.never\"); }";
    let second = "fn assess(req, risk) { risk.block(\"b.never\"); }";
    let evaluation = evaluate(&policy(&[first, second], &[]).unwrap(), json!({}));
    assert_eq!(
        evaluation.reasons().map(|reason| reason.reason.to_string()).collect::<Vec<_>>(),
        ["a.trusted"]
    );
    assert_eq!(evaluation.errors().count(), 0);
    // Not even a `catch` goes on after it.
    let caught =
        "fn assess(req, risk) { try { risk.allow(\"a.trusted\"); } catch { } risk.block(\"a.never\"); }";
    assert_eq!(evaluate(&policy(&[caught], &[]).unwrap(), json!({})).reasons().count(), 1);
}

#[test]
fn a_watched_script_that_trusts_does_not_end_the_others() {
    let first = "fn assess(req, risk) { risk.allow(\"a.trusted\"); }";
    let second = "fn assess(req, risk) { risk.add(\"b.b\", 5); }";
    let evaluation = evaluate(&policy(&[first, second], &["0"]).unwrap(), json!({}));
    assert_eq!(
        evaluation.outcomes().iter().map(|o| o.mode).collect::<Vec<_>>(),
        [Mode::Observe, Mode::Enforce]
    );
    let found = policy(&[first], &["00"]).err().unwrap();
    assert!(found[0].contains("`observe_only` names `00`"), "{found:?}");
}

#[test]
fn a_script_that_fails_says_where_and_had_no_say() {
    let Spoken::Failed(error) =
        run("risk.add(\"a.a\", 5);\nlet x = 1 / (req.size - req.size);\nx", json!({ "size": 3 }))
    else {
        panic!("no failure")
    };
    assert_eq!((error.line, error.message.contains("ivision by zero")), (3, true), "{error}");
    assert!(
        run("risk.add(\"a.a\", 9223372036854775807 + req.size)", json!({ "size": 1 }))
            != Spoken::Whole(Says::new())
    );
    assert!(super::tests::error("throw \"why not\"").contains("why not"));
    assert!(super::tests::error("risk.throttle(\"a.slow\", \"client\", req.size)").contains("rate of 0"));
}

#[test]
fn endless_loops_end_with_a_reason_also_inside_closures() {
    for body in [
        "loop { }",
        "while true { let x = 1; }",
        "[1].map(|x| { loop { } });",
        "[1, 2].filter(|x| { while true { } true });",
        "let n = 0; for x in 0..9_000_000_000 { n += x; }",
        "let a = [0]; for i in 0..200 { for j in 0..2000 { a[0] += 1; } }",
    ] {
        let error = error(body);
        assert!(error.contains("does more than 100000 operations"), "{body}: {error}");
    }
    let nested =
        "let a = []; a.pad(1000, 1); let b = []; b.pad(1000, 1); a.map(|x| { b.map(|y| x + y); 1 });";
    let nested = error(nested);
    assert!(nested.contains("operations"), "{nested}");
    let caught = "try { loop { } } catch { risk.allow(\"a.free\"); }";
    assert!(error(caught).contains("operations"));
}

#[test]
fn the_operation_bound_starts_anew_for_each_call() {
    let body = "let n = 0; while n < 5000 { n += 1; }";
    for _ in 0..20 {
        assert_eq!(run(body, json!({})), Spoken::Whole(Says::new()));
    }
}

#[test]
fn recursion_and_giant_values_are_bounded() {
    let deep = policy(&["fn f(n) { f(n + 1) }\nfn assess(req, risk) { f(0); }"], &[]).unwrap();
    let evaluation = evaluate(&deep, json!({}));
    let (_, failure) = evaluation.errors().next().unwrap();
    assert!(failure.message.contains("stack overflow"), "{failure}");
    for (body, message) in [
        ("let s = \"x\"; loop { s += s; }", "length of string too large"),
        ("let a = [1]; loop { a += a; }", "size of array"),
        ("let a = []; a.pad(100_000_000, 0);", "size of array"),
        ("let s = \"x\"; s.pad(100_000_000, \"y\");", "length of string"),
    ] {
        let found = error(body);
        assert!(found.to_lowercase().contains(message), "{body}: {found}");
    }
}

#[test]
fn there_is_no_way_out_of_the_sandbox() {
    for body in [
        "eval(\"1\")",
        "import \"x\" as y;",
        "export x;",
        "print(\"x\")",
        "debug(\"x\")",
        "sleep(1)",
        "exit()",
        "timestamp()",
        "let f = Fn(\"print\"); f.call(1)",
        "call(\"print\", 1)",
        "parse_json(\"{}\")",
        "get_fn_metadata_list()",
        "open_file(\"/etc/passwd\")",
        "[\"x\"].map(\"print\")",
        "x.y::z()",
    ] {
        let loaded = policy(&[&format!("fn assess(req, risk) {{\n{body}\n}}")], &[]);
        let refused = match &loaded {
            Err(_) => true,
            Ok(policy) => evaluate(policy, json!({})).errors().count() == 1,
        };
        assert!(refused, "{body}");
    }
}

#[test]
fn one_request_leaves_nothing_for_the_next() {
    let policy = policy(
        &["const A = [1];\nfn assess(req, risk) { let a = A; a.push(2); risk.add(\"a.a\", a.len()); }"],
        &[],
    );
    let policy = policy.unwrap();
    let first = evaluate(&policy, json!({}));
    assert_eq!(evaluate(&policy, json!({})), first);
    assert_eq!(first.reasons().next().unwrap().points, 2);
}
