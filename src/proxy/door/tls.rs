//! TLS toward clients: one configuration at a time, swapped as a whole when certificates are loaded anew.

use std::fmt::{self, Debug, Formatter};
use std::io;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoClientAuth, ServerConnection, ServerSessionMemoryCache, VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::{ALL_VERSIONS, RootCertStore, ServerConfig, version};
use tokio::io::AsyncWriteExt;
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{self, Certificate, PemFile, Shown};
use super::transport::Transport;
use crate::facts::hello::{HelloReader, Progress};
use crate::facts::ja4::Ja4;
use crate::facts::problem::Problem;
use crate::facts::tls::{TlsSession, TlsVersion};
use crate::proxy::acme::{ACME_TLS, Challenges};

/// How TLS is spoken at one entrance; nothing is, until it was said how.
pub struct Tls {
    config: ArcSwapOption<ServerConfig>,
    challenges: Arc<Challenges>,
}

/// What TLS at one entrance is made from.
pub struct Terms<'a> {
    /// What is shown to clients; the first to those that ask for no server known here.
    pub certificates: &'a [Certificate],
    /// The oldest version.
    pub oldest: TlsVersion,
    /// Whether HTTP/2 can be agreed on.
    pub http2: bool,
    /// Who vouches for clients, and whether one may come without.
    pub clients: Option<(PemFile<'a>, Without)>,
}

/// Whether a client may come without a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// It may.
    Welcome,
    /// The handshake fails.
    Refused,
}

/// Sessions that can be resumed by clients of TLS 1.2 that know no tickets.
const SESSIONS: usize = 4096;

impl Tls {
    /// Says nothing yet. Authorities are answered by `challenges`.
    pub fn new(challenges: Arc<Challenges>) -> Self {
        Self { config: ArcSwapOption::empty(), challenges }
    }

    /// Speaks it as `config` says from the next handshake on. Connections that are open stay as they are.
    pub fn change(&self, config: Arc<ServerConfig>) {
        self.config.store(Some(config));
    }

    /// Makes a TLS session of a connection.
    pub(super) async fn shake_hands(
        &self,
        mut transport: Transport,
    ) -> io::Result<(TlsStream<Transport>, TlsSession)> {
        let Some(config) = self.config.load_full() else {
            return Err(io::Error::other("no certificates are loaded"));
        };
        transport.open_tap();
        let mut stream = match self.challenges.greet(config, transport).await?.into_fallible().await {
            Ok(stream) => stream,
            Err((error, mut transport)) => {
                // The alert that tells the client why; it may be gone.
                let _ = transport.shutdown().await;
                return Err(error);
            }
        };
        let heard = stream.get_mut().0.close_tap();
        let session = session(stream.get_ref().1);
        if &*session.alpn == ACME_TLS {
            stream.shutdown().await?;
            return Err(io::Error::other("it was the question of an authority, and is answered"));
        }
        Ok((stream, TlsSession { ja4: fingerprint(&heard), ..session }))
    }
}

/// The fingerprint of the first hello. What rustls understood and this does not has none, which is no reason to refuse.
fn fingerprint(heard: &[u8]) -> Option<Ja4> {
    match HelloReader::default().read(heard) {
        Progress::Done(hello) => Some(Ja4::of(&hello)),
        Progress::More | Progress::NotTls => None,
    }
}

impl Debug for Tls {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}

/// The cryptography that certificates and handshakes are made with.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A configuration for handshakes. Tickets of an earlier one are not taken, so that whoever was let in by its terms has
/// to meet those of this one.
pub fn configure(terms: &Terms<'_>, provider: &Arc<CryptoProvider>) -> Result<ServerConfig, Problem> {
    let versions: &[_] = match terms.oldest {
        TlsVersion::Tls12 => ALL_VERSIONS,
        TlsVersion::Tls13 => &[&version::TLS13],
    };
    let unusable = |error: rustls::Error| Problem::error("TLS", error.to_string());
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider));
    let builder = builder.with_protocol_versions(versions).map_err(unusable)?;
    let builder = builder.with_client_cert_verifier(verifier(terms, provider)?);
    let mut config = builder.with_cert_resolver(Arc::new(Shown::new(terms.certificates)));
    config.alpn_protocols =
        if terms.http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    config.ticketer = ring::Ticketer::new().map_err(unusable)?;
    Ok(config)
}

fn verifier(
    terms: &Terms<'_>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Problem> {
    let Some((ca, without)) = terms.clients else { return Ok(Arc::new(NoClientAuth)) };
    let mut roots = RootCertStore::empty();
    for root in certificate::chain(ca)? {
        roots.add(root).map_err(|error| {
            let problem = Problem::error(ca.path, format!("a certificate cannot vouch for others: {error}"));
            problem.hint("leave only certificates of authorities in this file")
        })?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match without {
        Without::Welcome => builder.allow_unauthenticated(),
        Without::Refused => builder,
    };
    builder.build().map_err(|error: VerifierBuilderError| Problem::error(ca.path, error.to_string()))
}

/// What is known after the handshake.
fn session(connection: &ServerConnection) -> TlsSession {
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
        Some(_) | None => TlsVersion::Tls13,
    };
    let alpn = connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
    let shown = connection.peer_certificates().and_then(<[_]>::first);
    let client = shown.and_then(|shown| X509Certificate::from_der(shown).ok());
    TlsSession {
        version,
        alpn: alpn.unwrap_or_default().into(),
        sni: connection.server_name().unwrap_or_default().to_ascii_lowercase().into(),
        ja4: None,
        client: client.map(|(_, client)| client.subject().to_string()).unwrap_or_default().into(),
    }
}
