//! Servers of gRPC that say in trailers, or in a head that is all there is, that they cannot serve.

use bytes::Bytes;
use http::HeaderMap;

use super::*;
use crate::http2::{block_on, clear};

/// Where a server says what became of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Where {
    Trailers,
    Head,
}

/// A server of gRPC that ends each call with this code and counts them.
pub(crate) fn server(code: &'static str, place: Where) -> (SocketAddr, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    (serving(move |stream| serve(stream, code, place, Arc::clone(&counted))), calls)
}

async fn serve(stream: TcpStream, code: &'static str, place: Where, calls: Arc<AtomicUsize>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        calls.fetch_add(1, Ordering::SeqCst);
        let head = http::Response::builder().header("content-type", "application/grpc");
        match place {
            Where::Head => {
                let head = head.header("grpc-status", code).body(()).unwrap();
                respond.send_response(head, true).unwrap();
            }
            Where::Trailers => {
                let mut send = respond.send_response(head.body(()).unwrap(), false).unwrap();
                send.send_data(Bytes::from_static(b"\0\0\0\0\0"), false).unwrap();
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", code.parse().unwrap());
                send.send_trailers(trailers).unwrap();
            }
        }
    }
}

/// Makes calls one after the other on one connection; the codes that came back.
fn codes(gate: &Running, calls: usize) -> Vec<String> {
    block_on(async {
        let (mut client, mut codes) = (clear(gate.addr).await, Vec::new());
        for _ in 0..calls {
            let request = http::Request::post("http://api.example/greeter/hello")
                .header("content-type", "application/grpc")
                .header("te", "trailers");
            let (response, mut sent) = client.send_request(request.body(()).unwrap(), false).unwrap();
            sent.send_data(Bytes::from_static(b"\0\0\0\0\0"), true).unwrap();
            let (head, mut body) = response.await.unwrap().into_parts();
            while let Some(data) = body.data().await {
                drop(data.unwrap());
            }
            let trailers = body.trailers().await.unwrap().unwrap_or_default();
            let code = trailers.get("grpc-status").or(head.headers.get("grpc-status")).unwrap();
            codes.push(code.to_str().unwrap().to_owned());
        }
        codes
    })
}

#[test]
fn a_server_that_keeps_ending_calls_as_unavailable_is_left_alone() {
    let eject = "protocol = \"http2\"\neject_after = 2\neject_time = \"10m\"\neject_longest = \"10m\"";
    for (code, place, more, left_alone) in [
        ("14", Where::Trailers, "", true),
        ("14", Where::Head, "", true),
        ("5", Where::Trailers, "", false),
        ("5", Where::Head, "", false),
        ("8", Where::Trailers, "\neject_grpc_status = [8, 14]", true),
        ("14", Where::Trailers, "\neject_grpc_status = []", false),
    ] {
        let ((bad, asked), (good, _)) = (server(code, place), server("0", Where::Trailers));
        let gate = servers(&[bad, good], &format!("{eject}{more}")).listener("http2 = true").start();
        let codes = codes(&gate, 10);
        let failed = codes.iter().filter(|said| *said == code).count();
        let context = format!("{code} {place:?} {more}: {codes:?}");
        assert_eq!(asked.load(Ordering::SeqCst), failed, "clients get what servers say: {context}");
        assert_eq!(failed, if left_alone { 2 } else { 5 }, "{context}");
        assert_eq!(state(&gate, bad), if left_alone { "ejected" } else { "up" }, "{context}");
        assert_eq!(state(&gate, good), "up", "{context}");
    }
}
