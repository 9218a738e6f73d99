//! From certificates, as files have them, to what listeners speak TLS with. Like a snapshot, it is built and checked
//! first, and takes effect when the candidate that it belongs to is published.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;

use crate::config::{Config, KeyPair, Listener, ListenerTls, Needed};
use crate::facts::problem::Problem;
use crate::facts::time::Wall;
use crate::proxy::door::certificate::{Certificate, PemFile};
use crate::proxy::door::tls::{Terms, Tls, Without, configure, provider};
use crate::reload::sources::{Data, DataKind, DataPath, Digest, Sources};

/// What listeners speak TLS with, and what they would with the last candidate.
pub(super) struct Greetings {
    provider: Arc<CryptoProvider>,
    /// One for each listener, in order.
    listeners: Arc<[Option<Arc<Tls>>]>,
    /// Digests of all files that what is in use was made from.
    in_use: Vec<Digest>,
    candidate: Option<Candidate>,
}

/// What would be spoken.
struct Candidate {
    made_from: Vec<Digest>,
    configs: Vec<Option<Arc<ServerConfig>>>,
    ends: Vec<(String, i64)>,
}

impl Greetings {
    /// Nothing is spoken yet.
    pub(super) fn new(config: &Config) -> Self {
        let tls = |listener: &Listener| listener.tls.is_some().then(Arc::<Tls>::default);
        let listeners = config.listeners.iter().map(tls).collect();
        Self { provider: provider(), listeners, in_use: Vec::new(), candidate: None }
    }

    /// What each listener speaks TLS with; `None` in the clear.
    pub(super) fn listeners(&self) -> Arc<[Option<Arc<Tls>>]> {
        Arc::clone(&self.listeners)
    }

    /// Reads and checks every certificate. The warnings are worth a look.
    pub(super) fn build(
        &mut self,
        config: &Config,
        sources: &Sources,
        now: Wall,
    ) -> Result<Vec<Problem>, Vec<Problem>> {
        let files = paths(config);
        let made_from: Vec<_> =
            files.iter().filter_map(|file| sources.role(&file.role)).map(Data::digest).collect();
        // What is in use is no reason to refuse other changes, though it may have expired meanwhile.
        let unchanged = made_from == self.in_use;
        let (certificates, mut problems) = self.certificates(config, sources);
        for doubt in certificates.values().filter_map(|certificate| certificate.doubts(now)) {
            let warning = || Problem::warning(doubt.file(), doubt.message()).hint("have it issued anew");
            problems.push(if unchanged && doubt.is_error() { warning() } else { doubt });
        }
        let (refused, warnings): (Vec<_>, Vec<_>) = problems.into_iter().partition(Problem::is_error);
        if !refused.is_empty() {
            return Err(refused);
        }
        let configure = |(number, listener): (usize, &Listener)| {
            let tls = listener.tls.as_ref();
            tls.map(|tls| self.configure(number, listener, tls, &certificates, sources)).transpose()
        };
        let configs: Result<_, Problem> = config.listeners.iter().enumerate().map(configure).collect();
        let ends = certificates.values().map(|one| (one.name().to_owned(), one.until())).collect();
        self.candidate =
            Some(Candidate { made_from, configs: configs.map_err(|problem| vec![problem])?, ends });
        Ok(warnings)
    }

    /// Speaks as the last candidate says; the end of each certificate, in seconds since 1970.
    pub(super) fn publish(&mut self) -> Option<Vec<(String, i64)>> {
        let Candidate { made_from, configs, ends } = self.candidate.take()?;
        if made_from != self.in_use {
            for (tls, config) in self.listeners.iter().zip(configs) {
                if let (Some(tls), Some(config)) = (tls, config) {
                    tls.change(config);
                }
            }
            self.in_use = made_from;
        }
        Some(ends)
    }

    fn certificates(
        &self,
        config: &Config,
        sources: &Sources,
    ) -> (BTreeMap<String, Certificate>, Vec<Problem>) {
        let (mut certificates, mut problems) = (BTreeMap::new(), Vec::new());
        for (name, _) in pairs(config) {
            let file = |part| sources.role(&role(&name, part)).map(pem);
            let Some((cert, key)) = file(CERT).zip(file(KEY)) else { continue };
            match Certificate::read(&name, cert, key, &self.provider) {
                Ok(certificate) => drop(certificates.insert(name, certificate)),
                Err(problem) => problems.push(problem),
            }
        }
        (certificates, problems)
    }

    fn configure(
        &self,
        number: usize,
        listener: &Listener,
        tls: &ListenerTls,
        certificates: &BTreeMap<String, Certificate>,
        sources: &Sources,
    ) -> Result<Arc<ServerConfig>, Problem> {
        let own = tls.own.as_ref().map(|_| own_name(number));
        let shown = own.iter().chain(&tls.certificates).filter_map(|name| certificates.get(name));
        let shown: Vec<Certificate> = shown.cloned().collect();
        let without = |needed| match needed {
            Needed::Required => Without::Refused,
            Needed::Optional => Without::Welcome,
        };
        let clients = tls.clients.as_ref().and_then(|clients| {
            let ca = sources.role(&role(&own_name(number), CLIENT_CA)).map(pem)?;
            Some((ca, without(clients.needed)))
        });
        let terms = Terms { certificates: &shown, oldest: tls.oldest, http2: listener.http2, clients };
        Ok(Arc::new(configure(&terms, &self.provider)?))
    }
}

const CERT: &str = "cert";
const KEY: &str = "key";
const CLIENT_CA: &str = "client_ca";

/// Every file that TLS is made from.
pub(super) fn paths(config: &Config) -> Vec<DataPath> {
    let file = |role: String, path: &std::path::PathBuf| DataPath {
        role,
        kind: DataKind::Certificate,
        path: path.clone(),
    };
    let of_pair = |(name, pair): (String, &KeyPair)| {
        [file(role(&name, CERT), &pair.cert), file(role(&name, KEY), &pair.key)]
    };
    let mut files: Vec<DataPath> = pairs(config).into_iter().flat_map(of_pair).collect();
    for (number, listener) in config.listeners.iter().enumerate() {
        if let Some(clients) = listener.tls.as_ref().and_then(|tls| tls.clients.as_ref()) {
            files.push(file(role(&own_name(number), CLIENT_CA), &clients.ca));
        }
    }
    files
}

/// Every certificate by its name: those of listeners have names that no other can have.
fn pairs(config: &Config) -> Vec<(String, &KeyPair)> {
    let named = config.certificates.iter().map(|(name, pair)| (name.clone(), pair));
    let own = config.listeners.iter().enumerate().filter_map(|(number, listener)| {
        let pair = listener.tls.as_ref()?.own.as_ref()?;
        Some((own_name(number), pair))
    });
    named.chain(own).collect()
}

fn own_name(number: usize) -> String {
    format!("listener-{}", number + 1)
}

fn role(name: &str, part: &str) -> String {
    format!("certificate {name} {part}")
}

fn pem(data: &Data) -> PemFile<'_> {
    PemFile { path: data.path(), bytes: data.bytes() }
}
