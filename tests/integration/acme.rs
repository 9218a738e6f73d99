//! Certificates by ACME: ordered from a directory in this process, proved to it by request and by handshake, kept,
//! used at once, and renewed.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::certificates::{Authority, connect};
use crate::cli::riskgate;
use crate::directory::Directory;
use crate::net::{Client, Request, free_addr};
use crate::process::Process;
use crate::support::{Files, Running, Setup, eventually};

const HOSTS: &[&str] = &["api.example", "www.example"];
const WANTED: &str = "acme = [\"api.example\", \"www.example\"]";

fn wants(directory: &Directory, challenge: &str) -> Setup {
    let acme = format!(
        "directory = \"{}\"\ncontact = []\nterms_agreed = true\nstore = \"@/acme\"\nca = \"@/authority.pem\"\nchallenge = \"{challenge}\"",
        directory.url()
    );
    Setup::new()
        .section("acme", &acme)
        .section("certificates.api", WANTED)
        .file("authority.pem", directory.authority().pem())
}

/// A gate with an entrance in the clear, that leads nowhere, and one by TLS.
fn by_request(directory: &Directory) -> (Setup, SocketAddr) {
    let tls = free_addr();
    let second = format!("redirect_https = 443\n[[listener]]\naddress = \"{tls}\"\ncertificates = [\"api\"]");
    (wants(directory, "http-01").listener(&second), tls)
}

/// A gate with one entrance by TLS only.
fn by_handshake(directory: &Directory, listener: &str) -> Setup {
    wants(directory, "tls-alpn-01").listener(listener)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(crate::net::PATIENCE, work).await.expect("in time") })
}

/// One request; how its handshake went, and whether it was answered well.
fn ask(config: &ClientConfig, address: SocketAddr, host: &str) -> std::io::Result<(HandshakeKind, bool)> {
    block_on(async {
        let mut stream = connect(config, address, host).await?;
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await?;
        let kind = stream.get_ref().1.handshake_kind().expect("a handshake");
        Ok((kind, text.starts_with(b"HTTP/1.1 200")))
    })
}

/// Waits until a client that believes the authority gets in.
fn is_let_in(directory: &Directory, address: SocketAddr, host: &str) {
    let client = directory.authority().believer(&["http/1.1"], None);
    let good = || ask(&client, address, host).ok().filter(|(_, good)| *good).map(drop);
    eventually("a certificate in use", good);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn stored(files: &Files) -> Vec<String> {
    let entries = fs::read_dir(files.path("acme")).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_certificate_is_issued_by_requests_kept_and_not_ordered_again() {
    let directory = Directory::open();
    let (setup, tls) = by_request(&directory);
    let gate = setup.start();
    let client = directory.authority().believer(&[], None);
    let error = ask(&client, tls, "api.example").unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "the placeholder is from nobody: {error}");
    assert!(!gate.metrics().contains("riskgate_certificate_expiry_seconds{"));

    eventually("a challenge", || directory.waits().then_some(()));
    let mut plain = gate.connect();
    let mut status =
        |target: &str| plain.send(&Request::get(target).header("host", "api.example")).unwrap().status;
    let tokens = directory.tokens();
    assert_eq!(tokens.len(), HOSTS.len());
    assert!(tokens.iter().all(|token| status(&format!("/.well-known/acme-challenge/{token}")) == 200));
    assert_eq!(
        status("/.well-known/acme-challenge/another"),
        301,
        "what nobody waits for goes the usual way"
    );
    assert_eq!(status("/"), 301);

    directory.validate_at(gate.addr);
    HOSTS.iter().for_each(|host| is_let_in(&directory, tls, host));
    assert_eq!(
        directory.counts(),
        [1, 1, 1, 1],
        "an account, an order, a certificate, a nonce that was none"
    );
    assert_eq!(status(&format!("/.well-known/acme-challenge/{}", tokens[0])), 301, "nobody waits any more");
    let metrics = gate.metrics();
    assert!(metrics.contains("riskgate_certificate_expiry_seconds{name=\"api\"} 3786912000"), "{metrics}");
    assert!(!metrics.contains("riskgate_acme_failures_total{"));

    let files = gate.stop();
    let names = stored(&files);
    assert!(names.len() == 2 && names[0].starts_with("account-") && names[1] == "api.pem", "{names:?}");
    assert!(names.iter().all(|name| mode(&files.path(&format!("acme/{name}"))) == 0o600));
    assert_eq!(mode(&files.path("acme")), 0o700);

    let again = Running::start(files).unwrap_or_else(|problems| panic!("{problems:?}"));
    let (_, good) = ask(&client, tls, "api.example").unwrap();
    assert!(good, "from the first moment");
    assert!(again.ask(&Request::new("POST", "/api/reload")).text().contains("unchanged"));
    assert_eq!(directory.counts(), [1, 1, 1, 1]);
}

#[test]
fn a_certificate_is_issued_by_handshakes_which_change_nothing_for_others() {
    let directory = Directory::open();
    let others = Authority::new("others");
    let own = others.server(&["own.example"]);
    let gate = by_handshake(&directory, "certificates = [\"own\", \"api\"]")
        .section("certificates.own", "cert = \"@/own.pem\"\nkey = \"@/own.key\"")
        .file("own.pem", own.cert.as_str())
        .file("own.key", own.key.as_str())
        .start();
    eventually("a challenge", || directory.waits().then_some(()));
    let client = others.believer(&["http/1.1"], None);
    let kinds = [(); 2].map(|()| ask(&client, gate.addr, "own.example").unwrap());
    assert_eq!(kinds, [(HandshakeKind::Full, true), (HandshakeKind::Resumed, true)]);
    let asks = |host: &str| {
        let config = others.believer(&["acme-tls/1"], None);
        block_on(connect(&config, gate.addr, host)).map(drop).unwrap_err().to_string()
    };
    assert!(asks("own.example").contains("NoApplicationProtocol"), "{}", asks("own.example"));
    assert!(
        asks("api.example").contains("invalid peer certificate"),
        "the proof itself: {}",
        asks("api.example")
    );

    directory.validate_at(gate.addr);
    HOSTS.iter().for_each(|host| is_let_in(&directory, gate.addr, host));
    assert!(asks("api.example").contains("NoApplicationProtocol"), "nobody waits any more");
    assert_eq!(directory.counts(), [1, 1, 1, 1]);
}

#[test]
fn an_authority_need_not_show_a_certificate_where_clients_must() {
    let directory = Directory::open();
    let people = Authority::new("people");
    let gate = by_handshake(&directory, "certificates = [\"api\"]\nclient_ca = \"@/people.pem\"")
        .file("people.pem", people.pem())
        .start();
    directory.validate_at(gate.addr);
    let alice = people.client("alice");
    let client = directory.authority().believer(&[], Some(&alice));
    let good = || ask(&client, gate.addr, "api.example").ok().filter(|(_, good)| *good);
    eventually("a certificate in use", good);
    assert!(ask(&directory.authority().believer(&[], None), gate.addr, "api.example").is_err());
}

#[test]
fn a_failure_is_counted_and_other_settings_are_tried_at_once() {
    let directory = Directory::open();
    let gate = by_handshake(&directory, "certificates = [\"api\"]").start();
    directory.validate_at(free_addr());
    let failed = "riskgate_acme_failures_total{name=\"api\"} 1";
    eventually("a failure", || gate.metrics().contains(failed).then_some(()));
    assert_eq!(directory.counts(), [1, 1, 0, 1]);
    let error = ask(&directory.authority().believer(&[], None), gate.addr, "api.example").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "the placeholder is still shown: {error}");

    directory.validate_at(gate.addr);
    let config = fs::read_to_string(gate.files().config()).unwrap();
    gate.files()
        .write("riskgate.toml", config.replace("contact = []", "contact = [\"mailto:me@example.com\"]"));
    assert!(gate.ask(&Request::new("POST", "/api/reload")).text().contains("published"));
    is_let_in(&directory, gate.addr, "api.example");
    assert_eq!(directory.counts(), [1, 2, 1, 1], "by the same account");
    assert_eq!(directory.contact(), serde_json::json!(["mailto:me@example.com"]));
    assert!(gate.metrics().contains(failed));
}

#[test]
fn a_failure_is_remembered_over_a_restart() {
    let directory = Directory::open();
    let (setup, tls) = by_request(&directory);
    let gate = setup.start();
    directory.validate_at(free_addr());
    let failed = "riskgate_acme_failures_total{name=\"api\"} 1";
    eventually("a failure", || gate.metrics().contains(failed).then_some(()));
    let files = gate.stop();
    assert!(stored(&files).contains(&"failed-orders.json".to_owned()), "{:?}", stored(&files));
    assert_eq!(mode(&files.path("acme/failed-orders.json")), 0o600);

    let next = Process::start(&files);
    let told = || fs::read_to_string(files.path("log")).unwrap().contains("next attempt in");
    eventually("a word about it", || told().then_some(()));
    assert_eq!(directory.counts()[1], 1, "nothing is ordered");
    drop(next);

    let gate = Running::start(files).unwrap_or_else(|problems| panic!("{problems:?}"));
    directory.validate_at(gate.addr);
    let config = fs::read_to_string(gate.files().config()).unwrap();
    gate.files()
        .write("riskgate.toml", config.replace("contact = []", "contact = [\"mailto:me@example.com\"]"));
    assert!(gate.ask(&Request::new("POST", "/api/reload")).text().contains("published"));
    is_let_in(&directory, tls, "api.example");
    assert_eq!(directory.counts()[1..3], [2, 1], "other settings are tried at once");
    let settled = || (!stored(gate.files()).contains(&"failed-orders.json".to_owned())).then_some(());
    eventually("nothing that failed", settled);
}

#[test]
fn an_order_that_failed_is_told_with_the_host_that_was_not_proved() {
    let directory = Directory::open();
    let (setup, _) = by_request(&directory);
    let files = setup.write();
    directory.validate_at(free_addr());
    let _gate = Process::start(&files);
    let log = || fs::read_to_string(files.path("log")).unwrap();
    eventually("a word about it", || log().contains("next attempt in").then_some(()));
    let told = HOSTS.iter().any(|host| log().contains(&format!("could not validate `{host}`: ")));
    assert!(told, "{}", log());
}

#[test]
fn a_certificate_whose_end_has_come_near_is_ordered_anew_at_a_reload_that_changes_nothing() {
    let directory = Directory::open();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    // Two thirds of its life are over in two seconds.
    let old = directory.authority().living(HOSTS, now - 198, now + 102);
    let old = format!("# issued by {}\n{}{}", directory.url(), old.key, old.cert);
    let gate =
        by_handshake(&directory, "certificates = [\"api\"]").file("acme/api.pem", old.as_str()).start();
    directory.validate_at(gate.addr);
    let renewed = || {
        gate.ask(&Request::new("POST", "/api/reload"));
        (fs::read_to_string(gate.files().path("acme/api.pem")).unwrap() != old).then_some(())
    };
    eventually("another certificate", renewed);
    is_let_in(&directory, gate.addr, "api.example");
    assert_eq!(directory.counts()[1..3], [1, 1]);
}

#[test]
fn what_has_ended_or_cannot_be_read_is_replaced_and_the_gate_starts_all_the_same() {
    let directory = Directory::open();
    let expired = directory.authority().expired(HOSTS);
    let expired = format!("# issued by {}\n{}{}", directory.url(), expired.key, expired.cert);
    for (content, warned) in [(expired.as_str(), "has expired"), ("half a file", "there is no certificate")] {
        let gate = by_handshake(&directory, "certificates = [\"api\"]").file("acme/api.pem", content).start();
        assert!(gate.notes.iter().any(|note| note.to_string().contains(warned)), "{:?}", gate.notes);
        directory.validate_at(gate.addr);
        is_let_in(&directory, gate.addr, "www.example");
        assert!(
            fs::read_to_string(gate.files().path("acme/api.pem"))
                .unwrap()
                .starts_with("# issued by https://127")
        );
    }
    assert_eq!(directory.counts()[2], 2);
}

#[test]
fn hosts_that_are_added_while_the_gate_runs_are_in_the_next_certificate() {
    let directory = Directory::open();
    let (setup, tls) = by_request(&directory);
    let gate = setup.start();
    directory.validate_at(gate.addr);
    is_let_in(&directory, tls, "api.example");
    let config = fs::read_to_string(gate.files().config()).unwrap();
    let more = WANTED.replace("[", "[\"new.example\", ");
    gate.files().write("riskgate.toml", config.replace(WANTED, &more));
    assert!(gate.ask(&Request::new("POST", "/api/reload")).text().contains("published"));
    is_let_in(&directory, tls, "new.example");
    is_let_in(&directory, tls, "api.example");
    assert_eq!(directory.counts()[..3], [1, 2, 2]);
}

#[test]
fn check_shows_what_is_issued_and_asks_nobody() {
    let directory = Directory::open();
    let issued = directory.authority().server(HOSTS);
    let setup = by_handshake(&directory, "certificates = [\"api\"]")
        .section("certificates.new", "acme = [\"new.example\"]")
        .file("acme/api.pem", format!("# issued by {}\n{}{}", directory.url(), issued.key, issued.cert));
    let files = setup.write();
    let file = |name: &str| files.path(&format!("acme/{name}.pem")).display().to_string();
    riskgate(&files, &["check"]).out_has(&[
        "certificates by ACME",
        &format!("api  api.example, www.example  until 2090-01-01  {}", file("api")),
        &format!("new  new.example  not issued yet  {}", file("new")),
    ]);
    assert_eq!(stored(&files), ["api.pem"]);
    assert_eq!(directory.counts(), [0; 4]);
}

#[test]
fn nobody_is_contacted_where_nothing_is_wanted() {
    let directory = Directory::open();
    let acme = format!("directory = \"{}\"\nterms_agreed = true", directory.url());
    let gate = Setup::new().section("acme", &acme).start();
    let mut client = Client::connect(gate.addr).unwrap();
    assert_eq!(client.send(&Request::get("/").header("host", "a.example")).unwrap().status, 200);
    drop(gate);
    assert_eq!(directory.counts(), [0; 4]);
}
