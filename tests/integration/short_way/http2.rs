//! The same over HTTP/2: a request that has `trailer` takes the long way, and the origin does not see that header.

use std::io::{Read as _, Write as _};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use http::request::Builder;
use tokio::net::TcpStream;

use super::{WAYS, Way, every_answer_is_alike, lines, masked, remembering};
use crate::http2::{block_on, clear};
use crate::net::PATIENCE;
use crate::support::{Running, Setup, eventually, raw_origin, read_head};

/// A large answer: a client that takes nothing of it has it stuck.
const LARGE: usize = 16 << 20;

impl Way {
    fn over_http2(self, method: &str, target: &str) -> Builder {
        self.at("api.example", method, target)
    }

    fn at(self, host: &str, method: &str, target: &str) -> Builder {
        let request = Request::builder().method(method).uri(format!("http://{host}{target}"));
        match self {
            Self::Short => request,
            Self::Long => request.header("trailer", "x-sum"),
        }
    }
}

fn setup() -> Setup {
    Setup::new().listener("http2 = true")
}

/// What a client notices of one request: the head, how much of a body, and how it ended.
async fn noticed(client: &mut SendRequest<Bytes>, request: Builder) -> String {
    let (answer, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
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

async fn notice(gate: &Running, way: Way, method: &str, path: &str) -> String {
    let mut client = clear(gate.addr).await;
    let answer = noticed(&mut client, way.over_http2(method, &format!("{path}?{way:?}"))).await;
    let next = noticed(&mut client, way.over_http2("GET", "/next")).await;
    format!("{answer}\nnext: {}", next.lines().next().unwrap_or_default())
}

#[test]
fn every_answer_of_an_origin_reaches_a_client_of_http2_alike_and_is_recorded_alike() {
    every_answer_is_alike(setup(), |gate, way, method, path| block_on(notice(gate, way, method, path)));
}

#[test]
fn the_origin_is_asked_alike_for_a_client_of_http2() {
    let (origin, heads) = remembering();
    let gate = setup().origin(&[origin]).start();
    let headers: [&[(&str, &str)]; 5] = [
        &[],
        &[("accept", "*/*"), ("x-own", "1"), ("x-own", "2"), ("cookie", "a=b"), ("cookie", "c=d")],
        &[("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=203.0.113.7"), ("x-real-ip", "1.2.3.4")],
        &[("riskgate-decision", "forged"), ("riskgate-level", "low"), ("te", "trailers")],
        &[("via", "1.1 a"), ("range", "bytes=0-1"), ("user-agent", "a")],
    ];
    block_on(async {
        let mut client = clear(gate.addr).await;
        for (headers, target) in headers.iter().zip(["/", "/a/../b?x=%20&y", "/%ff//c", "/;a=b", "/?"]) {
            for (method, way) in ["GET", "HEAD"].into_iter().flat_map(|method| WAYS.map(|way| (method, way)))
            {
                let request = way.over_http2(method, target);
                let request = headers.iter().fold(request, |it, (name, value)| it.header(*name, *value));
                assert!(noticed(&mut client, request).await.starts_with("204"));
            }
        }
    });
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 20, "{heads:#?}");
    let cookies = heads.iter().filter(|head| lines(head).contains(&"cookie: a=b; c=d".to_owned())).count();
    assert_eq!(cookies, 4, "crumbs of a cookie are one field again: {heads:#?}");
    for pair in heads.chunks(2) {
        assert_eq!(lines(&pair[0]), lines(&pair[1]));
        assert!(
            pair[0].contains("HTTP/1.1\r\n") && lines(&pair[0]).contains(&"Host: api.example".to_owned()),
            "{}",
            pair[0]
        );
    }
}

#[test]
fn a_host_is_named_alike_however_a_client_of_http2_writes_it() {
    let (origin, heads) = remembering();
    let gate = setup().origin(&[origin]).start();
    let names = ["API.example", "api.example:8080", "api.example:", "api.example.", "127.0.0.1", "[::1]:80"];
    for name in names.into_iter().chain(["a_b", "xn--4ca", "api.example:99999"]) {
        let ask = |way: Way| {
            let notice =
                block_on(async { noticed(&mut clear(gate.addr).await, way.at(name, "GET", "/")).await });
            let heads = std::mem::take(&mut *heads.lock().unwrap());
            (notice, heads.iter().map(|head| lines(head)).collect::<Vec<_>>())
        };
        assert_eq!(ask(Way::Short), ask(Way::Long), "{name}");
    }
}

/// Asks, and resets what was asked for once `when` is done with the answer.
async fn reset<F: Future<Output = ()>>(
    gate: &Running,
    way: Way,
    when: impl FnOnce(h2::client::ResponseFuture) -> F,
) {
    let mut builder = h2::client::Builder::new();
    // There is room for others beside what is not taken.
    builder.initial_connection_window_size(1 << 20);
    let stream = TcpStream::connect(gate.addr).await.unwrap();
    let (client, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let mut client = client.ready().await.unwrap();
    let request = way.over_http2("GET", "/gone").body(()).unwrap();
    let (answer, mut stream) = client.send_request(request, true).unwrap();
    when(answer).await;
    stream.send_reset(h2::Reason::CANCEL);
    // The connection is open until the reset has been seen.
    assert!(noticed(&mut client, way.over_http2("GET", "/next")).await.starts_with("200"));
}

/// An origin that tells when it was asked and when its connection ended, and begins with `answer`.
fn telling(answer: &'static [u8], rest: usize) -> (std::net::SocketAddr, mpsc::Receiver<&'static str>) {
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

fn of(origin: std::net::SocketAddr) -> Running {
    let origin = format!("servers = [\"{origin}\"]");
    let setup = setup().route("*", "/gone", "origin").upstream("origin", &origin);
    setup.route("*", "/next", "next").upstream("next", "builtin = true").start()
}

fn client_gone(gate: &Running, status: u16) {
    let kept = eventually("two records", || {
        let kept: Vec<_> = gate.records(0).into_iter().filter(|record| record["path"] == "/gone").collect();
        (kept.len() == 2).then_some(kept)
    });
    for record in kept {
        assert_eq!(
            (&record["fault"], &record["status"]),
            (&"client_gone".into(), &status.into()),
            "{record}"
        );
    }
}

#[test]
fn a_stream_that_is_reset_while_the_origin_thinks_ends_the_origins_work() {
    let (origin, told) = telling(b"", 0);
    let gate = of(origin);
    for way in WAYS {
        block_on(reset(&gate, way, |_| async {
            while told.try_recv().is_err() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }));
        assert_eq!(told.recv_timeout(PATIENCE), Ok("left"), "{way:?}");
    }
    client_gone(&gate, 499);
}

#[test]
fn a_stream_that_is_reset_in_the_middle_of_an_answer_ends_the_origins_work() {
    let (origin, told) = telling(b"HTTP/1.1 200 OK\r\ncontent-length: 16777216\r\n\r\n", LARGE);
    let gate = of(origin);
    for way in WAYS {
        block_on(reset(&gate, way, |answer| async {
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
    client_gone(&gate, 200);
}
