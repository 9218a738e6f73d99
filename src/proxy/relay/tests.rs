//! What takes the short way, how its answers are framed, and how much of one is in hand.

use bytes::Bytes;
use pingora::protocols::http::v2::server::{H2Accept, HttpSession, handshake};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::proxy::http2;

fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> RequestHeader {
    let mut request = RequestHeader::build(method, target.as_bytes(), None).unwrap();
    for (name, value) in [("Host", "api.example")].iter().chain(headers) {
        request.append_header((*name).to_owned(), *value).unwrap();
    }
    request
}

#[test]
fn a_plain_get_or_head_takes_the_short_way() {
    for (method, target) in [("GET", "/"), ("HEAD", "/a/b?c=d"), ("GET", "/%ff")] {
        assert!(fits(&request(method, target, &[("Accept", "*/*"), ("Cookie", "a=b")])));
    }
    assert!(fits(&request("GET", "/", &[("Connection", "Keep-Alive")])));
}

#[test]
fn whatever_has_more_to_it_takes_the_long_way() {
    for (method, target) in
        [("POST", "/"), ("DELETE", "/"), ("get", "/"), ("GET", "http://a/"), ("OPTIONS", "*")]
    {
        assert!(!fits(&request(method, target, &[])), "{method} {target}");
    }
    let between_neighbours = [
        ("Connection", "close"),
        ("Connection", "keep-alive, X-Forwarded-For"),
        ("Connection", "Upgrade"),
        ("Content-Length", "0"),
        ("Expect", "100-continue"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authenticate", "Basic"),
        ("Proxy-Authorization", "Basic YTpi"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "trailers"),
        ("Trailer", "X-Sum"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "websocket"),
    ];
    for header in between_neighbours {
        assert!(!fits(&request("GET", "/", &[header])), "{header:?}");
    }
    assert!(!fits(&request("GET", "/", &[("Host", "other.example")])), "two hosts");
    assert!(!fits(&RequestHeader::build("GET", b"/", None).unwrap()), "no host");
    let mut old = request("GET", "/", &[]);
    old.set_version(Version::HTTP_10);
    assert!(!fits(&old));
}

fn over_http2(target: &str, headers: &[(&str, &str)]) -> RequestHeader {
    let request = http::Request::get(target).version(Version::HTTP_2);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap().into_parts().0.into()
}

#[test]
fn over_http2_nearly_everything_takes_the_short_way_so_that_a_client_has_no_choice() {
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "get"] {
        let mut request = over_http2("http://api.example/a?b", &[]);
        request.set_method(Method::from_bytes(method.as_bytes()).unwrap());
        assert!(fits(&request), "{method}");
    }
    let fields = ["content-length", "expect", "http2-settings", "keep-alive", "proxy-authenticate"];
    for name in fields.into_iter().chain(["proxy-authorization", "te", "trailer", "cookie", "x-own"]) {
        assert!(fits(&over_http2("http://api.example/", &[(name, "1")])), "{name}");
    }
    assert!(fits(&over_http2("*", &[("host", "api.example")])));
    assert!(fits(&over_http2("http://api.example/", &[("host", "api.example")])));
    assert!(!fits(&over_http2("http://a@api.example/", &[])), "with a user");
    assert!(!fits(&over_http2("/", &[])), "no host");
    let mut tunnel = over_http2("http://api.example/", &[]);
    tunnel.set_method(Method::CONNECT);
    assert!(!fits(&tunnel));
}

fn framed(method: &str, status: u16, headers: &[(&'static str, &str)], end: bool) -> Option<String> {
    let mut response = ResponseHeader::build(status, None).unwrap();
    headers.iter().for_each(|(name, value)| response.insert_header(*name, *value).unwrap());
    frame(&mut response, &request(method, "/", &[]), end).unwrap();
    let encoding = response.headers.get(TRANSFER_ENCODING)?;
    Some(encoding.to_str().unwrap().to_owned())
}

#[test]
fn an_answer_that_says_no_length_is_sent_in_chunks() {
    assert_eq!(framed("GET", 200, &[], false).as_deref(), Some("chunked"));
    assert_eq!(framed("GET", 200, &[("content-length", "3")], false), None);
    assert_eq!(
        framed("GET", 200, &[("transfer-encoding", "gzip, chunked")], false).as_deref(),
        Some("gzip, chunked")
    );
    assert_eq!(framed("HEAD", 200, &[], false), None);
    for (status, end) in [(103, false), (204, false), (304, false), (200, true)] {
        assert_eq!(framed("GET", status, &[], end), None, "{status}");
    }
}

#[test]
fn an_origin_cannot_change_the_protocol_unasked() {
    let response = ResponseHeader::build(101, None).unwrap();
    assert!(check_protocol(&response, false).is_err());
    assert!(check_protocol(&response, true).is_ok());
}

/// A request of a client that grants no room, as the gate has it, and the client.
async fn no_room() -> (ServerSession, impl Sized) {
    let (near, far) = duplex(1 << 20);
    let asking = tokio::spawn(async move {
        let mut client = h2::client::Builder::new();
        let (mut client, connection) =
            client.initial_window_size(0).handshake::<_, Bytes>(far).await.unwrap();
        let driving = tokio::spawn(connection);
        let request = http::Request::get("http://api.example/").body(()).unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        (client, answer, driving)
    });
    let mut connection = handshake(Box::new(near), Some(http2::bounds())).await.unwrap();
    let accepted = HttpSession::from_h2_conn(&mut connection, Default::default()).await.unwrap();
    let Some(H2Accept::Session(session)) = accepted else { panic!("no request") };
    let client = asking.await.unwrap();
    let driving = tokio::spawn(async move {
        let _ = HttpSession::from_h2_conn(&mut connection, Default::default()).await;
    });
    (ServerSession::new_http2(session), (client, driving))
}

/// Writes without end, and counts what was taken.
async fn fill(origin: &mut DuplexStream) -> usize {
    let mut taken = 0;
    for _ in 0..1000 {
        let more = async { origin.write(&[b'x'; 1024]).await.unwrap() };
        tokio::select! {
            biased;
            count = more => taken += count,
            () = tokio::task::yield_now() => {}
        }
    }
    taken
}

#[tokio::test]
async fn nothing_more_is_read_of_an_answer_that_the_client_does_not_take() {
    let (mut session, _client) = no_room().await;
    let (near, mut far) = duplex(1024);
    let mut origin = OriginSession::new(Box::new(near));
    far.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await.unwrap();
    origin.write_request_header(Box::new(request("GET", "/", &[]))).await.unwrap();
    let head = origin.read_response_task().await.unwrap();
    session.response_duplex_vec(vec![head]).await.unwrap();
    let passing = async { pass_body(&mut session, &mut origin).await.map_err(|error| error.to_string()) };
    let taken = tokio::select! { done = passing => panic!("{done:?}"), taken = fill(&mut far) => taken };
    assert!((1024..=2 * 1024).contains(&taken), "one piece in hand, one on its way: {taken} bytes");
}
