//! Where connections come from: proxies that introduce them by the PROXY protocol, and Unix sockets.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Ipv6Addr;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use crate::certificates::{Authority, connect_behind};
use crate::http2::{block_on, client, get, send};
use crate::net::{Client, PATIENCE, Request, Response};
use crate::support::{Running, Setup, from, json};

const INTRODUCED: &str = "proxy_protocol = \"required\"\nproxy_protocol_from = [\"127.0.0.0/8\"]";
/// What a script tells the origin about the client.
const SHOW: &str = "risk.tag(\"prefix\", req.client.prefix); risk.tag(\"country\", req.geo.country);";

fn setup() -> Setup {
    Setup::new().section("client", "trusted_proxies = []").rule("10-show", SHOW)
}

/// A header of version 2.
fn v2(command: u8, transport: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, transport], &length, content].concat()
}

fn ipv4() -> Vec<u8> {
    vec![203, 0, 113, 77, 10, 0, 0, 1, 0x80, 0, 1, 0xbb]
}

fn v1(address: &str) -> Vec<u8> {
    let family = if address.contains(':') { "TCP6" } else { "TCP4" };
    format!("PROXY {family} {address} {address} 56324 443\r\n").into_bytes()
}

/// A connection that begins with this header.
fn introduced(gate: &Running, header: &[u8]) -> Client {
    let mut client = gate.connect();
    client.write(header).unwrap();
    client
}

/// What the origin was told.
fn told(response: &Response, name: &str) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    json(response)["headers"][name].clone()
}

#[test]
fn a_proxy_says_whose_a_connection_is() {
    let gate = setup().listener(INTRODUCED).start();
    let ipv6 = "2001:db8:77::77".parse::<Ipv6Addr>().unwrap().octets();
    let ipv6 = [ipv6.as_slice(), &[0; 16], &[0x80, 0, 1, 0xbb]].concat();
    for (header, prefix, country) in [
        (v1("203.0.113.77"), "203.0.113.0/24", "DE"),
        (v1("2001:db8:77::77"), "2001:db8:77::/48", "SE"),
        (v1("::ffff:8.8.8.8"), "8.8.8.0/24", "US"),
        (b"PROXY UNKNOWN 203.0.113.77 10.0.0.1 1 2\r\n".to_vec(), "unknown", "ZZ"),
        (v2(0x21, 0x11, &ipv4()), "203.0.113.0/24", "DE"),
        (v2(0x21, 0x21, &ipv6), "2001:db8:77::/48", "SE"),
        (v2(0x21, 0x11, &[ipv4(), vec![4, 0, 200], vec![0; 200]].concat()), "203.0.113.0/24", "DE"),
        (v2(0x21, 0x31, &[b'x'; 216]), "unknown", "ZZ"),
        (v2(0x20, 0x00, &[]), "127.0.0.0/24", "ZZ"),
    ] {
        let mut client = introduced(&gate, &header);
        // All requests of the connection are of that client, whatever it claims.
        for request in [Request::get("/"), from("8.8.8.8", "/")] {
            let answer = client.send(&request).unwrap();
            assert_eq!(told(&answer, "riskgate-prefix"), prefix, "{header:?}");
            assert_eq!(told(&answer, "riskgate-country"), country, "{header:?}");
        }
    }
}

#[test]
fn a_proxy_says_whose_a_connection_of_tls_is() {
    let authority = Authority::new("test authority");
    let issued = authority.server(&["api.example"]);
    let gate = setup()
        .listener(INTRODUCED)
        .listener("tls = { cert = \"@/cert.pem\", key = \"@/key.pem\" }")
        .file("cert.pem", issued.cert.as_str())
        .file("key.pem", issued.key.as_str())
        .rule("20-tls", "risk.tag(\"hello\", req.scheme + \" \" + req.tls.sni + \" \" + req.tls.ja4);")
        .start();
    let ask = async |header: &[u8]| {
        let believer = authority.believer(&["h2"], None);
        let stream = connect_behind(&believer, gate.addr, "api.example", header).await.ok()?;
        let answer = send(&mut client(stream).await, get("/"), &[]).await.unwrap();
        let headers = &serde_json::from_str::<Value>(answer.body()).unwrap()["headers"];
        Some(["riskgate-prefix", "riskgate-hello"].map(|name| headers[name].as_str().unwrap().to_owned()))
    };
    block_on(async {
        for header in [v1("203.0.113.77"), v2(0x21, 0x11, &ipv4())] {
            let [prefix, hello] = ask(&header).await.expect("a handshake");
            assert_eq!(prefix, "203.0.113.0/24", "{header:?}");
            assert!(hello.starts_with("https api.example t13d"), "{hello}");
        }
        assert!(ask(b"").await.is_none(), "a hello is no introduction");
        assert!(ask(b"PROXY TCP4 203.0.113.77 nobody 1 2\r\n").await.is_none());
    });
    let metrics = gate.metrics();
    let refused = "riskgate_connections_refused_total{bound=\"proxy_protocol\"} 2";
    assert!(metrics.contains(refused), "{metrics}");
}

#[test]
fn whoever_is_not_introduced_is_not_served() {
    let gate = setup().listener(INTRODUCED).start();
    let long = v2(0x21, 0x11, &[0; 5000]);
    let sum = v2(0x21, 0x11, &[ipv4().as_slice(), &[3, 0, 4, 1, 2, 3, 4]].concat());
    let headers: [&[u8]; 7] = [
        b"",
        b"PROXY TCP4 203.0.113.77 nobody 1 2\r\n",
        b"PROXY TCP4 203.0.113.77 10.0.0.1 1 2\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x13\0\0",
        b"proxy tcp4 203.0.113.77 10.0.0.1 1 2\r\n",
        &long,
        &sum,
    ];
    for header in headers {
        let mut client = introduced(&gate, header);
        // It may be closed before all was written.
        let _ = client.write(&Request::get("/").to_bytes());
        assert!(client.is_closed(), "{header:?}");
    }
    let twice = [v1("203.0.113.77"), v1("203.0.113.78")].concat();
    assert_eq!(introduced(&gate, &twice).send(&Request::get("/")).unwrap().status, 400);
    let metrics = gate.metrics();
    let refused = "riskgate_connections_refused_total{bound=\"proxy_protocol\"} 7";
    assert!(metrics.contains(refused), "{metrics}");
}

#[test]
fn strangers_introduce_nobody() {
    let strict = "proxy_protocol = \"required\"\nproxy_protocol_from = [\"10.0.0.0/8\"]";
    let gate = setup().listener(strict).start();
    for header in [v1("203.0.113.77"), v2(0x21, 0x11, &ipv4()), Vec::new()] {
        let mut client = gate.connect();
        let _ = client.write(&[header, Request::get("/").to_bytes()].concat());
        assert!(client.is_closed());
    }
    let metrics = gate.metrics();
    let refused = "riskgate_connections_refused_total{bound=\"proxy_protocol\"} 3";
    assert!(metrics.contains(refused), "{metrics}");
}

#[test]
fn where_nobody_introduces_a_header_is_a_malformed_request() {
    let gate = setup().start();
    let mut client = gate.connect();
    client.write(&[v1("203.0.113.77"), Request::get("/").to_bytes()].concat()).unwrap();
    assert_eq!(client.response_to("GET").unwrap().status, 400);
    let mut client = gate.connect();
    client.write(&[v2(0x21, 0x11, &ipv4()), Request::get("/").to_bytes()].concat()).unwrap();
    assert_ne!(client.response_to("GET").map_or(400, |answer| answer.status), 200);
}

#[test]
fn who_was_introduced_may_be_a_trusted_proxy_itself() {
    let gate = Setup::new()
        .section("client", "trusted_proxies = [\"10.0.0.0/8\"]")
        .rule("10-show", SHOW)
        .listener(INTRODUCED)
        .start();
    for (peer, prefix) in [("10.1.2.3", "8.8.8.0/24"), ("203.0.113.77", "203.0.113.0/24")] {
        let answer = introduced(&gate, &v1(peer)).send(&from("8.8.8.8", "/")).unwrap();
        assert_eq!(told(&answer, "riskgate-prefix"), prefix);
    }
    // A proxy that does not know whom it serves is not taken for a trusted peer.
    let answer = introduced(&gate, b"PROXY UNKNOWN\r\n").send(&from("8.8.8.8", "/")).unwrap();
    assert_eq!(told(&answer, "riskgate-prefix"), "unknown");
}

#[test]
fn connections_are_counted_for_whom_they_are_of() {
    let gate =
        setup().listener(INTRODUCED).section("server", "threads = 2\nmax_connections_per_client = 1").start();
    let mut held = introduced(&gate, &v1("203.0.113.77"));
    assert_eq!(held.send(&Request::get("/")).unwrap().status, 200);
    let mut neighbour = introduced(&gate, &v1("203.0.113.78"));
    let _ = neighbour.write(&Request::get("/").to_bytes());
    assert!(neighbour.is_closed(), "there is one place for that network");
    assert_eq!(introduced(&gate, &v1("8.8.8.8")).send(&Request::get("/")).unwrap().status, 200);
    assert!(gate.metrics().contains("riskgate_connections_refused_total{bound=\"client\"} 1"));
}

/// One request over a Unix socket, and all that comes back.
fn ask(path: &Path, header: &[u8], request: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(header).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        // What was written and not read is gone with the connection.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        read => assert!(read.is_ok(), "{read:?}"),
    }
    answer
}

const HELLO: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[test]
fn a_unix_socket_serves_unknown_clients_and_goes_with_the_gate() {
    let gate = setup()
        .listener("[[listener]]\naddress = \"unix:@/gate.sock\"\nmode = \"0600\"")
        .rule("20-limit", "risk.throttle(\"test.limit\", \"client\", 2);")
        .start();
    let path = gate.files().path("gate.sock");
    let answer = ask(&path, b"", HELLO);
    assert!(answer.contains("\"riskgate-prefix\": \"unknown\""), "{answer}");
    // They share one limit; they are never without.
    let answers: Vec<_> = (0..30).map(|_| ask(&path, b"", HELLO)).collect();
    assert!(answers.iter().any(|answer| answer.starts_with("HTTP/1.1 429")), "{answers:?}");
    // What they claim to be is not believed.
    let claim = HELLO.replace("host: a", "host: a\r\nx-forwarded-for: 8.8.8.8");
    let record = gate.records(31).pop().unwrap();
    assert_eq!(record["country"], "ZZ");
    assert!(!ask(&path, b"", &claim).contains("8.8.8.0"));
    let files = gate.stop();
    assert!(!files.path("gate.sock").exists());
}

#[test]
fn a_proxy_on_a_unix_socket_is_believed_if_it_is_trusted() {
    let gate = Setup::new()
        .section("client", "trusted_proxies = [\"unix\"]")
        .rule("10-show", SHOW)
        .listener("[[listener]]\naddress = \"unix:@/gate.sock\"")
        .listener("[[listener]]\naddress = \"unix:@/introduced.sock\"\nproxy_protocol = \"required\"")
        .start();
    let claim = HELLO.replace("host: a", "host: a\r\nx-forwarded-for: 203.0.113.77");
    let answer = ask(&gate.files().path("gate.sock"), b"", &claim);
    assert!(answer.contains("\"riskgate-prefix\": \"203.0.113.0/24\""), "{answer}");
    let introduced = gate.files().path("introduced.sock");
    let answer = ask(&introduced, &v1("8.8.8.8"), &claim);
    assert!(answer.contains("\"riskgate-prefix\": \"8.8.8.0/24\""), "{answer}");
    assert_eq!(ask(&introduced, b"", HELLO), "");
}

#[test]
fn a_socket_that_somebody_listens_to_is_not_taken_away() {
    let files = setup().listener("[[listener]]\naddress = \"unix:@/gate.sock\"").write();
    let other = std::os::unix::net::UnixListener::bind(files.path("gate.sock")).unwrap();
    let Err(problems) = Running::start(files) else { panic!("it starts") };
    assert!(problems[0].to_string().contains("is already in use"), "{}", problems[0]);
    drop(other);
}

#[test]
fn hops_are_counted_behind_a_trusted_peer() {
    let gate = Setup::new()
        .section("client", "trusted_proxies = [\"127.0.0.0/8\"]\ntrusted_hops = 2")
        .rule("10-show", SHOW)
        .start();
    let claim = Request::get("/").header("x-forwarded-for", "8.8.8.8, 203.0.113.77, 198.51.100.1");
    assert_eq!(told(&gate.send(&claim), "riskgate-prefix"), "203.0.113.0/24");
}
