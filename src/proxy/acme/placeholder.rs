//! What is shown until the first certificate arrives: one that nobody vouches for.
//!
//! A listener needs some certificate to speak TLS at all, and it must speak TLS to be asked by `tls-alpn-01`. Clients
//! refuse this one, as they should. It is made anew at each start and never leaves memory.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::crypto::CryptoProvider;

use super::Wanted;
use crate::facts::problem::Problem;
use crate::proxy::door::certificate::{Certificate, PemFile};

/// The name of whoever issued it, so that nobody has to wonder.
const NAME: &str = "riskgate placeholder, not issued yet";

/// A certificate that stands in for one that is wanted. `store` is where that one would be, for messages.
pub fn placeholder(
    wanted: &Wanted,
    file: &std::path::Path,
    provider: &CryptoProvider,
) -> Result<Certificate, Problem> {
    let problem =
        |error: rcgen::Error| Problem::error(file, format!("no placeholder could be made: {error}"));
    let mut params = CertificateParams::new(wanted.hosts.clone()).map_err(problem)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NAME);
    let key = KeyPair::generate().map_err(problem)?;
    let cert = params.self_signed(&key).map_err(problem)?.pem();
    let (cert, key) = (cert.into_bytes(), key.serialize_pem().into_bytes());
    let pem = |bytes| PemFile { path: file, bytes };
    Certificate::read(&wanted.name, pem(&cert), pem(&key), provider)
}
