//! What was counted outlives a restart and an upgrade, credentials do not reach a disk, and no file of counts keeps a gate from
//! serving.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::net::{Client, Response};
use crate::process::{Process, command};
use crate::support::{Files, Setup, eventually, from};

/// A gate that lets three requests of a client through in a minute, and tells how many were counted of the client and of its
/// credential.
fn gate() -> Setup {
    let rule = "if req.path != \"/probe\" { risk.count(\"asked\"); risk.count(\"named\"); }
        risk.tag(\"asked\", `${req.count(\"asked\")}`);
        risk.tag(\"named\", `${req.count(\"named\")}`);
        if req.path == \"/few\" { risk.throttle(\"asked.few\", \"client\", 0.05); }";
    let counter = |per: &str| format!("per = \"{per}\"\nwindow = \"1h\"");
    Setup::new()
        .rule("10-count", rule)
        .section("counters.asked", &counter("client"))
        .section("counters.named", &counter("token"))
        .section("traffic", "window = \"1m\"")
        .section("server", "upgrade_socket = \"@/run/upgrade.sock\"")
}

fn ask(client: &mut Client, address: &str, path: &str) -> Response {
    client.send(&from(address, path).header("authorization", "Bearer 0123456789")).unwrap()
}

/// How many of five requests pass.
fn few(gate: &Process, address: &str) -> usize {
    let mut client = Client::connect(gate.clients).unwrap();
    (0..5).filter(|_| ask(&mut client, address, "/few").status == 200).count()
}

/// What was counted of a client, and of its credential.
fn counted(gate: &Process, address: &str) -> [u64; 2] {
    let answer = ask(&mut Client::connect(gate.clients).unwrap(), address, "/probe");
    let tag = |name: &str| {
        let text =
            answer.text().split(&format!("\"riskgate-{name}\": \"")).nth(1).expect("the built-in origin");
        text.split('"').next().unwrap().parse().unwrap()
    };
    [tag("asked"), tag("named")]
}

fn stop(mut gate: Process) {
    gate.signal(Signal::SIGTERM);
    assert_eq!(gate.wait(), Some(0));
}

fn is_in_memory(path: &Path) -> bool {
    statfs(path).unwrap().filesystem_type() == TMPFS_MAGIC
}

/// The files of a gate that has counted five requests of one client, of which three passed, and has stopped.
fn aged() -> Files {
    let files = gate().write();
    let gate = Process::start(&files);
    assert_eq!((few(&gate, "192.0.2.1"), counted(&gate, "192.0.2.1")), (3, [5, 5]));
    stop(gate);
    files
}

#[test]
fn what_was_counted_is_known_after_each_restart() {
    let files = aged();
    let path = files.path("traffic.counts");
    for _ in 0..2 {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        assert!(!text.contains("192.0.2") && !text.contains("0123456789"), "neither address nor credential");
        let gate = Process::start(&files);
        let named = if is_in_memory(files.folder()) { 5 } else { 0 };
        assert_eq!(counted(&gate, "192.0.2.1"), [5, named]);
        assert_eq!(counted(&gate, "198.51.100.1")[0], 0);
        stop(gate);
    }
    let gate = Process::start(&files);
    assert_eq!((few(&gate, "192.0.2.1"), few(&gate, "198.51.100.1")), (0, 3));
    stop(gate);
}

#[test]
fn what_was_counted_is_handed_to_the_gate_that_takes_over() {
    let files = gate().write();
    let mut old = Process::start(&files);
    assert_eq!(few(&old, "192.0.2.1"), 3);
    let new = Process::run(&files, &mut command(files.folder(), &files.config(), &["run", "--upgrade"]));
    assert_eq!(old.wait(), Some(0));
    assert_eq!(counted(&new, "192.0.2.1"), [5, 5], "per credential too");
    assert_eq!((few(&new, "192.0.2.1"), few(&new, "198.51.100.1")), (0, 3));
    stop(new);
}

#[test]
fn a_gate_that_is_not_to_remember_counts_afresh_and_writes_nothing() {
    let files = aged();
    let config = fs::read_to_string(files.config()).unwrap();
    files.write("riskgate.toml", config.replace("[traffic]\n", "[traffic]\nremember = false\n"));
    let before = fs::read(files.path("traffic.counts")).unwrap();
    let gate = Process::start(&files);
    assert_eq!(counted(&gate, "192.0.2.1"), [0, 0]);
    stop(gate);
    assert_eq!(fs::read(files.path("traffic.counts")).unwrap(), before);
}

#[test]
fn a_gate_serves_whatever_its_file_of_counts_is_and_says_what_is_wrong() {
    for (content, words, is_replaced) in [
        (
            &b"riskgate-counts 1\nshort"[..],
            "traffic.counts` is damaged: it is torn; it will be replaced",
            true,
        ),
        (b"somebody else's\n", "choose another path for `counts` in `[traffic]`", false),
        (b"riskgate-counts 7\n", "is of version `7`", false),
    ] {
        let files = gate().write();
        files.write("traffic.counts", content);
        let gate = Process::start(&files);
        assert_eq!(few(&gate, "192.0.2.1"), 3);
        let said = || fs::read_to_string(files.path("log")).unwrap();
        eventually(words, || said().contains(words).then_some(()));
        assert!(said().contains("counting starts afresh"));
        stop(gate);
        assert_eq!(fs::read(files.path("traffic.counts")).unwrap() != content, is_replaced);
    }
}
