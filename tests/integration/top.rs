//! `riskgate top` as a user meets it: in a real pseudo-terminal, beside a real gate.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::os::fd::AsFd as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::Pid;
use pty_process::Size;
use pty_process::blocking::{Pts, Pty};
use vt100::{Parser, Screen};

use crate::net::{PATIENCE, free_addr};
use crate::support::{Running, Setup, eventually, from};

const TOKEN: &str = "0123456789abcdef0123";

fn gate() -> Setup {
    Setup::new().rule("10-geo", "if req.geo.country == \"KP\" { risk.block(\"geo.kp\"); }")
}

/// Sends some requests, so that there is something to see.
fn some_requests(gate: &Running) {
    (0..5).for_each(|_| drop(gate.send(&from("175.45.176.1", "/"))));
}

/// A `riskgate top` and the terminal that it runs in.
struct Watcher {
    child: Child,
    pty: Pty,
    pts: Pts,
    keys: File,
    output: Receiver<Vec<u8>>,
    parser: Parser,
    /// How the terminal was before.
    before: Termios,
}

impl Watcher {
    /// Starts it in a terminal of 100 columns and 30 rows.
    fn start(admin: SocketAddr, args: &[&str]) -> Self {
        let (pty, pts) = pty_process::blocking::open().expect("a terminal");
        pty.resize(Size::new(30, 100)).unwrap();
        let before = tcgetattr(&pts).unwrap();
        let mut command = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_riskgate"))
            .args(["top", "--admin", &format!("http://{admin}"), "--interval", "100ms"])
            .args(args)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .env_remove("RISKGATE_ADMIN_TOKEN");
        let child = command.spawn_borrowed(&pts).expect("a command that runs");
        let end = || File::from(pty.as_fd().try_clone_to_owned().unwrap());
        let (keys, output) = (end(), read(end()));
        let parser = Parser::new(NonZeroU16::new(30).unwrap(), NonZeroU16::new(100).unwrap(), 0);
        Self { child, pty, pts, keys, output, parser, before }
    }

    /// Reads what it draws until the screen is as wanted.
    fn until(&mut self, what: &str, wanted: impl Fn(&Screen) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(self.parser.screen()) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.parser.process(&bytes),
                Err(_) => panic!("still waiting for {what}:\n{}", self.parser.screen().contents()),
            }
        }
    }

    fn until_shown(&mut self, words: &str) {
        self.until(words, |screen| screen.contents().contains(words));
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn modes(&self) -> Termios {
        tcgetattr(&self.pts).unwrap()
    }

    fn resize(&mut self, rows: u16, columns: u16) {
        self.pty.resize(Size::new(rows, columns)).unwrap();
        let [rows, columns] = [rows, columns].map(|size| NonZeroU16::new(size).unwrap());
        self.parser.screen_mut().set_size(rows, columns);
    }

    /// Waits until it ends, and fails the test unless the terminal is as it was before.
    fn ends(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(Instant::now() < deadline, "it does not end"),
            }
            thread::yield_now();
        };
        self.until("the screen of before", |screen| !screen.alternate_screen() && !screen.hide_cursor());
        assert_eq!(self.modes(), self.before);
        status
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// Reads in a thread of its own, which ends with the terminal.
fn read(mut end: File) -> Receiver<Vec<u8>> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = end.read(&mut bytes) {
            if tell.send(bytes[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    told
}

/// Runs it where there is no terminal: exit code, output and errors.
fn piped(args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_riskgate"));
    command.arg("top").args(args).stdin(Stdio::null()).env_remove("RISKGATE_ADMIN_TOKEN");
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_country_is_seen_and_q_leaves_the_terminal_as_it_was() {
    let gate = gate().start();
    let mut watcher = Watcher::start(gate.admin, &[]);
    some_requests(&gate);
    watcher.until_shown("KP");
    let screen = watcher.parser.screen();
    assert!(screen.alternate_screen() && screen.hide_cursor(), "{}", screen.contents());
    assert!(!watcher.modes().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO));
    watcher.press("\t\t\t");
    watcher.until_shown("geo.kp");
    watcher.press("?");
    watcher.until_shown("Ctrl-C");
    watcher.press("?s");
    watcher.until_shown("s sort: allowed");
    watcher.press("q");
    assert_eq!(watcher.ends().code(), Some(0));
}

#[test]
fn control_c_and_signals_leave_the_terminal_as_it_was() {
    let gate = gate().start();
    let mut watcher = Watcher::start(gate.admin, &[]);
    watcher.until_shown("countries");
    watcher.press("\u{3}");
    assert_eq!(watcher.ends().code(), Some(0));
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut watcher = Watcher::start(gate.admin, &[]);
        watcher.until_shown("countries");
        kill(Pid::from_raw(watcher.child.id().try_into().unwrap()), signal).unwrap();
        assert_eq!(watcher.ends().code(), Some(0), "{signal}");
    }
}

#[test]
fn a_gate_that_goes_and_comes_back_is_found_again() {
    let admin = free_addr();
    let gate = gate().section("admin", &format!("address = \"{admin}\"")).start();
    let mut watcher = Watcher::start(admin, &[]);
    some_requests(&gate);
    watcher.until_shown("KP");
    let files = gate.stop();
    watcher.until_shown("trying again");
    assert!(watcher.parser.screen().contents().contains("KP"), "what was seen stays");
    let _gate = Running::start(files).unwrap();
    watcher.until("the gate", |screen| !screen.contents().contains("trying again"));
    watcher.press("q");
    assert_eq!(watcher.ends().code(), Some(0));
}

#[test]
fn a_larger_terminal_shows_more() {
    let gate = gate().start();
    let mut watcher = Watcher::start(gate.admin, &[]);
    watcher.until_shown("countries: none");
    assert!(!watcher.parser.screen().contents().contains("level.high per"));
    watcher.resize(40, 140);
    watcher.until_shown("level.high per");
    watcher.resize(4, 12);
    watcher.until("a small screen", |screen| !screen.contents().contains("level.high"));
    watcher.press("q");
    assert_eq!(watcher.ends().code(), Some(0));
}

#[test]
fn a_pause_keeps_what_is_shown() {
    let gate = gate().start();
    let mut watcher = Watcher::start(gate.admin, &[]);
    watcher.until_shown("countries: none");
    watcher.press("p");
    watcher.until_shown("PAUSED");
    some_requests(&gate);
    // The gate itself tells of them by now.
    eventually("a country", || {
        let (_, out, _) = piped(&["--admin", &format!("http://{}", gate.admin)]);
        out.contains("KP").then_some(())
    });
    assert!(watcher.parser.screen().contents().contains("countries: none"));
    watcher.press("p");
    watcher.until_shown("KP");
    watcher.press("q");
    assert_eq!(watcher.ends().code(), Some(0));
}

#[test]
fn where_there_is_no_terminal_one_look_is_printed() {
    let section = format!("address = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"");
    let gate = gate().section("admin", &section).file("token", format!("{TOKEN}\n")).start();
    some_requests(&gate);
    let (admin, file) = (format!("http://{}", gate.admin), gate.files().path("token"));
    let file = file.to_str().unwrap();
    let out = eventually("a country", || {
        let (code, out, err) = piped(&["--admin", &admin, "--token-file", file]);
        assert_eq!((code, err.as_str()), (0, ""));
        out.contains("KP").then_some(out)
    });
    assert!(out.starts_with(&format!("riskgate {admin}, ")) && !out.contains('\u{1b}'), "{out}");
    assert!(out.contains("\ncountries\n") && out.contains("geo.kp"), "{out}");
    let (code, out, err) = piped(&["--admin", &admin, "--token", TOKEN, "--sort", "blocked", "--once"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let (code, out, err) = piped(&["--admin", &admin]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("--token-file"), "{err}");
}

#[test]
fn what_cannot_be_asked_is_an_error_with_a_way_out() {
    let nobody = format!("http://{}", free_addr());
    for (args, expected, words) in [
        (vec!["--admin", &nobody], 1, "is the gate running"),
        (vec!["--admin", "https://gate"], 2, "write it like `http://127.0.0.1:9090`"),
        (vec!["--token", "short"], 2, "fewer than 16 characters"),
        (vec!["--token-file", "/nowhere"], 2, "cannot be read"),
        (vec!["--interval", "0s"], 2, "from `100ms` to `1m`"),
        (vec!["--sort", "size"], 2, "choose one of offered"),
    ] {
        let (code, out, err) = piped(&args);
        assert_eq!((code, out.as_str()), (expected, ""), "{args:?} {err}");
        assert!(err.contains(words) && !err.contains("`short`"), "{args:?} {err}");
    }
}
