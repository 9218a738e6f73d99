//! Assembly: everything shared is created here, once, and passed down.
//!
//! [`load`] makes what every command needs: configuration, vocabulary, traffic and a [`build::Builder`].
//! [`prepare`] adds what only a running gate needs: sockets, services and the log of decisions. Nothing is decided
//! here: it only says which part is given to which.

pub(crate) mod acme;
mod arrival;
mod bounds;
pub mod build;
mod delays;
mod fingerprints;
mod fleet;
mod herald;
mod keeper;
mod limits;
mod owner;
pub mod parts;
mod services;
mod sockets;
mod sources;
mod systemd;
mod tls;
mod trust;
mod upgrade;
mod upkeep;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pingora::proxy::http_proxy;
use pingora::server::{RunArgs, Server};
use pingora::services::background::background_service;
use pingora::services::listening::Service;
use tokio::sync::watch;

use crate::admin::Admin;
use crate::cases::Setting;
use crate::clock::Clock;
use crate::config::Config;
use crate::facts::problem::Problem;
use crate::metrics::Metrics;
use crate::proxy::acme::{Challenges, Issuer, Orders};
use crate::proxy::door::{Crowd, Door, Entrance};
use crate::proxy::drain::{Drain, Signals, Stop};
use crate::proxy::http2;
use crate::proxy::origin::EchoOrigin;
use crate::proxy::relay::Relay;
use crate::proxy::server::{Bound, Listener, Scheduling, Settings as ServerSettings};
use crate::proxy::upstream::Ids;
use crate::proxy::waiting::WaitingRoom;
use crate::proxy::{Gate, Identity, Patience};
use crate::record::{Recorder, Running};
use crate::reload::watch::{Pace, Watch};
use crate::reload::{Attention, Build, KeepUp, Live, Reloader, Requests};
use crate::scoreboard::{RouteNumbers, SPARE_ROUTES, Scoreboard};
use crate::signals::{Secrets, Vocabulary};
use crate::traffic::Traffic;
use build::Builder;
use fleet::Fleets;
use herald::Herald;
use keeper::Keeper;
use parts::{EchoService, Parts};
use services::{Housekeeping, Issuing, Reloading, early_hangup};
pub use sockets::Sockets;
use upgrade::{Place, Predecessor};
use upkeep::Upkeep;

/// What every command needs.
pub struct Loaded {
    /// The configuration, as it was at the start.
    pub config: Config,
    /// Where it was read from.
    pub config_path: PathBuf,
    /// The clocks.
    pub clock: Clock,
    /// All that is counted.
    pub traffic: Arc<Traffic>,
    /// How described requests are judged.
    pub setting: Setting,
    /// Makes snapshots.
    pub builder: Builder,
}

/// How a gate is run, besides its configuration.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Whether the process's signals are heard.
    pub signals: Signals,
    /// Whether threads share their work.
    pub scheduling: Scheduling,
    /// Where listening sockets come from.
    pub sockets: Sockets,
}

/// A gate that is ready to run: everything is loaded, and its sockets listen.
pub struct Ready {
    /// Where clients connect.
    pub listeners: Vec<SocketAddr>,
    /// How clients connect: `http://127.0.0.1:8080`, `https://[::]:443` or `unix:/run/riskgate.sock`.
    pub doors: Vec<String>,
    /// Where operators connect; `None` if that is switched off.
    pub admin: Option<SocketAddr>,
    /// The snapshot in use.
    pub live: Arc<Live>,
    /// What is worth a look, though it did not stop the start.
    pub notes: Vec<Problem>,
    /// Begin it, and the gate stops.
    pub drain: Drain,
    server: Server,
    stop: Stop,
    records: Running,
    keeper: Option<Arc<Keeper>>,
    /// Its private folder goes when this is dropped, after the server has stopped.
    origin: Option<EchoOrigin>,
    /// Where a gate that takes over finds this one.
    place: Option<Arc<Place>>,
}

/// How long the last records are given to reach the disk.
const FLUSH_TIME: Duration = Duration::from_secs(5);

impl Default for Manner {
    fn default() -> Self {
        Self { signals: Signals::Heard, scheduling: Scheduling::Pinned, sockets: Sockets::Bound }
    }
}

/// Reads the configuration and makes what every command needs. Scripts, lists and databases are not read yet.
pub fn load(config_path: &Path, vocabulary: Vocabulary) -> Result<Loaded, Vec<Problem>> {
    let config = Config::load(config_path).map_err(|problems| problems.into_iter().collect::<Vec<_>>())?;
    let clock = Clock::start();
    let settings = parts::traffic_settings(&config);
    let settings = settings.map_err(|error| vec![Problem::error(config_path, error.to_string())])?;
    let now = clock.tick();
    let secret = parts::secret(&config, now);
    let secret = secret.map_err(|error| vec![Problem::error(config_path, error.to_string())])?;
    let routes = config.routes.iter().map(|route| route.name.as_str());
    let traffic = Arc::new(Traffic::with_routes(settings, secret, routes, now));
    let secrets = Secrets::new(Arc::new(parts::secret_names(&config)), Arc::new(parts::described_keys()));
    let setting = Setting { truncation: config.privacy.truncation, secrets };
    let (path, shared) = (config_path.to_path_buf(), Arc::clone(&traffic));
    let builder = Builder::new(config.clone(), path.clone(), vocabulary, shared, setting.clone(), clock);
    Ok(Loaded { config, config_path: path, clock, traffic, setting, builder })
}

/// Loads everything, binds every socket and wires the services. Nothing is served until [`Ready::run`].
pub fn prepare(loaded: Loaded, manner: Manner) -> Result<Ready, Vec<Problem>> {
    let Loaded { config, config_path, clock, traffic, setting, builder } = loaded;
    let problem = |message: String| Problem::error(&config_path, message);
    let fail = |messages: Vec<String>| messages.into_iter().map(problem).collect::<Vec<_>>();

    let metrics = Arc::new(Metrics::new().map_err(|error| fail(vec![error.to_string()]))?);
    let (tls, orders, challenges) = (builder.greetings(), builder.orders(), builder.challenges());
    let (origin, echo) = echo_origin(&config).map_err(fail)?.unzip();
    let routes = Arc::new(RouteNumbers::default());
    let builder = builder.serving(fleets(origin.as_ref(), &routes).map_err(fail)?);
    let (keep_up, requests, mut notes) = first_load(builder, &config, &metrics, clock)?;
    let settled = arrival::settle(&config, &tls, manner.sockets, origin.as_ref(), clock);
    let (parts, mut predecessor) = settled.map_err(fail)?;
    let Parts { identity, entrances, admin, recorder, records, heirloom, told } = parts;
    notes.extend(told.into_iter().map(|told| Problem::warning(&config_path, told)));

    let crowd = entrances.first().map(|entrance| Arc::clone(&entrance.porter.crowd));
    let streams = Arc::new(Crowd::new(parts::request_bounds(&config)));
    metrics.watch(crowd, &streams).map_err(|error| fail(vec![error.to_string()]))?;
    let handed_over = predecessor.as_mut().and_then(Predecessor::counts);
    let keeper = Keeper::of(&config, &traffic, handed_over, clock);
    let (live, drain) = (Arc::clone(requests.live()), Drain::new());
    let mut ready = Ready {
        listeners: entrances.iter().filter_map(|entrance| entrance.listener.address()).collect(),
        doors: entrances.iter().map(Entrance::url).collect(),
        admin: admin.as_ref().map(Listener::address),
        live: Arc::clone(&live),
        notes,
        drain: drain.clone(),
        server: server_settings(&config, manner).server(),
        stop: stop(&config, &drain, manner),
        records,
        keeper: keeper.clone(),
        origin,
        place: heirloom.as_ref().map(|heirloom| Arc::clone(&heirloom.place)),
    };
    let herald = Herald::new(&drain, manner.signals, predecessor, heirloom, keeper.as_ref());
    ready.server.add_service(background_service("herald", herald));
    let (scoreboard, room) = (scoreboard(&config, &live, clock), Arc::default());
    let shared = Shared { requests, traffic, metrics, scoreboard, room, recorder, challenges, clock, drain };
    if let Some(listener) = admin {
        ready.add_admin(listener, shared.admin(&config, setting, routes));
    }
    ready.server.add_service(background_service("acme", Issuing::new(shared.issuer(orders))));
    ready.add_services(keep_up, shared.housekeeping(&config, &identity, keeper, manner));
    let relay = Relay::new(&ready.server.configuration);
    let gate = shared.gate(&config, identity, relay, streams);
    ready.add_gate(gate, entrances, echo);
    Ok(ready)
}

/// What the gate, its operators and its housekeeping all work with.
struct Shared {
    requests: Requests,
    traffic: Arc<Traffic>,
    metrics: Arc<Metrics>,
    scoreboard: Arc<Scoreboard>,
    room: Arc<WaitingRoom>,
    recorder: Recorder,
    challenges: Arc<Challenges>,
    clock: Clock,
    drain: Drain,
}

impl Shared {
    fn gate(self, config: &Config, identity: Arc<Identity>, relay: Relay, streams: Arc<Crowd>) -> Gate {
        let Self { requests, traffic, metrics, scoreboard, room, recorder, challenges, clock, drain } = self;
        let live = Arc::clone(requests.live());
        let patience = Patience { keepalive: config.server.keepalive, read: config.server.read_timeout };
        Gate {
            live,
            traffic,
            identity,
            relay,
            streams,
            room,
            recorder,
            metrics,
            scoreboard,
            challenges,
            clock,
            drain,
            patience,
        }
    }

    fn admin(&self, config: &Config, setting: Setting, routes: Arc<RouteNumbers>) -> Admin {
        Admin {
            live: Arc::clone(self.requests.live()),
            requests: self.requests.clone(),
            recorder: self.recorder.clone(),
            metrics: Arc::clone(&self.metrics),
            scoreboard: Arc::clone(&self.scoreboard),
            traffic: Arc::clone(&self.traffic),
            room: Arc::clone(&self.room),
            routes,
            clock: self.clock,
            setting,
            drain: self.drain.clone(),
            token: config.admin.as_ref().and_then(|admin| admin.token.clone()),
            decisions: config.decisions.enabled.then(|| config.decisions.path.clone()),
        }
    }

    fn issuer(&self, orders: watch::Receiver<Arc<Orders>>) -> Issuer {
        let (challenges, metrics) = (Arc::clone(&self.challenges), Arc::clone(&self.metrics));
        Issuer { orders, challenges, metrics, requests: self.requests.clone(), clock: self.clock }
    }

    fn housekeeping(
        &self,
        config: &Config,
        identity: &Arc<Identity>,
        keeper: Option<Arc<Keeper>>,
        manner: Manner,
    ) -> Housekeeping {
        Housekeeping {
            clock: self.clock,
            traffic: Arc::clone(&self.traffic),
            scoreboard: Arc::clone(&self.scoreboard),
            identity: Arc::clone(identity),
            metrics: Arc::clone(&self.metrics),
            keeper,
            key_rotation: config.privacy.key_rotation,
            requests: self.requests.clone(),
            signals: manner.signals,
            early_hangup: early_hangup(manner.signals),
        }
    }
}

/// One table of each worker.
fn scoreboard(config: &Config, live: &Live, clock: Clock) -> Arc<Scoreboard> {
    let workers = parts::workers(config);
    let routes = config.routes.len() + SPARE_ROUTES;
    Arc::new(Scoreboard::new(workers, routes, &live.pin(), clock.now().tick))
}

/// The built-in origin, if an upstream is it; there is one, whichever upstreams are it.
fn echo_origin(config: &Config) -> Result<Option<(EchoOrigin, EchoService)>, Vec<String>> {
    let bound = Fleets::need_echo(config).then(EchoOrigin::bind).transpose();
    bound.map_err(|error| vec![error.to_string()])
}

fn fleets(origin: Option<&EchoOrigin>, routes: &Arc<RouteNumbers>) -> Result<Fleets, Vec<String>> {
    let key = parts::entropy().map_err(|error| vec![error.to_string()])?;
    Ok(Fleets::new(Ids::new(&key), origin.map(|origin| origin.socket().to_path_buf()), Arc::clone(routes)))
}

/// Loads the first snapshot, and joins it with what keeps it up to date. The problems are worth a look only.
fn first_load(
    mut builder: Builder,
    config: &Config,
    metrics: &Arc<Metrics>,
    clock: Clock,
) -> Result<(KeepUp<Builder>, Requests, Vec<Problem>), Vec<Problem>> {
    // Watching begins before reading, so that no change falls between the two.
    let watch = Watch::start(&builder.paths(), Pace::new(config.reload.debounce, config.reload.poll));
    let (reloader, notes) = Reloader::start(builder, Arc::clone(metrics), clock)?;
    let attention = if config.reload.watch { Attention::Files } else { Attention::RequestsOnly };
    let (keep_up, requests) = KeepUp::new(reloader, watch, attention);
    Ok((keep_up, requests, notes))
}

fn stop(config: &Config, drain: &Drain, manner: Manner) -> Stop {
    let (delay, grace) = (config.server.drain_delay, config.server.grace_period);
    Stop::new(drain.clone(), delay, grace, manner.signals)
}

fn server_settings(config: &Config, manner: Manner) -> ServerSettings {
    let threads = NonZeroUsize::new(config.server.threads);
    ServerSettings { threads, scheduling: manner.scheduling, ..ServerSettings::default() }
}

impl Ready {
    fn add_admin(&mut self, listener: Listener, admin: Admin) {
        let mut service = Service::new("admin".to_owned(), admin.app());
        service.threads = Some(1);
        self.server.add_service(Bound::new(service).tcp(listener).until(self.drain.handed_over()));
    }

    fn add_services(&mut self, keep_up: KeepUp<Builder>, housekeeping: Housekeeping) {
        let upkeep = Upkeep { live: Arc::clone(&self.live), clock: housekeeping.clock };
        self.server.add_service(background_service("housekeeping", housekeeping));
        self.server.add_service(background_service("upstreams", upkeep));
        self.server.add_service(background_service("reload", Reloading::new(keep_up)));
    }

    fn add_gate(&mut self, gate: Gate, entrances: Vec<Entrance>, echo: Option<parts::EchoService>) {
        let unread = parts::unread(&gate);
        let keepalive = gate.patience.keepalive;
        let mut proxy = http_proxy(&self.server.configuration, gate);
        proxy.h2_options = Some(http2::bounds());
        proxy.server_options = Some(http2::options(keepalive));
        self.server.add_service(Door::new(proxy, entrances, self.drain.clone(), unread));
        if let Some(echo) = echo {
            self.server.add_service(echo);
        }
    }

    /// Serves until told to stop; then requests end, and the last records and what is usual are written. The error
    /// says what of the log of decisions did not reach the disk.
    pub fn run(self) -> Result<(), String> {
        self.server.run(RunArgs { shutdown_signal: Box::new(self.stop) });
        drop(self.origin);
        if let Some(place) = self.place.filter(|_| !*self.drain.handed_over().borrow()) {
            place.leave();
        }
        if let Some(keeper) = self.keeper {
            keeper.save();
        }
        self.records.close(FLUSH_TIME).map_err(|error| error.to_string())
    }
}
