//! The order of things: a fresh gate for each attack, a calm phase, the attack, and a look at what is left of it.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use toml::{Table, Value};

use crate::arena::{Arena, Standing};
use crate::attacker::Attackers;
use crate::attacks::Attack;
use crate::certificate;
use crate::contestant::{Contestant, Seat};
use crate::error::LoadError;
use crate::gate::{self, Gate};
use crate::generator::{Generator, Outcome};
use crate::heavy;
use crate::machine::Cores;
use crate::options::Plan;
use crate::process::{self, Process};
use crate::usage::Tree;

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Sieges {
    /// One row for each attack.
    pub(crate) rows: Vec<(Attack, Vec<Siege>)>,
    /// The cores that were used, if they could be chosen.
    pub(crate) cores: Option<Cores>,
}

/// What one attack did.
#[derive(Debug)]
pub(crate) struct Siege {
    /// Microseconds that 99 % of the well-behaved client's requests stayed below, in peace and under attack.
    pub(crate) p99: [f64; 2],
    /// Its requests that were not answered as they should be: refused, broken off or too late to wait for.
    pub(crate) failed: u64,
    /// All of its requests under attack.
    pub(crate) requests: u64,
    /// Bytes of the gate's memory: before, the peak since its start, and after the attack.
    pub(crate) memory: Option<[u64; 3]>,
    /// Connections that the attackers made.
    pub(crate) connections: u64,
}

/// The gate with a listener for everything that is attacked.
struct Besieged {
    heavy: SocketAddr,
}

/// Makes each attack, as often as planned.
pub(crate) fn run(plan: &Plan, attacks: &[Attack]) -> Result<Sieges, LoadError> {
    let arena = Arena::open()?;
    let folder = tempfile::tempdir().map_err(LoadError::io("make a folder"))?;
    let address = process::free_address()?;
    let core = arena.cores().map(|cores| cores.load);
    let command = heavy::command(address)?;
    let heavy = Process::start("the heavy origin", &command, core, address, folder.path())?;
    let besieged = Besieged { heavy: address };
    let mut rows: Vec<(Attack, Vec<Siege>)> = attacks.iter().map(|attack| (*attack, Vec::new())).collect();
    for _ in 0..plan.rounds {
        for (attack, sieges) in &mut rows {
            sieges.push(besiege(plan, *attack, arena.start(&besieged, arena.origin().address())?)?);
        }
    }
    heavy.stop()?;
    let cores = arena.cores();
    arena.close()?;
    Ok(Sieges { rows, cores })
}

fn besiege(plan: &Plan, attack: Attack, standing: Standing) -> Result<Siege, LoadError> {
    let (address, tree) = (standing.process.address(), Tree::of(standing.process.pid()));
    let mut client = Generator::connect("the gate", address, plan.connections)?;
    client.at_rate(plan.rate, plan.pause)?;
    let calm = client.at_rate(plan.rate, plan.phase)?;
    let before = tree.memory();
    let length = plan.pause + plan.phase + Duration::from_millis(200);
    let attackers = Attackers::start(attack, plan.one_in, [address, standing.secure], length)?;
    // The first moments belong to no phase: the attackers are only coming.
    let coming = client.at_rate(plan.rate, plan.pause)?;
    let attacked = client.at_rate(plan.rate, plan.phase)?;
    let connections = attackers.wait()?;
    let leaving = client.at_rate(plan.rate, plan.pause)?;
    let after = tree.memory();
    drop(client);
    standing.stop()?;
    if attacked.answers() == 0 || calm.answers() == 0 {
        let (name, what) = (attack.as_str().to_owned(), "none at all for the well-behaved client".to_owned());
        return Err(LoadError::Wrong { name, what });
    }
    let memory = before.zip(after).map(|(before, after)| [before.now, after.peak, after.now]);
    let failed = [&coming, &attacked, &leaving].into_iter().map(failed).sum();
    let requests =
        [&coming, &attacked, &leaving].into_iter().map(|phase| phase.answers() + phase.broken).sum();
    Ok(Siege {
        p99: [&calm, &attacked].map(|phase| phase.quantile(0.99)),
        failed,
        requests,
        memory,
        connections,
    })
}

fn failed(phase: &Outcome) -> u64 {
    let good = phase.statuses.get(&200).copied().unwrap_or(0).saturating_sub(phase.foreign);
    phase.answers() + phase.broken - good
}

impl Contestant for Besieged {
    fn name(&self) -> &str {
        "riskgate, reference policy"
    }

    fn command(&self, seat: &Seat<'_>) -> Result<Command, LoadError> {
        let certificate = certificate::write(seat.folder)?;
        let listeners = vec![
            gate::listener(seat.listen, [("http2", true.into())]),
            gate::listener(seat.secure, [("tls", certificate.into())]),
        ];
        let route = |path: &str, upstream: &str| -> Value {
            let pairs = [("path", path), ("upstream", upstream)];
            Table::from_iter(pairs.map(|(key, value)| (key.to_owned(), value.into()))).into()
        };
        let routes = vec![route("/", "origin"), route("/large", "heavy"), route("/upload", "heavy")];
        // The well-behaved client speaks for many, attackers for themselves.
        let changes: Vec<(&[&str], Value)> = vec![
            (&["server", "threads"], 1.into()),
            (&["client", "trusted_proxies"], vec!["127.0.0.1/32"].into()),
            (&["log", "level"], "error".into()),
            (&["route"], Value::Array(routes)),
            (&["upstream", "heavy"], gate::servers(self.heavy).into()),
        ];
        let text = gate::adapt(seat, gate::REFERENCE, listeners, changes)?;
        let file = Gate::file(seat.folder);
        fs::write(&file, text).map_err(LoadError::io("write a configuration"))?;
        Ok(Gate::asked_to("run", &file))
    }
}
