//! What an authority is answered that asks whether a host is really served here.
//!
//! Answers exist only while an order waits for them. Without one, a request costs a comparison of its path, and a
//! handshake a look at a pointer.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, request};
use pingora::http::ResponseHeader;
use rustls::ServerConfig;
use rustls::server::{Acceptor, ClientHello};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::{Accept, LazyConfigAcceptor, TlsAcceptor};

/// The answers that an order waits for, if there is one.
#[derive(Debug, Default)]
pub struct Challenges(ArcSwapOption<Answers>);

/// Answers, by what an authority asks for.
#[derive(Debug)]
pub(super) enum Answers {
    /// Key authorizations by token.
    Http(HashMap<String, String>),
    /// How to shake hands, by host.
    Tls(HashMap<String, Arc<ServerConfig>>),
}

/// Answers are given as long as this lives.
pub(super) struct Waiting<'a>(&'a Challenges);

/// What an authority agrees on in a handshake that is only a question.
pub(in crate::proxy) const ACME_TLS: &str = "acme-tls/1";
/// Where tokens are asked for.
const WELL_KNOWN: &str = "/.well-known/acme-challenge/";

impl Challenges {
    /// Gives these answers until the guard is dropped. There is one order at a time.
    pub(super) fn answer(&self, answers: Answers) -> Waiting<'_> {
        self.0.store(Some(Arc::new(answers)));
        Waiting(self)
    }

    /// The answer to a request, if it asks for a token that an order waits for.
    pub(in crate::proxy) fn told(
        &self,
        request: &request::Parts,
    ) -> Option<pingora::Result<(ResponseHeader, Bytes)>> {
        let token = request.uri.path().strip_prefix(WELL_KNOWN)?;
        let answers = self.0.load();
        let text = match answers.as_deref()? {
            Answers::Http(texts) => texts.get(token).filter(|_| request.method == Method::GET)?,
            Answers::Tls(_) => return None,
        };
        Some(told(text))
    }

    /// Begins a handshake: as `config` says, unless it is the question that an order waits for. That one ends with
    /// [`ACME_TLS`] agreed on.
    pub(in crate::proxy) async fn greet<S>(
        &self,
        config: Arc<ServerConfig>,
        stream: S,
    ) -> io::Result<Accept<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(answers) = self.0.load_full() else { return Ok(TlsAcceptor::from(config).accept(stream)) };
        let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), stream);
        match (&mut acceptor).await {
            Ok(start) => {
                let asked = answers.shaken(&start.client_hello());
                Ok(start.into_stream(asked.unwrap_or(config)))
            }
            Err(error) => {
                if let Some(mut stream) = acceptor.take_io() {
                    // The alert that tells the client why; it may be gone.
                    let _ = stream.shutdown().await;
                }
                Err(error)
            }
        }
    }
}

impl Answers {
    /// How to shake hands with an authority: it speaks nothing else, and asks for a host that an order is about.
    fn shaken(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let Self::Tls(configs) = self else { return None };
        let mut spoken = hello.alpn()?;
        let only = spoken.next() == Some(ACME_TLS.as_bytes()) && spoken.next().is_none();
        only.then(|| configs.get(&hello.server_name()?.to_ascii_lowercase()).cloned())?
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.0.store(None);
    }
}

fn told(text: &str) -> pingora::Result<(ResponseHeader, Bytes)> {
    let mut header = ResponseHeader::build(200, Some(3))?;
    header.insert_header(CONTENT_TYPE, "application/octet-stream")?;
    header.insert_header(CONTENT_LENGTH, text.len())?;
    header.insert_header(CACHE_CONTROL, "no-store")?;
    Ok((header, Bytes::copy_from_slice(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(challenges: &Challenges, method: &str, target: &str) -> Option<String> {
        let request = http::Request::builder().method(method).uri(target).body(()).unwrap();
        let (header, body) = challenges.told(&request.into_parts().0)?.unwrap();
        assert_eq!(header.status, 200);
        Some(String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn only_a_token_that_an_order_waits_for_is_answered_and_only_as_long_as_it_waits() {
        let challenges = Challenges::default();
        let target = "/.well-known/acme-challenge/token-1";
        assert_eq!(asked(&challenges, "GET", target), None);
        let texts = HashMap::from([("token-1".to_owned(), "token-1.thumb".to_owned())]);
        let waiting = challenges.answer(Answers::Http(texts));
        assert_eq!(asked(&challenges, "GET", target).as_deref(), Some("token-1.thumb"));
        for (method, target) in [
            ("POST", target),
            ("GET", "/.well-known/acme-challenge/token-2"),
            ("GET", "/.well-known/acme-challenge/"),
            ("GET", "/.well-known/acme-challenge/token-1/"),
            ("GET", "/x/.well-known/acme-challenge/token-1"),
            ("GET", "/"),
        ] {
            assert_eq!(asked(&challenges, method, target), None, "{method} {target}");
        }
        drop(waiting);
        assert_eq!(asked(&challenges, "GET", target), None);
    }
}
