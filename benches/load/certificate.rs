//! The certificate that every server of the bench shows, and clients that take it: ECDSA with P-256, made anew for each
//! turn, so that nobody knows its key.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, version};
use toml::Table;

use crate::error::LoadError;

/// Whom clients ask for.
pub(crate) const HOST: &str = "bench.example";

/// Where a certificate and its key are, in the folder of a server.
pub(crate) fn paths(folder: &Path) -> [PathBuf; 2] {
    ["cert.pem", "key.pem"].map(|name| folder.join(name))
}

/// Makes a certificate in this folder; how the gate's configuration names it.
pub(crate) fn write(folder: &Path) -> Result<Table, LoadError> {
    let failed = || LoadError::io("make a certificate");
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()]);
    let made = made.map_err(std::io::Error::other).map_err(failed())?;
    let [cert, key] = paths(folder);
    fs::write(&cert, made.cert.pem()).map_err(failed())?;
    fs::write(&key, made.signing_key.serialize_pem()).map_err(failed())?;
    let text = |path: PathBuf| path.display().to_string().into();
    Ok(Table::from_iter([("cert".to_owned(), text(cert)), ("key".to_owned(), text(key))]))
}

/// How a client speaks TLS 1.3. It resumes nothing, and takes any certificate whose key the server has: what the checks of
/// clients cost is no part of what is measured.
pub(crate) fn client(alpn: &str) -> Result<ClientConfig, LoadError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&[&version::TLS13]);
    let builder = builder.map_err(std::io::Error::other).map_err(LoadError::io("speak TLS"))?;
    let verifier = Arc::new(Trusting(provider));
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
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
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
