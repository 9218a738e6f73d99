//! One order, from the account to the certificate on the disk.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeHandle, ChallengeType, Identifier, KeyAuthorization, NewAccount,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::challenges::{ACME_TLS, Answers};
use super::store::{Kept, StoreError};
use super::{Challenge, Challenges, Settings, Wanted};
use crate::facts::problem::Problem;
use crate::proxy::door::certificate::{Certificate, PemFile};
use crate::proxy::door::tls::provider;

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// The authority said no, or could not be reached or understood.
    #[error("{}", chain(.0))]
    Authority(#[from] instant_acme::Error),
    /// The authority does not let this host be proved this way.
    #[error("`{host}` cannot be proved by `{challenge}` there; choose another `[acme] challenge`")]
    NotOffered { host: String, challenge: &'static str },
    /// The authority asked, and was not convinced.
    #[error("the authority could not validate `{host}`: {why}")]
    Unproved { host: String, why: String },
    /// The authority gave the order up.
    #[error("the authority gave the order up")]
    GivenUp,
    /// A key or a request could not be made.
    #[error("no request could be made: {0}")]
    Request(#[from] rcgen::Error),
    /// The handshake of a challenge could not be prepared.
    #[error("no handshake could be prepared: {0}")]
    Handshake(#[from] rustls::Error),
    /// What was issued cannot be used.
    #[error("what was issued cannot be used: {0}")]
    Unusable(Box<Problem>),
    /// Something could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store says of the account cannot be understood.
    #[error("the account in the store cannot be used, remove its file to begin with a new one: {0}")]
    Account(#[from] serde_json::Error),
    /// It took too long.
    #[error("the order took too long")]
    TookTooLong,
}

/// How long an authority is asked again and again.
const RETRIES: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));

/// Has a certificate issued and keeps it.
pub(super) async fn issue(
    settings: &Settings,
    wanted: &Wanted,
    challenges: &Challenges,
) -> Result<(), OrderError> {
    let account = account(settings).await?;
    let hosts: Vec<_> = wanted.hosts.iter().cloned().map(Identifier::Dns).collect();
    let mut order = account.new_order(&NewOrder::new(&hosts)).await?;
    prove(&mut order, settings.challenge, challenges).await?;
    let (key, chain) = finalize(&mut order, wanted).await?;
    check(wanted, &key, &chain)?;
    Ok(settings.store.keep(&wanted.name, &settings.directory, &key, &chain)?)
}

/// The account of the store, or a new one.
async fn account(settings: &Settings) -> Result<Account, OrderError> {
    let builder = match &settings.ca {
        Some(ca) => Account::builder_with_root(ca)?,
        None => Account::builder()?,
    };
    let contact: Vec<&str> = settings.contact.iter().map(String::as_str).collect();
    let (directory, kept) = (settings.directory.clone(), settings.store.account(&settings.directory)?);
    let Some(kept) = kept else {
        let new =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = builder.create(&new, directory.clone(), None).await?;
        let credentials = serde_json::to_value(&credentials)?;
        settings.store.keep_account(&Kept { directory, contact: settings.contact.clone(), credentials })?;
        return Ok(account);
    };
    let account = builder.from_credentials(serde_json::from_value(kept.credentials.clone())?).await?;
    if kept.contact != settings.contact {
        account.update_contacts(&contact).await?;
        settings.store.keep_account(&Kept { contact: settings.contact.clone(), ..kept })?;
    }
    Ok(account)
}

/// Proves every host that is not proved yet. Answers are given no longer than it takes.
async fn prove(order: &mut Order, challenge: Challenge, challenges: &Challenges) -> Result<(), OrderError> {
    let (mut texts, mut configs) = (HashMap::new(), HashMap::new());
    let mut hosts = order.authorizations();
    while let Some(host) = hosts.next().await {
        let mut host = host?;
        if host.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = host.identifier().to_string();
        let handle = offered(host.challenge(kind(challenge)), &name, challenge)?;
        let proof = handle.key_authorization();
        match challenge {
            Challenge::Http01 => drop(texts.insert(handle.token.clone(), proof.as_str().to_owned())),
            Challenge::TlsAlpn01 => drop(configs.insert(name.clone(), handshake(&name, &proof)?)),
        }
    }
    if texts.is_empty() && configs.is_empty() {
        return Ok(());
    }
    let _waiting = challenges.answer(match challenge {
        Challenge::Http01 => Answers::Http(texts),
        Challenge::TlsAlpn01 => Answers::Tls(configs),
    });
    let mut hosts = order.authorizations();
    while let Some(host) = hosts.next().await {
        let mut host = host?;
        if host.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = host.identifier().to_string();
        offered(host.challenge(kind(challenge)), &name, challenge)?.set_ready().await?;
    }
    let said = order.poll_ready(&RETRIES).await;
    match order.state().status {
        // Some authorities say so in an error of the order, which need not name the host.
        OrderStatus::Invalid => Err(unproved(order, said.err()).await),
        OrderStatus::Ready | OrderStatus::Pending | OrderStatus::Processing | OrderStatus::Valid => {
            Ok(said.map(drop)?)
        }
    }
}

fn kind(challenge: Challenge) -> ChallengeType {
    match challenge {
        Challenge::Http01 => ChallengeType::Http01,
        Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
    }
}

fn offered<'a>(
    handle: Option<ChallengeHandle<'a>>,
    host: &str,
    challenge: Challenge,
) -> Result<ChallengeHandle<'a>, OrderError> {
    handle.ok_or_else(|| OrderError::NotOffered { host: host.to_owned(), challenge: challenge.as_str() })
}

/// Which host was not proved, and why, as far as the authority says; else what it said of the order.
async fn unproved(order: &mut Order, said: Option<instant_acme::Error>) -> OrderError {
    let mut hosts = order.authorizations();
    while let Some(host) = hosts.next().await {
        let Ok(mut host) = host else { continue };
        if let Err(error) = host.refresh().await {
            return error.into();
        }
        let why = host.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(why) = why.map(ToString::to_string) {
            return OrderError::Unproved { host: host.identifier().to_string(), why };
        }
    }
    said.map_or(OrderError::GivenUp, OrderError::from)
}

/// A handshake that proves a host (RFC 8737, section 3).
fn handshake(host: &str, proof: &KeyAuthorization) -> Result<Arc<ServerConfig>, OrderError> {
    let mut params = CertificateParams::new([host.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(proof.digest().as_ref())];
    let key = KeyPair::generate()?;
    let cert = params.self_signed(&key)?.der().clone();
    let (provider, key) = (provider(), PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = provider.key_provider.load_private_key(key.into())?;
    // Put together by hand, since rustls would refuse a critical extension that it does not know.
    let shown = SingleCertAndKey::from(CertifiedKey::new(vec![cert], key));
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![ACME_TLS.as_bytes().to_vec()];
    Ok(Arc::new(config))
}

/// Asks for the certificate itself: a new key, and the chain of its certificate, both as PEM.
async fn finalize(order: &mut Order, wanted: &Wanted) -> Result<(String, String), OrderError> {
    let mut params = CertificateParams::new(wanted.hosts.clone())?;
    params.distinguished_name = DistinguishedName::new();
    let key = KeyPair::generate()?;
    let request = params.serialize_request(&key)?;
    order.finalize_csr(request.der()).await?;
    Ok((key.serialize_pem(), order.poll_certificate(&RETRIES).await?))
}

/// What cannot be used must not replace what can.
fn check(wanted: &Wanted, key: &str, chain: &str) -> Result<(), OrderError> {
    let path = std::path::Path::new("the certificate");
    let file = |text| PemFile { path, bytes: str::as_bytes(text) };
    let unusable = |problem| OrderError::Unusable(Box::new(problem));
    let issued = Certificate::read(&wanted.name, file(chain), file(key), &provider()).map_err(unusable)?;
    match wanted.hosts.iter().find(|host| !issued.hosts().contains(host)) {
        Some(host) => Err(unusable(Problem::error(path, format!("it is not for `{host}`")))),
        None => Ok(()),
    }
}

/// An error and what caused it, which its own text often leaves out.
fn chain(error: &(dyn Error + 'static)) -> String {
    let (mut texts, mut next): (Vec<String>, _) = (Vec::new(), Some(error));
    while let Some(error) = next {
        let text = error.to_string();
        if !texts.last().is_some_and(|last| last.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}
