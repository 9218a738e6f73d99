//! How long and by whom: the command line, and the plan that follows from it.
//!
//! Cargo says `--bench` when figures are wanted. Without it (`cargo test --bench attack`), with `--test` or `--smoke`, or
//! with `RISKGATE_BENCH_SMOKE=1`, the bench only shows in a few seconds that it works.

use std::time::Duration;

use clap::Parser;

use crate::attacks::Attack;
use crate::table::Form;

/// What a well-behaved client notices while others attack the gate.
#[derive(Debug, Parser)]
#[command(name = "attack", bin_name = "cargo bench --bench attack --")]
pub(crate) struct Options {
    /// Only the attacks whose name contains this
    filter: Option<String>,
    /// How often each attack is made
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// How long it is calm, and how long each attack lasts
    #[arg(long, value_parser = seconds)]
    seconds: Option<Duration>,
    /// A few seconds that show that the bench works; the figures mean nothing
    #[arg(long)]
    smoke: bool,
    /// Write a table for a page in Markdown
    #[arg(long)]
    markdown: bool,
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(long, hide = true)]
    test: bool,
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
        let variable =
            std::env::var("RISKGATE_BENCH_SMOKE").is_ok_and(|value| !matches!(value.as_str(), "" | "0"));
        let smoke = self.smoke || self.test || variable || !self.bench;
        let plan = if smoke { SMOKE } else { FULL };
        Plan { rounds: self.rounds.unwrap_or(plan.rounds), phase: self.seconds.unwrap_or(plan.phase), ..plan }
    }

    /// The attacks that were asked for.
    pub(crate) fn attacks(&self) -> Vec<Attack> {
        let filter = self.filter.as_deref().unwrap_or_default();
        Attack::ALL.into_iter().filter(|attack| attack.as_str().contains(filter)).collect()
    }

    /// How the table is written.
    pub(crate) fn form(&self) -> Form {
        if self.markdown { Form::Markdown } else { Form::Aligned }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=120.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "write a number of seconds from 0.1 to 120".into())
}
