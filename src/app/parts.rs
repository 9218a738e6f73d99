//! From configuration to the parts of a gate: each function makes one, and says what is wrong with it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::config::{self, Config, Host, Origin, Route};
use crate::facts::client::Keyring;
use crate::proxy::acme::Challenges;
use crate::proxy::door::tls::Tls;
use crate::proxy::door::{Bounds, Crowd, Deadlines, Entrance, Manner, Porter};
use crate::proxy::identity::{Identity, Settings as IdentitySettings};
use crate::proxy::origin::{Echo, EchoOrigin};
use crate::proxy::server::{Bound, ListenError, Listener};
use crate::proxy::upstream::{Timeouts, Upstream};
use crate::record::{Recorder, Running, Settings as RecordSettings};
use crate::routes::{RouteSpec, Routes};
use crate::signals::secrets::Names;
use crate::traffic::{Interval, Settings as TrafficSettings, Shape, TrafficError, Weight};
use crate::workers;

/// The service of the built-in origin.
pub(super) type EchoService = Bound<pingora::apps::http_app::HttpServer<Echo>>;

/// Everything that a running gate needs besides a snapshot: all of it bound, resolved and open.
pub(super) struct Parts {
    pub(super) identity: Arc<Identity>,
    pub(super) upstreams: Upstreams,
    pub(super) routes: Routes,
    pub(super) entrances: Vec<Entrance>,
    pub(super) admin: Option<Listener>,
    pub(super) recorder: Recorder,
    pub(super) records: Running,
}

/// The upstreams in order, and the built-in origin if one of them is it.
pub(super) struct Upstreams {
    pub(super) list: Vec<Upstream>,
    pub(super) origin: Option<EchoOrigin>,
    pub(super) service: Option<EchoService>,
}

impl Parts {
    /// Makes them all. The log of decisions is opened last, when nothing else can fail any more.
    pub(super) fn open(
        config: &Config,
        tls: &[Option<Arc<Tls>>],
        challenges: &Arc<Challenges>,
        clock: Clock,
    ) -> Result<Self, Vec<String>> {
        let identity = Arc::new(identity(config).map_err(|error| vec![error.to_string()])?);
        let upstreams = upstreams(config)?;
        let routes = routes(config)?;
        let entrances = entrances(config, tls, challenges)?;
        let admin = config.admin.as_ref().map(|admin| Listener::bind(admin.address)).transpose();
        let admin = admin.map_err(|error| vec![error.to_string()])?;
        let (recorder, writer) = Recorder::new(record_settings(config));
        let records = writer.start(move || clock.now()).map_err(|error| vec![error.to_string()])?;
        Ok(Self { identity, upstreams, routes, entrances, admin, recorder, records })
    }
}

/// How counting is done.
pub fn traffic_settings(config: &Config) -> Result<TrafficSettings, TrafficError> {
    let traffic = &config.traffic;
    Ok(TrafficSettings {
        keys: Shape::new(traffic.slots)?,
        counter_slots: traffic.counter_slots,
        window: Interval::new(traffic.window)?,
        credential_weight: Weight::new(traffic.credential_weight).unwrap_or_default(),
    })
}

/// Which values are shown as pseudonyms.
pub(super) fn secret_names(config: &Config) -> Names {
    let set = |names: &std::collections::BTreeSet<String>| names.iter().cloned().collect();
    Names {
        headers: set(&config.privacy.secret_headers),
        parameters: set(&config.privacy.secret_params),
        plain_cookies: set(&config.privacy.plain_cookies),
        credentials: config.client.token.clone(),
    }
}

/// Fresh random keys, which exist in memory only.
pub(super) fn random_keys() -> Result<Keyring, getrandom::Error> {
    Ok(Keyring::new(&entropy()?))
}

/// Random bytes to derive keys from.
pub(super) fn entropy() -> Result<Zeroizing<[u8; 32]>, getrandom::Error> {
    let mut entropy = Zeroizing::new([0; 32]);
    getrandom::fill(entropy.as_mut_slice())?;
    Ok(entropy)
}

/// The keys for described requests: always the same, since nobody real is named by them.
pub(super) fn described_keys() -> Keyring {
    Keyring::new(&Zeroizing::new([0; 32]))
}

fn identity(config: &Config) -> Result<Identity, getrandom::Error> {
    let settings = IdentitySettings {
        trusted: config.client.trusted_proxies(),
        header: config.client.header,
        forward: config.client.forward,
        verdict: config.client.verdict.clone(),
        truncation: config.privacy.truncation,
    };
    Ok(Identity::new(settings, secret_names(config), random_keys()?))
}

/// The routes; `Config` has checked them, so a mistake here is one that it cannot see.
fn routes(config: &Config) -> Result<Routes, Vec<String>> {
    let hosts: Vec<String> = config.routes.iter().map(|route| host_pattern(&route.host)).collect();
    let spec = |(route, host): (&'_ Route, &'_ String)| {
        let upstream = config.upstreams.keys().position(|name| *name == route.upstream);
        (route.name.clone(), host.clone(), route.path.clone(), upstream.unwrap_or(usize::MAX))
    };
    let specs: Vec<_> = config.routes.iter().zip(&hosts).map(spec).collect();
    let specs =
        specs.iter().map(|(name, host, path, upstream)| RouteSpec { name, host, path, upstream: *upstream });
    Routes::new(specs).map_err(|errors| errors.into_iter().map(|(_, error)| error.to_string()).collect())
}

fn host_pattern(host: &Host) -> String {
    match host {
        Host::Any => "*".to_owned(),
        Host::Exact(name) => name.clone(),
        Host::Below(domain) => format!("*.{domain}"),
    }
}

fn upstreams(config: &Config) -> Result<Upstreams, Vec<String>> {
    let mut errors = Vec::new();
    let mut made = Upstreams { list: Vec::new(), origin: None, service: None };
    for (name, upstream) in &config.upstreams {
        let timeouts = Timeouts {
            connect: upstream.connect_timeout,
            read: upstream.read_timeout,
            write: upstream.write_timeout,
            idle: upstream.idle_timeout,
        };
        let resolved = match &upstream.origin {
            Origin::Builtin => made.builtin(name, timeouts).map_err(|error| vec![error]),
            Origin::Servers(servers) => {
                let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
                let resolved = Upstream::resolve(name, &servers, timeouts);
                resolved.map_err(|errors| errors.iter().map(ToString::to_string).collect())
            }
        };
        match resolved {
            Ok(upstream) => made.list.push(upstream),
            Err(found) => errors.extend(found),
        }
    }
    if errors.is_empty() { Ok(made) } else { Err(errors) }
}

impl Upstreams {
    /// There is one built-in origin, whichever upstreams are it.
    fn builtin(&mut self, name: &str, timeouts: Timeouts) -> Result<Upstream, String> {
        if self.origin.is_none() {
            let (origin, service) = EchoOrigin::bind().map_err(|error| error.to_string())?;
            (self.origin, self.service) = (Some(origin), Some(service));
        }
        let socket = self.origin.as_ref().map(EchoOrigin::socket).unwrap_or_else(|| std::path::Path::new(""));
        Upstream::unix(name, socket, timeouts).map_err(|error| error.to_string())
    }
}

/// The listeners, and who may come in by them.
fn entrances(
    config: &Config,
    tls: &[Option<Arc<Tls>>],
    challenges: &Arc<Challenges>,
) -> Result<Vec<Entrance>, Vec<String>> {
    let bounds =
        Bounds { most: config.server.max_connections, per_client: config.server.max_connections_per_client };
    let porter = Arc::new(Porter {
        crowd: Arc::new(Crowd::new(bounds)),
        truncation: config.privacy.truncation,
        trusted: config.client.trusted_proxies(),
        deadlines: Deadlines { head: config.server.head_timeout, stall: config.server.read_timeout },
        challenges: Arc::clone(challenges),
    });
    let entrance = |((listener, tls), setting): ((_, &Option<Arc<Tls>>), _)| Entrance {
        listener,
        tls: tls.clone(),
        manner: Arc::new(manner(setting)),
        porter: Arc::clone(&porter),
    };
    Ok(listeners(config)?.into_iter().zip(tls).zip(&config.listeners).map(entrance).collect())
}

fn manner(listener: &config::Listener) -> Manner {
    let hsts = listener.hsts.map(|time| format!("max-age={}", time.as_secs()));
    Manner {
        redirect: listener.redirect,
        hsts: hsts.and_then(|text| HeaderValue::try_from(text).ok()),
        http2: listener.http2,
    }
}

fn listeners(config: &Config) -> Result<Vec<Listener>, Vec<String>> {
    let bound = config.listeners.iter().map(|listener| Listener::bind(listener.address));
    let (mut listeners, mut errors) = (Vec::new(), Vec::new());
    bound.for_each(|bound: Result<_, ListenError>| match bound {
        Ok(listener) => listeners.push(listener),
        Err(error) => errors.push(error.to_string()),
    });
    if errors.is_empty() { Ok(listeners) } else { Err(errors) }
}

/// Where records go. Switched off, they go nowhere but the short memory of recent ones.
pub fn record_settings(config: &Config) -> RecordSettings {
    let decisions = &config.decisions;
    RecordSettings {
        path: if decisions.enabled { decisions.path.clone() } else { PathBuf::from("/dev/null") },
        queue: NonZeroUsize::new(decisions.queue).unwrap_or(NonZeroUsize::MIN),
        workers: NonZeroUsize::new(config.server.threads).unwrap_or_else(workers::usual),
        max_size: decisions.max_size,
        max_age: decisions.max_age,
        keep_files: decisions.keep_files,
        keep_for: decisions.keep_for,
        recent: decisions.recent,
        ..RecordSettings::default()
    }
}
