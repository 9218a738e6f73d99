//! The command as a user meets it: the real binary, what it prints where, and how it ends.
//!
//! Tests hold on to the words that matter to a reader, not to whole pages.

mod explain;

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::net::{Client, Request};
use crate::process::{Process, command};
use crate::support::{Files, Setup};

/// What a command said, and its exit code.
pub(crate) struct Said {
    code: i32,
    out: String,
    err: String,
}

const LOGIN: &str = "\
const MAX_FAILURES = 5;

fn assess(req, risk) {
    if req.path == \"/login\" && req.count(\"login_failed\") > MAX_FAILURES { risk.add(\"login.stuffing\", 45); }
    if req.client.listed(\"friends\") { risk.allow(\"client.friend\"); }
}

fn observe(req, res, risk) {
    if req.path == \"/login\" && res.status == 401 { risk.count(\"login_failed\"); }
}
";

const CASES: &str = "\
[[case]]
name = \"stuffing is slowed down\"
request = { path = \"/login\", counts = { login_failed = 6 } }
expect = { action = \"throttle\", score = 45, reasons = [\"login.stuffing\"] }

[[case]]
name = \"an honest login is not\"
request = { path = \"/login\", counts = { login_failed = 2 } }
expect = { action = \"allow\", score = 0 }
";

/// A gate with something of everything.
fn gate() -> Setup {
    Setup::new()
        .section("counters.login_failed", "per = \"client\"\nwindow = \"10m\"")
        .section("levels", "high = { from = 70, action = \"throttle\", per = \"country\", rate = 20 }")
        .section("countries", "KP = { weight = 60, limit = 5 }\nDE = { weight = 1 }")
        .list("friends", "192.0.2.1\n2001:db8::/48\n")
        .hard_list("sanctions", "203.0.113.0/24\n")
        .rule("10-geo", "if req.geo.weight > 0 { risk.add(\"geo.weight\", req.geo.weight); }")
        .script("30-login", LOGIN)
        .cases("login", CASES)
}

pub(crate) fn riskgate(files: &Files, args: &[&str]) -> Said {
    said(&mut command(files.folder(), &files.config(), args))
}

fn said(command: &mut Command) -> Said {
    let output = command.stdin(Stdio::null()).output().expect("a command that runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let code = output.status.code().expect("an exit code");
    let said = Said { code, out: text(output.stdout), err: text(output.stderr) };
    // A pipe is no terminal.
    assert!(!said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'), "{}{}", said.out, said.err);
    said
}

impl Said {
    /// Fails the test unless every one of these lines was printed, whatever the spaces in them.
    pub(crate) fn out_has(&self, lines: &[&str]) {
        let squeezed: Vec<String> = self.out.lines().map(squeeze).collect();
        for line in lines {
            assert!(squeezed.contains(&squeeze(line)), "{line:?} in\n{}{}", self.out, self.err);
        }
    }

    /// Fails the test unless it ended like this, and said each of these to standard error alone.
    fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{}", self.err);
        for word in words {
            assert!(self.err.contains(word), "{word:?} in\n{}", self.err);
        }
    }
}

fn squeeze(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn check_says_what_would_be_loaded() {
    let files = gate().section("limits.\"level.medium\"", "delay = \"2s\"\nwaiting = 50").write();
    let said = riskgate(&files, &["check"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(said.out.starts_with(&format!("{} is good\n", files.config().display())), "{}", said.out);
    said.out_has(&[
        "10-geo assess(req, risk)",
        "reasons: geo.weight",
        "30-login assess(req, risk), observe(req, res, risk)",
        "reasons: client.friend, login.stuffing",
        "signals path, client.listed(friends), client.listed(sanctions), geo.country, geo.weight,",
        "count(login_failed)",
        "cases 2, all pass",
        "country 6 countries, `Test-Country`, built 2026-06-01",
        "truncated /24 moves 0.000 % of IPv4 addresses to another country, /48 moves 0 of 1 IPv6 networks",
        "low below 40 allow",
        "medium from 40 throttle, 5/s per client",
        "high from 70 throttle, 20/s per country",
        "critical from 90 block",
        "DE 1 point KP 60 points, 5/s",
        "country per country over 10s",
        "level.medium per client over 10s up to 50 requests wait up to 2s",
        "login_failed per client over 10m off by what came in 50s at most events about 921 keys at once",
        "default * / -> origin built in",
    ]);
    let lists = said.out.lines().filter(|line| line.contains("entr")).map(squeeze).collect::<Vec<_>>();
    assert!(lists[0].starts_with("friends 2 entries"), "{lists:?}");
    assert!(lists[1].starts_with("sanctions 1 entry") && lists[1].ends_with("refused whatever scripts say"));
    for part in [
        "memory at most",
        "client rates",
        "counter `login_failed`",
        "total",
        "memory of the system at most",
        "what clients have not taken, 20,000 of",
        "what clients have sent in advance, 20,000 of",
        "disk at most",
        "decisions, in",
        "what was counted, in",
    ] {
        assert!(said.out.contains(part), "{part:?} in\n{}", said.out);
    }
}

#[test]
fn check_counts_idle_connections_by_the_dearest_that_listeners_take() {
    for (listener, each) in [("", "16.0"), ("http2 = true", "64.0")] {
        let files = Setup::new().listener(listener).write();
        let said = riskgate(&files, &["check"]);
        let held = format!("connections that idle, 20,000 of {each} KiB");
        assert!(said.out.contains(&held), "{held}\n{}", said.out);
    }
}

#[test]
fn check_counts_answers_that_nobody_takes_by_what_their_origins_can_have_read() {
    for (spoken, of_http1, of_http2) in [("http1", "864.0 KiB", "432.0 KiB"), ("http2", "1.1 MiB", "1.3 MiB")]
    {
        let upstream = format!("servers = [\"127.0.0.1:1\"]\nprotocol = \"{spoken}\"");
        let said = riskgate(&Setup::new().upstream("origin", &upstream).write(), &["check"]);
        for (http, each) in
            [("HTTP/1.1", format!("20,000 of {of_http1}")), ("HTTP/2", format!("5,000 of {of_http2}"))]
        {
            let held = format!("answers over {http} that nobody takes, {each}");
            assert!(said.out.contains(&held), "{held}\n{}", said.out);
        }
    }
}

#[test]
fn check_says_everything_that_is_wrong_at_once() {
    let files = gate()
        .rule("10-geo", "if req.geo.wieght > 0 { risk.ad(\"geo.weight\", 1); }")
        .file("lists/friends.txt", "192.0.2.1\n192.0.2.300\nfriend.example # a name\n10.0.0.1/8\n")
        .file("country.mmdb", b"no database".as_slice())
        .cases("login", "[[case]]\nname = \"x\"\nexpect = { acton = \"block\" }\n")
        .write();
    let said = riskgate(&files, &["check"]);
    said.fails(1, &["riskgate.toml is not good: 7 errors\n"]);
    let place = |file: &str| files.path(file).display().to_string();
    for (place, words) in [
        (place("scripts/10-geo.rhai:2:16"), "unknown signal `req.geo.wieght`; did you mean `weight`?"),
        (place("scripts/10-geo.rhai:2:34"), "unknown verb `risk.ad`; did you mean `add`?"),
        (place("lists/friends.txt:2:1"), "`192.0.2.300` is neither an address nor a network; write"),
        (place("lists/friends.txt:3:1"), "`friend.example` is neither an address nor a network; write"),
        (place("lists/friends.txt:4:1"), "did you mean `10.0.0.0/8`?"),
        (place("country.mmdb"), "not a MaxMind database"),
        (place("scripts/cases/login.toml:3:12"), "unknown field `acton`"),
    ] {
        let line = said.err.lines().find(|line| line.starts_with(&format!("{place}: error: ")));
        assert!(line.is_some_and(|line| line.contains(words)), "{place}: {words}\n{}", said.err);
    }
}

#[test]
fn every_problem_of_the_configuration_is_said_at_once() {
    let files = gate().section("reload", "pol = \"1s\"").section("privacy", "ipv4_prefix = 99").write();
    let said = riskgate(&files, &["check"]);
    said.fails(1, &["unknown key `pol` in `[reload]`; did you mean `poll`?", "ipv4_prefix", "2 errors"]);
}

#[test]
fn a_missing_configuration_is_named_with_what_to_do() {
    let files = gate().write();
    for args in [&["check"][..], &["test"], &["explain"], &["run"], &[]] {
        let said = said(command(files.folder(), Path::new("nowhere.toml"), args).arg("--config=gone.toml"));
        said.fails(1, &["gone.toml: error: ", "name the file with `--config`"]);
    }
}

#[test]
fn a_file_that_is_no_text_or_no_file_is_named() {
    let files = gate().write();
    files.write("scripts/40-latin.rhai", b"fn assess(req, risk) {}\n// caf\xe9\n");
    files.write("scripts/50-folder.rhai/x", "");
    let said = riskgate(&files, &["check"]);
    said.fails(
        1,
        &["40-latin.rhai:2:7: error: not UTF-8 text", "50-folder.rhai: error: a folder where a file is"],
    );
}

#[test]
fn a_bad_database_is_refused_with_its_reason() {
    let files = gate().write();
    let good = std::fs::read(files.path("country.mmdb")).unwrap();
    for (content, reason) in [
        (Vec::new(), "the file is empty; download it again"),
        (good[..good.len() / 2].to_vec(), "country.mmdb: error: "),
        ([&[0x1f, 0x8b, 8, 0][..], &good].concat(), "cannot be unpacked"),
        (b"<html>please log in".to_vec(), "this is a web page, not a database"),
        (vec![7; 10_000], "not a MaxMind database"),
    ] {
        files.write("country.mmdb", content);
        riskgate(&files, &["check"]).fails(1, &[reason]);
    }
    std::fs::remove_file(files.path("country.mmdb")).unwrap();
    riskgate(&files, &["check"]).fails(1, &["country.mmdb: error: the file does not exist; create it"]);
}

#[test]
fn passing_cases_are_counted_and_named_if_asked() {
    let files = gate().write();
    let said = riskgate(&files, &["test"]);
    assert_eq!((said.code, said.out.as_str()), (0, "2 passed\n"));
    riskgate(&files, &["test", "-v"]).out_has(&[
        "ok stuffing is slowed down",
        "ok an honest login is not",
        "2 passed",
    ]);
    riskgate(&files, &["test", "honest"]).out_has(&["1 passed"]);
    let none = riskgate(&files, &["test", "dishonest"]);
    assert_eq!((none.code, none.out.as_str()), (1, "no case has a name or file with `dishonest`\n"));
}

#[test]
fn a_failing_case_shows_what_differs_and_who_said_it() {
    let expect = "expect = { action = \"block\", level = \"high\", reasons = [\"login.flood\"], tags = { bot = \"yes\" } }";
    let case = format!("[[case]]\nname = \"floods end\"\nrequest = {{ country = \"KP\" }}\n{expect}\n");
    let files = gate().cases("flood", &case).write();
    let said = riskgate(&files, &["test"]);
    assert_eq!((said.code, said.err.as_str()), (1, ""));
    said.out_has(&[
        &format!("FAILED floods end {}:1", files.path("scripts/cases/flood.toml").display()),
        "action expected block, found throttle",
        "level expected high, found medium",
        "reasons missing login.flood",
        "unexpected geo.weight",
        "tags missing bot=yes",
        "10-geo said +60 geo.weight",
        "2 passed, 1 failed",
    ]);
    riskgate(&files, &["check"])
        .fails(1, &["flood.toml:1:1: error: case `floods end` fails: action is `throttle`"]);
    // Explaining is how one finds out why.
    assert_eq!(riskgate(&files, &["explain", "--country", "KP"]).code, 0);
}

#[test]
fn what_is_misdescribed_ends_with_2() {
    let files = gate().write();
    for (args, words) in [
        (&["frobnicate"][..], "unrecognized subcommand 'frobnicate'"),
        (&["check", "--verbose"], "unexpected argument '--verbose'"),
        (&["explain", "--ip", "1.2.3"], "invalid IP address"),
        (&["explain", "--count", "login_failed"], "write a counter and a number, such as `login_failed=6`"),
        (&["explain", "--count", "logins=1"], "error: unknown counter `logins`"),
        (&["explain", "--listed", "foes"], "error: unknown list `foes`"),
        (&["explain", "--country", "Germany"], "error: `Germany` is no country: write two letters"),
        (&["explain", "-H", "no header"], "write `name: value`"),
        (&["explain", "--time", "noon"], "error: `noon` is no moment"),
        (&["explain", "not-an-id"], "invalid value 'not-an-id'"),
        (&["explain", "01a209da-922c-7b6f-9875-5b150f4f2f70", "--ip", "192.0.2.1"], "cannot be used with"),
    ] {
        riskgate(&files, args).fails(2, &[words]);
    }
    let id = "01a209da-922c-7b6f-9875-5b150f4f2f70";
    riskgate(&files, &["explain", id]).fails(1, &[&format!("error: no decision `{id}` is kept in")]);
}

#[test]
fn help_names_every_command() {
    let files = gate().write();
    let said = riskgate(&files, &["--help"]);
    assert_eq!(said.code, 0);
    for word in
        ["run ", "check ", "test ", "explain ", "--config <FILE>", "RISKGATE_CONFIG", "conf/riskgate.toml"]
    {
        assert!(said.out.contains(word), "{word:?} in\n{}", said.out);
    }
    riskgate(&files, &["--version"]).out_has(&[concat!("riskgate ", env!("CARGO_PKG_VERSION"))]);
}

#[test]
fn run_says_where_it_serves_and_ends_well_when_told_to() {
    let files = gate().write();
    let mut gate = Process::start(&files);
    for part in [
        "is ready",
        "2 scripts: 10-geo, 30-login",
        "6 countries",
        "friends (2), sanctions (1)",
        "curl -i http://",
    ] {
        assert!(gate.banner.contains(part), "{part:?} in\n{}", gate.banner);
    }
    let mut client = Client::connect(gate.clients).unwrap();
    let response = client.send(&Request::get("/hello")).unwrap();
    assert_eq!(response.status, 200);
    let mut operator = Client::connect(gate.operators).unwrap();
    let mut ready = || operator.send(&Request::get("/readyz").header("host", "localhost")).unwrap().status;
    while ready() == 503 {}
    assert_eq!(ready(), 200);
    gate.signal(Signal::SIGTERM);
    assert_eq!(gate.wait(), Some(0));
    let id = response.headers.first("riskgate-decision").unwrap();
    assert!(files.log().contains(id), "the last record is written");
}

#[test]
fn run_does_not_start_with_what_is_wrong() {
    let files = gate().rule("10-geo", "risk.add(\"geo.weight\", req.geo.wieght);").write();
    let said = riskgate(&files, &["run"]);
    said.fails(1, &["10-geo.rhai:2:36: error: unknown signal `req.geo.wieght`", "not started: 1 error\n"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let files = gate().section("admin", &format!("address = \"{address}\"")).write();
    riskgate(&files, &["run"]).fails(1, &[&address.to_string(), "not started: 1 error\n"]);
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let files = gate().write();
    let mut command = command(files.folder(), &files.config(), &["check"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    child.wait().unwrap();
    assert_eq!(err, "");
}

#[test]
fn what_is_shipped_is_good_and_passes_its_cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked =
        said(command(root, Path::new("conf/riskgate.toml"), &["check"]).env_remove("RISKGATE_CONFIG"));
    assert_eq!((checked.code, checked.err.as_str()), (0, ""), "without a warning");
    checked.out_has(&["conf/riskgate.toml is good"]);
    let tested = said(&mut command(root, Path::new("conf/riskgate.toml"), &["test"]));
    assert_eq!(tested.code, 0, "{}", tested.out);
}

#[test]
fn the_example_of_surges_is_good_and_passes_its_cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = Path::new("examples/policies/surge/riskgate.toml");
    let checked = said(&mut command(root, config, &["check"]));
    assert_eq!((checked.code, checked.err.as_str()), (0, ""), "without a warning");
    for part in ["usual country rates", "usual route rates"] {
        assert!(checked.out.contains(part), "what is learned has a bound: {}", checked.out);
    }
    let tested = said(&mut command(root, config, &["test"]));
    assert_eq!(tested.code, 0, "{}", tested.out);
}

#[test]
fn the_examples_of_behaviour_are_good_and_pass_their_cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = Path::new("examples/policies/behaviour/riskgate.toml");
    let checked = said(&mut command(root, config, &["check"]));
    assert_eq!((checked.code, checked.err.as_str()), (0, ""), "without a warning");
    checked.out_has(&[
        "pages per client over 10m off by what came in 50s at most distinct values, up to 295 within 12 % about 235,929 keys at once",
        "login_failed_in_country per country over 10m off by what came in 50s at most events a place for each",
        "promo_missed per client and route over 10m off by what came in 50s at most events about 235,929 keys at once",
        "login_failed_of_account per token over 1h off by what came in 5m at most events about 235,929 keys at once",
    ]);
    let tested = said(&mut command(root, config, &["test"]));
    assert_eq!(tested.code, 0, "{}", tested.out);
}
