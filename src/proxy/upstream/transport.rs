//! How a server is spoken to: in the clear or over TLS, whose certificates are believed, and which HTTP it is.
//!
//! Pingora verifies nothing when there is no name to verify, so there is always one: the configured name, or else the
//! server's own. Its pool does not tell authorities or buffers apart; a key of our own does, so that no connection is
//! reused that was made under other terms.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use pingora::upstreams::peer::{HttpPeer, Scheme};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use pingora::{ErrorType, OrErr};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpSocket;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::proxy::server::Buffers;

/// How a server is spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Transport {
    /// `None`: in the clear.
    pub tls: Option<Tls>,
    /// Which HTTP it is.
    pub protocol: Protocol,
    /// How much the system may hold for each connection by TCP.
    pub buffers: Buffers,
}

/// Which HTTP a server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2; without TLS, by prior knowledge.
    Http2,
    /// What the server chooses while TLS is agreed on.
    Auto,
}

/// How TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Whether certificates are verified.
    pub verify: bool,
    /// The name that is asked for and verified; the server's own if absent.
    pub name: Option<String>,
    /// Whose certificates are believed; those whom the system believes if absent.
    pub authorities: Option<Authorities>,
    /// Who we say that we are, if we do.
    pub identity: Option<ClientIdentity>,
}

/// Certificates of authorities.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Authorities(Arc<[Vec<u8>]>);

/// A certificate of our own, with those that lead to it, and its key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientIdentity {
    chain: Arc<[Vec<u8>]>,
    key: Arc<[u8]>,
}

/// Why a file of certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// There is none in it, or it is broken.
    #[error("there is no certificate in it; it has to hold `-----BEGIN CERTIFICATE-----`")]
    NoCertificate,
    /// What it says is a certificate is none.
    #[error("the certificate number {0} in it is broken")]
    Broken(usize),
    /// There is no key in it.
    #[error("there is no private key in it; it has to hold `-----BEGIN PRIVATE KEY-----`")]
    NoKey,
    /// The key belongs to another certificate, or is of a kind that nobody knows.
    #[error("the key cannot be used with the certificate: {0}")]
    Unfit(rustls::Error),
}

/// Requests that share an HTTP/2 connection.
const STREAMS: u32 = 100;
/// Bytes of one answer over HTTP/2 that a server may send before they are asked for; a connection has room for as much of
/// each of its requests, so that an answer that nobody takes holds up no other.
pub(in crate::proxy) const WINDOW: u32 = 256 * 1024;

impl Transport {
    /// Makes a peer one that is spoken to in this way. `server` is what its operator calls it.
    pub(super) fn apply(&self, peer: &mut HttpPeer, server: &str) {
        match self.protocol {
            Protocol::Http1 => peer.options.set_http_version(1, 1),
            Protocol::Http2 => peer.options.set_http_version(2, 2),
            Protocol::Auto => peer.options.set_http_version(2, 1),
        }
        if self.protocol != Protocol::Http1 {
            peer.options.max_h2_streams = STREAMS as usize;
            peer.options.h2_stream_window_size = Some(WINDOW);
            peer.options.h2_connection_window_size = Some(STREAMS * WINDOW);
        }
        if self.buffers != Buffers::default() {
            let buffers = self.buffers;
            let bound = move |socket: &TcpSocket| {
                buffers.bound(socket).or_err(ErrorType::SocketError, "while buffers are bounded")
            };
            peer.options.upstream_tcp_sock_tweak_hook = Some(Arc::new(bound));
        }
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        peer.group_key = hasher.finish();
        let Some(tls) = &self.tls else { return };
        peer.scheme = Scheme::HTTPS;
        peer.sni = tls.name.clone().unwrap_or_else(|| host(server).to_owned());
        peer.options.verify_cert = tls.verify;
        peer.options.verify_hostname = tls.verify;
        peer.options.ca = tls.authorities.as_ref().map(Authorities::parsed);
        peer.client_cert_key = tls.identity.as_ref().map(ClientIdentity::parsed);
    }
}

impl Authorities {
    /// Reads a PEM file.
    pub fn from_pem(pem: &[u8]) -> Result<Self, PemError> {
        let certificates = certificates(pem)?;
        let mut store = RootCertStore::empty();
        for (index, certificate) in certificates.iter().enumerate() {
            let added = store.add(CertificateDer::from_slice(certificate));
            added.map_err(|_| PemError::Broken(index + 1))?;
        }
        Ok(Self(certificates.into()))
    }

    fn parsed(&self) -> Arc<[WrappedX509]> {
        self.0.iter().map(|der| WrappedX509::new(der.clone(), parse_x509)).collect()
    }
}

impl ClientIdentity {
    /// Reads two PEM files.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, PemError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| PemError::NoKey)?;
        let secret: Arc<[u8]> = key.secret_der().into();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let given = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let config =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(PemError::Unfit)?.with_root_certificates(RootCertStore::empty());
        config.with_client_auth_cert(given, key).map_err(PemError::Unfit)?;
        Ok(Self { chain: chain.into(), key: secret })
    }

    fn parsed(&self) -> Arc<CertKey> {
        Arc::new(CertKey::new(self.chain.to_vec(), self.key.to_vec()))
    }
}

/// The certificates of a PEM file in DER, each of which can be parsed.
fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let read = read.map_err(|_| PemError::NoCertificate)?;
    if read.is_empty() {
        return Err(PemError::NoCertificate);
    }
    for (index, der) in read.iter().enumerate() {
        X509Certificate::from_der(der).map_err(|_| PemError::Broken(index + 1))?;
    }
    Ok(read.into_iter().map(|der| der.to_vec()).collect())
}

/// The name or address of a server without its port.
fn host(server: &str) -> &str {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} authorities", self.0.len())
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity")
    }
}

#[cfg(test)]
mod tests {
    use pingora::upstreams::peer::Peer as _;

    use super::*;
    use crate::proxy::server::Buffer;

    fn peer(transport: &Transport, server: &str) -> HttpPeer {
        let mut peer = HttpPeer::new("127.0.0.1:443", false, String::new());
        transport.apply(&mut peer, server);
        peer
    }

    fn tls(name: Option<&str>) -> Transport {
        let tls = Tls { verify: true, name: name.map(str::to_owned), authorities: None, identity: None };
        Transport { tls: Some(tls), ..Transport::default() }
    }

    #[test]
    fn there_is_always_a_name_to_verify() {
        for (server, name) in
            [("api.internal:443", "api.internal"), ("10.0.0.1:443", "10.0.0.1"), ("[::1]:443", "::1")]
        {
            assert_eq!(peer(&tls(None), server).sni, name);
        }
        assert_eq!(peer(&tls(Some("api.example")), "10.0.0.1:443").sni, "api.example");
        assert!(!peer(&Transport::default(), "10.0.0.1:80").is_tls());
    }

    #[test]
    fn connections_are_not_shared_between_different_authorities() {
        let authority = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key);
            Some(Authorities::from_pem(certificate.unwrap().pem().as_bytes()).unwrap())
        };
        let keys = [None, authority("one"), authority("two")].map(|authorities| {
            let mut transport = tls(None);
            transport.tls.as_mut().unwrap().authorities = authorities;
            peer(&transport, "a:443").group_key
        });
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
    }

    #[test]
    fn connections_are_made_with_the_buffers_of_their_server_and_not_shared_with_another() {
        let sizes = |peer: &HttpPeer| {
            let socket = TcpSocket::new_v4().unwrap();
            if let Some(bound) = &peer.options.upstream_tcp_sock_tweak_hook {
                bound(&socket).unwrap();
            }
            [socket.send_buffer_size().unwrap(), socket.recv_buffer_size().unwrap()]
        };
        let kib = |kib: usize| Buffer::AtMost(kib * 1024);
        let both = |send, receive| Buffers { ahead: Buffer::System, send: kib(send), receive: kib(receive) };
        let choices = [both(96, 64), both(96, 32), Buffers::default()];
        let peers =
            choices.map(|buffers| peer(&Transport { buffers, ..Transport::default() }, "10.0.0.1:80"));
        assert_eq!(sizes(&peers[0]), [96 * 1024, 64 * 1024]);
        assert_eq!(sizes(&peers[1]), [96 * 1024, 32 * 1024]);
        assert!(peers[2].options.upstream_tcp_sock_tweak_hook.is_none(), "the system has its way");
        let [one, two, three] = peers.each_ref().map(|peer| peer.reuse_hash());
        assert!(one != two && two != three && one != three);
        let secure = peer(&Transport { buffers: choices[0], ..tls(None) }, "a:443");
        assert_eq!(sizes(&secure), [96 * 1024, 64 * 1024]);
    }

    #[test]
    fn files_without_certificates_and_keys_of_others_are_refused() {
        assert!(matches!(Authorities::from_pem(b"nothing"), Err(PemError::NoCertificate)));
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(Authorities::from_pem(broken), Err(PemError::Broken(1))));
        let (one, other) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
        let certificate =
            rcgen::CertificateParams::new(vec!["me".to_owned()]).unwrap().self_signed(&one).unwrap();
        let with = |key: &str| ClientIdentity::from_pem(certificate.pem().as_bytes(), key.as_bytes());
        assert!(with(&one.serialize_pem()).is_ok());
        assert!(matches!(with(&other.serialize_pem()), Err(PemError::Unfit(_))));
        assert!(matches!(with("no key"), Err(PemError::NoKey)));
    }
}
