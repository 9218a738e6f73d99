//! What is usual outlives a restart, a flood is told wherever one looks, and no state file keeps a gate from serving.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use riskgate::state;
use riskgate::traffic::Memory;
use serde_json::{Value, json};

use crate::net::{Client, Request, free_addr};
use crate::support::{Files, Running, Setup, eventually, from, json};

/// An address in the country that is quiet.
const QUIET: &str = "175.45.176.1";

/// A gate that gives points to whoever comes from a country, or to a route, that surges.
fn gate() -> Setup {
    let rule = "if req.geo.anomaly >= 8.0 && req.geo.surge > 3.0 && req.geo.rate > req.geo.usual {
        risk.add(\"geo.surge\", 20);
    }
    if req.route.anomaly >= 8.0 { risk.add(\"route.surge\", 10); }";
    Setup::new().rule("10-surge", rule)
}

/// What is known after weeks of 0.2 requests a second from one country, all others being silent.
fn weeks() -> Memory {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let quiet = json!({"recent": 0.2, "recent_seen": 1_440, "rates": vec![0.2; 168]});
    let family = |weeks: Value| json!({"watched": vec![1_440; 168], "weeks": weeks});
    let (countries, routes) = (family(json!({ "KP": quiet })), family(json!({ "default": quiet })));
    serde_json::from_value(json!({"saved": now, "countries": countries, "routes": routes})).unwrap()
}

/// The files of a gate that has run for weeks.
fn aged() -> Files {
    let files = gate().write();
    state::write(&files.path("traffic.state"), &weeks()).unwrap();
    files
}

/// What is usual for the quiet country, as the admin API tells it, once a request from there was counted.
fn usual(gate: &Running) -> f64 {
    let asked = Request::get("/api/traffic");
    let row = |told: Value| {
        told["countries"].as_array().unwrap().iter().find(|row| row["country"] == "KP").cloned()
    };
    assert_eq!(gate.send(&from(QUIET, "/")).status, 200);
    eventually("a request to be counted", || row(json(&gate.ask(&asked))))["usual"].as_f64().unwrap()
}

#[test]
fn what_is_usual_is_known_after_each_restart() {
    let mut files = aged();
    for _ in 0..2 {
        let gate = Running::start(files).unwrap();
        assert!((usual(&gate) - 0.2).abs() < 0.02, "{}", usual(&gate));
        files = gate.stop();
        let path = files.path("traffic.state");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(state::read(&path).unwrap().unwrap().known(), (1, 1));
        assert!(!fs::read_to_string(&path).unwrap().contains("175.45"), "no address is in it");
    }
}

#[test]
fn a_flood_is_told_to_scripts_in_metrics_and_by_the_admin_api() {
    let gate = Running::start(aged()).unwrap();
    assert!(!gate.metrics().contains("riskgate_surge{"));
    let mut client = gate.connect();
    let calm = Signals::of(&gate.record_of(&client.send(&from(QUIET, "/")).unwrap()));
    assert!((0.7..1.3).contains(&calm.surge) && calm.anomaly < 3.0, "{calm:?}");
    (0..300).for_each(|_| drop(client.send(&from(QUIET, "/")).unwrap()));
    let surges = eventually("a surge", || {
        let told = json(&gate.ask(&Request::get("/api/traffic")));
        (told["surges"].as_array().unwrap().len() == 2).then(|| told["surges"].clone())
    });
    let who = |index: usize| (surges[index]["per"].as_str().unwrap(), surges[index]["key"].as_str().unwrap());
    let mut both = [who(0), who(1)];
    both.sort_unstable();
    assert_eq!(both, [("country", "KP"), ("route", "default")]);
    let metrics = gate.metrics();
    for line in ["riskgate_surge{country=\"KP\"} ", "riskgate_route_surge{route=\"default\"} "] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    assert!(metrics.contains("riskgate_surges_total{of=\"country\"} 1\n"), "it is counted once");
    let record = gate.record_of(&client.send(&from(QUIET, "/")).unwrap());
    let busy = Signals::of(&record);
    assert!(busy.rate > 10.0 && busy.anomaly >= 8.0 && busy.anomaly <= 20.0, "{busy:?}");
    let reasons = record["reasons"].to_string();
    assert!(reasons.contains("geo.surge") && reasons.contains("route.surge"), "{record}");
    let other = gate.record_of(&gate.send(&from("192.0.2.1", "/")));
    assert!(!other["reasons"].to_string().contains("geo.surge"), "others are not made to pay: {other}");
}

/// What a script read of the quiet country.
#[derive(Debug)]
struct Signals {
    rate: f64,
    surge: f64,
    anomaly: f64,
}

impl Signals {
    /// Fails the test unless the usual rate is that of weeks, and the surge follows from both rates.
    fn of(record: &Value) -> Self {
        let read = |name: &str| record["signals"][format!("geo.{name}")].as_f64().unwrap();
        let (rate, usual, surge) = (read("rate"), read("usual"), read("surge"));
        assert!(
            (usual - 0.2).abs() < 0.02 && (surge - (rate + 1.0) / (usual + 1.0)).abs() < 0.05,
            "{record}"
        );
        Self { rate, surge, anomaly: read("anomaly") }
    }
}

#[test]
fn the_state_file_is_replaced_as_a_whole() {
    let files = aged();
    let path = files.path("traffic.state");
    let (before, mut reader) = (fs::read(&path).unwrap(), File::open(&path).unwrap());
    let files = Running::start(files).unwrap().stop();
    assert_ne!(fs::read(&path).unwrap(), before);
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert_eq!(read, before, "who reads it meanwhile has the old one");
    let names = fs::read_dir(files.folder()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(
        names.into_iter().all(|name| !name.to_string_lossy().starts_with(".tmp")),
        "nothing else is left"
    );
}

/// State files that cannot be used, what is said about each, and whether it is replaced.
fn useless(files: &Files) -> Vec<(Vec<u8>, &'static str, bool)> {
    let good = fs::read(files.path("traffic.state")).unwrap();
    let turned = [&good[..good.len() - 1], b"!"].concat();
    let forged = String::from_utf8(good.clone()).unwrap().replacen("\"recent\":0.2", "\"recent\":9.9", 1);
    assert_ne!(forged.as_bytes(), good);
    vec![
        (good[..good.len() / 2].to_vec(), "is damaged", true),
        (turned, "is damaged", true),
        (forged.into_bytes(), "does not have the hash", true),
        (b"riskgate-state 7 00\n{}".to_vec(), "is of version `7`", false),
        (b"somebody else's\n".to_vec(), "is no state file", false),
    ]
}

#[test]
fn a_gate_serves_whatever_its_state_file_is() {
    for (content, _, replaced) in useless(&aged()) {
        let files = aged();
        files.write("traffic.state", &content);
        let gate = Running::start(files).unwrap();
        assert!(usual(&gate) < 0.15, "what is not known is what comes now");
        let files = gate.stop();
        let path = files.path("traffic.state");
        assert_eq!(state::read(&path).is_ok(), replaced);
        assert_eq!(fs::read(&path).unwrap() == content, !replaced, "what somebody else wrote stays");
    }
}

/// A gate whose state would have to lie below a file, which stops root as well.
fn nowhere() -> Files {
    let files = gate().write();
    files.write("occupied", "");
    let config = fs::read_to_string(files.config()).unwrap();
    files.write("riskgate.toml", config.replace("/traffic.state", "/occupied/traffic.state"));
    files
}

#[test]
fn a_gate_serves_where_it_cannot_write_its_state() {
    let gate = Running::start(nowhere()).unwrap();
    assert_eq!(gate.send(&from(QUIET, "/")).status, 200);
    assert_eq!(fs::read(gate.stop().path("occupied")).unwrap(), b"");
}

/// What a gate of these files says on its standard error, as soon as that has these words; `meanwhile` happens until then.
fn warning(files: &Files, words: &str, meanwhile: impl Fn()) -> String {
    let said = files.path("stderr");
    let mut child = Command::new(env!("CARGO_BIN_EXE_riskgate"))
        .env("RISKGATE_CONFIG", files.config())
        .env_remove("RUST_LOG")
        .stdout(Stdio::null())
        .stderr(File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let text = eventually("a warning", || {
        meanwhile();
        let text = fs::read_to_string(&said).unwrap();
        text.contains(words).then_some(text)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    text
}

#[test]
fn a_state_file_that_cannot_be_used_is_a_warning_that_names_it() {
    for (content, words, _) in useless(&aged()) {
        let files = aged();
        files.write("traffic.state", &content);
        let text = warning(&files, "learned afresh", || ());
        assert!(text.contains(words) && text.contains("/traffic.state"), "{words} in {text}");
    }
    let text = warning(&nowhere(), "what is usual is not kept", || ());
    assert!(text.contains("/occupied/traffic.state"), "{text}");
}

#[test]
fn a_surge_that_begins_is_told_in_the_log() {
    let (files, addr) = (aged(), free_addr());
    let config = fs::read_to_string(files.config()).unwrap();
    files.write("riskgate.toml", config.replacen("127.0.0.1:0", &addr.to_string(), 1));
    let flood = || {
        // It may not listen yet.
        if let Ok(mut client) = Client::connect(addr) {
            (0..100).for_each(|_| _ = client.send(&from(QUIET, "/")));
        }
    };
    let text = warning(&files, "a surge has begun", flood);
    assert!(text.contains("name=\"KP\"") && text.contains("of=\"country\""), "{text}");
}
