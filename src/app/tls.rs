//! From certificates, as files have them, to what listeners speak TLS with. Like a snapshot, it is built and checked
//! first, and takes effect when the candidate that it belongs to is published.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use tokio::sync::watch;

use super::acme::{self, orders};
use crate::config::{Certificate as Named, Config, KeyPair, Listener, ListenerTls, Needed};
use crate::facts::problem::Problem;
use crate::facts::time::Wall;
use crate::proxy::acme::{Challenges, Orders, Wanted, placeholder};
use crate::proxy::door::certificate::{Certificate, PemFile};
use crate::proxy::door::tls::{Terms, Tls, Without, configure, provider};
use crate::reload::sources::{Data, DataKind, DataPath, Digest, Sources};

/// What listeners speak TLS with, and what they would with the last candidate.
pub(super) struct Greetings {
    provider: Arc<CryptoProvider>,
    /// One for each listener, in order.
    listeners: Arc<[Option<Arc<Tls>>]>,
    /// What that which is in use was made from.
    in_use: MadeFrom,
    candidate: Option<Candidate>,
    /// What is shown for a certificate of an authority whose file is not there, or cannot be used.
    stand_ins: BTreeMap<String, Certificate>,
    /// How authorities are answered.
    challenges: Arc<Challenges>,
    /// What is wanted from an authority.
    orders: watch::Sender<Arc<Orders>>,
}

/// What would change what is spoken, if it changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct MadeFrom {
    files: Vec<Digest>,
    named: BTreeMap<String, Named>,
}

/// The certificates to choose from, and what is wrong with them.
#[derive(Default)]
struct Read {
    certificates: BTreeMap<String, Certificate>,
    /// Those that only stand in for others.
    stand_ins: BTreeSet<String>,
    problems: Vec<Problem>,
}

/// What would be spoken.
struct Candidate {
    made_from: MadeFrom,
    orders: Arc<Orders>,
    configs: Vec<Option<Arc<ServerConfig>>>,
    ends: Vec<(String, i64)>,
}

impl Greetings {
    /// Nothing is spoken yet.
    pub(super) fn new(config: &Config) -> Self {
        let challenges = Arc::<Challenges>::default();
        let new = || Arc::new(Tls::new(Arc::clone(&challenges)));
        let tls = |listener: &Listener| listener.tls.is_some().then(new);
        let listeners = config.listeners.iter().map(tls).collect();
        let (orders, in_use) = (watch::Sender::new(Arc::new(orders(config))), MadeFrom::default());
        let (provider, stand_ins) = (provider(), BTreeMap::new());
        Self { provider, listeners, in_use, candidate: None, stand_ins, challenges, orders }
    }

    /// How authorities are answered, once orders wait for that.
    pub(super) fn challenges(&self) -> Arc<Challenges> {
        Arc::clone(&self.challenges)
    }

    /// What each listener speaks TLS with; `None` in the clear.
    pub(super) fn listeners(&self) -> Arc<[Option<Arc<Tls>>]> {
        Arc::clone(&self.listeners)
    }

    /// What is wanted from an authority; told anew whenever something is published, or somebody asked for that.
    pub(super) fn orders(&self) -> watch::Receiver<Arc<Orders>> {
        self.orders.subscribe()
    }

    /// Reads and checks every certificate. The warnings are worth a look.
    pub(super) fn build(
        &mut self,
        config: &Config,
        sources: &Sources,
        now: Wall,
    ) -> Result<Vec<Problem>, Vec<Problem>> {
        let files = paths(config);
        let files = files.iter().filter_map(|file| sources.role(&file.role)).map(Data::digest).collect();
        let made_from = MadeFrom { files, named: config.certificates.clone() };
        // What is in use is no reason to refuse other changes, though it may have expired meanwhile.
        let unchanged = made_from == self.in_use;
        let Read { certificates, stand_ins, mut problems } = self.certificates(config, sources);
        for (name, certificate) in &certificates {
            let Some(doubt) = certificate.doubts(now) else { continue };
            // Neither is one that an authority will replace.
            let lenient = unchanged || matches!(config.certificates.get(name), Some(Named::Acme(_)));
            let warning = || Problem::warning(doubt.file(), doubt.message()).hint("have it issued anew");
            problems.push(if lenient && doubt.is_error() { warning() } else { doubt });
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
        let own = certificates.iter().filter(|(name, _)| !stand_ins.contains(*name));
        let ends = own.map(|(name, one)| (name.clone(), one.until())).collect();
        let (configs, orders) = (configs.map_err(|problem| vec![problem])?, Arc::new(orders(config)));
        self.candidate = Some(Candidate { made_from, orders, configs, ends });
        Ok(warnings)
    }

    /// Speaks as the last candidate says; the end of each certificate, in seconds since 1970.
    pub(super) fn publish(&mut self) -> Option<Vec<(String, i64)>> {
        let Candidate { made_from, orders, configs, ends } = self.candidate.take()?;
        if made_from != self.in_use {
            for (tls, config) in self.listeners.iter().zip(configs) {
                if let (Some(tls), Some(config)) = (tls, config) {
                    tls.change(config);
                }
            }
            self.in_use = made_from;
        }
        self.orders.send_replace(orders);
        Some(ends)
    }

    /// Has the ends of certificates looked at once more.
    pub(super) fn remind(&self) {
        self.orders.send_modify(|_| {});
    }

    fn certificates(&mut self, config: &Config, sources: &Sources) -> Read {
        let mut read = Read::default();
        for (name, _) in pairs(config) {
            let file = |part| sources.role(&role(&name, part)).map(pem);
            let Some((cert, key)) = file(CERT).zip(file(KEY)) else { continue };
            match Certificate::read(&name, cert, key, &self.provider) {
                Ok(certificate) => drop(read.certificates.insert(name, certificate)),
                Err(problem) => read.problems.push(problem),
            }
        }
        for wanted in acme::wanted(config) {
            self.issued(&wanted, &acme::store(config).certificate(&wanted.name), sources, &mut read);
        }
        read
    }

    /// A certificate of an authority. Whatever is wrong with it, a gate must start to have it issued anew.
    fn issued(&mut self, wanted: &Wanted, path: &Path, sources: &Sources, read: &mut Read) {
        let name = &wanted.name;
        if let Some(file) = sources.role(&role(name, ISSUED)).map(pem) {
            match Certificate::read(name, file, file, &self.provider) {
                Ok(certificate) => {
                    self.stand_ins.insert(name.clone(), certificate.clone());
                    read.certificates.insert(name.clone(), certificate);
                    return;
                }
                Err(problem) => {
                    let warning = Problem::warning(path, problem.message());
                    read.problems.push(warning.hint("another is ordered"));
                }
            }
        }
        let fits = |known: &&Certificate| wanted.hosts.iter().all(|host| known.hosts().contains(host));
        let stand_in = match self.stand_ins.get(name).filter(fits) {
            Some(known) => Ok(known.clone()),
            None => placeholder(wanted, path, &self.provider),
        };
        match stand_in {
            Ok(certificate) => {
                self.stand_ins.insert(name.clone(), certificate.clone());
                read.stand_ins.insert(name.clone());
                read.certificates.insert(name.clone(), certificate);
            }
            Err(problem) => read.problems.push(problem),
        }
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
const ISSUED: &str = "issued";
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
    let issued = |wanted: Wanted| DataPath {
        role: role(&wanted.name, ISSUED),
        kind: DataKind::Issued,
        path: acme::store(config).certificate(&wanted.name),
    };
    files.extend(acme::wanted(config).into_iter().map(issued));
    for (number, listener) in config.listeners.iter().enumerate() {
        if let Some(clients) = listener.tls.as_ref().and_then(|tls| tls.clients.as_ref()) {
            files.push(file(role(&own_name(number), CLIENT_CA), &clients.ca));
        }
    }
    files
}

/// Every certificate from files by its name: those of listeners have names that no other can have.
fn pairs(config: &Config) -> Vec<(String, &KeyPair)> {
    let named = config.certificates.iter().filter_map(|(name, named)| match named {
        Named::Files(pair) => Some((name.clone(), pair)),
        Named::Acme(_) => None,
    });
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
