//! The same bounds over HTTP/2, where neither a length nor a time is the transport's.

use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use tokio::net::TcpStream;

use super::{narrow, origin};
use crate::net::PATIENCE;
use crate::net::origin::Origin;
use crate::support::{Running, Setup};

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await.expect("in time") })
}

async fn open(gate: &Running, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
    let stream = TcpStream::connect(gate.addr).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let mut client: SendRequest<Bytes> = client.ready().await.unwrap();
    let request = Request::post(format!("http://api.example{path}"));
    let request = request.header("content-type", "text/plain").body(()).unwrap();
    client.send_request(request, false).unwrap()
}

fn setup(origin: &Origin) -> Setup {
    narrow(origin).listener("http2 = true")
}

/// Status and fault of the only record.
fn only_record(gate: &Running) -> (u64, String, String) {
    let record = gate.records(1).remove(0);
    let fault = record["fault"].as_str().unwrap_or_default().to_owned();
    (record["status"].as_u64().unwrap(), fault, record["action"].as_str().unwrap().to_owned())
}

fn refused(status: u64, fault: &str) -> (u64, String, String) {
    (status, fault.to_owned(), "blocked".to_owned())
}

#[test]
fn a_body_that_turns_out_too_large_is_cut_off() {
    let origin = origin();
    let gate = setup(&origin).start();
    let status = block_on(async {
        let (answer, mut body) = open(&gate, "/").await;
        for _ in 0..3 {
            body.send_data(Bytes::from_static(&[b'x'; 500]), false).unwrap();
        }
        answer.await.unwrap().status().as_u16()
    });
    assert_eq!(status, 413);
    assert_eq!(only_record(&gate), refused(413, "large_body"));
    assert!(origin.received().is_empty());
}

#[test]
fn a_body_of_another_type_does_not_reach_the_origin() {
    let origin = origin();
    let gate =
        setup(&origin).route("*", "/xml", "origin").route_with("content_types = [\"text/xml\"]").start();
    let status = block_on(async {
        let (answer, mut body) = open(&gate, "/xml").await;
        body.send_data(Bytes::from_static(b"x"), true).unwrap();
        answer.await.unwrap().status().as_u16()
    });
    assert_eq!(status, 415);
    assert_eq!(only_record(&gate), refused(415, "media_type"));
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_body_that_drips_is_given_up() {
    let origin = origin();
    let gate = setup(&origin).start();
    let status = block_on(async {
        let (mut answer, mut body) = open(&gate, "/").await;
        loop {
            tokio::select! {
                answer = &mut answer => break answer.unwrap().status().as_u16(),
                // The attack itself takes time.
                () = tokio::time::sleep(Duration::from_millis(100)) => {
                    let _ = body.send_data(Bytes::from_static(b"x"), false);
                }
            }
        }
    });
    assert_eq!(status, 408);
    assert_eq!(only_record(&gate), refused(408, "slow_body"));
    assert!(origin.received().is_empty());
}

#[test]
fn a_client_that_falls_silent_is_blamed_rather_than_the_origin_that_waits_for_it() {
    let origin = origin();
    let servers = crate::support::quoted(&[origin.addr()]);
    let gate = setup(&origin)
        .upstream("patient", &format!("servers = {servers}\nread_timeout = \"2s\""))
        .route("*", "/silent", "patient")
        .start();
    let status = block_on(async {
        let (answer, mut body) = open(&gate, "/silent").await;
        body.send_data(Bytes::from_static(b"x"), false).unwrap();
        answer.await.unwrap().status().as_u16()
    });
    assert_eq!(status, 408);
    assert_eq!(only_record(&gate), refused(408, "slow_body"));
    assert!(!gate.metrics().contains("riskgate_upstream_errors_total{"), "the origin is not to blame");
}
