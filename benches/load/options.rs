//! How long and against whom: the command line, and the plan that follows from it.

use std::time::Duration;

use clap::Parser;

use crate::table::Form;
use crate::usual::Usual;

/// Real HTTP load against the gate and against a bare Pingora proxy.
#[derive(Debug, Parser)]
#[command(name = "load", bin_name = "cargo bench --bench load --")]
pub(crate) struct Options {
    /// Only the contestants whose name contains this; `bare` is the baseline again, `no proxy` the origin itself
    filter: Option<String>,
    /// Instead: the gate's memory while 100,000 clients send a million requests
    #[arg(long)]
    memory: bool,
    /// Instead: the gate under load while one of its scripts changes every second
    #[arg(long, conflicts_with = "memory")]
    reload: bool,
    /// Instead: the gate and nginx by TLS 1.3 and by HTTP/2
    #[arg(long, conflicts_with_all = ["memory", "reload"])]
    tls: bool,
    #[command(flatten)]
    usual: Usual,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Everybody, against the baseline.
    Contest,
    /// The gate's memory, with many clients.
    Memory,
    /// The gate's latency, while it reloads.
    Reload,
    /// The gate and nginx, by TLS.
    Tls,
}

impl Scenario {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Contest, Self::Memory, Self::Reload, Self::Tls];
}

/// What will be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How often every contestant has its turn.
    pub(crate) rounds: u32,
    /// Load before anything is measured.
    pub(crate) warm_up: Duration,
    /// How long each measured phase lasts: as fast as possible, then at the fixed rate.
    pub(crate) phase: Duration,
    /// Keep-alive connections of the generator.
    pub(crate) connections: usize,
    /// The fixed rate as a part of what the baseline reached.
    pub(crate) part: f64,
    /// Whether the figures mean nothing.
    pub(crate) smoke: bool,
}

const FULL: Plan = Plan {
    rounds: 5,
    warm_up: Duration::from_millis(300),
    phase: Duration::from_millis(1500),
    connections: 32,
    part: 0.5,
    smoke: false,
};

/// Slow enough for a build without optimisation on a busy machine.
const SMOKE: Plan = Plan {
    rounds: 1,
    warm_up: Duration::from_millis(100),
    phase: Duration::from_millis(300),
    part: 0.1,
    smoke: true,
    ..FULL
};

impl Options {
    /// What was asked for.
    pub(crate) fn plan(&self) -> Plan {
        let Usual { rounds, seconds, .. } = self.usual;
        let plan = if self.usual.is_smoke() { SMOKE } else { FULL };
        Plan { rounds: rounds.unwrap_or(plan.rounds), phase: seconds.unwrap_or(plan.phase), ..plan }
    }

    /// What is measured.
    pub(crate) fn scenario(&self) -> Scenario {
        match (self.memory, self.reload, self.tls) {
            (true, _, _) => Scenario::Memory,
            (false, true, _) => Scenario::Reload,
            (false, false, true) => Scenario::Tls,
            (false, false, false) => Scenario::Contest,
        }
    }

    /// How tables are written.
    pub(crate) fn form(&self) -> Form {
        self.usual.form()
    }

    /// What the names of contestants have to contain.
    pub(crate) fn filter(&self) -> Option<&str> {
        self.filter.as_deref()
    }
}
