//! The limit of open files: raised by the gate as far as it may, and a doubt if that is not far enough.

use std::process::{Command, Stdio};

use crate::support::{Setup, eventually};

/// The program, started by a shell that lowers its own limits first.
fn limited(limits: &str, files: &crate::support::Files, what: &str) -> Command {
    let mut command = Command::new("sh");
    let script = format!("{limits} && exec \"$0\" {what} --config \"$1\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_riskgate")]).arg(files.config());
    command.stdin(Stdio::null()).current_dir(files.folder());
    command
}

#[test]
fn more_connections_than_files_are_a_warning_that_says_what_to_do() {
    let files = Setup::new().section("server", "max_connections = 600").write();
    let said = limited("ulimit -n 512", &files, "check").output().unwrap();
    let err = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{err}");
    for part in ["warning", "`max_connections` is 600", "512 files", "ulimit -Hn"] {
        assert!(err.contains(part), "{part}: {err}");
    }
    let files = Setup::new().section("server", "max_connections = 500").write();
    let said = limited("ulimit -n 512", &files, "check").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stderr), "");
}

#[cfg(target_os = "linux")]
#[test]
fn a_gate_that_serves_has_raised_its_limit() {
    let files = Setup::new().write();
    let mut gate = limited("ulimit -Sn 256 && ulimit -Hn 1024", &files, "run")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("a raised limit", || {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", gate.id())).ok()?;
        let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
        let words: Vec<_> = line.split_ascii_whitespace().skip(3).take(2).collect();
        (words == ["1024", "1024"]).then_some(())
    });
    let _ = (gate.kill(), gate.wait());
}
