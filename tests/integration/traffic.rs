//! What becomes of requests right now, as the admin API tells it: `GET /api/traffic`.

use serde_json::Value;

use crate::net::{Client, Request};
use crate::support::{Running, Setup, eventually, from, json};

/// A country that is limited to 2 requests a second, a list of blocked clients, and two routes.
fn gate() -> Setup {
    Setup::new()
        .section("countries", "KP = { weight = 10, limit = 2 }")
        .rule("10-geo", "if req.geo.weight > 0 { risk.add(\"geo.weight\", req.geo.weight); }")
        .hard_list("sanctions", "203.0.113.0/24\n")
        .route("*", "/", "origin")
        .route("*", "/files", "origin")
}

fn traffic(gate: &Running, query: &str) -> Value {
    json(&gate.ask(&Request::get(&format!("/api/traffic{query}"))))
}

/// Sends so many requests of that client on one connection.
fn send(gate: &Running, client: &str, path: &str, times: usize) {
    let mut connection = gate.connect();
    (0..times).for_each(|_| drop(connection.send(&from(client, path)).unwrap()));
}

/// What is told once all of these requests are counted.
fn after(gate: &Running, requests: u64, query: &str) -> Value {
    eventually("requests to be counted", || {
        let told = traffic(gate, query);
        (told["process"]["since_start"]["offered"] == requests).then_some(told)
    })
}

/// How many requests a rate stands for.
fn count(told: &Value, rate: &Value) -> u64 {
    (rate.as_f64().unwrap() * told["window_s"].as_f64().unwrap()).round() as u64
}

/// Offered, allowed, throttled, challenged and blocked.
fn counts(told: &Value, row: &Value) -> [u64; 5] {
    ["offered", "allowed", "throttled", "challenged", "blocked"].map(|name| count(told, &row[name]))
}

#[test]
fn what_becomes_of_requests_is_told_by_all_that_they_are_about() {
    let gate = gate().start();
    send(&gate, "175.45.176.1", "/a", 30);
    send(&gate, "203.0.113.9", "/files/x", 5);
    send(&gate, "192.0.2.1", "/files/y", 7);
    let told = after(&gate, 42, "");
    let since = &told["process"]["since_start"];
    let (let_through, thrown) = (since["allowed"].as_u64().unwrap(), since["throttled"].as_u64().unwrap());
    // The country's limit lets 20 pass in ten seconds, and a few more should the test take that long.
    assert!((27..35).contains(&let_through) && let_through + thrown == 37, "{since}");
    assert_eq!(since["blocked"], 5);
    assert_eq!(counts(&told, &told["total"]), [42, let_through, thrown, 0, 5]);

    let countries = told["countries"].as_array().unwrap();
    let names: Vec<_> = countries.iter().map(|row| row["country"].as_str().unwrap()).collect();
    assert_eq!(names, ["KP", "JP", "DE"]);
    assert_eq!(counts(&told, &countries[0]), [30, let_through - 7, thrown, 0, 0]);
    assert_eq!(counts(&told, &countries[2]), [5, 0, 0, 0, 5]);
    assert!(countries[0]["surge"].as_f64().unwrap() >= 1.0);

    let routes = told["routes"].as_array().unwrap();
    assert_eq!(counts(&told, &routes[0]), [30, let_through - 7, thrown, 0, 0]);
    assert_eq!(counts(&told, &routes[1]), [12, 7, 0, 0, 5]);
    let reasons = told["reasons"].as_array().unwrap();
    assert_eq!((&reasons[0]["reason"], counts(&told, &reasons[0])[0]), (&"geo.weight".into(), 30));
    assert_eq!((&reasons[1]["reason"], counts(&told, &reasons[1])[4]), (&"list.sanctions".into(), 5));

    let limits = told["limits"].as_array().unwrap();
    let whole = limits.iter().find(|row| row["limit"] == "country" && row["key"].is_null()).unwrap();
    assert_eq!(
        (count(&told, &whole["allowed"]), count(&told, &whole["throttled"])),
        (let_through - 7, thrown)
    );
    let kp = limits.iter().find(|row| row["key"] == "KP").unwrap();
    assert_eq!((&kp["rate"], &kp["window_s"]), (&2.0.into(), &10.0.into()));
    assert!(kp["allowed"].as_f64().unwrap() > 0.0, "{kp}");
    let rate = |name: &str| kp[name].as_f64().unwrap();
    assert!(rate("throttled") > 0.5, "it is over its limit: {kp}");
}

#[test]
fn a_route_that_is_over_its_limit_is_told_by_its_name() {
    let gate = Setup::new()
        .rule(
            "10-files",
            "if req.path.starts_with(\"/files\") { risk.throttle(\"files.busy\", \"route\", 1.0); }",
        )
        .route("*", "/", "origin")
        .route("*", "/files", "origin")
        .start();
    send(&gate, "8.8.8.8", "/files/x", 40);
    let told = after(&gate, 40, "");
    let route = told["routes"][0]["route"].clone();
    let limits = told["limits"].as_array().unwrap();
    let files = limits.iter().find(|row| row["limit"] == "files.busy" && !row["key"].is_null()).unwrap();
    assert_eq!((&files["key"], &files["per"]), (&route, &"route".into()));
    assert!(files["throttled"].as_f64().unwrap() > 0.5 && files["window_s"] == 10.0, "{files}");
}

#[test]
fn a_country_over_its_limit_has_a_fair_share_and_no_other() {
    let gate = Setup::new().section("countries", "KP = { limit = 2 }\nJP = { limit = 1000 }").start();
    for (client, times) in [("175.45.176.1", 60), ("175.45.177.1", 20), ("192.0.2.1", 20)] {
        send(&gate, client, "/", times);
    }
    let told = after(&gate, 100, "");
    let limits = told["limits"].as_array().unwrap();
    let share = |key: &str| limits.iter().find(|row| row["key"] == key).unwrap()["fair_share"].as_f64();
    assert!(share("KP").is_some_and(|share| share > 0.0 && share <= 2.0), "{limits:?}");
    assert_eq!(share("JP"), None);
    let metrics = gate.metrics();
    let shares: Vec<_> = metrics.lines().filter(|line| line.starts_with("riskgate_fair_share{")).collect();
    assert!(shares.len() == 1 && shares[0].starts_with("riskgate_fair_share{country=\"KP\"} "), "{shares:?}");
    let throttled = &told["process"]["since_start"]["throttled"];
    let counted = format!("riskgate_throttled_total{{country=\"KP\",per=\"country\"}} {throttled}");
    assert!(metrics.lines().any(|line| line == counted), "{counted} in\n{metrics}");
}

#[test]
fn clients_are_told_by_the_pseudonym_of_their_records() {
    let gate = gate().start();
    send(&gate, "192.0.2.77", "/", 9);
    send(&gate, "8.8.4.4", "/", 3);
    let told = after(&gate, 12, "");
    let clients = told["clients"].as_array().unwrap();
    let told_of = |row: &Value| (row["client"].clone(), row["country"].clone(), counts(&told, row)[0]);
    let records = gate.records(12);
    let pseudonym =
        |country: &str| records.iter().find(|record| record["country"] == country).unwrap()["client"].clone();
    assert_eq!(told_of(&clients[0]), (pseudonym("JP"), "JP".into(), 9));
    assert_eq!(told_of(&clients[1]), (pseudonym("US"), "US".into(), 3));
    let text = told.to_string();
    assert!(!text.contains("192.0.2") && !text.contains("8.8."), "{text}");
}

#[test]
fn a_question_says_how_many_rows_and_which_come_first() {
    let gate = gate().start();
    send(&gate, "192.0.2.1", "/", 5);
    send(&gate, "203.0.113.1", "/", 2);
    let told = after(&gate, 7, "?limit=1&sort=blocked");
    assert_eq!(told["countries"].as_array().unwrap().len(), 1);
    assert_eq!(told["countries"][0]["country"], "DE");
    let names = traffic(&gate, "?sort=name")["countries"].clone();
    assert_eq!((&names[0]["country"], &names[1]["country"]), (&"DE".into(), &"JP".into()));
    assert_eq!(traffic(&gate, "?limit=0")["limits"], serde_json::json!([]));
    for (query, words) in
        [("?limit=1001", "up to 1000"), ("?limit=x", "`limit`"), ("?sort=size", "offered, allowed")]
    {
        let refused = gate.ask(&Request::get(&format!("/api/traffic{query}")));
        assert_eq!(refused.status, 400);
        assert!(json(&refused)["detail"].as_str().unwrap().contains(words), "{}", refused.text());
    }
}

#[test]
fn a_gate_that_serves_nobody_tells_of_nobody() {
    let gate = gate().start();
    let told = traffic(&gate, "");
    for list in ["countries", "clients", "routes", "reasons", "surges"] {
        assert_eq!(told[list], serde_json::json!([]), "{list}");
    }
    assert_eq!((&told["total"]["offered"], &told["generation"]), (&0.0.into(), &1.into()));
    assert_eq!(told["process"]["since_start"]["offered"], 0);
}

#[test]
fn reasons_of_a_policy_that_was_published_are_told_too() {
    let gate = gate().start();
    gate.files().write("scripts/20-new.rhai", "fn assess(req, risk) { risk.add(\"new.all\", 1); }");
    assert_eq!(gate.ask(&Request::new("POST", "/api/reload")).status, 200);
    let told = eventually("the new reason", || {
        send(&gate, "192.0.2.1", "/", 1);
        let told = traffic(&gate, "");
        (told["reasons"][0]["reason"] == "new.all").then_some(told)
    });
    assert_eq!(told["generation"], 2);
}

#[test]
fn only_operators_are_told() {
    let token = "0123456789abcdef0123";
    let gate = gate().section("admin", &format!("address = \"127.0.0.1:0\"\ntoken = \"{token}\"")).start();
    let ask = |request: Request| {
        Client::connect(gate.admin).unwrap().send(&request.header("host", "localhost")).unwrap().status
    };
    assert_eq!(ask(Request::get("/api/traffic")), 401);
    assert_eq!(ask(Request::get("/api/traffic").header("authorization", &format!("Bearer {token}"))), 200);
}
