//! TLS toward clients: certificates by name, versions, resumption, certificates of clients, reload, redirects.

use std::io::Write as _;
use std::net::SocketAddr;

use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::certificates::{Authority, Issued, connect};
use crate::net::{Client, PATIENCE, Request};
use crate::support::{Running, Setup, eventually};

const LISTENER: &str = "tls = { cert = \"@/tls/cert.pem\", key = \"@/tls/key.pem\" }";

/// A gate that shows this certificate, and tells the origin what it knows of TLS.
fn shows(issued: &Issued) -> Setup {
    Setup::new()
        .listener(LISTENER)
        .file("tls/cert.pem", issued.cert.as_str())
        .file("tls/key.pem", issued.key.as_str())
        .rule(
            "10-tls",
            "risk.tag(\"tls\", req.scheme + \" \" + req.tls.version + \" \" + req.tls.alpn + \" \" + req.tls.sni);
             risk.tag(\"client\", req.tls.client);",
        )
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await.expect("in time") })
}

/// What one request brings, as text, head and body.
async fn get(config: &ClientConfig, address: SocketAddr, host: &str) -> std::io::Result<String> {
    let mut stream = connect(config, address, host).await?;
    let request = format!("GET /hello HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Reloads now; what came of it.
fn reload(gate: &Running) -> String {
    gate.ask(&Request::new("POST", "/api/reload")).text().to_owned()
}

#[test]
fn a_request_by_tls_is_judged_and_the_origin_learns_that_it_came_so() {
    let authority = Authority::new("test authority");
    let gate = shows(&authority.server(&["api.example"])).listener("hsts = \"365d\"").start();
    let answer = block_on(get(&authority.believer(&["http/1.1"], None), gate.addr, "api.example")).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for part in [
        "\"riskgate-tls\": \"https 1.3 http/1.1 api.example\"",
        "\"x-forwarded-proto\": \"https\"",
        "strict-transport-security: max-age=31536000",
    ] {
        assert!(answer.contains(part), "{part}\n{answer}");
    }
}

#[test]
fn the_certificate_is_the_one_for_the_host_and_else_the_first() {
    let authority = Authority::new("test authority");
    let (api, all) =
        (authority.server(&["api.example"]), authority.server(&["*.other.example", "www.example"]));
    let gate = Setup::new()
        .listener("certificates = [\"api\", \"others\"]")
        .section("certificates.api", "cert = \"@/api.pem\"\nkey = \"@/api.key\"")
        .section("certificates.others", "cert = \"@/all.pem\"\nkey = \"@/all.key\"")
        .file("api.pem", api.cert.as_str())
        .file("api.key", api.key.as_str())
        .file("all.pem", all.cert.as_str())
        .file("all.key", all.key.as_str())
        .start();
    let client = authority.believer(&[], None);
    for host in ["api.example", "www.example", "a.other.example", "A.Other.Example"] {
        let answer = block_on(get(&client, gate.addr, host));
        assert!(answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")), "{host}");
    }
    for host in ["unknown.example", "a.b.other.example"] {
        let error = block_on(get(&client, gate.addr, host)).unwrap_err();
        assert!(error.to_string().contains("certificate"), "the default is not for {host}: {error}");
    }
}

#[test]
fn the_oldest_version_is_the_operators_choice() {
    let authority = Authority::new("test authority");
    let old = || {
        let mut roots = rustls::RootCertStore::empty();
        let pem = authority.pem();
        use rustls::pki_types::pem::PemObject as _;
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    let both = shows(&authority.server(&["api.example"])).start();
    let answer = block_on(get(&old(), both.addr, "api.example")).unwrap();
    assert!(answer.contains("https 1.2  api.example"), "{answer}");
    let new = shows(&authority.server(&["api.example"])).listener("tls_min = \"1.3\"").start();
    assert!(block_on(get(&old(), new.addr, "api.example")).is_err());
}

#[test]
fn a_session_is_resumed() {
    let authority = Authority::new("test authority");
    let gate = shows(&authority.server(&["api.example"])).start();
    let client = authority.believer(&["http/1.1"], None);
    let kinds: Vec<_> = block_on(async {
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut stream = connect(&client, gate.addr, "api.example").await.unwrap();
            stream
                .write_all(b"GET / HTTP/1.1\r\nhost: api.example\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        }
        kinds
    });
    assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
}

#[test]
fn a_failed_handshake_tells_the_client_why() {
    let authority = Authority::new("test authority");
    let gate = shows(&authority.server(&["api.example"])).start();
    let error = block_on(get(&authority.believer(&["gopher"], None), gate.addr, "api.example")).unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
}

#[test]
fn a_client_shows_a_certificate_that_somebody_vouches_for() {
    let (authority, strangers) = (Authority::new("test authority"), Authority::new("strangers"));
    let serve = |needed: &str| {
        shows(&authority.server(&["api.example"]))
            .listener(&format!("client_ca = \"@/tls/ca.pem\"\nclient_certificate = \"{needed}\""))
            .file("tls/ca.pem", authority.pem())
            .start()
    };
    let (alice, mallory) = (authority.client("alice"), strangers.client("mallory"));
    let ask = |gate: &Running, own: Option<&Issued>| {
        block_on(get(&authority.believer(&[], own), gate.addr, "api.example"))
    };
    let required = serve("required");
    let answer = ask(&required, Some(&alice)).unwrap();
    assert!(answer.contains("\"riskgate-client\": \"CN=alice\""), "{answer}");
    assert!(ask(&required, None).is_err());
    assert!(ask(&required, Some(&mallory)).is_err());
    let optional = serve("optional");
    assert!(ask(&optional, Some(&alice)).unwrap().contains("CN=alice"));
    assert!(ask(&optional, None).unwrap().starts_with("HTTP/1.1 200"));
    assert!(ask(&optional, Some(&mallory)).is_err());
}

#[test]
fn certificates_are_loaded_anew_and_a_bad_one_changes_nothing() {
    let authority = Authority::new("test authority");
    let gate = shows(&authority.server(&["old.example"])).start();
    let ask = |host: &str| block_on(get(&authority.believer(&[], None), gate.addr, host)).is_ok();
    assert!(ask("old.example") && !ask("new.example"));

    let new = authority.server(&["new.example"]);
    gate.files().write("tls/cert.pem", &new.cert);
    let refused = reload(&gate);
    assert!(refused.contains("this key is not that of the certificate"), "{refused}");
    assert!(ask("old.example") && !ask("new.example"));

    gate.files().write("tls/key.pem", &new.key);
    assert!(reload(&gate).contains("published"));
    assert!(!ask("old.example") && ask("new.example"));
    assert!(gate.metrics().contains("riskgate_certificate_expiry_seconds{name=\"listener-1\"} 3786912000"));

    let expired = authority.expired(&["new.example"]);
    gate.files().write("tls/cert.pem", &expired.cert);
    gate.files().write("tls/key.pem", &expired.key);
    let refused = reload(&gate);
    assert!(refused.contains("the certificate has expired"), "{refused}");
    assert!(ask("new.example"));
}

#[test]
fn bad_files_are_a_message() {
    let authority = Authority::new("test authority");
    let good = authority.server(&["api.example"]);
    let refused = |cert: &str, key: &str| {
        let setup = Setup::new().listener(LISTENER).file("tls/cert.pem", cert).file("tls/key.pem", key);
        let problems = setup.try_start().err().expect("refused");
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let (other, expired) = (authority.server(&["other.example"]), authority.expired(&["api.example"]));
    for (cert, key, said) in [
        ("", good.key.as_str(), "cert.pem: there is no certificate in this file"),
        ("-----BEGIN CERTIFICATE-----\n", &good.key, "cert.pem: not PEM"),
        (&good.cert, "", "key.pem: there is no private key in this file"),
        (&good.cert, &good.cert, "key.pem: there is no private key in this file"),
        (&good.cert, &other.key, "key.pem: this key is not that of the certificate in"),
        (&authority.expired(&["a.example"]).cert, &good.key, "key.pem: this key is not that"),
        (&expired.cert, &expired.key, "the certificate has expired"),
    ] {
        let problems = refused(cert, key);
        assert!(problems.contains(said), "{said}\n{problems}");
    }
    let folder = Setup::new().listener(LISTENER).file("tls/cert.pem/inside", "").file("tls/key.pem", "");
    let unreadable = folder.try_start().err().expect("refused");
    assert!(unreadable.iter().any(|problem| problem.to_string().contains("cert.pem: ")), "{unreadable:?}");
    let missing = Setup::new().listener(LISTENER).try_start().err().expect("refused");
    assert!(missing.iter().any(|problem| problem.to_string().contains("tls/cert.pem")), "{missing:?}");
}

#[test]
fn a_listener_in_the_clear_sends_everybody_to_https() {
    let gate = Setup::new().listener("redirect_https = 8443").start();
    let mut client = Client::connect(gate.addr).unwrap();
    let answer = client.send(&Request::get("/a?b=c").header("host", "api.example")).unwrap();
    assert_eq!(answer.status, 301);
    assert_eq!(answer.headers.first("location"), Some("https://api.example:8443/a?b=c"));
    let answer = client.send(&Request::get("/").header("host", "api.example")).unwrap();
    assert_eq!(answer.status, 301, "on the same connection");
}

#[test]
fn handshakes_that_stand_still_hold_up_nobody_else() {
    let authority = Authority::new("test authority");
    let gate = shows(&authority.server(&["api.example"])).section("server", "threads = 1").start();
    let client = authority.believer(&["http/1.1"], None);
    let mut still: Vec<_> = (0..50).map(|_| std::net::TcpStream::connect(gate.addr).unwrap()).collect();
    for stream in &mut still {
        // The beginning of a ClientHello of 508 bytes.
        stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).unwrap();
    }
    let open = || gate.metrics().lines().any(|line| line == "riskgate_connections 50");
    eventually("all to be there", || open().then_some(()));
    for _ in 0..5 {
        let answer = block_on(get(&client, gate.addr, "api.example")).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    drop(still);
}
