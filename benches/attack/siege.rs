//! The order of things: a fresh gate for each attack, a calm phase, the attack, and a look at what is left of it.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

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
use crate::kernel::{self, Watch};
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
    /// Microseconds that 99 % of the well-behaved client's requests stayed below, in the median of all seconds, in peace and
    /// under attack: what a second of bad luck does is not what an attack does.
    pub(crate) p99: [f64; 2],
    /// The same in the worst second.
    pub(crate) worst: [f64; 2],
    /// While the attackers came, all of it.
    pub(crate) coming: f64,
    /// The median for requests straight to the origin, in peace and under attack: what the load suffers by itself.
    pub(crate) straight: [f64; 2],
    /// Which part of a core the gate used, in peace and under attack.
    pub(crate) busy: [f64; 2],
    /// Its requests that were not answered as they should be: refused, broken off or too late to wait for.
    pub(crate) failed: u64,
    /// All of its requests under attack.
    pub(crate) requests: u64,
    /// Bytes of the gate's memory: before, the peak since its start, and after the attack.
    pub(crate) memory: Option<[u64; 3]>,
    /// Bytes that the system held for connections at most, above what it held before the attack.
    pub(crate) system: Option<u64>,
    /// Connections that the attackers made in a second, while they attacked.
    pub(crate) connections: f64,
}

/// A well-behaved client of the gate, and one of the origin, which the gate has nothing to do with.
struct Clients<'a> {
    plan: &'a Plan,
    gate: Generator,
    origin: Generator,
    tree: Tree,
}

/// What a client noticed, and what the gate did meanwhile.
struct Phase {
    seen: Seconds,
    straight: Seconds,
    busy: f64,
}

/// What came of one second after the other.
struct Seconds {
    all: Outcome,
    /// The 99th percentile of each, in microseconds, the lowest first.
    p99: Vec<f64>,
}

/// The gate with a listener for everything that is attacked.
struct Besieged {
    heavy: SocketAddr,
}

/// What is looked at by itself.
const SECOND: Duration = Duration::from_secs(1);
/// Attackers who have not all come after so many pauses are not waited for.
const MOST_PAUSES: u32 = 20;

/// When all have come, so many pauses belong to what they set off.
const SETTLED: u32 = 3;

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
            let origin = arena.origin().address();
            sieges.push(besiege(plan, *attack, arena.start(&besieged, origin)?, origin)?);
        }
    }
    heavy.stop()?;
    let cores = arena.cores();
    arena.close()?;
    Ok(Sieges { rows, cores })
}

fn besiege(plan: &Plan, attack: Attack, standing: Standing, origin: SocketAddr) -> Result<Siege, LoadError> {
    let address = standing.process.address();
    let mut clients = Clients::new(plan, address, origin, Tree::of(standing.process.pid()))?;
    let calm = clients.phase()?;
    let (before, calmly, watch) = (clients.tree.memory(), kernel::held(), Watch::begin());
    let attackers = Attackers::start(attack, plan.one_in, [address, standing.secure])?;
    let begin = Instant::now();
    let coming = clients.while_they_come(&attackers)?;
    let attacked = clients.phase()?;
    let (made, lasted) = (attackers.go()?, begin.elapsed());
    let most = watch.end();
    let leaving = clients.gate.at_rate(plan.rate, plan.pause)?;
    let after = clients.tree.memory();
    drop(clients);
    standing.stop()?;
    if attacked.seen.all.answers() == 0 || calm.seen.all.answers() == 0 {
        let (name, what) = (attack.as_str().to_owned(), "none at all for the well-behaved client".to_owned());
        return Err(LoadError::Wrong { name, what });
    }
    let (all, phases) = ([&coming, &attacked.seen.all, &leaving], [&calm, &attacked]);
    Ok(Siege {
        p99: phases.map(|phase| phase.seen.median()),
        worst: phases.map(|phase| phase.seen.worst()),
        coming: coming.quantile(0.99),
        straight: phases.map(|phase| phase.straight.median()),
        busy: [calm.busy, attacked.busy],
        failed: all.iter().map(|seen| failed(seen)).sum(),
        requests: all.iter().map(|seen| seen.answers() + seen.broken).sum(),
        memory: before.zip(after).map(|(before, after)| [before.now, after.peak, after.now]),
        system: most.zip(calmly).map(|(most, calmly)| most.saturating_sub(calmly)),
        connections: made as f64 / lasted.as_secs_f64(),
    })
}

impl<'a> Clients<'a> {
    fn new(plan: &'a Plan, gate: SocketAddr, origin: SocketAddr, tree: Tree) -> Result<Self, LoadError> {
        let mut gate = Generator::connect("the gate", gate, plan.connections)?;
        let mut origin = Generator::connect("the origin", origin, plan.connections)?;
        for client in [&mut gate, &mut origin] {
            client.at_rate(plan.rate, plan.pause)?;
        }
        Ok(Self { plan, gate, origin, tree })
    }

    /// Requests to the gate, and then some to the origin.
    fn phase(&mut self) -> Result<Phase, LoadError> {
        let before = self.tree.used();
        let seen = Seconds::of(&mut self.gate, self.plan, self.plan.phase)?;
        let busy =
            before.zip(self.tree.used()).map(|(before, after)| after.since(before).sum().as_secs_f64());
        let straight = Seconds::of(&mut self.origin, self.plan, self.plan.phase / 2)?;
        Ok(Phase { busy: busy.unwrap_or(f64::NAN) / seen.all.took.as_secs_f64(), seen, straight })
    }

    /// Requests until all attackers have come and what they set off has settled.
    fn while_they_come(&mut self, attackers: &Attackers) -> Result<Outcome, LoadError> {
        let mut seen = self.gate.at_rate(self.plan.rate, self.plan.pause)?;
        let mut settled = 0;
        for _ in 0..MOST_PAUSES {
            settled += u32::from(attackers.have_come());
            let more = self.gate.at_rate(self.plan.rate, self.plan.pause)?;
            join(&mut seen, &more)?;
            if settled == SETTLED {
                break;
            }
        }
        Ok(seen)
    }
}

impl Seconds {
    fn of(client: &mut Generator, plan: &Plan, length: Duration) -> Result<Self, LoadError> {
        let second = length.min(SECOND);
        let mut all = client.at_rate(plan.rate, second)?;
        let mut p99 = vec![all.quantile(0.99)];
        for _ in 1..(length.as_secs_f64() / second.as_secs_f64()).round() as u32 {
            let more = client.at_rate(plan.rate, second)?;
            p99.push(more.quantile(0.99));
            join(&mut all, &more)?;
        }
        p99.sort_by(f64::total_cmp);
        Ok(Self { all, p99 })
    }

    fn median(&self) -> f64 {
        self.p99.get(self.p99.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn worst(&self) -> f64 {
        self.p99.last().copied().unwrap_or(f64::NAN)
    }
}

/// Adds what came of more of a phase.
fn join(seen: &mut Outcome, more: &Outcome) -> Result<(), LoadError> {
    let added = seen.latencies.add(&more.latencies).map_err(std::io::Error::other);
    added.map_err(LoadError::io("add up what was seen"))?;
    for (status, count) in &more.statuses {
        *seen.statuses.entry(*status).or_default() += count;
    }
    seen.took += more.took;
    seen.foreign += more.foreign;
    seen.broken += more.broken;
    Ok(())
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
