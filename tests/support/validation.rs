//! How an authority finds out whether a host is served by whom it should be: by a request (RFC 8555, section 8.3), or by
//! a handshake (RFC 8737).

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::jws::{Signer, sha256};
use crate::net::{Client, PATIENCE, Request};

/// `id-pe-acmeIdentifier`.
const IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

/// Asks for the token in the clear.
pub(super) fn by_request(gate: SocketAddr, host: &str, token: &str, proof: &str) -> Result<(), String> {
    let mut client = Client::connect(gate).map_err(|error| format!("no connection: {error}"))?;
    let request = Request::get(&format!("/.well-known/acme-challenge/{token}")).header("host", host);
    let answer = client.send(&request).map_err(|error| format!("no answer: {error}"))?;
    match answer.status {
        200 if answer.text() == proof => Ok(()),
        status => Err(format!("{status} instead of the proof")),
    }
}

/// Shakes hands, and looks at what is shown.
pub(super) fn by_handshake(gate: SocketAddr, host: &str, proof: &str) -> Result<(), String> {
    let said = |error: &dyn std::error::Error| error.to_string();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap().dangerous();
    let builder = builder.with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let name = ServerName::try_from(host.to_owned()).map_err(|error| said(&error))?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(|error| said(&error))?;
    let mut stream = TcpStream::connect(gate).map_err(|error| said(&error))?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|error| said(&error))?;
    }
    if connection.alpn_protocol() != Some(b"acme-tls/1") {
        return Err("another protocol was agreed on".to_owned());
    }
    let shown = connection.peer_certificates().and_then(<[_]>::first).ok_or("no certificate")?;
    let (_, shown) = X509Certificate::from_der(shown).map_err(|error| said(&error))?;
    let names = shown.subject_alternative_name().map_err(|error| said(&error))?.ok_or("no names")?;
    if names.value.general_names != [GeneralName::DNSName(host)] {
        return Err(format!("for other hosts: {:?}", names.value.general_names));
    }
    let proofs = shown.extensions().iter().filter(|extension| extension.oid.to_id_string() == IDENTIFIER);
    let wanted = [&[4, 32][..], &sha256(proof.as_bytes())].concat();
    let good: Vec<bool> = proofs.map(|extension| extension.critical && extension.value == wanted).collect();
    if good == [true] { Ok(()) } else { Err("it proves nothing".to_owned()) }
}

/// Believes every certificate, if it is used by whom it belongs to. What rustls has for that refuses extensions that are
/// critical and that it does not know.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_tls13_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let signer =
            Signer::of_certificate(cert).filter(|signer| signer.verifies(message, signed.signature()));
        signer.map(|_| HandshakeSignatureValid::assertion()).ok_or(CertificateError::BadSignature.into())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
