//! From configuration to a fleet: routes and upstreams, with every name resolved, for a generation to come.
//!
//! What is reached as before is taken over from the fleet in use, with its connections, its health and what is under
//! way; an upstream that did not change at all stays what it is. A mistake refuses the whole generation.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bounds::bounds;
use super::trust;
use crate::config::{Config, Host, Origin, Upstream as Written, unused_upstream};
use crate::facts::problem::{Position, Problem};
use crate::proxy::upstream::fleet::Fleet;
use crate::proxy::upstream::{Ids, ServerSpec, Settings, Upstream};
use crate::reload::sources::Sources;
use crate::routes::{RouteSpec, Routes};
use crate::rules::{Policy, RuleSet};
use crate::scoreboard::RouteNumbers;
use crate::snapshot::Snapshot;

/// Makes fleets, one for each generation.
pub(super) struct Fleets {
    ids: Arc<Ids>,
    /// The socket of the built-in origin, if there is one.
    echo: Option<PathBuf>,
    numbers: Arc<RouteNumbers>,
    in_use: Option<Arc<Fleet>>,
}

impl Fleets {
    /// No fleet is in use yet. `echo` is the socket of the built-in origin, if there is one.
    pub(super) fn new(ids: Ids, echo: Option<PathBuf>, numbers: Arc<RouteNumbers>) -> Self {
        Self { ids: Arc::new(ids), echo, numbers, in_use: None }
    }

    /// Whether a configuration needs the built-in origin.
    pub(super) fn need_echo(config: &Config) -> bool {
        config.upstreams.values().any(|upstream| upstream.origin == Origin::Builtin)
    }

    /// Makes the fleet that a configuration read from `path` describes. Asks the name service.
    pub(super) fn build(
        &self,
        config: &Config,
        path: &Path,
        sources: &Sources,
    ) -> Result<Arc<Fleet>, Vec<Problem>> {
        let (mut upstreams, mut problems) = (Vec::new(), Vec::new());
        for (name, written) in &config.upstreams {
            let settings = trust::settings(name, written, sources).map_err(|problem| vec![problem]);
            match settings.and_then(|settings| self.upstream(name, written, settings, path)) {
                Ok(upstream) => upstreams.push(upstream),
                Err(found) => problems.extend(found),
            }
        }
        match self.routes(config) {
            Ok(routes) if problems.is_empty() => Ok(Arc::new(Fleet::new(routes, upstreams, bounds(config)))),
            Ok(_) => Err(problems),
            Err(messages) => {
                problems.extend(messages.into_iter().map(|message| Problem::error(path, message)));
                Err(problems)
            }
        }
    }

    /// Takes notice that a snapshot was published, and with it a fleet.
    pub(super) fn published(&mut self, snapshot: &Snapshot) {
        let fleet = snapshot.attachment().cloned().and_then(|fleet| fleet.downcast().ok());
        self.in_use = fleet;
    }

    fn upstream(
        &self,
        name: &str,
        written: &Written,
        settings: Settings,
        path: &Path,
    ) -> Result<Arc<Upstream>, Vec<Problem>> {
        let (specs, places) = self.specs(name, written, path)?;
        let earlier = self.in_use.as_ref().and_then(|fleet| fleet.upstream(fleet.find(name)?));
        if let Some(same) = earlier.filter(|earlier| earlier.is(&specs, &settings)) {
            return Ok(Arc::clone(same));
        }
        let earlier = earlier.map(|earlier| &**earlier);
        let made = Upstream::resolve(name, specs, settings, earlier, &self.ids);
        made.map(Arc::new).map_err(|errors| {
            let problem = |(index, error): (usize, _)| {
                let place = places.get(index).copied().unwrap_or(written.position);
                problem_at(path, place, format!("upstream `{name}`: {error}"))
            };
            errors.into_iter().map(problem).collect()
        })
    }

    /// The servers of an upstream, and where each is written.
    fn specs(
        &self,
        name: &str,
        written: &Written,
        path: &Path,
    ) -> Result<(Vec<ServerSpec>, Vec<Position>), Vec<Problem>> {
        match (&written.origin, &self.echo) {
            (Origin::Servers(servers), _) => {
                let specs = servers.iter().map(|server| server.value.clone());
                Ok((specs.collect(), servers.iter().map(|server| server.position).collect()))
            }
            (Origin::Builtin, Some(socket)) => {
                Ok((vec![ServerSpec::new(format!("unix:{}", socket.display()))], Vec::new()))
            }
            (Origin::Builtin, None) => {
                let message = format!("upstream `{name}`: the built-in origin does not run in this process");
                let problem = problem_at(path, written.position, message);
                Err(vec![problem.hint("restart to use it")])
            }
        }
    }

    /// The routes; `Config` has checked them, so a mistake here is one that it cannot see.
    fn routes(&self, config: &Config) -> Result<Routes, Vec<String>> {
        let hosts: Vec<String> = config.routes.iter().map(|route| host_pattern(&route.host)).collect();
        let specs = config.routes.iter().zip(&hosts).map(|(route, host)| {
            let upstream = config.upstreams.keys().position(|name| *name == route.upstream);
            RouteSpec {
                name: &route.name,
                host,
                path: &route.path,
                upstream: upstream.unwrap_or(usize::MAX),
                number: self.numbers.number(&route.name),
            }
        });
        let refused = |errors: Vec<(usize, crate::routes::RouteError)>| {
            errors.into_iter().map(|(_, error)| error.to_string()).collect()
        };
        Routes::new(specs.collect::<Vec<_>>()).map_err(refused)
    }
}

/// The fleet of a generation, if requests are to be served by one; what can be checked without, if not.
pub(super) fn build(
    fleets: Option<&Fleets>,
    config: &Config,
    path: &Path,
    sources: &Sources,
) -> Result<Option<Arc<Fleet>>, Vec<Problem>> {
    if let Some(fleets) = fleets {
        return fleets.build(config, path, sources).map(Some);
    }
    let read = config.upstreams.iter().map(|(name, upstream)| trust::settings(name, upstream, sources));
    let broken: Vec<Problem> = read.filter_map(Result::err).collect();
    if broken.is_empty() { Ok(None) } else { Err(broken) }
}

/// Drops the warnings that no route uses an upstream which scripts send requests to.
pub(super) fn drop_moot(notes: &mut Vec<Problem>, policy: &Policy) {
    let reasons = policy.rule_sets().iter().flat_map(RuleSet::reasons);
    let used: Vec<String> =
        reasons.filter_map(|reason| reason.strip_prefix("route.")).map(unused_upstream).collect();
    notes.retain(|note| !used.iter().any(|used| used == note.message()));
}

fn problem_at(path: &Path, place: Position, message: String) -> Problem {
    Problem::error(path, message).at(place.line, place.column).spanning(place.width)
}

fn host_pattern(host: &Host) -> String {
    match host {
        Host::Any => "*".to_owned(),
        Host::Exact(name) => name.clone(),
        Host::Below(domain) => format!("*.{domain}"),
    }
}
