//! A gate in a process of its own: the real binary, its signals, and how it ends.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::Files;

/// A gate in a process of its own, killed with this value.
pub(crate) struct Process {
    child: Child,
    /// What it said until it was ready.
    pub(crate) banner: String,
    /// Where clients connect.
    pub(crate) clients: SocketAddr,
    /// Where operators connect.
    pub(crate) operators: SocketAddr,
}

impl Process {
    /// Runs a gate, and waits until it says that it is ready.
    pub(crate) fn start(files: &Files) -> Self {
        Self::run(files, &mut command(files.folder(), &files.config(), &["run"]))
    }

    /// Runs a gate by this command, and waits until it says that it is ready. What it logs is added to the file `log`.
    pub(crate) fn run(files: &Files, command: &mut Command) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(files.path("log"));
        let log = log.expect("a log");
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("a command that runs");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut banner = String::new();
        while !banner.contains("Ctrl-C") {
            let read = out.read_line(&mut banner).expect("text");
            assert!(read > 0, "{banner}{}", std::fs::read_to_string(files.path("log")).unwrap_or_default());
        }
        let address = |what: &str| {
            let line = banner.lines().find(|line| line.trim().starts_with(what)).expect("an address");
            line.rsplit("http://").next().and_then(|address| address.parse().ok()).expect("an address")
        };
        let (clients, operators) = (address("clients"), address("operators"));
        Self { child, banner, clients, operators }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("a process that runs");
    }

    /// Its number.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a number of a process"))
    }

    /// Waits until it ends; its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("a child").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// The command, told where its configuration is.
pub(crate) fn command(folder: &Path, config: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_riskgate"));
    command.args(args).current_dir(folder).env("RISKGATE_CONFIG", config).env_remove("RUST_LOG");
    command
}
