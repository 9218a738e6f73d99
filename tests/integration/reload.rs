//! Changing everything while requests flow: real files, changed as editors, scripts and Kubernetes change them.
//!
//! Nothing waits for time to pass: each test looks at the admin API until it sees what it waits for.

mod config;
mod under_load;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::mmdb::country_mmdb;
use crate::net::{Client, Request};
use crate::process::Process;
use crate::support::{Files, Running, Setup, eventually, from, json};

/// A client in the country that the tests' policies speak about.
const CLIENT: &str = "192.0.2.1";

/// A gate that notices changes by watching alone: the poll is too rare to help.
fn watched() -> Setup {
    Setup::new()
        .section("reload", "debounce = \"20ms\"\npoll = \"1h\"")
        .section("levels", "medium = { from = 90, action = \"allow\" }\nhigh = { from = 95, action = \"allow\" }\ncritical = { from = 100, action = \"allow\" }")
}

/// A script whose one reason adds so many points.
fn adds(points: i64) -> String {
    format!("fn assess(req, risk) {{\n    risk.add(\"test.points\", {points});\n}}\n")
}

fn policy(gate: &Running) -> Value {
    json(&gate.ask(&Request::get("/api/policy")))
}

/// What the origin is told about a request.
fn score(gate: &Running) -> i64 {
    let response = gate.send(&from(CLIENT, "/"));
    assert_eq!(response.status, 200);
    let score = &json(&response)["headers"]["riskgate-score"];
    score.as_str().and_then(|score| score.parse().ok()).unwrap_or_else(|| panic!("no score: {score}"))
}

/// Waits until this generation is in use; how the reload went.
fn published(gate: &Running, generation: u64) -> Value {
    eventually(&format!("generation {generation}"), || {
        let last = policy(gate)["last_reload"].clone();
        assert!(last["generation"].as_u64() <= Some(generation), "{last}");
        (last["outcome"] == "published" && last["generation"] == generation).then_some(last)
    })
}

/// Waits until something is refused for this reason while this generation stays; the problem.
fn refused(gate: &Running, generation: u64, words: &str) -> Value {
    eventually(&format!("a refusal: {words}"), || {
        let last = policy(gate)["last_reload"].clone();
        assert_eq!(last["generation"], generation, "{last}");
        let problems = last["problems"].as_array()?.clone();
        problems
            .into_iter()
            .find(|problem| problem["message"].as_str().is_some_and(|text| text.contains(words)))
    })
}

fn reload(gate: &Running) -> Value {
    json(&gate.ask(&Request::new("POST", "/api/reload")))
}

/// Writes a finished file, and puts it in the place of the old one.
fn replace(files: &Files, path: &str, content: impl AsRef<[u8]>) {
    let new = format!("{path}.new");
    files.write(&new, content);
    fs::rename(files.path(&new), files.path(path)).unwrap();
}

/// Points a link elsewhere, in one step.
fn relink(target: impl AsRef<Path>, link: &Path) {
    let new = link.with_file_name("..new");
    symlink(target, &new).unwrap();
    fs::rename(new, link).unwrap();
}

#[test]
fn an_edited_script_judges_the_next_request() {
    let gate = watched().script("10-a", &adds(1)).start();
    assert_eq!(score(&gate), 1);
    gate.files().write("scripts/10-a.rhai", adds(2));
    published(&gate, 2);
    assert_eq!(score(&gate), 2);
    let records = gate.records(2);
    let judged: Vec<_> =
        records.iter().map(|record| (record["generation"].clone(), record["score"].clone())).collect();
    assert_eq!(judged, [(1.into(), 1.into()), (2.into(), 2.into())]);
    assert!(gate.metrics().contains("riskgate_generation 2"));
}

#[test]
fn a_script_comes_and_goes() {
    let gate = watched().script("10-a", &adds(1)).start();
    gate.files().write("scripts/20-b.rhai", adds(2).replace("points", "more"));
    published(&gate, 2);
    assert_eq!(score(&gate), 3);
    fs::remove_file(gate.files().path("scripts/10-a.rhai")).unwrap();
    published(&gate, 3);
    assert_eq!(score(&gate), 2);
}

#[test]
fn a_typo_is_refused_with_its_place_while_the_last_good_policy_judges() {
    let gate = watched().script("10-a", &adds(1)).start();
    gate.files()
        .write("scripts/10-a.rhai", "fn assess(req, risk) {\n    risk.add(\"x.y\", req.geo.wieght);\n}\n");
    let problem = refused(&gate, 1, "unknown signal `req.geo.wieght`");
    assert!(problem["file"].as_str().unwrap().ends_with("scripts/10-a.rhai"));
    assert_eq!((&problem["line"], &problem["column"]), (&2.into(), &29.into()));
    assert_eq!(problem["hint"], "did you mean `weight`?");
    assert_eq!(score(&gate), 1);
    assert!(gate.metrics().contains("riskgate_reloads_total{outcome=\"refused\"} 1"));
    gate.files().write("scripts/10-a.rhai", adds(2));
    published(&gate, 2);
    assert_eq!(score(&gate), 2);
}

#[test]
fn a_typo_that_is_taken_back_is_forgotten() {
    let gate = watched().script("10-a", &adds(1)).start();
    gate.files().write("scripts/10-a.rhai", "fn assess(req, risk) { risk.block(); }");
    refused(&gate, 1, "block");
    gate.files().write("scripts/10-a.rhai", adds(1));
    eventually("a policy without problems", || {
        let last = policy(&gate)["last_reload"].clone();
        (last["outcome"] == "unchanged" && last["problems"] == serde_json::json!([])).then_some(())
    });
    assert_eq!((policy(&gate)["generation"].clone(), score(&gate)), (1.into(), 1));
}

#[test]
fn a_policy_that_fails_its_cases_is_refused() {
    let case = "[[case]]\nname = \"nobody is blocked\"\nexpect = { action = \"allow\", score = 1 }\n";
    let gate = watched().script("10-a", &adds(1)).cases("a", case).start();
    gate.files().write("scripts/10-a.rhai", adds(7));
    let problem = refused(&gate, 1, "case `nobody is blocked` fails: score is `7`, expected `1`");
    assert!(problem["file"].as_str().unwrap().ends_with("scripts/cases/a.toml"));
    assert_eq!((problem["line"].clone(), score(&gate)), (1.into(), 1));
    gate.files().write("scripts/cases/a.toml", case.replace("score = 1", "score = 7"));
    published(&gate, 2);
    assert_eq!(score(&gate), 7);
}

#[test]
fn an_editor_that_renames_is_noticed() {
    let gate = watched().script("10-a", &adds(1)).start();
    for points in 2..6 {
        // As Vim does it: a swap file, a probe, the old file aside, the new one under its name.
        gate.files().write("scripts/.10-a.rhai.swp", "swap");
        gate.files().write("scripts/4913", "");
        fs::remove_file(gate.files().path("scripts/4913")).unwrap();
        let path = gate.files().path("scripts/10-a.rhai");
        fs::rename(&path, gate.files().path("scripts/10-a.rhai~")).unwrap();
        fs::write(&path, adds(points)).unwrap();
        fs::remove_file(gate.files().path("scripts/10-a.rhai~")).unwrap();
        // Between the two renames the folder holds no script, which may be seen, and is refused then.
        eventually("the edited script", || (score(&gate) == points).then_some(()));
        // And as others do: a finished copy over it.
        replace(gate.files(), "scripts/10-a.rhai", adds(points + 10));
        eventually("the replaced script", || (score(&gate) == points + 10).then_some(()));
    }
    assert_eq!(policy(&gate)["generation"], 9);
}

#[test]
fn a_file_that_is_seen_half_written_does_not_judge() {
    let gate = watched().script("10-a", &adds(1)).start();
    let whole = adds(2);
    let (half, _) = whole.split_at(whole.len() / 2);
    for seen in ["", half] {
        gate.files().write("scripts/10-a.rhai", seen);
        eventually("a refusal", || {
            let last = policy(&gate)["last_reload"].clone();
            (last["outcome"] == "refused" && last["generation"] == 1).then_some(())
        });
        assert_eq!(score(&gate), 1);
    }
    gate.files().write("scripts/10-a.rhai", &whole);
    published(&gate, 2);
    assert_eq!(score(&gate), 2);
}

#[test]
fn a_kubernetes_config_map_is_swapped() {
    let files = watched().write();
    // What a kubelet makes: files that are links into `..data`, which is a link to a folder of this moment.
    fs::remove_dir_all(files.path("scripts")).unwrap();
    let moment = |number: i64| {
        let folder = format!("scripts/..2026_{number}");
        files.write(&format!("{folder}/10-a.rhai"), adds(number));
        format!("..2026_{number}")
    };
    symlink(moment(1), files.path("scripts/..data")).unwrap();
    symlink("..data/10-a.rhai", files.path("scripts/10-a.rhai")).unwrap();
    let gate = Running::start(files).unwrap_or_else(|problems| panic!("{problems:?}"));
    for number in 2..6 {
        let files = gate.files();
        files.write(&format!("scripts/..2026_{number}/10-a.rhai"), adds(number));
        relink(format!("..2026_{number}"), &files.path("scripts/..data"));
        fs::remove_dir_all(files.path(&format!("scripts/..2026_{}", number - 1))).unwrap();
        published(&gate, number as u64);
        assert_eq!(score(&gate), number);
    }
}

#[test]
fn a_deleted_folder_is_refused_and_its_return_is_noticed() {
    let gate = watched().script("10-a", &adds(1)).start();
    let scripts = gate.files().path("scripts");
    for (round, points) in [(2, 5), (3, 6)] {
        fs::remove_dir_all(&scripts).unwrap();
        refused(&gate, round - 1, "does not exist");
        assert_ne!(score(&gate), points);
        gate.files().write("scripts/10-a.rhai", adds(points));
        published(&gate, round);
        assert_eq!(score(&gate), points);
    }
    // The same again is no change.
    fs::rename(&scripts, gate.files().path("aside")).unwrap();
    refused(&gate, 3, "does not exist");
    fs::rename(gate.files().path("aside"), &scripts).unwrap();
    eventually("the way back", || (policy(&gate)["last_reload"]["outcome"] == "unchanged").then_some(()));
    assert_eq!(score(&gate), 6);
}

#[test]
fn a_list_is_replaced_and_a_broken_one_refused() {
    let gate = watched().hard_list("foes", "198.51.100.0/24\n").start();
    assert_eq!(gate.send(&from(CLIENT, "/")).status, 200);
    replace(gate.files(), "lists/foes.txt", format!("{CLIENT}\n"));
    published(&gate, 2);
    assert_eq!(gate.send(&from(CLIENT, "/")).status, 403);
    replace(gate.files(), "lists/foes.txt", "198.51.100.0/24\nnobody\n");
    let problem = refused(&gate, 2, "`nobody` is neither an address nor a network");
    assert_eq!((&problem["line"], &problem["column"]), (&2.into(), &1.into()));
    assert_eq!(gate.send(&from(CLIENT, "/")).status, 403, "the last good list stays");
    replace(gate.files(), "lists/foes.txt", "198.51.100.0/24\n");
    published(&gate, 3);
    assert_eq!(gate.send(&from(CLIENT, "/")).status, 200);
}

#[test]
fn a_database_is_replaced_and_a_broken_one_refused() {
    let gate = watched().rule("10-a", "if req.geo.country == \"FR\" { risk.add(\"geo.fr\", 3); }").start();
    assert_eq!(score(&gate), 0);
    let good = country_mmdb(&[("192.0.2.0/24", "FR")]);
    replace(gate.files(), "country.mmdb", &good);
    published(&gate, 2);
    assert_eq!(score(&gate), 3);
    for (content, words) in [
        (&good[..good.len() / 2], ""),
        (&[][..], "the file is empty"),
        (&b"<html>"[..], "this is a web page"),
        (&[7; 4096][..], "not a MaxMind database"),
    ] {
        replace(gate.files(), "country.mmdb", content);
        let problem = refused(&gate, 2, words);
        assert!(problem["file"].as_str().unwrap().ends_with("country.mmdb"), "{problem}");
        assert_eq!(score(&gate), 3, "the last good database stays");
    }
    fs::remove_file(gate.files().path("country.mmdb")).unwrap();
    refused(&gate, 2, "does not exist");
    replace(gate.files(), "country.mmdb", country_mmdb(&[("192.0.2.0/24", "DE")]));
    published(&gate, 3);
    assert_eq!(score(&gate), 0);
}

#[test]
fn counters_and_limits_survive() {
    let rule = "risk.count(\"seen\"); risk.throttle(\"slow.down\", \"client\", 0.1); risk.add(\"seen.times\", req.count(\"seen\"));";
    let gate = watched()
        .section("traffic", "window = \"60s\"\nslots = 1024\ncounter_slots = 1024")
        .section("counters.seen", "per = \"client\"\nwindow = \"1h\"")
        .rule("10-a", rule)
        .start();
    for seen in 0..3 {
        assert_eq!(score(&gate), seen);
    }
    gate.files().write("scripts/20-b.rhai", "fn assess(req, risk) {}");
    published(&gate, 2);
    gate.files().write("scripts/20-b.rhai", "fn assess(req, risk) { tpyo }");
    refused(&gate, 2, "tpyo");
    gate.files().write("scripts/20-b.rhai", "fn assess(req, risk) { risk.tag(\"x\", 1); }");
    published(&gate, 3);
    for seen in 3..6 {
        assert_eq!(score(&gate), seen);
    }
    assert_eq!(
        gate.send(&from(CLIENT, "/")).status,
        429,
        "six in a minute were admitted, three before the reload"
    );
}

#[test]
fn without_watching_only_who_asks_gets_a_reload() {
    let gate = watched()
        .section("reload", "watch = false\ndebounce = \"10ms\"\npoll = \"1s\"")
        .script("10-a", &adds(1));
    let gate = gate.start();
    gate.files().write("scripts/10-a.rhai", adds(2));
    // Ample time for a watch to notice.
    (0..200).for_each(|_| assert_eq!(score(&gate), 1));
    let last = reload(&gate);
    assert_eq!((&last["outcome"], &last["generation"]), (&"published".into(), &2.into()));
    assert_eq!(score(&gate), 2);
    assert_eq!(reload(&gate)["outcome"], "unchanged");
}

#[test]
fn a_signal_reloads_and_the_log_says_how_it_went() {
    // Nothing else may reload first.
    let files = Setup::new().section("reload", "watch = false").script("10-a", &adds(1)).write();
    let gate = Process::start(&files);
    let score = || {
        let mut client = Client::connect(gate.clients).unwrap();
        json(&client.send(&from(CLIENT, "/")).unwrap())["headers"]["riskgate-score"].clone()
    };
    let logged = |words: &str| {
        eventually(words, || fs::read_to_string(files.path("log")).unwrap().contains(words).then_some(()));
    };
    assert_eq!(score(), "1");
    files.write("scripts/10-a.rhai", adds(2));
    gate.signal(Signal::SIGHUP);
    logged("published generation=2 cause=signal");
    assert_eq!(score(), "2");
    files.write("scripts/10-a.rhai", "fn assess(req, risk) {\n    risk.add(\"x.y\", req.geo.wieght);\n}\n");
    gate.signal(Signal::SIGHUP);
    let place = format!("{}:2:29", files.path("scripts/10-a.rhai").display());
    let problem = "unknown signal `req.geo.wieght`; did you mean `weight`?";
    logged(&format!("refused, generation 2 stays in use: {place}: {problem}"));
    assert_eq!(score(), "2");
    gate.signal(Signal::SIGHUP);
    files.write("scripts/10-a.rhai", adds(2));
    gate.signal(Signal::SIGHUP);
    logged("nothing has changed generation=2 cause=signal");
}
