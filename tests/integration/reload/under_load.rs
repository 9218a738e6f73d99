//! Hundreds of reloads of everything while clients keep asking: no request fails, and no judgement mixes what two
//! generations say.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde_json::Value;

use super::{CLIENT, relink, reload, watched};
use crate::mmdb::country_mmdb;
use crate::support::{Files, Running, from};

/// How many versions of everything are put in use one after the other.
const VERSIONS: u64 = 300;
const CLIENTS: u64 = 4;
/// Where the clients come from, in versions that leave one, two, three over when divided by four.
const PLACES: [&str; 4] = ["JP", "FR", "DE", "US"];

/// A version of everything that changes: what each part says shows which version it is of.
struct Version(u64);

impl Version {
    fn points(&self) -> u64 {
        self.0 % 100
    }

    fn place(&self) -> &'static str {
        PLACES[(self.0 % 4) as usize]
    }

    fn is_listed(&self) -> bool {
        self.0.is_multiple_of(3)
    }

    fn folder(&self) -> String {
        format!("version-{}", self.0)
    }

    fn write(&self, files: &Files, config: &str) {
        let folder = self.folder();
        let points = self.points();
        let script = format!(
            "fn assess(req, risk) {{\n    risk.add(\"of.script\", {points});\n    risk.add(\"of.config\", req.geo.weight);\n    \
             if req.client.listed(\"friends\") {{ risk.add(\"of.list\", 1); }}\n}}\n",
        );
        let weights = PLACES.map(|place| format!("{place} = {{ weight = {points} }}\n")).concat();
        let listed = if self.is_listed() { CLIENT } else { "198.51.100.1" };
        let place = country_mmdb(&[("192.0.2.0/24", self.place())]);
        files.write(&format!("{folder}/riskgate.toml"), format!("{config}\n[countries]\n{weights}"));
        files.write(&format!("{folder}/scripts/10-mark.rhai"), script);
        files.write(&format!("{folder}/lists/friends.txt"), listed);
        files.write(&format!("{folder}/country.mmdb"), place);
    }

    /// Fails the test unless everything that a record says is of this one version.
    fn assert_judged(&self, record: &Value) {
        let points = |reason: &str| {
            let reasons = record["reasons"].as_array().expect("reasons");
            reasons.iter().find(|known| known["reason"] == reason).and_then(|known| known["points"].as_u64())
        };
        let found = (
            points("of.script"),
            points("of.config"),
            points("of.list").is_some(),
            record["country"].as_str(),
        );
        let version = (Some(self.points()), Some(self.points()), self.is_listed(), Some(self.place()));
        assert_eq!(found, version, "{record}");
    }
}

/// Everything behind one link, so that a version comes into use in one step.
fn versioned() -> Files {
    let files =
        watched().section("reload", "debounce = \"10ms\"").list("friends", "").script("10-mark", "").write();
    let config = fs::read_to_string(files.config()).unwrap();
    files.write("config", &config);
    Version(1).write(&files, &config);
    symlink(Version(1).folder(), files.path("current")).unwrap();
    for path in ["scripts", "lists"] {
        fs::remove_dir_all(files.path(path)).unwrap();
    }
    for path in ["riskgate.toml", "scripts", "lists", "country.mmdb"] {
        let _ = fs::remove_file(files.path(path));
        symlink(format!("current/{path}"), files.path(path)).unwrap();
    }
    files
}

/// Sends requests on one connection until told to stop; how many.
fn keep_asking(gate: &Running, stop: &AtomicBool) -> u64 {
    let mut client = gate.connect();
    let mut asked = 0;
    while !stop.load(Ordering::Relaxed) {
        let response = client.send(&from(CLIENT, "/")).expect("an answer on the same connection");
        assert_eq!(response.status, 200, "{}", response.text());
        asked += 1;
    }
    asked
}

#[test]
fn under_load_no_request_fails_and_no_judgement_mixes_generations() {
    let gate = Running::start(versioned()).unwrap_or_else(|problems| panic!("{problems:?}"));
    let config = fs::read_to_string(gate.files().path("config")).unwrap();
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| asked.fetch_add(keep_asking(&gate, &stop), Ordering::Relaxed));
        }
        for number in 2..=VERSIONS {
            let version = Version(number);
            version.write(gate.files(), &config);
            relink(version.folder(), &gate.files().path("current"));
            // Watching and asking race for it; whoever is first publishes it, and the other finds nothing new.
            let last = reload(&gate);
            let fine = last["outcome"] != "refused" && last["generation"] == number;
            if !fine {
                stop.store(true, Ordering::Relaxed);
            }
            assert!(fine, "{number}: {last}");
            fs::remove_dir_all(gate.files().path(&Version(number - 1).folder())).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(gate.metrics().contains("riskgate_decisions_dropped_total 0"));
    let log = gate.stop().log();
    let mut judged = BTreeMap::new();
    for line in log.lines() {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let generation = record["generation"].as_u64().expect("a generation");
        Version(generation).assert_judged(&record);
        *judged.entry(generation).or_insert(0) += 1;
    }
    assert_eq!(judged.values().sum::<u64>(), asked.into_inner());
    assert!(judged.len() as u64 > VERSIONS / 2, "only {} generations judged anything", judged.len());
}
