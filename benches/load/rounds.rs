//! The order of things: every contestant has a turn in every round, alone, in an order that rotates.
//!
//! A turn starts a fresh process, so that no one lives on the luck of one memory layout, warms it up, loads it as
//! fast as it goes, then at the fixed rate, and stops it. All contestants get the same fixed rate, a part of what
//! the baseline reached.

use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::contestant::{Contestant, Seat};
use crate::error::LoadError;
use crate::generator::{Generator, Outcome};
use crate::machine::{self, Cores};
use crate::noise::{self, Stalls, Watch};
use crate::options::Plan;
use crate::origin;
use crate::process::{self, Process};

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Results {
    /// The baseline, then the contestants.
    pub(crate) rows: Vec<Row>,
    /// The fixed rate, requests per second.
    pub(crate) rate: f64,
    /// The cores that were used, if they could be chosen.
    pub(crate) cores: Option<Cores>,
    /// What it all ran on.
    pub(crate) machine: String,
    /// How still the machine was, looked at in each round.
    pub(crate) stalls: Vec<Stalls>,
    /// How long it all took.
    pub(crate) took: Duration,
}

/// What was measured of one contestant.
#[derive(Debug)]
pub(crate) struct Row {
    /// What the table calls it.
    pub(crate) name: String,
    /// One for each round.
    pub(crate) turns: Vec<Turn>,
}

/// One turn of one contestant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Requests per second, as fast as possible.
    pub(crate) rate: f64,
    /// Microseconds of CPU time for each request, as fast as possible.
    pub(crate) cpu: Option<f64>,
    /// Which part of one core it used, as fast as possible.
    pub(crate) busy: Option<f64>,
    /// Microseconds at the fixed rate that half, 99 % and 99.9 % of all requests stayed below.
    pub(crate) latency: [f64; 3],
    /// Whether it held the fixed rate.
    pub(crate) held: bool,
    /// Which part of all requests reached the origin.
    pub(crate) passed: f64,
    /// Which part of the cores other programs used.
    pub(crate) others: Option<f64>,
    /// The most memory in use, in bytes.
    pub(crate) memory: Option<u64>,
    /// Which part of all requests is missing in its record.
    pub(crate) unrecorded: Option<f64>,
}

/// What is the same for every turn.
struct Arena<'a> {
    plan: &'a Plan,
    cores: Option<Cores>,
    folder: &'a Path,
    origin: &'a Process,
}

/// Measures everything.
pub(crate) fn run(
    plan: &Plan,
    baseline: &dyn Contestant,
    others: &[Box<dyn Contestant>],
) -> Result<Results, LoadError> {
    let begin = Instant::now();
    let (cores, machine) = (machine::two_cores(), machine::description());
    if let Some(cores) = cores {
        machine::pin_to(cores.load)?;
    }
    let folder = TempDir::with_prefix("riskgate-load-").map_err(LoadError::io("make a folder"))?;
    let address = process::free_address()?;
    let command = origin::command(address)?;
    let load_core = cores.map(|cores| cores.load);
    let origin = Process::start("the origin", &command, load_core, address, folder.path())?;
    let arena = Arena { plan, cores, folder: folder.path(), origin: &origin };

    let rate = arena.turn(baseline, None)?.rate * plan.part;
    let contestants: Vec<&dyn Contestant> =
        std::iter::once(baseline).chain(others.iter().map(Box::as_ref)).collect();
    let mut rows: Vec<Row> = contestants
        .iter()
        .map(|contestant| Row { name: contestant.name().to_owned(), turns: Vec::new() })
        .collect();
    let mut stalls = Vec::new();
    for round in 0..plan.rounds as usize {
        stalls.push(noise::stalls(plan.warm_up));
        let mut places: Vec<_> = contestants.iter().zip(&mut rows).collect();
        let first = round % places.len();
        places.rotate_left(first);
        for (contestant, row) in places {
            row.turns.push(arena.turn(*contestant, Some(rate))?);
        }
    }
    origin.stop()?;
    Ok(Results { rows, rate, cores, machine, stalls, took: begin.elapsed() })
}

impl Arena<'_> {
    /// One turn; without a fixed rate only as fast as possible.
    fn turn(&self, contestant: &dyn Contestant, rate: Option<f64>) -> Result<Turn, LoadError> {
        let (name, plan) = (contestant.name(), self.plan);
        let folder = TempDir::new_in(self.folder).map_err(LoadError::io("make a folder"))?;
        let seat =
            Seat { listen: process::free_address()?, origin: self.origin.address(), folder: folder.path() };
        let core = self.cores.map(|cores| cores.proxy);
        let process = Process::start(name, &contestant.command(&seat)?, core, seat.listen, folder.path())?;
        let mut load = Generator::connect(name, process.address(), plan.connections)?;

        let warm_up = load.as_fast_as_possible(plan.warm_up)?;
        let ours = [process.pid(), self.origin.pid(), std::process::id()];
        let watch = Watch::begin(self.cores, &ours);
        let before = machine::cpu_time(process.pid());
        let fast = load.as_fast_as_possible(plan.phase)?;
        let cpu = machine::cpu_time(process.pid()).zip(before).map(|(after, before)| after - before);
        let steady = rate.map(|rate| load.at_rate(rate, plan.phase)).transpose()?;
        let others = watch.others();
        let memory = machine::peak_memory(process.pid());
        drop(load);
        process.stop()?;

        let all = [Some(&warm_up), Some(&fast), steady.as_ref()];
        for outcome in all.into_iter().flatten() {
            verify(contestant, outcome)?;
        }
        let answers: u64 = all.into_iter().flatten().map(Outcome::answers).sum();
        let recorded = contestant.recorded(folder.path());
        let steady = steady.as_ref();
        Ok(Turn {
            rate: fast.answers() as f64 / fast.took.as_secs_f64(),
            cpu: cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / fast.answers() as f64),
            busy: cpu.map(|cpu| cpu.as_secs_f64() / fast.took.as_secs_f64()),
            latency: [0.5, 0.99, 0.999].map(|part| steady.map_or(f64::NAN, |steady| quantile(steady, part))),
            held: steady.is_none_or(|steady| steady.took < plan.phase.mul_f64(1.02)),
            passed: *fast.statuses.get(&200).unwrap_or(&0) as f64 / fast.answers() as f64,
            others,
            memory,
            unrecorded: recorded.map(|recorded| answers.saturating_sub(recorded) as f64 / answers as f64),
        })
    }
}

fn quantile(outcome: &Outcome, part: f64) -> f64 {
    outcome.latencies.value_at_quantile(part) as f64 / 1e3
}

/// Figures of wrong answers are none.
fn verify(contestant: &dyn Contestant, outcome: &Outcome) -> Result<(), LoadError> {
    let statuses = outcome.statuses.iter().filter(|(status, _)| !contestant.may_answer(**status));
    let mut wrong: Vec<String> =
        statuses.map(|(status, count)| format!("{count} with status {status}")).collect();
    let others =
        [(outcome.foreign, "with another body than the origin's"), (outcome.broken, "that broke off")];
    wrong
        .extend(others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    if outcome.answers() == 0 {
        wrong.push("none at all".into());
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let what = format!("{}, of {}", wrong.join(", "), outcome.answers() + outcome.broken);
    Err(LoadError::Wrong { name: contestant.name().to_owned(), what })
}
