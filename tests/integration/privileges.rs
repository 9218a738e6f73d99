//! Started by root, served by nobody. Only root can run these tests; others are told that they did not.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::{Group, Pid, Uid, User};

use crate::net::{Client, Request};
use crate::process::{Process, command};
use crate::support::{Files, Setup};

/// A user without privileges on every machine, and its group.
fn nobody() -> (User, Group) {
    let user = User::from_name("nobody").unwrap().expect("a user `nobody`");
    let group = Group::from_gid(user.gid).unwrap().expect("its group");
    (user, group)
}

/// Whether the test can go on.
pub(crate) fn is_root(test: &str) -> bool {
    let root = Uid::effective().is_root();
    if !root {
        // Not by `eprintln`, which the test runner would keep to itself.
        let told =
            format!("SKIPPED {test}: only root can do what it needs, run the tests as root to see it\n");
        std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes()).unwrap();
    }
    root
}

fn setup() -> Setup {
    let (user, group) = nobody();
    let (user, group) = (user.name, group.name);
    let keys = format!("user = \"{user}\"\ngroup = \"{group}\"\nupgrade_socket = \"@/run/upgrade.sock\"");
    Setup::new().section("server", &format!("threads = 2\n{keys}"))
}

fn give(path: &Path, user: &User) {
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path(), user));
    }
}

/// A port that only root can bind.
fn privileged() -> SocketAddr {
    let addresses = (700..1024).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    addresses.into_iter().find(|address| TcpListener::bind(address).is_ok()).expect("a free port")
}

/// What every thread of a process is allowed.
fn statuses(pid: Pid) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).unwrap()).collect()
}

fn assert_is_nobody(gate: &Process) {
    let (user, _) = nobody();
    let (uid, gid) = (user.uid, user.gid);
    let statuses = statuses(gate.pid());
    assert!(statuses.len() > 3, "threads serve already");
    for status in statuses {
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).expect("a field");
            line[name.len()..].split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(field("Uid:"), [uid.to_string(), uid.to_string(), uid.to_string(), uid.to_string()]);
        assert_eq!(field("Gid:"), [gid.to_string(), gid.to_string(), gid.to_string(), gid.to_string()]);
        assert!(field("Groups:").is_empty(), "no group besides");
        assert_eq!(field("CapEff:"), ["0000000000000000"]);
    }
}

fn answers(address: SocketAddr) -> bool {
    Client::connect(address).unwrap().send(&Request::get("/")).unwrap().status == 200
}

#[test]
fn a_gate_that_root_starts_serves_as_somebody_else() {
    if !is_root("a_gate_that_root_starts_serves_as_somebody_else") {
        return;
    }
    let files = setup().listener("[[listener]]\naddress = \"unix:@/gate.sock\"").write();
    let path = files.path("gate.sock");
    let (port, (user, group)) = (privileged(), nobody());
    let config = fs::read_to_string(files.config()).unwrap();
    files.write("riskgate.toml", config.replacen("127.0.0.1:0", &port.to_string(), 1));
    give(files.folder(), &user);
    let mut old = Process::start(&files);
    assert!(answers(port));
    assert_is_nobody(&old);
    assert_eq!(fs::metadata(files.path("decisions.jsonl")).unwrap().uid(), user.uid.as_raw());

    let mut new = Process::run(&files, &mut command(files.folder(), &files.config(), &["run", "--upgrade"]));
    assert_eq!(old.wait(), Some(0));
    assert!(answers(port));
    assert_is_nobody(&new);
    assert_eq!(files.records(2).len(), 2);

    let socket = fs::metadata(&path).unwrap();
    assert_eq!((socket.uid(), socket.gid()), (user.uid.as_raw(), group.gid.as_raw()), "for their group, too");
    assert_eq!(Client::at(&path).unwrap().send(&Request::get("/")).unwrap().status, 200);
    new.signal(Signal::SIGTERM);
    assert_eq!((new.wait(), path.exists()), (Some(0), false));
}

#[test]
fn a_log_that_is_not_theirs_is_refused_before_anybody_is_served() {
    if !is_root("a_log_that_is_not_theirs_is_refused_before_anybody_is_served") {
        return;
    }
    let files: Files = setup().section("decisions", "").write();
    let said = command(files.folder(), &files.config(), &["run"]).output().unwrap();
    let told = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(1), "{told}");
    for words in ["user `nobody` cannot write the decision log", "`chown nobody`"] {
        assert!(told.contains(words), "{told}");
    }
}
