//! What is warned about, and what is not.

use crate::rules::{Policy, Script, Terms};
use crate::signals::Vocabulary;

fn warnings(text: &str) -> Vec<String> {
    let vocabulary = Vocabulary::standard();
    let terms = Terms {
        lists: &["blocklist".to_owned()],
        counters: &["hits".into(), crate::rules::Declared::distinct("paths")],
        caps: &["slots".to_owned()],
        ..Terms::of(&vocabulary)
    };
    let script = Script { path: "t.rhai".into(), text: text.into() };
    let policy = Policy::load(&[script], &terms).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"));
    policy.warnings().iter().map(ToString::to_string).collect()
}

/// The warnings about a body of `assess`, which begins at line 3.
fn about(body: &str) -> Vec<String> {
    warnings(&format!("const STRICT = true; const MODE = 2;\nfn assess(req, risk) {{\n{body}\n}}"))
}

const DOUBTFUL: &[(&str, &str)] = &[
    ("return; risk.block(\"a.b\");", "t.rhai:3:9: this never runs: `return` before it ends the function"),
    ("risk.allow(\"a.b\"); risk.tag(\"x\", 1);", "t.rhai:3:20: this never runs: `risk.allow` before it"),
    ("throw \"x\"; risk.block(\"a.b\");", "t.rhai:3:12: this never runs: `throw` before it"),
    ("for x in [1, 2] { break; risk.block(\"a.b\"); }", "t.rhai:3:26: this never runs: `break` before it"),
    ("for x in [1, 2] { continue; risk.block(\"a.b\"); }", "this never runs: `continue` before it"),
    ("if req.size > 1 { return; } else { return; }\nrisk.block(\"a.b\");", "t.rhai:4:1: this never runs"),
    (
        "loop { risk.count(\"hits\"); }\nrisk.block(\"a.b\");",
        "t.rhai:4:1: this never runs: the loop before it",
    ),
    ("if true { risk.block(\"a.b\"); }", "t.rhai:3:4: this condition is always true"),
    ("if false { risk.block(\"a.b\"); }", "t.rhai:3:4: this condition is always false"),
    ("while false { risk.block(\"a.b\"); }", "t.rhai:3:7: this condition is always false"),
    ("let x = req.size; if x == x { risk.block(\"a.b\"); }", "t.rhai:3:24: both sides of `==` are the same"),
    ("if req.path == req.path { risk.block(\"a.b\"); }", "both sides of `==` are the same"),
    ("if 1 > 2 { risk.block(\"a.b\"); }", "t.rhai:3:6: `>` compares two constants"),
    ("if MODE == 3 { risk.block(\"a.b\"); }", "`==` compares two constants"),
    (
        "if req.size > 1 || true { risk.block(\"a.b\"); }",
        "t.rhai:3:20: `|| true` settles the whole condition",
    ),
    ("if req.size > 1 && true { risk.block(\"a.b\"); }", "t.rhai:3:20: `&& true` changes nothing"),
    (
        "if req.method == \"get\" { risk.block(\"a.b\"); }",
        "t.rhai:3:18: `req.method` is never `get`; it is in upper case: write `GET`",
    ),
    ("if req.method in [\"GET\", \"post\"] { risk.block(\"a.b\"); }", "`req.method` is never `post`"),
    ("switch req.method { \"get\" => risk.block(\"a.b\"), _ => () }", "`req.method` is never `get`"),
    ("let m = req.method; if m != \"get\" { risk.block(\"a.b\"); }", "`req.method` is never `get`"),
    ("if req.geo.country == \"Germany\" { risk.block(\"a.b\"); }", "`req.geo.country` is never `Germany`"),
    ("let g = req.geo; if g.continent == \"Europe\" { risk.block(\"a.b\"); }", "it is one of `AF`"),
    ("if req.path == \"login\" { risk.block(\"a.b\"); }", "a path begins with `/`: write `/login`"),
    (
        "if req.path.starts_with(\"admin\") { risk.block(\"a.b\"); }",
        "t.rhai:3:25: `req.path` never starts with",
    ),
    ("if req.size < -1 { risk.block(\"a.b\"); }", "this is always false: `req.size` is -1 or more"),
    ("if req.count(\"hits\") >= 0 { risk.block(\"a.b\"); }", "this is always true: `req.count` is 0 or more"),
    (
        "if 24 <= req.time.hour { risk.block(\"a.b\"); }",
        "t.rhai:3:4: this is always false: `req.time.hour` is from 0 to 23",
    ),
    (
        "if req.method == \"GET\" && req.method == \"HEAD\" { risk.block(\"a.b\"); }",
        "t.rhai:3:27: this is always false: it cannot be both; write `||`",
    ),
    (
        "if req.method != \"GET\" || req.method != \"HEAD\" { risk.block(\"a.b\"); }",
        "this is always true: it always differs from one of them; write `&&`",
    ),
    ("if req.path == \"/a\" || req.path == \"/a\" { risk.block(\"a.b\"); }", "this is asked twice"),
    (
        "switch req.method { \"GET\" => (), \"PUT\" => risk.block(\"a.b\"), \"GET\" => risk.block(\"a.c\"), _ => () }",
        "this never runs: an earlier case takes every `GET`",
    ),
    ("let x = req.size; risk.block(\"a.b\");", "t.rhai:3:5: variable `x` is never read"),
    ("let x = 1; x = req.size; risk.block(\"a.b\");", "t.rhai:3:5: variable `x` is never read"),
    ("let x = 1; x == 2; risk.add(\"a.b\", x);", "t.rhai:3:14: the result of `==` is not used; write `=`"),
];

#[test]
fn what_is_hardly_meant_is_a_warning_with_its_place_and_what_to_do() {
    for (body, message) in DOUBTFUL {
        let found = about(body);
        assert!(
            found.len() == 1 && found[0].contains(message),
            "{body}\nwanted {message}\nfound  {found:#?}"
        );
        assert!(found[0].contains("; "), "{found:?} says what to do");
    }
}

#[test]
fn what_may_be_meant_is_none() {
    for body in [
        "loop { if req.size > 1 { break; } }\nrisk.block(\"a.b\");",
        "while true { if req.size > 1 { break; } risk.count(\"hits\"); }\nrisk.block(\"a.b\");",
        "if STRICT { risk.block(\"a.b\"); }",
        "if STRICT && req.size > 1 { risk.block(\"a.b\"); }",
        "if req.size > 1 { return; }\nrisk.block(\"a.b\");",
        "if req.size > 1 { risk.allow(\"a.b\"); }\nrisk.block(\"a.b\");",
        "let x = req.size; x += 1; risk.add(\"a.b\", x);",
        "let x = 5; for _turn in 0..3 { x -= 1; } risk.add(\"a.b\", x);",
        "let _unused = req.size; risk.block(\"a.b\");",
        "let path = req.path; if [\"a\"].some(|end| path.ends_with(end)) { risk.block(\"a.b\"); }",
        "let m = req.method; m.make_lower(); if m == \"get\" { risk.block(\"a.b\"); }",
        "let m = req.method; if req.size > 1 { m = \"get\"; } if m == \"get\" { risk.block(\"a.b\"); }",
        "if req.method.to_lower() == \"get\" { risk.block(\"a.b\"); }",
        "if req.size < 0 || req.size >= 0 && req.size < 10 { risk.block(\"a.b\"); }",
        "if req.header(\"a\") == req.header(\"b\") { risk.block(\"a.b\"); }",
        "if req.method == \"GET\" || req.method == \"HEAD\" { risk.block(\"a.b\"); }",
        "if req.method != \"GET\" && req.method != \"HEAD\" { risk.block(\"a.b\"); }",
        "if req.size > 1 && req.size > 2 { risk.block(\"a.b\"); }",
        "switch req.method { \"GET\" if req.size > 1 => risk.block(\"a.b\"), \"GET\" => risk.block(\"a.c\"), _ => () }",
        "switch req.size { 1 => risk.block(\"a.b\"), 1..5 => risk.block(\"a.c\"), _ => () }",
        "if req.path == \"*\" { risk.block(\"a.b\"); }",
        "let t = req.path + \"x\"; if t == \"x\" { risk.block(\"a.b\"); }",
        "let a = [1]; a[0] = 2; a.push(3); risk.add(\"a.b\", a.len());",
        "try { risk.add(\"a.b\", 1 / req.size); } catch (e) { risk.block(\"a.b\"); }",
    ] {
        assert_eq!(about(body), [""; 0], "{body}");
    }
}

#[test]
fn functions_of_the_script_are_looked_at_with_what_they_are_given() {
    let text = "fn is_get(r) { r.method == \"get\" }\nfn assess(q, k) { if is_get(q) { k.allow(\"a.b\"); k.block(\"a.c\"); } }";
    let found = warnings(text);
    assert!(found[0].contains("`req.method` is never `get`"), "{found:?}");
    assert!(found[1].contains("t.rhai:2:50: this never runs: `risk.allow`"), "{found:?}");
    let text = "fn f(x) { x.method == \"get\" }\nfn assess(q, k) { if f(q) || f(#{ method: \"get\" }) { k.block(\"a.c\"); } }";
    assert_eq!(warnings(text), [""; 0]);
}

#[test]
fn nothing_is_doubtful_about_the_reference_policy() {
    assert_eq!(warnings(include_str!("../../../../benches/load/reference/scripts/reference.rhai")), [""; 0]);
}
