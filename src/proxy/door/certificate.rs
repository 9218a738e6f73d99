//! Certificates, as files have them: read, checked against their key and the clock, and found by the server that a
//! client asks for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::facts::problem::Problem;
use crate::facts::time::Wall;

/// A certificate with its key, which belong together.
#[derive(Clone, Debug)]
pub struct Certificate {
    name: String,
    path: PathBuf,
    signed: Arc<CertifiedKey>,
    hosts: Vec<String>,
    from: i64,
    until: i64,
}

/// A file as it was read.
#[derive(Clone, Copy, Debug)]
pub struct PemFile<'a> {
    /// Where it is, for messages.
    pub path: &'a Path,
    /// What it says.
    pub bytes: &'a [u8],
}

/// The certificates of one listener. The first is for clients that ask for no server known here.
#[derive(Debug, Default)]
pub struct Shown {
    default: Option<Arc<CertifiedKey>>,
    exact: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// By what follows the `*.`, which stands for one label.
    below: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
}

/// A certificate that ends within so many seconds is worth a warning.
const SOON: i64 = 14 * 24 * 3600;

impl Certificate {
    /// Reads a certificate and its key, both as PEM.
    pub fn read(
        name: &str,
        cert: PemFile<'_>,
        key: PemFile<'_>,
        provider: &CryptoProvider,
    ) -> Result<Self, Problem> {
        let chain = chain(cert)?;
        let Some(leaf) = chain.first() else { return Err(no_certificate(cert)) };
        let Ok((_, parsed)) = X509Certificate::from_der(leaf) else {
            let problem = Problem::error(cert.path, "the first certificate cannot be read");
            return Err(problem.hint("write it again from where it was issued"));
        };
        let (hosts, validity) = (hosts(&parsed), parsed.validity());
        let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let secret = private_key(key)?;
        let signed = CertifiedKey::from_der(chain, secret, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let message = format!("this key is not that of the certificate in `{}`", cert.path.display());
                Problem::error(key.path, message)
                    .hint("both must come from the same request for a certificate")
            }
            error => Problem::error(key.path, format!("the key cannot be used: {error}"))
                .hint("RSA of 2048 bits or more, ECDSA (P-256, P-384) and Ed25519 can"),
        })?;
        let (name, path) = (name.to_owned(), cert.path.to_path_buf());
        Ok(Self { name, path, signed: Arc::new(signed), hosts, from, until })
    }

    /// What the operator calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hosts that it is for, in lower case, perhaps with `*.` in front.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// When it begins, in seconds since 1970.
    pub fn from(&self) -> i64 {
        self.from
    }

    /// When it ends, in seconds since 1970.
    pub fn until(&self) -> i64 {
        self.until
    }

    /// What is wrong with it at this moment: an error if clients would refuse it, a warning if they soon will.
    pub fn doubts(&self, now: Wall) -> Option<Problem> {
        let now = i64::try_from(now.as_millis() / 1000).unwrap_or(i64::MAX);
        let renew = "have it issued anew";
        if now >= self.until {
            return Some(Problem::error(&self.path, "the certificate has expired").hint(renew));
        }
        if now < self.from {
            let problem = Problem::error(&self.path, "the certificate is not valid yet");
            return Some(problem.hint("is the clock of this machine right?"));
        }
        let days = (self.until - now) / (24 * 3600);
        let message = || format!("the certificate `{}` expires in {days} days", self.name);
        (self.until - now < SOON).then(|| Problem::warning(&self.path, message()).hint(renew))
    }
}

impl Shown {
    /// Shows these certificates.
    pub fn new(certificates: &[Certificate]) -> Self {
        let mut shown =
            Self { default: certificates.first().map(|first| Arc::clone(&first.signed)), ..Self::default() };
        for certificate in certificates {
            for host in &certificate.hosts {
                let (hosts, host) = match host.strip_prefix("*.") {
                    Some(domain) => (&mut shown.below, domain),
                    None => (&mut shown.exact, host.as_str()),
                };
                hosts.entry(host.into()).or_default().push(Arc::clone(&certificate.signed));
            }
        }
        shown
    }

    /// Those for a host, if there are any.
    fn of(&self, host: &str) -> Option<&[Arc<CertifiedKey>]> {
        let below = || self.below.get(host.split_once('.')?.1);
        self.exact.get(host).or_else(below).map(Vec::as_slice)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name().map(str::to_ascii_lowercase).unwrap_or_default();
        let known = self.of(&host).unwrap_or_default();
        // One host may have an ECDSA and an RSA certificate, for old clients.
        let fits =
            |signed: &&Arc<CertifiedKey>| signed.key.choose_scheme(hello.signature_schemes()).is_some();
        known.iter().find(fits).or_else(|| known.first()).or(self.default.as_ref()).cloned()
    }
}

/// The certificates of a file, in its order.
pub(super) fn chain(file: PemFile<'_>) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file.bytes).collect();
    let chain = chain.map_err(|error| not_pem(file, &error))?;
    if chain.is_empty() { Err(no_certificate(file)) } else { Ok(chain) }
}

fn private_key(file: PemFile<'_>) -> Result<PrivateKeyDer<'static>, Problem> {
    PrivateKeyDer::from_pem_slice(file.bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => Problem::error(file.path, "there is no private key in this file")
            .hint("it must have `-----BEGIN PRIVATE KEY-----`, and no password"),
        error => not_pem(file, &error),
    })
}

fn no_certificate(file: PemFile<'_>) -> Problem {
    Problem::error(file.path, "there is no certificate in this file")
        .hint("it must have `-----BEGIN CERTIFICATE-----`")
}

fn not_pem(file: PemFile<'_>, error: &pem::Error) -> Problem {
    Problem::error(file.path, format!("not PEM: {error}")).hint("was it copied whole?")
}

fn hosts(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let hosts = names.filter_map(|name| match name {
        GeneralName::DNSName(host) => Some(host.to_ascii_lowercase()),
        _ => None,
    });
    hosts.collect()
}
