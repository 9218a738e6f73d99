//! TLS and HTTP/2 toward upstreams: who is believed, what is spoken, and what comes through.

use bytes::Bytes;
use http::HeaderMap;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::*;

/// An authority, and a server's certificate by it.
pub(super) struct Pki {
    pub(super) ca: String,
    chain: Vec<rustls::pki_types::CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Pki {
    pub(super) fn of(name: &str) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let secret = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Self { ca: issuer.pem(), chain: vec![certificate.der().clone()], key: secret }
    }

    fn acceptor(&self, protocols: &[&[u8]]) -> TlsAcceptor {
        self.acceptor_for(protocols, WebPkiClientVerifier::no_client_auth())
    }

    /// The same for clients whose certificates are verified in this way.
    pub(super) fn acceptor_for(
        &self,
        protocols: &[&[u8]],
        clients: Arc<dyn ClientCertVerifier>,
    ) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_client_cert_verifier(clients);
        let mut config = config.with_single_cert(self.chain.clone(), self.key.clone_key()).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// An origin: HTTP/2 that says the path and the method it
/// got and ends with trailers, over TLS if there is an acceptor, or else HTTP/1.1 if that was agreed on.
pub(super) fn modern(acceptor: Option<TlsAcceptor>) -> SocketAddr {
    serving(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            match acceptor {
                None => serve_h2(stream).await,
                Some(acceptor) => {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    match stream.get_ref().1.alpn_protocol() {
                        Some(b"h2") => serve_h2(stream).await,
                        _ => serve_h1(stream).await,
                    }
                }
            }
        }
    })
}

async fn serve_h2(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let (parts, mut body) = request.into_parts();
        tokio::spawn(async move {
            let mut size = 0;
            while let Some(Ok(data)) = body.data().await {
                size += data.len();
                let _ = body.flow_control().release_capacity(data.len());
            }
            let said = format!("h2 {} {} {size}", parts.method, parts.uri.path());
            let response = http::Response::builder().header("content-type", "application/grpc");
            let mut send = respond.send_response(response.body(()).unwrap(), false).unwrap();
            send.send_data(Bytes::from(said), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            send.send_trailers(trailers).unwrap();
        });
    }
}

async fn serve_h1(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut head, mut byte) = (Vec::new(), [0]);
    loop {
        if stream.read_exact(&mut byte).await.is_err() {
            return;
        }
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nh1").await;
        }
    }
}

fn gate(server: SocketAddr, more: &str, ca: &str) -> Running {
    servers(&[server], more).file("ca.pem", ca).start()
}

const VERIFIED: &str = "tls = { sni = \"api.internal\", ca = \"@/ca.pem\" }";

#[test]
fn a_server_is_verified_by_its_name_and_by_the_authority_that_is_named() {
    let (pki, stranger) = (Pki::of("api.internal"), Pki::of("api.internal"));
    let server = modern(Some(pki.acceptor(&[])));
    let good = gate(server, VERIFIED, &pki.ca);
    // Without a body and with one: the short way and the other.
    assert_eq!(text(&good, &Request::get("/")), "h1");
    assert_eq!(text(&good, &Request::new("DELETE", "/")), "h1");
    let mut client = good.connect();
    assert!((0..3).all(|_| client.send(&Request::get("/")).unwrap().text() == "h1"));
    for (tls, ca) in [
        (VERIFIED, &stranger.ca),
        ("tls = { sni = \"other.internal\", ca = \"@/ca.pem\" }", &pki.ca),
        ("tls = { ca = \"@/ca.pem\" }", &pki.ca),
        ("tls = true", &pki.ca),
    ] {
        let wary = gate(server, tls, ca);
        for method in ["GET", "DELETE"] {
            assert_eq!(wary.send(&Request::new(method, "/")).status, 502, "{tls} {method}");
        }
    }
    let trusting = gate(server, "tls = { verify = false }", &pki.ca);
    assert_eq!(text(&trusting, &Request::get("/")), "h1");
}

#[test]
fn http_2_is_spoken_by_prior_knowledge_and_as_tls_agrees() {
    let pki = Pki::of("api.internal");
    let clear = gate(modern(None), "protocol = \"http2\"", &pki.ca);
    assert_eq!(text(&clear, &Request::get("/a")), "h2 GET /a 0");
    let upload = Request::new("POST", "/b").body(Body::Full(vec![b'x'; 100_000]));
    assert_eq!(text(&clear, &upload), "h2 POST /b 100000");
    let both = modern(Some(pki.acceptor(&[b"h2", b"http/1.1"])));
    let old = modern(Some(pki.acceptor(&[b"http/1.1"])));
    for (server, protocol, said) in [
        (both, "http2", "h2 GET /c 0"),
        (both, "auto", "h2 GET /c 0"),
        (both, "http1", "h1"),
        (old, "auto", "h1"),
    ] {
        let gate = gate(server, &format!("{VERIFIED}\nprotocol = \"{protocol}\""), &pki.ca);
        assert_eq!(text(&gate, &Request::get("/c")), said, "{protocol}");
    }
}

#[test]
fn a_changed_authority_is_used_without_a_restart_and_a_broken_one_refused() {
    let (pki, stranger) = (Pki::of("api.internal"), Pki::of("api.internal"));
    let gate = gate(modern(Some(pki.acceptor(&[]))), VERIFIED, &stranger.ca);
    assert_eq!(gate.send(&Request::new("DELETE", "/")).status, 502);
    let reload = || json(&gate.ask(&Request::new("POST", "/api/reload")));
    gate.files().write("ca.pem", &pki.ca);
    assert_eq!(reload()["outcome"], "published");
    assert_eq!([text(&gate, &Request::get("/")), text(&gate, &Request::new("DELETE", "/"))], ["h1", "h1"]);
    gate.files().write("ca.pem", "nothing");
    let refused = reload();
    assert!(refused.to_string().contains("there is no certificate in it"), "{refused}");
    assert_eq!(text(&gate, &Request::get("/")), "h1");
    // Connections that the stranger's authority vouches for are not taken over by those who believe another.
    gate.files().write("ca.pem", &stranger.ca);
    assert_eq!(reload()["outcome"], "published");
    assert_eq!(["GET", "DELETE"].map(|method| gate.send(&Request::new(method, "/")).status), [502, 502]);
}

#[test]
fn a_missing_or_broken_authority_is_told_at_start() {
    let refusal = |setup: Setup| shown(&setup.try_start().err().expect("a gate that does not start"));
    let server = free_addr();
    let missing = refusal(servers(&[server], VERIFIED));
    assert!(missing.contains("ca.pem") && missing.contains("does not exist"), "{missing}");
    let broken = refusal(servers(&[server], VERIFIED).file("ca.pem", "nothing"));
    assert!(
        broken.contains("upstream `origin` cannot use this file: there is no certificate in it"),
        "{broken}"
    );
}

/// Sends `sent` as one call on a connection of its own; body and trailers of the answer.
async fn call(gate: &Running, path: &str, sent: &'static [u8]) -> (Bytes, HeaderMap) {
    let stream = tokio::net::TcpStream::connect(gate.addr).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://api.example{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let (response, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from_static(sent), true).unwrap();
    let mut answer = response.await.unwrap().into_body();
    let mut whole = Vec::new();
    while let Some(data) = answer.data().await {
        whole.extend(data.unwrap());
    }
    (whole.into(), answer.trailers().await.unwrap().unwrap_or_default())
}

#[tokio::test]
async fn a_call_of_grpc_comes_back_with_its_trailers() {
    let server = servers(&[modern(None)], "protocol = \"http2\"");
    let gate = server.listener("http2 = true").start();
    for _ in 0..3 {
        let (body, trailers) = call(&gate, "/greeter/hello", b"\0\0\0\0\x02hi").await;
        assert_eq!(body, "h2 POST /greeter/hello 7");
        assert_eq!(trailers.get("grpc-status").unwrap(), "0");
    }
}
