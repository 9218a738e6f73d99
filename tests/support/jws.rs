//! Signed requests (RFC 7515 as RFC 8555 uses it), the keys that sign them, and requests for certificates.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use rustls::SupportedCipherSuite;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A signed request, taken apart.
pub(super) struct Jws {
    pub(super) header: Value,
    /// `null` if there is none.
    pub(super) payload: Value,
    signed: String,
    signature: Vec<u8>,
}

/// A public key on P-256.
#[derive(Clone)]
pub(super) struct Signer(Vec<u8>);

impl Jws {
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let (header, payload) = (body["protected"].as_str()?, body["payload"].as_str()?);
        let text = |part: &str| BASE64.decode(part).ok();
        Some(Self {
            header: serde_json::from_slice(&text(header)?)
                .ok()
                .filter(|header: &Value| header["alg"] == "ES256")?,
            payload: if payload.is_empty() {
                Value::Null
            } else {
                serde_json::from_slice(&text(payload)?).ok()?
            },
            signed: format!("{header}.{payload}"),
            signature: text(body["signature"].as_str()?)?,
        })
    }

    pub(super) fn is_signed_by(&self, key: &Signer) -> bool {
        let (Some(r), Some(s)) = (self.signature.get(..32), self.signature.get(32..64)) else { return false };
        let body = [integer(r), integer(s)].concat();
        let signature = [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat();
        key.verifies(self.signed.as_bytes(), &signature)
    }
}

impl Signer {
    pub(super) fn of(jwk: &Value) -> Option<Self> {
        let part = |name: &str| BASE64.decode(jwk[name].as_str()?).ok().filter(|part| part.len() == 32);
        (jwk["crv"] == "P-256").then(|| Some(Self([vec![4], part("x")?, part("y")?].concat())))?
    }

    /// RFC 7638.
    pub(super) fn thumbprint(&self) -> String {
        let (x, y) = (BASE64.encode(&self.0[1..33]), BASE64.encode(&self.0[33..]));
        BASE64.encode(sha256(
            format!("{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"{x}\",\"y\":\"{y}\"}}").as_bytes(),
        ))
    }

    pub(super) fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self(certificate.public_key().subject_public_key.data.to_vec()))
    }

    pub(super) fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        let known = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        let fits = |(scheme, _): &&(rustls::SignatureScheme, _)| {
            *scheme == rustls::SignatureScheme::ECDSA_NISTP256_SHA256
        };
        let (_, algorithms) = known.mapping.iter().find(fits).unwrap();
        algorithms.iter().any(|algorithm| algorithm.verify_signature(&self.0, text, signature).is_ok())
    }
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// The hosts and the key of a request for a certificate, which its owner has signed.
pub(super) fn request(der: &[u8]) -> Option<(Vec<String>, Signer)> {
    let (_, request) = X509CertificationRequest::from_der(der).ok()?;
    let info = &request.certification_request_info;
    let key = Signer(info.subject_pki.subject_public_key.data.to_vec());
    let extensions = request.requested_extensions()?.filter_map(|extension| match extension {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    let hosts = extensions.flatten().map(|name| match name {
        GeneralName::DNSName(host) => (*host).to_owned(),
        other => other.to_string(),
    });
    key.verifies(info.raw, &request.signature_value.data).then(|| (hosts.collect(), key))
}

pub(super) fn sha256(text: &[u8]) -> Vec<u8> {
    let SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256 else { unreachable!() };
    suite.common.hash_provider.hash(text).as_ref().to_vec()
}

/// A positive integer in DER.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
    let sign = if bytes[start] & 0x80 == 0 { &[][..] } else { &[0] };
    let number = [sign, &bytes[start..]].concat();
    [vec![2, u8::try_from(number.len()).unwrap()], number].concat()
}
