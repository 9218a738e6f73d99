//! From configuration to the parts of a gate: each function makes one, and says what is wrong with it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::config::{self, Address, Config};
use crate::facts::client::{Keyring, TrustedProxies};
use crate::proxy::Gate;
use crate::proxy::door::tls::Tls;
use crate::proxy::door::{Bounds, Crowd, Deadlines, Entrance, Listening, Manner, Porter, Turns, UnixDoor};
use crate::proxy::identity::{Identity, Settings as IdentitySettings};
use crate::proxy::origin::Echo;
use crate::proxy::server::{Bound, Listener};
use crate::proxy::unread::Unread;
use crate::record::{Recorder, Running, Settings as RecordSettings};
use crate::signals::secrets::Names;
use crate::traffic::{Interval, Settings as TrafficSettings, Shape, TrafficError, Weight};
use crate::workers;

/// The service of the built-in origin.
pub(super) type EchoService = Bound<pingora::apps::http_app::HttpServer<Echo>>;

/// Everything that a running gate needs besides a snapshot: all of it bound, resolved and open.
pub(super) struct Parts {
    pub(super) identity: Arc<Identity>,
    pub(super) entrances: Vec<Entrance>,
    pub(super) admin: Option<Listener>,
    pub(super) recorder: Recorder,
    pub(super) records: Running,
}

impl Parts {
    /// Makes them all. The log of decisions is opened last, when nothing else can fail any more.
    pub(super) fn open(config: &Config, tls: &[Option<Arc<Tls>>], clock: Clock) -> Result<Self, Vec<String>> {
        let identity = Arc::new(identity(config).map_err(|error| vec![error.to_string()])?);
        let entrances = entrances(config, tls, clock)?;
        let admin = config.admin.as_ref().map(|admin| Listener::bind(admin.address)).transpose();
        let admin = admin.map_err(|error| vec![error.to_string()])?;
        let (recorder, writer) = Recorder::new(record_settings(config));
        let records = writer.start(move || clock.now()).map_err(|error| vec![error.to_string()])?;
        Ok(Self { identity, entrances, admin, recorder, records })
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
        plain_pointers: set(&config.privacy.plain_pointers),
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

/// What is told of heads that `gate` never sees.
pub(super) fn unread(gate: &Gate) -> Unread {
    Unread {
        live: Arc::clone(&gate.live),
        identity: Arc::clone(&gate.identity),
        recorder: gate.recorder.clone(),
        metrics: Arc::clone(&gate.metrics),
        clock: gate.clock,
    }
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

/// The listeners, and who may come in by them.
fn entrances(config: &Config, tls: &[Option<Arc<Tls>>], clock: Clock) -> Result<Vec<Entrance>, Vec<String>> {
    let bounds =
        Bounds { most: config.server.max_connections, per_client: config.server.max_connections_per_client };
    let porter = Arc::new(Porter {
        crowd: Arc::new(Crowd::new(bounds)),
        truncation: config.privacy.truncation,
        trusted: config.client.trusted_proxies(),
        deadlines: Deadlines { head: config.server.head_timeout, stall: config.server.read_timeout },
        turns: Turns::new(config.server.threads),
        clock,
    });
    let entrance = |((listener, tls), setting): ((_, &Option<Arc<Tls>>), _)| Entrance {
        listener,
        tls: tls.clone(),
        introducers: introducers(setting),
        manner: Arc::new(manner(setting)),
        porter: Arc::clone(&porter),
    };
    Ok(listeners(config)?.into_iter().zip(tls).zip(&config.listeners).map(entrance).collect())
}

/// Who introduces clients by the PROXY protocol. Who may connect to a Unix socket is said by its mode.
fn introducers(listener: &config::Listener) -> Option<TrustedProxies> {
    let proxy_protocol = listener.proxy_protocol.as_ref()?;
    Some(TrustedProxies::new(proxy_protocol.from.clone()).and_unix())
}

fn manner(listener: &config::Listener) -> Manner {
    let hsts = listener.hsts.map(|time| format!("max-age={}", time.as_secs()));
    Manner {
        redirect: listener.redirect,
        hsts: hsts.and_then(|text| HeaderValue::try_from(text).ok()),
        http2: listener.http2,
    }
}

fn listeners(config: &Config) -> Result<Vec<Listening>, Vec<String>> {
    let bind = |listener: &config::Listener| match &listener.address {
        Address::Tcp(address) => {
            Listener::bind(*address).map(Listening::Tcp).map_err(|error| error.to_string())
        }
        Address::Unix { path, mode } => {
            UnixDoor::bind(path, *mode).map(Listening::Unix).map_err(|error| error.to_string())
        }
    };
    let (bound, errors): (Vec<_>, Vec<_>) = config.listeners.iter().map(bind).partition(Result::is_ok);
    if errors.is_empty() {
        Ok(bound.into_iter().flatten().collect())
    } else {
        Err(errors.into_iter().filter_map(Result::err).collect())
    }
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
