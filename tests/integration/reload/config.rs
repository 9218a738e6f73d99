//! The configuration changes while the gate runs: what takes effect, what waits for a restart, what is refused.

use std::fs;

use super::{CLIENT, adds, policy, published, refused, replace, score, watched};
use crate::support::{Files, eventually, from, shown};

/// Changes the configuration as an editor would.
fn edit_config(files: &Files, from: &str, to: &str) {
    let text = fs::read_to_string(files.config()).unwrap();
    assert!(text.contains(from), "{from:?} in\n{text}");
    replace(files, "riskgate.toml", text.replace(from, to));
}

#[test]
fn levels_and_countries_change_while_it_runs() {
    let setup = watched().section("countries", "JP = { weight = 10 }");
    let gate = setup.rule("10-a", "risk.add(\"geo.weight\", req.geo.weight);").start();
    assert_eq!(score(&gate), 10);
    edit_config(gate.files(), "weight = 10", "weight = 20");
    published(&gate, 2);
    assert_eq!(score(&gate), 20);
    edit_config(
        gate.files(),
        "critical = { from = 100, action = \"allow\" }",
        "critical = { from = 96, action = \"block\" }",
    );
    published(&gate, 3);
    edit_config(gate.files(), "weight = 20", "weight = 96");
    let last = published(&gate, 4);
    assert_eq!(gate.send(&from(CLIENT, "/")).status, 403);
    assert_eq!(last["warnings"], serde_json::json!([]));
}

#[test]
fn what_only_a_restart_can_change_says_so() {
    let gate = watched().script("10-a", &adds(1)).start();
    edit_config(gate.files(), "grace_period = \"10s\"", "grace_period = \"11s\"");
    let warnings = published(&gate, 2)["warnings"].clone();
    let [warning] = warnings.as_array().unwrap().as_slice() else { panic!("{warnings}") };
    assert_eq!(warning["message"], "`server` has changed, which takes effect at the next start");
    assert_eq!(warning["hint"], "restart to use it");
    edit_config(gate.files(), "[[listener]]\n", "[[listener]]\naddress = \"127.0.0.1:1\"\n\n[[listener]]\n");
    let warnings = published(&gate, 3)["warnings"].to_string();
    assert!(warnings.contains("`server` has") && warnings.contains("`listener` has"), "{warnings}");
    // What can change does, all the same, and what waits is still told.
    gate.files().write("scripts/10-a.rhai", adds(2));
    assert_eq!(published(&gate, 4)["warnings"].to_string(), warnings);
    assert_eq!(score(&gate), 2);
}

#[test]
fn a_broken_configuration_is_refused_with_every_problem() {
    let gate = watched().script("10-a", &adds(1)).start();
    edit_config(gate.files(), "debounce = \"20ms\"", "debounse = \"20ms\"\nwatch = \"yes\"");
    let problem = refused(&gate, 1, "unknown key `debounse`");
    assert_eq!(problem["hint"], "did you mean `debounce`?");
    refused(&gate, 1, "watch");
    assert_eq!(score(&gate), 1);
}

#[test]
fn a_configuration_may_name_another_list() {
    let gate = watched().hard_list("foes", "198.51.100.0/24\n").start();
    // The file that it named before is gone by then.
    gate.files().write("elsewhere/foes.txt", format!("{CLIENT}\n"));
    fs::remove_file(gate.files().path("lists/foes.txt")).unwrap();
    edit_config(gate.files(), "/lists/foes.txt", "/elsewhere/foes.txt");
    published(&gate, 2);
    assert_eq!(gate.send(&from(CLIENT, "/")).status, 403);
    // The new file is watched from now on.
    gate.files().write("elsewhere/foes.txt", "198.51.100.0/24\n");
    published(&gate, 3);
    assert_eq!(gate.send(&from(CLIENT, "/")).status, 200);
}

#[test]
fn a_configuration_that_names_a_missing_list_can_be_taken_back() {
    let gate = watched().list("friends", "198.51.100.0/24\n").script("10-a", &adds(1)).start();
    let good = fs::read_to_string(gate.files().config()).unwrap();
    edit_config(gate.files(), "/lists/friends.txt", "/lists/friend.txt");
    let problem = refused(&gate, 1, "does not exist");
    assert!(problem["file"].as_str().unwrap().ends_with("/lists/friend.txt"));
    // A second mistake in the configuration is what counts next, not the missing file.
    replace(gate.files(), "riskgate.toml", good.replace("[reload]", "[relaod]"));
    refused(&gate, 1, "relaod");
    replace(gate.files(), "riskgate.toml", good);
    eventually("the way back", || (policy(&gate)["last_reload"]["outcome"] == "unchanged").then_some(()));
    gate.files().write("scripts/10-a.rhai", adds(2));
    published(&gate, 2);
    assert_eq!(score(&gate), 2);
}

#[test]
fn what_is_worth_a_look_is_said_once_at_start_and_shown_after() {
    let gate = watched().upstream("origin", "builtin = true").upstream("spare", "builtin = true").start();
    assert_eq!(gate.notes.len(), 1, "{}", shown(&gate.notes));
    assert_eq!(gate.notes[0].message(), "no route uses `spare`");
    let warnings = policy(&gate)["last_reload"]["warnings"].clone();
    assert_eq!(warnings[0]["message"], "no route uses `spare`", "{warnings}");
}
