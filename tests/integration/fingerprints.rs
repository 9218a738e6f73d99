//! What clients with a certain fingerprint are called: a file that is checked and changed while the gate runs.

use std::fs;
use std::net::SocketAddr;

use riskgate::facts::hello::{HelloReader, Progress};
use riskgate::facts::ja4::Ja4;
use rustls::ClientConfig;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::certificates::{Authority, connect};
use crate::net::{Body, PATIENCE, Request};
use crate::support::{Running, Setup, json};

const CHROMIUM: &str = "t13d1516h2_8daaf6152771_e5627efa2ab1";

fn gate(fingerprints: &str) -> Setup {
    Setup::new()
        .section("fingerprints", "ja4 = \"@/fingerprints.txt\"")
        .file("fingerprints.txt", fingerprints)
        .rule("10-tls", "if req.tls.class == \"bot\" { risk.add(\"tls.bot\", 30); }\nif req.tls.ja4 == \"\" { risk.add(\"tls.none\", 1); }")
}

/// How a request of a client with this fingerprint is judged.
fn explained(gate: &Running) -> Value {
    let body = format!("{{\"tls\": {{\"ja4\": \"{CHROMIUM}\"}}}}");
    let answer = gate.ask(&Request::new("POST", "/api/explain").body(Body::Full(body.into_bytes())));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!answer.text().contains("8daaf6152771"), "{}", answer.text());
    json(&answer)
}

fn reload(gate: &Running) -> Value {
    json(&gate.ask(&Request::new("POST", "/api/reload")))
}

#[test]
fn classes_change_while_the_gate_runs_and_wrong_ones_are_refused() {
    let gate = gate(&format!("{CHROMIUM} browser")).start();
    assert_eq!(explained(&gate)["score"], 0);

    fs::write(gate.files().path("fingerprints.txt"), format!("# now\n{CHROMIUM} bot\n")).unwrap();
    assert_eq!(reload(&gate)["outcome"], "published");
    let judged = explained(&gate);
    assert_eq!((&judged["score"], &judged["signals"]["tls.ja4"]), (&30.into(), &"bot".into()), "{judged}");

    fs::write(gate.files().path("fingerprints.txt"), format!("{CHROMIUM} bot\n8daaf6152771 bot\n")).unwrap();
    let refused = reload(&gate);
    assert_eq!(refused["outcome"], "refused", "{refused}");
    let problem = &refused["problems"][0];
    assert_eq!(problem["line"], 2, "{problem}");
    assert!(problem["message"].as_str().unwrap().contains("is no JA4 fingerprint"), "{problem}");
    assert_eq!(explained(&gate)["score"], 30, "the last good one stays");
}

#[test]
fn without_the_file_a_gate_does_not_start() {
    let Err(problems) = Setup::new().section("fingerprints", "ja4 = \"@/nothing.txt\"").try_start() else {
        panic!("it starts")
    };
    assert!(problems[0].to_string().contains("nothing.txt"), "{}", problems[0]);
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await.expect("in time") })
}

/// The fingerprint of this client, by what it sends to a socket that only listens.
async fn fingerprint(config: &ClientConfig) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = config.clone();
    let client = tokio::spawn(async move { connect(&config, address, "api.example").await.is_ok() });
    let (mut stream, _) = listener.accept().await.unwrap();
    let (mut reader, mut buffer) = (HelloReader::default(), [0; 7]);
    let hello = loop {
        let count = stream.read(&mut buffer).await.unwrap();
        match reader.read(&buffer[..count]) {
            Progress::More => assert_ne!(count, 0, "the hello is cut"),
            Progress::Done(hello) => break hello,
            Progress::NotTls => panic!("no hello"),
        }
    };
    drop(stream);
    assert!(!client.await.unwrap(), "nobody answered");
    Ja4::of(&hello).as_str().to_owned()
}

/// What one request brings by HTTP/1.1 or HTTP/2, whichever is agreed on.
async fn get(config: &ClientConfig, address: SocketAddr) -> String {
    let mut stream = connect(config, address, "api.example").await.unwrap();
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let request = http::Request::get("https://api.example/hello").body(()).unwrap();
        let mut body = client.send_request(request, true).unwrap().0.await.unwrap().into_body();
        let mut text = Vec::new();
        while let Some(data) = body.data().await {
            text.extend_from_slice(&data.unwrap());
        }
        return String::from_utf8(text).unwrap();
    }
    stream.write_all(b"GET /hello HTTP/1.1\r\nhost: api.example\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[test]
fn a_script_reads_the_fingerprint_of_each_connection_and_the_log_keeps_its_class() {
    let authority = Authority::new("test authority");
    let (one, two) = (authority.believer(&["http/1.1"], None), authority.believer(&["h2"], None));
    let (first, second) = block_on(async { (fingerprint(&one).await, fingerprint(&two).await) });
    assert_eq!((&first[..4], &first[8..10], &second[8..10]), ("t13d", "h1", "h2"));

    let issued = authority.server(&["api.example"]);
    let gate = Setup::new()
        .listener("tls = { cert = \"@/cert.pem\", key = \"@/key.pem\" }")
        .file("cert.pem", issued.cert.as_str())
        .file("key.pem", issued.key.as_str())
        .section("fingerprints", "ja4 = \"@/fingerprints.txt\"")
        .file("fingerprints.txt", format!("{first} ours\n"))
        .rule("10-tls", "risk.tag(\"seen\", req.tls.ja4 + \" \" + req.tls.class);")
        .start();
    for (config, seen) in [(&one, format!("{first} ours")), (&two, format!("{second} "))] {
        let answer = block_on(get(config, gate.addr));
        assert!(answer.contains(seen.trim_end()), "{seen}\n{answer}");
    }
    let records = gate.records(2);
    let kept = |at: usize| records[at]["signals"]["tls.ja4"].clone();
    assert_eq!((kept(0), kept(1)), ("ours".into(), "".into()));
    let files = gate.stop();
    let log = files.log();
    assert!(
        [first, second].iter().all(|ja4| !log.contains(&ja4[11..23]) && !log.contains(&ja4[24..])),
        "{log}"
    );
}
