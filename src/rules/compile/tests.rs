//! Which functions are compiled, and that the others do what they did.

use serde_json::{Value as Json, json};

use crate::decision::Evaluation;
use crate::rules::{Policy, Run, Script, Terms, Way};
use crate::signals::Vocabulary;

fn load(text: &str) -> Policy {
    let vocabulary = Vocabulary::standard();
    let terms = Terms {
        lists: &["blocklist".to_owned()],
        counters: &["hits".into(), crate::rules::Declared::distinct("paths")],
        caps: &["slots".to_owned()],
        ..Terms::of(&vocabulary)
    };
    let script = Script { path: "t.rhai".into(), text: text.to_owned() };
    Policy::load(&[script], &terms).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
}

fn report(text: &str) -> Vec<String> {
    let policy = load(text);
    let functions = policy.rule_sets()[0].functions();
    let line = |function: &crate::rules::FunctionReport| match &function.run {
        Run::Compiled => format!("{}: compiled", function.signature),
        Run::Interpreted(kept) => format!("{}: {kept}", function.signature),
        Run::Never => format!("{}: never", function.signature),
    };
    functions.iter().map(line).collect()
}

/// What a script says to a request and its response, which is the same both ways.
fn said(text: &str, request: Json, response: Json) -> [Evaluation; 2] {
    let policy = load(text);
    let (request, _) = policy.needs().read_recorded(request.as_object().unwrap());
    let (response, _) = policy.response_needs.read_recorded(response.as_object().unwrap());
    let by = |way| [policy.evaluate_by(way, &request), policy.observe_by(way, &request, &response)];
    let [compiled, interpreted] = [Way::Compiled, Way::Interpreted].map(by);
    assert_eq!(compiled, interpreted, "{text}");
    compiled
}

const OBSERVED: &str = "fn observe(req, res, risk) { if res.status == 401 { risk.count(\"hits\"); } }";

#[test]
fn assess_and_observe_are_compiled_independently_of_each_other() {
    let split =
        format!("fn assess(req, risk) {{ risk.add(\"a.b\", req.path.split(\"/\").len()); }}\n{OBSERVED}");
    assert_eq!(report(&split), ["assess(req, risk): `split` at 1:49", "observe(req, res, risk): compiled"]);
    let [assessed, observed] = said(&split, json!({ "path": "/a/b" }), json!({ "status": 401 }));
    assert_eq!(assessed.reasons().next().unwrap().points, 3);
    assert_eq!(observed.said(crate::decision::Mode::Enforce).count(), 1);
    let split = "fn assess(req, risk) { risk.block(\"a.b\"); }\n\
                 fn observe(req, res, risk) { if res.header(\"X-A\").split(\",\").len() > 1 { risk.count(\"hits\"); } }";
    assert_eq!(report(split), ["assess(req, risk): compiled", "observe(req, res, risk): `split` at 2:51"]);
    let [_, observed] = said(split, json!({}), json!({ "header(x-a)": "1,2" }));
    assert_eq!(observed.said(crate::decision::Mode::Enforce).count(), 1);
}

#[test]
fn a_function_that_is_not_called_keeps_no_other_back() {
    let text = "fn assess(req, risk) { f(1); }\nfn f(n) { n + 1 }\nfn g(t) { t.split(\"/\") }";
    assert_eq!(report(text), ["assess(req, risk): compiled", "f(n): compiled", "g(t): never"]);
}

#[test]
fn what_the_compiler_cannot_do_is_called_in_the_interpreter_if_its_value_is_plain() {
    let text = "const N = 2;\n\
                fn depth(path) { path.split(\"/\").len() + N }\n\
                fn assess(req, risk) { if depth(req.path) > 4 { risk.add(\"a.b\", depth(req.path)); } }";
    assert_eq!(report(text), ["assess(req, risk): compiled", "depth(path): `split` at 2:23"]);
    let [assessed, _] = said(text, json!({ "path": "/a/b" }), json!({}));
    assert_eq!(assessed.reasons().next().unwrap().points, 5);
    let failing = "fn f(n) { let all = [1]; all.push(2); all.len() / n }\n\
                   fn assess(req, risk) { let x = 1;\n  if f(req.size) > 0 { risk.block(\"a.b\"); } }";
    let [assessed, _] = said(failing, json!({ "size": 0 }), json!({}));
    let (_, error) = assessed.errors().next().unwrap();
    assert_eq!((error.line, error.message.contains("ivision by zero")), (1, true), "{error}");
}

#[test]
fn what_works_on_objects_or_returns_a_collection_keeps_its_callers_too() {
    let text = "fn parts(req) { req.path.split(\"/\").len() }\nfn both(req) { parts(req) + 1 }\n\
                fn assess(req, risk) { if both(req) > 2 { risk.block(\"a.b\"); } }\nfn plain(n) { n }\n\
                fn observe(req, res, risk) { if plain(res.status) > 400 { risk.count(\"hits\"); } }";
    assert_eq!(
        report(text),
        [
            "assess(req, risk): the call of `both` at 3:27",
            "both(req): the call of `parts` at 2:16",
            "observe(req, res, risk): compiled",
            "parts(req): `split` at 1:26",
            "plain(n): compiled",
        ]
    );
    let text = "fn f(t) { t.split(\"/\") }\nfn g(n) { n + 1 }\nfn assess(req, risk) { let x = f(req.path).len() + g(1); }";
    assert_eq!(
        report(text),
        [
            "assess(req, risk): the call of `f` at 3:32",
            "f(t): `split` at 1:13",
            "g(n): the functions that call it",
        ]
    );
}

#[test]
fn operations_in_interpreted_functions_count_towards_the_bound_of_the_whole_run() {
    let text = "fn slow(n) { let all = [0]; for i in 0..n { all[0] += 1; } all.len() }\n\
                fn assess(req, risk) { for i in 0..1000 { slow(500); } }";
    let policy = load(text);
    assert_eq!(policy.rule_sets()[0].interpreted().map(|(name, _)| name).collect::<Vec<_>>(), ["slow(n)"]);
    let (request, _) = policy.needs().read_recorded(&serde_json::Map::new());
    let evaluation = policy.evaluate_by(Way::Compiled, &request);
    assert!(evaluation.errors().next().unwrap().1.message.contains("more than 100000 operations"));
}

/// Functions of the script that have the name of a method of something else.
#[test]
fn a_function_of_the_script_wins_over_a_method_of_its_name() {
    for text in [
        "fn contains(x) { true }\nfn assess(req, risk) { if req.path.contains(\"zz\") { risk.block(\"a.b\"); } }",
        "fn len() { 7 }\nfn assess(req, risk) { risk.add(\"a.b\", req.path.len()); }",
        "fn len() { 7 }\nfn assess(req, risk) { risk.add(\"a.b\", len(req.path)); }",
        "fn len(x) { 7 }\nfn assess(req, risk) { risk.add(\"a.b\", len(req.path) + req.path.len()); }",
        "fn has_header(n) { true }\nfn assess(req, risk) { if req.has_header(\"x\") { risk.block(\"a.b\"); } }",
        "fn min(a, b) { 9 }\nfn assess(req, risk) { risk.add(\"a.b\", min(1, 2) + 1.min(2)); }",
        "fn some(f) { true }\nfn assess(req, risk) { if [\"x\"].some(|x| x == req.path) { risk.block(\"a.b\"); } }",
    ] {
        said(text, json!({ "path": "/a" }), json!({}));
    }
}

/// Values that the long random run has found.
#[test]
fn what_is_no_number_compares_as_in_the_interpreter() {
    for how in ["==", "!=", "<", "<=", ">", ">="] {
        for (left, right) in [
            ("n", "0"),
            ("n", "0.0"),
            ("0", "n"),
            ("n", "1"),
            ("1.5", "n"),
            ("n", "n"),
            ("n", "req.size"),
            ("req.client.rate", "n"),
        ] {
            let text = format!(
                "fn assess(req, risk) {{ let n = req.client.rate / req.client.rate; let s = req.size; \
                 if {left} {how} {right} {{ risk.block(\"a.b\"); }} if max(n, 1.0) {how} 1 || s == 1 {{ risk.block(\"a.c\"); }} }}"
            );
            said(&text, json!({ "client.rate": 0.0, "size": 0 }), json!({}));
        }
    }
}

#[test]
fn loops_with_their_condition_at_the_end_and_throw_mean_the_same() {
    for body in [
        "let n = 0; do { n += 1; if n > 5 { break; } if n < 3 { continue; } risk.add(\"a.b\", n); } while n < 2;",
        "let n = 0; do { n += 1; if n == 2 { continue; } risk.add(\"a.b\", n); } until n > 3;",
        "if req.size == 0 { throw \"why (line 3) not\"; }",
        "if req.size == 0 { throw; }",
        "if req.size == 0 { throw 1.0; }",
        "if req.size == 0 { throw \"\"; }",
        "let a = 0; if req.size in [a, 7] && req.path in [\"/x\", req.path] { risk.block(\"a.b\"); }",
        "let a = 0.0; if req.size in [a, \"x\", true] { risk.block(\"a.b\"); }",
    ] {
        let text = format!("fn assess(req, risk) {{ {body} }}");
        assert_eq!(report(&text), ["assess(req, risk): compiled"], "{text}");
        said(&text, json!({ "size": 0, "path": "/a" }), json!({}));
    }
}

#[test]
fn a_signal_is_passed_to_an_interpreted_function_among_values() {
    let text = "fn f(n, path, t) { n + path.split(\"/\").len() + t.len() }\n\
                fn assess(req, risk) { let p = req.path; risk.add(\"a.b\", f(1, p, \"x\" + req.method)); }";
    assert_eq!(report(text), ["assess(req, risk): compiled", "f(n, path, t): `split` at 1:29"]);
    let [assessed, _] = said(text, json!({ "path": "/a/b", "method": "GET" }), json!({}));
    assert_eq!(assessed.reasons().next().unwrap().points, 8);
}

#[test]
fn what_a_function_sought_that_stays_interpreted_is_not_sought_by_others() {
    let text = "fn f(t) { if t.contains(\"e1\") || t.contains(\"e2\") { t.split(\"/\").len() } else { 7 } }\n\
                fn g(t) { t.contains(\"b\") || t.contains(\"c\") || t.contains(\"d\") }\n\
                fn assess(req, risk) { let n = 0; if req.path.contains(\"a\") { n = f(req.path); }\n\
                if g(req.path) || req.path.contains(\"z\") { n += f(req.path); } risk.add(\"a.b\", n + 1); }";
    assert_eq!(load(text).rule_sets()[0].compiled.assess.as_ref().unwrap().sought(), [5]);
    for path in ["/a", "/b", "/e2/z/e1", "/q", "/e1/a/d"] {
        said(text, json!({ "path": path }), json!({}));
    }
}

#[test]
fn a_function_that_calls_itself_with_small_letters_is_lowered_once_for_them() {
    let text = "fn f(t, n) { if n == 0 { t.contains(\"a\") } else { f(t.to_lower(), n - 1) } }\n\
                fn assess(req, risk) { if f(req.path, 3) { risk.block(\"a.b\"); } }";
    assert_eq!(report(text), ["assess(req, risk): compiled", "f(t, n): compiled"]);
    for path in ["/A", "/b", "ΑΣ İ A"] {
        said(text, json!({ "path": path }), json!({}));
    }
    for letter in '\0'..=char::MAX {
        let lower = letter.to_lowercase().to_string();
        assert_eq!(lower.to_lowercase(), lower);
    }
}

#[test]
fn a_list_of_variables_has_the_values_from_before_what_it_is_asked_for() {
    for body in [
        "let x = 1; if (if req.size == 0 { x = 2; 2 } else { 3 }) in [x, 9] { risk.block(\"a.b\"); }",
        "let x = 1; if (if req.size == 0 { x = 2; 1 } else { 3 }) in [x, 9] { risk.block(\"a.b\"); }",
    ] {
        said(&format!("fn assess(req, risk) {{ {body} }}"), json!({ "size": 0 }), json!({}));
    }
}

#[test]
fn observe_searches_requests_and_responses() {
    let text = "fn assess(req, risk) { if req.path.contains(\"x\") { risk.block(\"a.b\"); } }\n\
                fn is_tool(t) { t.contains(\"a\") || t.contains(\"b\") || t.contains(\"c\") }\n\
                fn observe(req, res, risk) { let s = res.header(\"Server\").to_lower(); let p = req.path.to_lower();\n\
                if is_tool(s) { risk.count(\"hits\"); } if is_tool(p) || p.contains(\"z\") { risk.count(\"hits\"); }\n\
                if [\"q\", \"B\"].some(|x| res.header(\"server\").contains(x)) || p == \"/z\" { risk.count(\"hits\"); } }";
    for (path, server, counted) in [("/A", "B", 3), ("/Z", "", 2), ("/", "q", 1), ("/x", "n", 0)] {
        let [_, observed] = said(text, json!({ "path": path }), json!({ "header(server)": server }));
        assert_eq!(observed.said(crate::decision::Mode::Enforce).count(), counted, "{path} {server}");
        assert_eq!(observed.asked(), 1);
    }
}
