//! systemd as the gate meets it: sockets that it has opened, and what it is told. The test stands in for it.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Stdio};
use std::{fs, str};

use nix::sys::signal::Signal;

use crate::net::{Client, PATIENCE, Request};
use crate::process::{Process, command};
use crate::support::{Files, Setup};

/// A gate that finds one socket open, as its fourth descriptor.
fn activated(files: &Files, socket: impl Into<OwnedFd>) -> Command {
    // The shell becomes the gate, so the number of the process is the same.
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" run";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_riskgate")]).current_dir(files.folder());
    command.env("RISKGATE_CONFIG", files.config()).env_remove("RUST_LOG").stdin(socket.into());
    command
}

/// Files of a gate whose clients come by this address.
fn files_for(address: &str) -> Files {
    let files = Setup::new().write();
    let config = fs::read_to_string(files.config()).unwrap();
    files.write("riskgate.toml", config.replacen("127.0.0.1:0", address, 1));
    files
}

#[test]
fn a_socket_that_systemd_has_opened_is_used_for_its_address() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let files = files_for(&address.to_string());
    // It waits in the socket's queue until the gate is there.
    let mut early = Client::connect(address).unwrap();
    early.write(&Request::get("/").to_bytes()).unwrap();
    let mut gate = Process::run(&files, &mut activated(&files, socket.try_clone().unwrap()));
    assert_eq!(gate.clients, address);
    assert_eq!(early.response_to("GET").unwrap().status, 200);

    // While it restarts nobody is refused: systemd, here the test, still holds the socket.
    gate.signal(Signal::SIGTERM);
    assert_eq!(gate.wait(), Some(0));
    let mut between = Client::connect(address).unwrap();
    between.write(&Request::get("/").to_bytes()).unwrap();
    let _next = Process::run(&files, &mut activated(&files, socket));
    assert_eq!(between.response_to("GET").unwrap().status, 200);
}

#[test]
fn a_unix_socket_that_systemd_has_opened_stays_with_systemd() {
    let setup = Setup::new().section("server", "threads = 1\nupgrade_socket = \"@/run/upgrade.sock\"");
    let files = setup.listener("[[listener]]\naddress = \"unix:@/gate.sock\"\nmode = \"0600\"").write();
    let path = files.path("gate.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let of_systemd = fs::metadata(&path).unwrap();
    let mut early = Client::at(&path).unwrap();
    early.write(&Request::get("/").to_bytes()).unwrap();
    let mut gate = Process::run(&files, &mut activated(&files, socket.try_clone().unwrap()));
    assert_eq!(early.response_to("GET").unwrap().status, 200);
    assert_eq!(fs::metadata(&path).unwrap().permissions(), of_systemd.permissions(), "`SocketMode` says it");

    // Nor does the file go with a gate that has it from another one.
    let mut next = Process::run(&files, &mut command(files.folder(), &files.config(), &["run", "--upgrade"]));
    assert_eq!(gate.wait(), Some(0));
    assert_eq!(Client::at(&path).unwrap().send(&Request::get("/")).unwrap().status, 200);
    next.signal(Signal::SIGTERM);
    assert_eq!(next.wait(), Some(0));
    let mut between = Client::at(&path).unwrap();
    between.write(&Request::get("/").to_bytes()).unwrap();
    let _last = Process::run(&files, &mut activated(&files, socket));
    assert_eq!(between.response_to("GET").unwrap().status, 200);
}

#[test]
fn a_socket_of_another_address_is_no_surprise() {
    let socket = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let files = files_for(&format!("127.0.0.1:{port}"));
    let said = activated(&files, socket).output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    let told = String::from_utf8_lossy(&said.stderr).into_owned();
    let words =
        format!("`127.0.0.1:{port}` is already in use by `0.0.0.0:{port}`, which this process was given");
    assert!(told.contains(&words), "{told}");
}

#[test]
fn systemd_is_told_what_the_gate_does() {
    let files =
        Setup::new().section("server", "threads = 1\nupgrade_socket = \"@/run/upgrade.sock\"").write();
    let path = files.path("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut bytes = [0; 512];
        let length = systemd.recv(&mut bytes).expect("a word");
        str::from_utf8(&bytes[..length]).unwrap().to_owned()
    };
    let gate = |args: &[&str]| {
        let mut command = command(files.folder(), &files.config(), args);
        Process::run(&files, command.env("NOTIFY_SOCKET", &path).stdin(Stdio::null()))
    };
    let mut old = gate(&["run"]);
    assert_eq!(told(), "READY=1\n");
    old.signal(Signal::SIGHUP);
    let reloading = told();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(told(), "READY=1\n");

    let mut new = gate(&["run", "--upgrade"]);
    let mut both = [told(), told()];
    both.sort();
    assert_eq!(both, [format!("MAINPID={}\n", new.pid()), "READY=1\n".to_owned()]);
    assert_eq!(old.wait(), Some(0));
    new.signal(Signal::SIGTERM);
    assert_eq!(told(), "STOPPING=1\n", "the old one has not said that it stops");
    assert_eq!(new.wait(), Some(0));
}
