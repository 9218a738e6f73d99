//! The fleet: all upstreams of one generation, and the routes that lead to them.
//!
//! It is published with a snapshot and pinned with it, so that a request sees scripts, routes and upstreams of one
//! generation. It does not change; what goes on within an upstream does.

use std::sync::Arc;

use super::super::bounds::Bounds;
use super::Upstream;
use crate::facts::time::Tick;
use crate::routes::Routes;
use crate::snapshot::Snapshot;

/// All upstreams of one generation, and the routes that lead to them.
#[derive(Debug)]
pub struct Fleet {
    routes: Routes,
    upstreams: Vec<Arc<Upstream>>,
    bounds: Bounds,
}

impl Fleet {
    /// `routes` number the upstreams as they are given; `bounds` say what requests on them may be like.
    pub fn new(routes: Routes, upstreams: Vec<Arc<Upstream>>, bounds: Bounds) -> Self {
        Self { routes, upstreams, bounds }
    }

    /// The fleet that was published with a snapshot; `None` if nothing is to be served by it.
    pub fn of(snapshot: &Snapshot) -> Option<&Self> {
        snapshot.attachment().and_then(|fleet| fleet.downcast_ref())
    }

    /// Which upstream serves what.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// What requests may be like.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// The upstreams, as routes number them.
    pub fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    /// The upstream of that number.
    pub fn upstream(&self, number: usize) -> Option<&Arc<Upstream>> {
        self.upstreams.get(number)
    }

    /// The number of the upstream of that name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.upstreams.iter().position(|upstream| upstream.name() == name)
    }

    /// Closes connections that nobody has used for too long, or that a server has closed.
    pub fn sweep(&self, now: Tick) {
        self.upstreams.iter().for_each(|upstream| upstream.sweep(now));
    }
}
