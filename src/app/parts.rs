//! From configuration to the parts of a gate: each function makes one, and says what is wrong with it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;
use zeroize::Zeroizing;

use super::owner::Owner;
use super::sockets::{Offered, Role};
use super::upgrade::{Bequest, Heirloom};
use crate::clock::Clock;
use crate::config::{self, Address, Config};
use crate::facts::client::{Keyring, TrustedProxies};
use crate::facts::time::Tick;
use crate::proxy::Gate;
use crate::proxy::door::tls::Tls;
use crate::proxy::door::{
    Bounds, Crowd, Deadlines, Entrance, Lines, Listening, Manner, Porter, SocketFile, Turns, Wasters,
};
use crate::proxy::identity::{Identity, Settings as IdentitySettings};
use crate::proxy::origin::{Echo, EchoOrigin};
use crate::proxy::server::{Bound, Listener};
use crate::proxy::unread::Unread;
use crate::record::{self, Recorder, Running, Settings as RecordSettings};
use crate::signals::secrets::Names;
use crate::state::counts;
use crate::traffic::{Interval, Secret, Settings as TrafficSettings, Shape, TrafficError, Weight};

/// The service of the built-in origin.
pub(super) type EchoService = Bound<pingora::apps::http_app::HttpServer<Echo>>;

/// Everything that a running gate needs besides a snapshot: all of it bound, resolved and open.
pub(super) struct Parts {
    pub(super) identity: Arc<Identity>,
    pub(super) entrances: Vec<Entrance>,
    pub(super) admin: Option<Listener>,
    pub(super) recorder: Recorder,
    pub(super) records: Running,
    /// What a gate that takes over is to get.
    pub(super) heirloom: Option<Heirloom>,
    /// What the operator should know about sockets that others have opened.
    pub(super) told: Vec<String>,
}

impl Parts {
    /// Makes them all. What needs privileges comes first; then they are dropped. The log of decisions is opened last, when
    /// nothing else can fail any more.
    pub(super) fn open(
        config: &Config,
        tls: &[Option<Arc<Tls>>],
        clock: Clock,
        mut offered: Offered,
        owner: Option<&Owner>,
        origin: Option<&EchoOrigin>,
    ) -> Result<Self, Vec<String>> {
        let identity = Arc::new(identity(config).map_err(|error| vec![error.to_string()])?);
        let entrances = entrances(config, tls, &mut offered, clock)?;
        let admin = config.admin.as_ref().map(|admin| offered.listen(Role::Operators, admin.address));
        let admin = admin.transpose().map_err(|error| vec![error.to_string()])?;
        let told = offered.close();
        let clients = entrances.iter().map(|entrance| Bequest::clients(&entrance.listener));
        let sockets = clients.chain(admin.iter().map(Bequest::operators));
        let heirloom = Heirloom::of(&config.server, sockets, owner);
        let heirloom = heirloom.map_err(|error| vec![error.to_string()])?;
        if let Some(owner) = owner {
            let given = give(origin, owner).and_then(|()| give_doors(&entrances, owner));
            given.and_then(|()| owner.become_this()).map_err(|error| vec![error])?;
            can_record(config, owner).map_err(|error| vec![error])?;
        }
        let (recorder, writer) = Recorder::new(record_settings(config));
        let records = writer.start(move || clock.now()).map_err(|error| vec![error.to_string()])?;
        Ok(Self { identity, entrances, admin, recorder, records, heirloom, told })
    }
}

/// Makes the private folder of the built-in origin theirs.
fn give(origin: Option<&EchoOrigin>, owner: &Owner) -> Result<(), String> {
    let Some(socket) = origin.map(EchoOrigin::socket) else { return Ok(()) };
    let given = [Some(socket), socket.parent()].into_iter().flatten().try_for_each(|path| owner.give(path));
    given.map_err(|error| format!("the built-in origin cannot be given to user `{}`: {error}", owner.name()))
}

/// Makes the files of Unix sockets theirs, those that were bound just now.
fn give_doors(entrances: &[Entrance], owner: &Owner) -> Result<(), String> {
    let files = entrances.iter().filter_map(|entrance| entrance.listener.file());
    files.filter(|file| file.is_in_charge()).map(SocketFile::path).try_for_each(|path| {
        let (place, user) = (path.display(), owner.name());
        owner.give(path).map_err(|error| format!("`{place}` cannot be given to user `{user}`: {error}"))
    })
}

/// Whether the log of decisions can be written now that the process belongs to `owner`.
fn can_record(config: &Config, owner: &Owner) -> Result<(), String> {
    let settings = record_settings(config);
    record::check(&settings.path).map_err(|error| {
        let (path, user) = (settings.path.display(), owner.name());
        format!(
            "user `{user}` cannot write the decision log `{path}`: {error}; make the file and its folder theirs \
             (`chown {user}`), or choose another `path` in `[decisions]`"
        )
    })
}

/// How counting is done.
pub fn traffic_settings(config: &Config) -> Result<TrafficSettings, TrafficError> {
    let traffic = &config.traffic;
    Ok(TrafficSettings {
        keys: Shape::new(traffic.slots)?,
        counter_slots: traffic.counter_slots,
        window: Interval::new(traffic.window)?,
        credential_weight: Weight::new(traffic.credential_weight).unwrap_or_default(),
        workers: workers(config),
    })
}

/// How many threads serve requests.
pub(super) fn workers(config: &Config) -> NonZeroUsize {
    NonZeroUsize::new(config.server.threads).unwrap_or_else(crate::workers::usual)
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

/// The secret under which keys are counted: the one that was kept, or a new one.
pub(super) fn secret(config: &Config, now: Tick) -> Result<Secret, getrandom::Error> {
    // What is wrong with the file is told when counts are recalled.
    let kept = if config.traffic.remember { counts::secret(&config.traffic.counts, now) } else { Ok(None) };
    kept.ok().flatten().map_or_else(|| entropy().map(Secret::new), Ok)
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
fn entrances(
    config: &Config,
    tls: &[Option<Arc<Tls>>],
    offered: &mut Offered,
    clock: Clock,
) -> Result<Vec<Entrance>, Vec<String>> {
    let bounds =
        Bounds { most: config.server.max_connections, per_client: config.server.max_connections_per_client };
    let threads = NonZeroUsize::new(config.server.threads).unwrap_or(NonZeroUsize::MIN);
    let porter = Arc::new(Porter {
        crowd: Arc::new(Crowd::new(bounds)),
        wasters: Wasters::new(config.server.max_wasted_per_client),
        truncation: config.privacy.truncation,
        trusted: config.client.trusted_proxies(),
        deadlines: Deadlines {
            head: config.server.head_timeout,
            stall: config.server.read_timeout,
            idle: config.server.keepalive,
        },
        turns: Turns::new(config.server.threads),
        dawdlers: Arc::new(Lines::new(threads, clock)),
        clock,
    });
    let entrance = |((listener, tls), setting): ((_, &Option<Arc<Tls>>), _)| Entrance {
        listener,
        tls: tls.clone(),
        introducers: introducers(setting),
        manner: Arc::new(manner(setting)),
        porter: Arc::clone(&porter),
    };
    Ok(listeners(config, offered)?.into_iter().zip(tls).zip(&config.listeners).map(entrance).collect())
}

/// How many requests over HTTP/2 there may be.
pub(super) fn request_bounds(config: &Config) -> Bounds {
    Bounds { most: config.server.max_requests, per_client: config.server.max_requests_per_client }
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

fn listeners(config: &Config, offered: &mut Offered) -> Result<Vec<Listening>, Vec<String>> {
    let mut bind = |listener: &config::Listener| match &listener.address {
        Address::Tcp(address) => {
            let listener = offered.listen(Role::Clients, *address);
            let listener = listener.and_then(|listener| listener.bounded(config.server.buffers));
            listener.map(Listening::Tcp).map_err(|error| error.to_string())
        }
        Address::Unix { path, mode } => {
            offered.listen_at(path, *mode).map(Listening::Unix).map_err(|error| error.to_string())
        }
    };
    let (bound, errors): (Vec<_>, Vec<_>) = config.listeners.iter().map(&mut bind).partition(Result::is_ok);
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
        workers: workers(config),
        max_size: decisions.max_size,
        max_age: decisions.max_age,
        keep_files: decisions.keep_files,
        keep_for: decisions.keep_for,
        recent: decisions.recent,
        ..RecordSettings::default()
    }
}
