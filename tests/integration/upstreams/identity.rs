//! A certificate of the gate's own, shown to servers that want to see one.

use std::fs;

use super::transport::{Pki, modern};
use super::*;
use crate::certificates::{Authority, Issued};

const SHOWN: &str =
    "tls = { sni = \"api.internal\", ca = \"@/ca.pem\", cert = \"@/own.pem\", key = \"@/own.key\" }";
const NOT_SHOWN: &str = "tls = { sni = \"api.internal\", ca = \"@/ca.pem\" }";
/// Without a body and with one: the short way and the other.
const METHODS: [&str; 2] = ["GET", "DELETE"];

fn setup(server: SocketAddr, tls: &str, pki: &Pki, own: &Issued) -> Setup {
    let files = [("ca.pem", &pki.ca), ("own.pem", &own.cert), ("own.key", &own.key)];
    files.into_iter().fold(servers(&[server], tls), |setup, (name, text)| setup.file(name, text.as_str()))
}

fn statuses(gate: &Running) -> [u16; 2] {
    METHODS.map(|method| gate.send(&Request::new(method, "/")).status)
}

#[test]
fn a_server_that_wants_to_know_who_asks_is_shown_the_certificate() {
    let (pki, authority, stranger) =
        (Pki::of("api.internal"), Authority::new("ours"), Authority::new("ours"));
    let server = modern(Some(pki.acceptor_for(&[], authority.verifier())));
    let (own, wrong) = (authority.client("gate"), stranger.client("gate"));
    assert_eq!(statuses(&setup(server, SHOWN, &pki, &own).start()), [200, 200]);
    for (tls, own) in [(SHOWN, &wrong), (NOT_SHOWN, &own)] {
        let gate = setup(server, tls, &pki, own).start();
        assert_eq!(statuses(&gate), [502, 502], "{tls}");
        let records = gate.records(2);
        // By TLS 1.3 a server refuses a certificate after the handshake.
        assert!(records.iter().all(|record| record["fault"] == "upstream_failed"), "{records:?}");
    }

    let server = modern(Some(pki.acceptor_for(&[b"h2"], authority.verifier())));
    let by_h2 = format!("{SHOWN}\nprotocol = \"http2\"");
    assert_eq!(statuses(&setup(server, &by_h2, &pki, &own).start()), [200, 200]);
    assert_eq!(statuses(&setup(server, &by_h2, &pki, &wrong).start()), [502, 502]);
}

#[test]
fn a_changed_certificate_is_shown_without_a_restart() {
    let (pki, authority, stranger) =
        (Pki::of("api.internal"), Authority::new("ours"), Authority::new("ours"));
    let server = modern(Some(pki.acceptor_for(&[], authority.verifier())));
    let gate = setup(server, SHOWN, &pki, &authority.client("gate")).start();
    assert_eq!(statuses(&gate), [200, 200]);
    let reload = |own: &Issued| {
        gate.files().write("own.pem", &own.cert);
        gate.files().write("own.key", &own.key);
        json(&gate.ask(&Request::new("POST", "/api/reload")))
    };
    assert_eq!(reload(&stranger.client("gate"))["outcome"], "published");
    assert_eq!(statuses(&gate), [502, 502], "connections of the old one are not used");
    assert_eq!(reload(&authority.client("gate"))["outcome"], "published");
    assert_eq!(statuses(&gate), [200, 200]);
    let unfit = Issued { key: stranger.client("gate").key, ..authority.client("gate") };
    assert!(reload(&unfit).to_string().contains("the key cannot be used with the certificate"));
    assert_eq!(statuses(&gate), [200, 200], "what was refused changes nothing");
}

#[test]
fn a_certificate_that_cannot_be_shown_is_told_at_start() {
    let (pki, authority) = (Pki::of("api.internal"), Authority::new("ours"));
    let good = authority.client("gate");
    let other = authority.client("gate").key;
    let refusal = |cert: &str, key: &str| {
        let own = Issued { cert: cert.to_owned(), key: key.to_owned() };
        let refused = setup(free_addr(), SHOWN, &pki, &own).try_start();
        shown(&refused.err().expect("a gate that does not start"))
    };
    for (cert, key, file, why) in [
        (good.cert.as_str(), other.as_str(), "own.key", "the key cannot be used with the certificate"),
        (&good.cert, "", "own.key", "there is no private key in it"),
        (&good.cert, &good.cert, "own.key", "there is no private key in it"),
        ("", &good.key, "own.pem", "there is no certificate in it"),
    ] {
        let told = refusal(cert, key);
        assert!(told.contains(file) && told.contains(why), "{told}");
        assert!(told.contains("upstream `origin` cannot use this file"), "{told}");
    }
    let missing = setup(free_addr(), SHOWN, &pki, &good).write();
    fs::remove_file(missing.path("own.key")).unwrap();
    let told = shown(&Running::start(missing).err().expect("a gate that does not start"));
    assert!(told.contains("own.key") && told.contains("does not exist"), "{told}");
}
