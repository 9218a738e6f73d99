//! Routes and upstreams change while the gate runs, and whoever is under way does not notice.

use std::fs;

use super::*;

fn rewrite(gate: &Running, from: &str, to: &str) {
    let config = fs::read_to_string(gate.files().config()).unwrap();
    assert!(config.contains(from), "{from} is not in {config}");
    gate.files().write("riskgate.toml", config.replace(from, to));
}

/// Reloads, and says what came of it.
fn reloaded(gate: &Running) -> serde_json::Value {
    json(&gate.ask(&Request::new("POST", "/api/reload")))
}

#[test]
fn servers_and_routes_are_exchanged_without_a_restart() {
    let (a, b) = (named("a"), named("b"));
    let gate = servers(&[a.addr()], "").start();
    assert_eq!(text(&gate, &Request::get("/")), "a");
    rewrite(&gate, &a.addr().to_string(), &b.addr().to_string());
    let outcome = reloaded(&gate);
    assert_eq!(outcome["outcome"], "published", "{outcome}");
    assert_eq!(text(&gate, &Request::get("/")), "b");
    let more = format!(
        "[[route]]\npath = \"/old\"\nupstream = \"old\"\n[upstream.old]\nservers = [\"{}\"]\n[upstream.origin]",
        a.addr()
    );
    rewrite(&gate, "[upstream.origin]", &more);
    reloaded(&gate);
    assert_eq!([text(&gate, &Request::get("/old/x")), text(&gate, &Request::get("/"))], ["a", "b"]);
    eventually("the new route in the view of traffic", || {
        let seen = json(&gate.ask(&Request::get("/api/traffic")));
        seen["routes"].as_array()?.iter().any(|row| row["route"] == "old").then_some(())
    });
}

#[test]
fn what_stays_keeps_its_connections_and_its_health() {
    let (stays, goes, (bad, _)) = (named("stays"), named("goes"), hangup());
    let eject = "eject_after = 1\neject_time = \"10m\"\neject_longest = \"10m\"";
    let gate = servers(&[stays.addr(), goes.addr(), bad], eject).start();
    let mut client = gate.connect();
    let mut ask = |count: usize| (0..count).for_each(|_| drop(client.send(&Request::get("/")).unwrap()));
    ask(6);
    assert_eq!(state(&gate, bad), "ejected");
    let connections = stays.connections();
    rewrite(&gate, &format!("\"{}\", ", goes.addr()), "");
    assert_eq!(reloaded(&gate)["outcome"], "published");
    ask(6);
    assert_eq!((stays.connections(), state(&gate, bad)), (connections, "ejected".to_owned()));
}

#[test]
fn a_request_under_way_ends_where_it_began() {
    let opening = Gate::default();
    let held = opening.clone();
    let old = Origin::start(move |_| Answer::new(200, "old").behind(&held));
    let new = named("new");
    let gate = servers(&[old.addr()], "").start();
    let mut client = gate.connect();
    client.write(&Request::get("/").to_bytes()).unwrap();
    old.wait_for(1);
    rewrite(&gate, &old.addr().to_string(), &new.addr().to_string());
    assert_eq!(reloaded(&gate)["outcome"], "published");
    assert_eq!(text(&gate, &Request::get("/")), "new");
    opening.open();
    assert_eq!(client.response_to("GET").unwrap().text(), "old");
}

#[test]
fn a_reload_that_names_what_is_not_there_is_refused_with_its_place() {
    let a = named("a");
    let gate = servers(&[a.addr()], "").start();
    let server = format!("\"{}\"", a.addr());
    rewrite(&gate, &server, "\"nowhere.invalid:80\"");
    let refused = reloaded(&gate);
    let problem = &refused["problems"][0];
    assert_eq!(refused["outcome"], "refused", "{refused}");
    assert!(
        problem["message"].as_str().unwrap().contains("`nowhere.invalid:80` cannot be found"),
        "{problem}"
    );
    assert!(problem["line"].as_u64().unwrap() > 0 && problem["column"].as_u64().unwrap() > 0, "{problem}");
    assert_eq!(text(&gate, &Request::get("/")), "a");
    rewrite(&gate, "\"nowhere.invalid:80\"", &server);
    rewrite(&gate, "upstream = \"origin\"", "upstream = \"orgin\"");
    let refused = reloaded(&gate);
    assert!(
        refused["problems"][0]["message"].as_str().unwrap().contains("unknown upstream `orgin`"),
        "{refused}"
    );
    assert_eq!(text(&gate, &Request::get("/")), "a");
}

#[test]
fn a_built_in_origin_that_does_not_run_is_told_to_need_a_restart() {
    let a = named("a");
    let gate = servers(&[a.addr()], "").start();
    rewrite(&gate, &format!("servers = [\"{}\"]", a.addr()), "builtin = true");
    let refused = reloaded(&gate);
    assert!(refused.to_string().contains("does not run in this process"), "{refused}");
    assert_eq!(text(&gate, &Request::get("/")), "a");
}
