//! The same over HTTP/2, where nothing in a request tells the ways apart: what goes to a server that may speak HTTP/2, and
//! does not, takes the long one.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use http::request::Builder;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{WAYS, Way, every_answer_is_alike, lines, masked, remembering, rows};
use crate::certificates::Authority;
use crate::http2::{block_on, clear};
use crate::net::PATIENCE;
use crate::support::{Running, Setup, eventually, raw_origin, read_head};
use crate::upstreams::serving;

/// A large answer: a client that takes nothing of it has it stuck.
const LARGE: usize = 16 << 20;

impl Way {
    /// Where it begins for an origin, and how its upstream is written.
    pub(super) fn to(self, origin: SocketAddr) -> (SocketAddr, &'static str) {
        match self {
            Self::Short => (origin, ""),
            Self::Long => (old(origin), "tls = { verify = false }\nprotocol = \"auto\""),
        }
    }
}

/// Speaks TLS before an origin, and no HTTP/2.
pub(super) fn old(origin: SocketAddr) -> SocketAddr {
    let issued = Authority::new("test authority").server(&["api.internal"]);
    let acceptor = TlsAcceptor::from(Arc::new(issued.server_config(&["http/1.1"])));
    serving(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut near) = acceptor.accept(stream).await else { return };
            let Ok(mut far) = TcpStream::connect(origin).await else { return };
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        }
    })
}

pub(super) fn over_http2(method: &str, target: &str) -> Builder {
    at("api.example", method, target)
}

fn at(host: &str, method: &str, target: &str) -> Builder {
    Request::builder().method(method).uri(format!("http://{host}{target}"))
}

pub(super) fn setup() -> Setup {
    Setup::new().listener("http2 = true")
}

/// A gate for each way, with every path but `/next` for this origin.
pub(super) fn gates(setup: fn() -> Setup, origin: SocketAddr) -> [(Way, Running); 2] {
    WAYS.map(|way| {
        let (server, spoken) = way.to(origin);
        let upstream = format!("servers = [\"{server}\"]\n{spoken}");
        let setup = setup().section("server", "threads = 1").upstream("origin", &upstream);
        let setup = setup.route("*", "/", "origin").route("*", "/next", "next");
        (way, setup.upstream("next", "builtin = true").start())
    })
}

/// What a client notices of one request: the head, how much of a body, and how it ended.
pub(super) async fn noticed(
    client: &mut SendRequest<Bytes>,
    request: Builder,
    sent: &'static [u8],
) -> String {
    let (answer, mut stream) = client.send_request(request.body(()).unwrap(), sent.is_empty()).unwrap();
    if !sent.is_empty() {
        stream.send_data(Bytes::from_static(sent), true).unwrap();
    }
    let (head, mut body) = match answer.await {
        Ok(answer) => answer.into_parts(),
        Err(error) => return error.to_string(),
    };
    let by_head = body.is_end_stream();
    let fields = head.headers.iter().filter(|(name, _)| *name != "date");
    let fields: Vec<_> = fields
        .map(|(name, value)| format!("{name}: {}", masked(&value.as_bytes().escape_ascii().to_string())))
        .collect();
    let (mut bytes, mut end) = (Vec::new(), "ended".to_owned());
    while let Some(data) = body.data().await {
        match data {
            Ok(data) => {
                body.flow_control().release_capacity(data.len()).unwrap();
                bytes.extend_from_slice(&data);
            }
            Err(error) => {
                end = error.to_string();
                // How much of it came before is chance: what has not gone out when a stream is reset never does.
                bytes.clear();
                break;
            }
        }
    }
    let trailers = body.trailers().await.ok().flatten();
    let text = String::from_utf8_lossy(&bytes);
    let (status, length) = (head.status, bytes.len());
    format!(
        "{status}\n{}\n{length} bytes {text:.40}\n{end}, by the head: {by_head}, {trailers:?}",
        fields.join("\n")
    )
}

async fn notice(gate: &Running, way: Way, method: &str, path: &str, sent: &'static [u8]) -> String {
    let mut client = clear(gate.addr).await;
    let answer = noticed(&mut client, over_http2(method, &format!("{path}?{way:?}")), sent).await;
    let next = noticed(&mut client, over_http2("GET", "/next"), b"").await;
    format!("{answer}\nnext: {}", next.lines().next().unwrap_or_default())
}

fn both(origins: &[SocketAddr]) -> Vec<Running> {
    let gate = |way: Way| {
        let to: Vec<_> = origins.iter().map(|origin| way.to(*origin)).collect();
        rows(setup(), &to.iter().map(|(server, _)| *server).collect::<Vec<_>>(), to[0].1)
    };
    WAYS.map(gate).into()
}

#[test]
fn every_answer_of_an_origin_reaches_a_client_of_http2_alike_and_is_recorded_alike() {
    every_answer_is_alike(both, |gate, way, method, path| block_on(notice(gate, way, method, path, b"")));
}

#[test]
fn so_does_every_answer_to_a_request_with_a_body() {
    every_answer_is_alike(both, |gate, way, method, path| {
        let method = if method == "GET" { "POST" } else { method };
        block_on(notice(gate, way, method, path, b"a body"))
    });
}

/// Asks for a target, with these headers, by both ways; what the client notices and what reaches the origin is alike, and
/// handed out.
fn asked_alike(
    gates: &[(Way, Running); 2],
    heads: &Mutex<Vec<String>>,
    request: &dyn Fn() -> Builder,
) -> String {
    let [short, long] = gates.each_ref().map(|(_, gate)| {
        let notice = block_on(async { noticed(&mut clear(gate.addr).await, request(), b"").await });
        let heads = std::mem::take(&mut *heads.lock().unwrap());
        (notice, heads.iter().map(|head| lines(head)).collect::<Vec<_>>(), heads.concat())
    });
    assert_eq!((&short.0, &short.1), (&long.0, &long.1));
    short.2
}

#[test]
fn the_origin_is_asked_alike_for_a_client_of_http2() {
    let (origin, heads) = remembering();
    let gates = gates(setup, origin);
    let headers: [&[(&str, &str)]; 7] = [
        &[],
        &[("accept", "*/*"), ("x-own", "1"), ("x-own", "2"), ("cookie", "a=b"), ("cookie", "c=d")],
        &[("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=203.0.113.7"), ("x-real-ip", "1.2.3.4")],
        &[("riskgate-decision", "forged"), ("riskgate-level", "low"), ("te", "trailers")],
        &[("via", "1.1 a"), ("range", "bytes=0-1"), ("user-agent", "a")],
        &[("trailer", "x-sum"), ("proxy-authorization", "Basic YTpi"), ("http2-settings", "AAMAAABk")],
        &[("content-length", "0"), ("expect", "100-continue"), ("host", "api.example")],
    ];
    let targets = ["/", "/a/../b?x=%20&y", "/%ff//c", "/;a=b", "/?", "/b", "/c"];
    for (headers, target) in headers.iter().zip(targets) {
        for method in ["GET", "HEAD", "DELETE", "POST", "OPTIONS", "get", "PROPFIND"] {
            let request = || {
                let request = over_http2(method, target);
                headers.iter().fold(request, |it, (name, value)| it.header(*name, *value))
            };
            let head = asked_alike(&gates, &heads, &request);
            assert!(head.contains("HTTP/1.1\r\n"), "{head}");
            let said = lines(&head);
            assert!(said.contains(&"Host: api.example".to_owned()), "{head}");
            let crumbs = headers.iter().filter(|(name, _)| *name == "cookie").count();
            assert_eq!(said.contains(&"cookie: a=b; c=d".to_owned()), crumbs > 0, "one field again: {head}");
            for name in ["te:", "trailer:", "proxy-", "http2-"] {
                assert!(!said.iter().any(|line| line.to_lowercase().starts_with(name)), "{head}");
            }
        }
    }
}

#[test]
fn a_host_is_named_alike_however_a_client_of_http2_writes_it() {
    let (origin, heads) = remembering();
    let gates = gates(setup, origin);
    let names = ["API.example", "api.example:8080", "api.example:", "api.example.", "127.0.0.1", "[::1]:80"];
    for name in names.into_iter().chain(["a_b", "xn--4ca", "api.example:99999", "me@api.example"]) {
        asked_alike(&gates, &heads, &|| at(name, "GET", "/"));
        asked_alike(&gates, &heads, &|| at(name, "GET", "/").header("host", name));
        asked_alike(&gates, &heads, &|| at(name, "GET", "/").header("host", "other.example"));
    }
}

/// Asks, and resets what was asked for once `when` is done with the answer.
async fn reset<F: Future<Output = ()>>(gate: &Running, when: impl FnOnce(h2::client::ResponseFuture) -> F) {
    let mut builder = h2::client::Builder::new();
    // There is room for others beside what is not taken.
    builder.initial_connection_window_size(1 << 20);
    let stream = TcpStream::connect(gate.addr).await.unwrap();
    let (client, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let mut client = client.ready().await.unwrap();
    let request = over_http2("GET", "/gone").body(()).unwrap();
    let (answer, mut stream) = client.send_request(request, true).unwrap();
    when(answer).await;
    stream.send_reset(h2::Reason::CANCEL);
    // The connection is open until the reset has been seen.
    assert!(noticed(&mut client, over_http2("GET", "/next"), b"").await.starts_with("200"));
}

/// An origin that tells when it was asked and when its connection ended, and begins with `answer`.
fn telling(answer: &'static [u8], rest: usize) -> (SocketAddr, mpsc::Receiver<&'static str>) {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = raw_origin(move |mut stream| {
        read_head(&mut stream);
        tell.lock().unwrap().send("asked").unwrap();
        let written = stream.write_all(answer).and_then(|()| stream.write_all(&vec![b'x'; rest]));
        let ended = written.is_err() || matches!(stream.read(&mut [0]), Ok(0) | Err(_));
        tell.lock().unwrap().send(if ended { "left" } else { "stayed" }).unwrap();
    });
    (origin, told)
}

fn client_gone(gates: &[(Way, Running); 2], status: u16) {
    for (way, gate) in gates {
        let kept = eventually("a record", || gate.records(0).into_iter().find(|it| it["path"] == "/gone"));
        let found = (&kept["fault"], &kept["status"]);
        assert_eq!(found, (&"client_gone".into(), &status.into()), "{way:?} {kept}");
    }
}

#[test]
fn a_stream_that_is_reset_while_the_origin_thinks_ends_the_origins_work() {
    let (origin, told) = telling(b"", 0);
    let gates = gates(setup, origin);
    for (way, gate) in &gates {
        block_on(reset(gate, |_| async {
            while told.try_recv().is_err() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }));
        assert_eq!(told.recv_timeout(PATIENCE), Ok("left"), "{way:?}");
    }
    client_gone(&gates, 499);
}

#[test]
fn a_stream_that_is_reset_in_the_middle_of_an_answer_ends_the_origins_work() {
    let (origin, told) = telling(b"HTTP/1.1 200 OK\r\ncontent-length: 16777216\r\n\r\n", LARGE);
    let gates = gates(setup, origin);
    for (way, gate) in &gates {
        block_on(reset(gate, |answer| async {
            // A window's worth of it, and then no more.
            let mut body = answer.await.unwrap().into_body();
            let mut taken = 0;
            while taken < 65_535 {
                taken += body.data().await.unwrap().unwrap().len();
            }
        }));
        assert_eq!(told.recv_timeout(PATIENCE), Ok("asked"), "{way:?}");
        assert_eq!(told.recv_timeout(PATIENCE), Ok("left"), "{way:?}");
    }
    client_gone(&gates, 200);
}
