//! How long and by whom: the command line, and the plan that follows from it.

use std::time::Duration;

use clap::Parser;

use crate::attacks::Attack;
use crate::table::Form;
use crate::usual::Usual;

/// What a well-behaved client notices while others attack the gate.
#[derive(Debug, Parser)]
#[command(name = "attack", bin_name = "cargo bench --bench attack --")]
pub(crate) struct Options {
    /// Only the attacks whose name contains this
    filter: Option<String>,
    #[command(flatten)]
    usual: Usual,
}

/// What will be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How often each attack is made.
    pub(crate) rounds: u32,
    /// Load before anything is measured, and after the attack until memory is looked at again.
    pub(crate) pause: Duration,
    /// How long it is calm, and how long each attack lasts.
    pub(crate) phase: Duration,
    /// Requests per second of the well-behaved client.
    pub(crate) rate: f64,
    /// Its connections.
    pub(crate) connections: usize,
    /// Of each crowd of attackers, one in so many takes part.
    pub(crate) one_in: usize,
    /// Whether the figures mean nothing.
    pub(crate) smoke: bool,
}

const FULL: Plan = Plan {
    rounds: 3,
    pause: Duration::from_secs(1),
    phase: Duration::from_secs(6),
    rate: 1000.0,
    connections: 16,
    one_in: 1,
    smoke: false,
};

/// Slow enough for a build without optimisation on a busy machine.
const SMOKE: Plan = Plan {
    rounds: 1,
    pause: Duration::from_millis(100),
    phase: Duration::from_millis(400),
    rate: 100.0,
    one_in: 100,
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

    /// The attacks that were asked for.
    pub(crate) fn attacks(&self) -> Vec<Attack> {
        let filter = self.filter.as_deref().unwrap_or_default();
        Attack::ALL.into_iter().filter(|attack| attack.as_str().contains(filter)).collect()
    }

    /// How the table is written.
    pub(crate) fn form(&self) -> Form {
        self.usual.form()
    }
}
