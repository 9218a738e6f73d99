//! What a script author reads when a name, type or argument is wrong.

use crate::rules::{Policy, Script, Terms};
use crate::signals::Vocabulary;

fn load(text: &str) -> Result<Policy, Vec<String>> {
    let lists = ["blocklist".to_owned()];
    let counters = ["login_failed".into(), crate::rules::Declared::distinct("paths")];
    let vocabulary = Vocabulary::standard();
    let terms = Terms {
        lists: &lists,
        counters: &counters,
        caps: &["slots".to_owned()],
        upstreams: &["honeypot".to_owned()],
        ..Terms::of(&vocabulary)
    };
    let script = Script { path: "t.rhai".into(), text: text.into() };
    Policy::load(&[script], &terms).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn needs(text: &str) -> Vec<String> {
    load(text).unwrap_or_else(|problems| panic!("{problems:#?}")).needs().names().collect()
}

/// The problems of a body of `assess`, which begins at line 2.
fn problems(body: &str) -> Vec<String> {
    load(&format!("fn assess(req, risk) {{\n{body}\n}}")).err().unwrap_or_default()
}

/// Bodies of `assess` that name what does not exist, and what is said about it.
const MISSPELT: &[(&str, &str)] = &[
    ("req.geo.contry", "t.rhai:2:9: unknown signal `req.geo.contry`; did you mean `country`?"),
    ("req.methd", "t.rhai:2:5: unknown signal `req.methd`; did you mean `method`?"),
    ("req.country", "t.rhai:2:5: unknown signal `req.country`; did you mean `req.geo.country`?"),
    ("let g = req.geo; g.asnn", "t.rhai:2:20: unknown signal `req.geo.asnn`; did you mean `asn`?"),
    ("req.headr(\"a\")", "t.rhai:2:5: unknown signal `req.headr`; did you mean `header`?"),
    ("req.header", "t.rhai:2:5: `req.header` needs an argument; write `req.header(\"...\")`"),
    ("req.path()", "t.rhai:2:5: `req.path` is not a function; write `req.path` without parentheses"),
    ("req.header(\"a\", \"b\")", "t.rhai:2:5: `req.header` takes 1 argument, not 2"),
    ("req.header(5)", "t.rhai:2:12: `req.header` needs a string, not int"),
    ("req.header(\"a b\")", "t.rhai:2:12: `a b` cannot be a header's name"),
    ("req.client.listed(\"bloklist\")", "t.rhai:2:19: unknown list `bloklist`; did you mean `blocklist`?"),
    ("risk.concurrency(\"slot\")", "t.rhai:2:18: unknown concurrency limit `slot`; did you mean `slots`?"),
    ("risk.route(\"honypot\")", "t.rhai:2:12: unknown upstream `honypot`; did you mean `honeypot`?"),
    ("req.count(\"nope\")", "t.rhai:2:11: unknown counter `nope`; declare it in `[counters]`"),
    ("risk.ad(\"a.b\", 1)", "t.rhai:2:6: unknown verb `risk.ad`; did you mean `add`?"),
    (
        "risk.add(\"a.b\")",
        "t.rhai:2:6: `risk.add` takes 2 arguments, not 1; write `risk.add(reason, points)`",
    ),
    ("risk.add(5, \"x\")", "t.rhai:2:10: `reason` must be a string, not int"),
    ("risk.add(\"a.b\", \"x\")", "t.rhai:2:17: `points` must be a number, not string"),
    ("risk.add(\"a.b\", req.path)", "t.rhai:2:17: `points` cannot be string"),
    (
        "risk.throttle(\"a.b\", \"clinet\", 5)",
        "t.rhai:2:22: unknown key `clinet`: one of `client`, `country`, `asn`, `route`, did you mean `client`?",
    ),
    (
        "risk.count(\"paths\")",
        "t.rhai:2:12: `paths` counts distinct values, and there is none; write `risk.count(\"paths\", item)`",
    ),
    (
        "risk.count(\"login_failed\", req.path)",
        "t.rhai:2:12: `login_failed` counts events, not distinct values; write `risk.count(\"login_failed\")`, or \
         declare it with `kind = \"distinct\"`",
    ),
    (
        "risk.count(\"paths\", req.path, 1)",
        "t.rhai:2:6: `risk.count` takes 1 or 2 arguments, not 3; write `risk.count(counter[, item])`",
    ),
    ("risk.count(\"pahts\", req.path)", "t.rhai:2:12: unknown counter `pahts`; did you mean `paths`?"),
    ("risk.count(\"paths\", [1])", "t.rhai:2:21: `item` must be a string, a number or a boolean, not array"),
    (
        "risk.count(\"login_faild\")",
        "t.rhai:2:12: unknown counter `login_faild`; did you mean `login_failed`?",
    ),
    (
        "req.path.strats_with(\"/\")",
        "t.rhai:2:10: unknown function `strats_with`; did you mean `starts_with`?",
    ),
    ("req.path.length", "t.rhai:2:10: string has no property `length`"),
    ("banana(1)", "t.rhai:2:1: unknown function `banana`"),
    (
        "nope + 1",
        "t.rhai:2:1: unknown variable `nope`; declare it with `let` in this function or `const` at the top",
    ),
    (
        "req.path = \"/\"",
        "t.rhai:2:4: `req` cannot be changed; keep a changed value in a variable of your own",
    ),
];

#[test]
fn every_name_that_does_not_exist_is_refused_with_its_place_and_the_nearest() {
    for (body, message) in MISSPELT {
        let found = problems(body);
        assert!(
            found.iter().any(|found| found.starts_with(message)),
            "{body}\nwanted {message}\nfound  {found:#?}"
        );
    }
}

#[test]
fn types_that_cannot_fit_are_refused() {
    for (body, message) in [
        ("req.size > \"10\"", "t.rhai:2:10: `>` compares int with string; both sides must be of one type"),
        ("if req.path { req.method }", "a condition must be true or false, not string"),
        ("if req.method == \"GET\" && req.size { req.method }", "a condition must be true or false, not int"),
        ("let x = -req.size; x == req.path", "`==` compares int with string"),
        ("req.header(\"x\") == ()", "`==` compares string with (); nothing a script reads is `()`"),
        ("req.geo.country == [\"DE\"]", "`==` compares string with array"),
        ("let x = req.path - 1; x", "`-` does not work on string and int"),
        ("risk.allow;", "`risk.allow` needs arguments; write `risk.allow(reason)`"),
        ("let all = [req]; all", "`req` cannot be used as a value"),
        ("req.path.starts_with(1)", "t.rhai:2:22: `starts_with` needs a string here, not int"),
        ("req.path.contains(5)", "`contains` needs a string here, not int"),
        ("5 in req.path", "`contains` needs a string here, not int"),
        ("req.path.sub_string(\"a\")", "t.rhai:2:21: `sub_string` needs an int here, not string"),
        ("req.path.sub_string()", "t.rhai:2:10: `sub_string` takes 1 to 2 arguments, not 0"),
        ("min(\"a\", 1)", "t.rhai:2:10: `min` needs a string here, not int"),
        ("let x = req.size.to_lower(); x", "t.rhai:2:18: `to_lower` works on string, not int"),
        ("let n = req.size.round(); n", "t.rhai:2:18: `round` works on float, not int"),
        (
            "let t = req.path; if t.trim().len() > 1 { t }",
            "`len` works on string, not (); functions such as `trim`",
        ),
        ("let p = 0; p += 1; p.contains(\"x\")", "`contains` works on string, not int"),
        (
            "for end in [\"a\", \"b\"] { if req.path.sub_string(end) == \"\" { } }",
            "`sub_string` needs an int here",
        ),
        ("req.path.contains(risk)", "`risk` cannot be used as a value"),
    ] {
        let found = problems(body);
        assert!(
            found.iter().any(|found| found.contains(message)),
            "{body}\nwanted {message}\nfound  {found:#?}"
        );
    }
}

#[test]
fn what_other_languages_write_is_explained() {
    for (body, message) in [
        ("req.method == 'POST'", "write texts in double quotes: `\"POST\"`"),
        ("if req.size > 1 and req.size < 5 { req.method }", "write `&&` for `and`"),
        ("if req.size > 1 or req.size < 5 { req.method }", "write `||` for `or`"),
        ("if not req.client.listed(\"blocklist\") { req.method }", "write `!` for `not`"),
        ("let p = req.path.trim(); p == \"x\"", "`==` compares () with string"),
    ] {
        let found = problems(body);
        assert!(
            found.iter().any(|found| found.contains(message)),
            "{body}\nwanted {message}\nfound  {found:#?}"
        );
    }
}

#[test]
fn names_are_found_wherever_they_hide() {
    for body in [
        "if false || req.nope == 1 { }",
        "switch req.method { \"GET\" => req.nope, _ => 1 }",
        "for x in [1] { req.nope; }",
        "while req.size > 1 { req.nope; break; }",
        "[1].map(|x| req.nope);",
        "let f = |x| x; [req.path].map(|p| { risk.nope(p) });",
        "try { req.nope; } catch (e) { }",
        "`${req.nope}`",
        "#{ a: req.nope }",
        "nope(req)",
        "return req.nope;",
        "#{ a: 1 }[req.nope]",
        "let m = #{ a: 1 }; m[req.path].nope(1)",
        "let r = req; r.nope",
    ] {
        let found = problems(body);
        assert!(found.iter().any(|found| found.contains("nope")), "{body}: {found:?}");
    }
}

#[test]
fn a_signal_may_be_an_index() {
    let table = "const P = #{ DE: 1 };\nfn assess(req, risk) { let m = #{ a: [[0]] };\n\
                 risk.add(\"a.b\", P[req.geo.country] ?? 0); risk.add(\"a.c\", m.a[req.size][req.time.hour]); m[req.path].len }";
    assert_eq!(needs(table), ["path", "size", "geo.country", "time.hour"]);
    for body in [
        "let m = #{}; m[req.nope]",
        "let m = #{}; m[req]",
        "let m = #{}; m[0][req.nope]",
        "let m = #{}; m[req.nope].x",
    ] {
        assert!(!problems(body).is_empty(), "{body}");
    }
}

#[test]
fn own_functions_are_checked_with_what_they_are_given() {
    let found = load("fn helper(r) { r.contry }\nfn assess(req, risk) { helper(req.geo) }").err().unwrap();
    assert_eq!(found, ["t.rhai:1:18: unknown signal `req.geo.contry`; did you mean `country`?"]);
    let found = load("fn geo(r) { r.geo }\nfn assess(req, risk) { geo(req).contry }").err().unwrap();
    assert_eq!(found, ["t.rhai:2:33: unknown signal `req.geo.contry`; did you mean `country`?"]);
    let found = load("fn f(a) { a }\nfn assess(req, risk) { f(1, 2) }").err().unwrap();
    assert_eq!(found, ["t.rhai:2:24: `f` takes 1 argument, not 2"]);
    let found = load("fn unused(req) { req.nope }\nfn assess(req, risk) { }").err().unwrap();
    assert!(found[0].contains("unknown signal `req.nope`"), "{found:?}");
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_text() {
    let found = problems("req.aaa;\nreq.bbb;\nrisk.ccc(1);");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("t.rhai:2:5") && found[2].starts_with("t.rhai:4:6"), "{found:?}");
}

#[test]
fn a_script_begins_at_assess() {
    for (text, message) in [
        ("", "t.rhai: there is no `fn assess(req, risk)`; a policy begins at `fn assess(req, risk)`"),
        ("fn asess(req, risk) { }", "t.rhai:1:21: `asess` is never called; a policy begins at"),
        ("fn assess(req) { }", "t.rhai:1:16: `assess` has the wrong parameters"),
        ("fn assess(req, risk) { } fn observe(req) { }", "`observe` has the wrong parameters"),
        ("let x = 1; fn assess(req, risk) { }", "t.rhai:1:1: `let x` at the top never runs; write `const`"),
        (
            "if req.path == \"/\" { risk.block(\"a.b\"); }",
            "t.rhai:1:4: unknown variable `req`; it is what `fn assess(req, risk) { ... }` is given; write this in there",
        ),
        ("fn assess(req, risk) { ", "t.rhai:1:24: expecting '}'"),
        ("const A = [1]; fn assess(req, risk) { A; let }", "t.rhai:1:46: expecting name of a variable"),
    ] {
        let found = load(text).err().unwrap_or_default();
        assert!(
            found.iter().any(|found| found.contains(message)),
            "{text}\nwanted {message}\nfound  {found:#?}"
        );
    }
}

#[test]
fn verbs_without_effect_in_observe_are_refused() {
    let found = load(
        "fn assess(req, risk) { } fn observe(req, res, risk) { if res.status == 401 { risk.add(\"a.b\", 5); } }",
    );
    assert!(found.err().unwrap()[0].contains("`risk.add` has no effect in `observe`"));
    assert!(
        load("fn assess(q, k) { } fn observe(q, s, k) { if s.status == 401 { k.count(\"login_failed\"); } }")
            .is_ok()
    );
}

#[test]
fn what_a_script_names_is_what_is_read() {
    let text = "const H = \"X-A\";\nfn assess(req, risk) {\n let g = req.geo;\n if g.country == \"DE\" && req.header(H) == \"\" \
                && req.count(\"login_failed\") > 3 { risk.add(\"a.b\", g.weight); } }";
    assert_eq!(needs(text), ["header(x-a)", "geo.country", "geo.weight", "count(login_failed)"]);
}

#[test]
fn a_computed_name_reads_all_there_are() {
    let text = "fn assess(req, risk) { for n in [\"a\", \"b\"] { if req.has_header(n) || req.client.listed(n) { } } }";
    assert_eq!(needs(text), ["has_header(*)", "client.listed(blocklist)"]);
}

#[test]
fn reasons_and_limits_are_known_at_load() {
    let text = "const WHY = \"a.why\";\nfn assess(req, risk) { risk.add(WHY, req.geo.weight); risk.throttle(\"a.slow\", \"asn\", req.geo.usual + 1.0); }";
    let policy = load(text).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let rule_set = &policy.rule_sets()[0];
    assert_eq!(rule_set.reasons().collect::<Vec<_>>(), ["a.slow", "a.why"]);
    assert_eq!(rule_set.throttles().collect::<Vec<_>>(), [("a.slow", crate::traffic::Per::Asn)]);
    let found = problems("let why = \"a.\" + req.method; risk.add(why, 1)");
    assert!(found[0].contains("`reason` must be a literal or a top-level `const`"), "{found:?}");
}
