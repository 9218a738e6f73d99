//! HTTP/2 toward clients: over TLS and in the clear, with bodies and trailers, refused calls, and floods.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::certificates::{Authority, connect};
use crate::net::{self, Client, PATIENCE};
use crate::support::Setup;

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await.expect("in time") })
}

pub(crate) async fn client(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> SendRequest<Bytes> {
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    client.ready().await.unwrap()
}

pub(crate) async fn clear(address: SocketAddr) -> SendRequest<Bytes> {
    client(TcpStream::connect(address).await.unwrap()).await
}

/// Whether the head was all of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EndedByHead(bool);

pub(crate) async fn send(
    client: &mut SendRequest<Bytes>,
    request: http::request::Builder,
    body: &[&'static [u8]],
) -> Result<Response<String>, h2::Error> {
    let request = request.body(()).unwrap();
    let (answer, mut stream) = client.send_request(request, body.is_empty())?;
    for (at, part) in body.iter().enumerate() {
        stream.send_data(Bytes::from_static(part), at + 1 == body.len())?;
    }
    let (mut parts, mut body) = answer.await?.into_parts();
    parts.extensions.insert(EndedByHead(body.is_end_stream()));
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        text.extend_from_slice(&data);
    }
    Ok(Response::from_parts(parts, String::from_utf8_lossy(&text).into_owned()))
}

pub(crate) fn get(path: &str) -> http::request::Builder {
    Request::get(format!("https://api.example{path}"))
}

#[test]
fn tls_agrees_on_http2_and_requests_are_judged() {
    let authority = Authority::new("test authority");
    let issued = authority.server(&["api.example"]);
    let gate = Setup::new()
        .listener("tls = { cert = \"@/cert.pem\", key = \"@/key.pem\" }")
        .file("cert.pem", issued.cert.as_str())
        .file("key.pem", issued.key.as_str())
        .rule(
            "10-h2",
            "risk.tag(\"seen\", req.host + \" \" + req.version + \" \" + req.tls.alpn);
             if req.path == \"/secret\" { risk.block(\"no.secret\"); }",
        )
        .start();
    let answers = block_on(async {
        let stream = connect(&authority.believer(&["h2"], None), gate.addr, "api.example").await.unwrap();
        let mut client = client(stream).await;
        let posted = Request::post("https://api.example/upload");
        [
            send(&mut client, get("/hello"), &[]).await.unwrap(),
            send(&mut client, posted, &[b"12345", b"67890"]).await.unwrap(),
            send(&mut client, get("/secret"), &[]).await.unwrap(),
        ]
    });
    let [hello, upload, secret] = answers;
    assert_eq!(
        (hello.status().as_u16(), upload.status().as_u16(), secret.status().as_u16()),
        (200, 200, 403)
    );
    assert!(hello.body().contains("\"riskgate-seen\": \"api.example 2 h2\""), "{}", hello.body());
    assert!(upload.body().contains("\"body_bytes\": 10"), "{}", upload.body());
    assert!(secret.body().contains("Forbidden"));
    let records = gate.records(3);
    let mut actions: Vec<_> = records.iter().map(|record| record["action"].as_str().unwrap()).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["allowed", "allowed", "blocked"]);
}

#[test]
fn in_the_clear_http2_is_for_those_who_begin_with_it() {
    let gate = Setup::new().listener("http2 = true").start();
    let answer = block_on(async {
        let mut client = clear(gate.addr).await;
        send(&mut client, Request::get("http://api.example/a"), &[]).await.unwrap()
    });
    assert_eq!(answer.status(), 200);
    // Requests shorter than HTTP/2's preface, and those that begin like it.
    for line in ["GET / HTTP/1.0\r\n\r\n", "PROPFIND / HTTP/1.1\r\nhost: a\r\n\r\n", "PUT / HTTP/1.0\r\n\r\n"]
    {
        let mut client = Client::connect(gate.addr).unwrap();
        client.write(line.as_bytes()).unwrap();
        assert_eq!(client.response_to("GET").unwrap().status, 200, "{line}");
    }
    let without = Setup::new().start();
    let refused = block_on(async {
        let (client, connection) =
            h2::client::handshake(TcpStream::connect(without.addr).await.unwrap()).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let mut client: SendRequest<Bytes> = client;
        send(&mut client, Request::get("http://api.example/a"), &[]).await
    });
    assert!(refused.is_err(), "a listener that was not asked for it does not speak it");
}

#[test]
fn an_idle_connection_is_closed_when_its_time_is_over_but_not_under_a_request() {
    let authority = Authority::new("test authority");
    let issued = authority.server(&["api.example"]);
    let gate = Setup::new()
        .section("server", "threads = 1\nkeepalive = \"1s\"")
        .listener("tls = { cert = \"@/cert.pem\", key = \"@/key.pem\" }")
        .file("cert.pem", issued.cert.as_str())
        .file("key.pem", issued.key.as_str())
        .start();
    block_on(async {
        let stream = connect(&authority.believer(&["h2"], None), gate.addr, "api.example").await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        let mut client: SendRequest<Bytes> = client;
        let over = tokio::spawn(connection);
        for path in ["/", "/delay/2500", "/"] {
            assert_eq!(send(&mut client, get(path), &[]).await.unwrap().status(), 200, "{path}");
        }
        // With the handle still there, only the gate can end it.
        drop(over.await.unwrap());
        drop(client);
        let stream = connect(&authority.believer(&["h2"], None), gate.addr, "api.example").await.unwrap();
        let (_unused, connection): (SendRequest<Bytes>, _) = h2::client::handshake(stream).await.unwrap();
        drop(connection.await);
    });
}

#[test]
fn a_refused_call_of_grpc_is_a_status_of_grpc() {
    let gate = Setup::new()
        .listener("http2 = true")
        .rule(
            "10-calls",
            "if req.path == \"/pets.Pets/Delete\" { risk.block(\"pets.delete\"); }
             if req.path == \"/pets.Pets/List\" { risk.throttle(\"pets.list\", \"client\", 0.1); }",
        )
        .start();
    let call = |path: &str| {
        Request::post(format!("http://api.example{path}"))
            .header("content-type", "application/grpc+proto")
            .header("te", "trailers")
    };
    let [blocked, _, throttled] = block_on(async {
        let mut client = clear(gate.addr).await;
        [
            send(&mut client, call("/pets.Pets/Delete"), &[b"\0\0\0\0\0"]).await.unwrap(),
            send(&mut client, call("/pets.Pets/List"), &[b"\0\0\0\0\0"]).await.unwrap(),
            send(&mut client, call("/pets.Pets/List"), &[b"\0\0\0\0\0"]).await.unwrap(),
        ]
    });
    let header = |answer: &Response<String>, name: &str| {
        answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    assert_eq!((blocked.status().as_u16(), &*header(&blocked, "grpc-status")), (200, "7"));
    assert_eq!(header(&blocked, "content-type"), "application/grpc");
    assert_eq!((throttled.status().as_u16(), &*header(&throttled, "grpc-status")), (200, "8"));
    assert!(header(&throttled, "grpc-retry-pushback-ms").parse::<u64>().unwrap() >= 1000);
    for answer in [blocked, throttled] {
        assert_eq!(answer.extensions().get(), Some(&EndedByHead(true)), "trailers only");
        assert!(answer.body().is_empty());
    }
}

#[test]
fn opening_and_resetting_ends_the_connection_and_nobody_elses() {
    let gate = Setup::new().listener("http2 = true").start();
    block_on(async {
        let mut attacker = clear(gate.addr).await;
        let mut opened = 0;
        while opened < 10_000 {
            let Ok(ready) = attacker.clone().ready().await else { break };
            attacker = ready;
            let Ok((answer, mut stream)) =
                attacker.send_request(Request::get("http://a/delay/50").body(()).unwrap(), false)
            else {
                break;
            };
            // What is reset before it was written is never written.
            tokio::task::yield_now().await;
            stream.send_reset(h2::Reason::CANCEL);
            drop(answer);
            tokio::task::yield_now().await;
            opened += 1;
        }
        assert!(opened < 10_000, "the flood was never ended");
        let mut other = clear(gate.addr).await;
        let answer = send(&mut other, Request::get("http://a/b"), &[]).await.unwrap();
        assert_eq!(answer.status(), 200);
    });
}

#[test]
fn heads_have_a_bound_however_many_frames_they_come_in() {
    let gate = Setup::new().listener("http2 = true").start();
    let refused = block_on(async {
        let mut client = clear(gate.addr).await;
        let mut request = Request::get("http://a/b");
        for number in 0..40 {
            request = request.header(format!("x-{number}"), "x".repeat(4000));
        }
        send(&mut client, request, &[]).await
    });
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status() == 431));
    assert_eq!(gate.send(&net::Request::get("/").header("host", "a")).status, 200);
}
