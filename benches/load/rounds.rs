//! The order of things: every contestant has a turn in every round, alone, in an order that rotates.
//!
//! A turn starts a fresh process, so that no one lives on the luck of one memory layout, warms it up, loads it as
//! fast as it goes, then at the fixed rate, and stops it. All contestants get the same fixed rate, a part of what
//! the baseline reached.

use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::contestant::Contestant;
use crate::error::LoadError;
use crate::generator::{Generator, Outcome};
use crate::machine::Cores;
use crate::noise::{self, Stalls, Watch};
use crate::options::Plan;
use crate::usage::{Cpu, Memory, Tree};

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Results {
    /// The baseline, then the contestants.
    pub(crate) rows: Vec<Row>,
    /// The fixed rate, requests per second.
    pub(crate) rate: f64,
    /// The cores that were used, if they could be chosen.
    pub(crate) cores: Option<Cores>,
    /// The row that is compared with each other one.
    pub(crate) subject: String,
    /// Who could not take part, and how to install what is missing.
    pub(crate) missing: Vec<(String, &'static str)>,
    /// Programs of others that took part.
    pub(crate) versions: Vec<String>,
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
    /// How many answers there were, as fast as possible.
    pub(crate) answers: f64,
    /// CPU time for all of these.
    pub(crate) cpu: Option<Cpu>,
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
    /// Its memory at the end.
    pub(crate) memory: Option<Memory>,
    /// Which part of all requests is missing in its record.
    pub(crate) unrecorded: Option<f64>,
}

/// Measures everybody, the baseline first.
pub(crate) fn run(
    plan: &Plan,
    arena: &Arena,
    contestants: &[&dyn Contestant],
    missing: Vec<(String, &'static str)>,
) -> Result<Results, LoadError> {
    let begin = Instant::now();
    let rate = match contestants.first() {
        Some(baseline) => turn(plan, arena, *baseline, None)?.rate * plan.part,
        None => 0.0,
    };
    let name = |contestant: &&dyn Contestant| Row { name: contestant.name().to_owned(), turns: Vec::new() };
    let mut rows: Vec<Row> = contestants.iter().map(name).collect();
    let mut stalls = Vec::new();
    for round in 0..plan.rounds as usize {
        stalls.push(noise::stalls(plan.warm_up));
        let mut places: Vec<_> = contestants.iter().zip(&mut rows).collect();
        let first = round % places.len().max(1);
        places.rotate_left(first);
        for (contestant, row) in places {
            row.turns.push(turn(plan, arena, *contestant, Some(rate))?);
        }
    }
    let subject = crate::gate::Gate::reference().name().to_owned();
    let versions = contestants.iter().filter_map(|contestant| contestant.version()).collect();
    let (cores, took) = (arena.cores(), begin.elapsed());
    Ok(Results { rows, rate, cores, subject, missing, versions, stalls, took })
}

/// One turn; without a fixed rate only as fast as possible.
pub(crate) fn turn(
    plan: &Plan,
    arena: &Arena,
    contestant: &dyn Contestant,
    rate: Option<f64>,
) -> Result<Turn, LoadError> {
    let standing = arena.start(contestant, arena.origin().address())?;
    let process = &standing.process;
    let mut load = Generator::connect(contestant.name(), process.address(), plan.connections)?;

    let warm_up = load.as_fast_as_possible(plan.warm_up)?;
    let tree = Tree::of(process.pid());
    let ours = [tree.pids(), &[arena.origin().pid(), std::process::id()]].concat();
    let watch = Watch::begin(arena.cores(), &ours);
    let before = tree.used();
    let fast = load.as_fast_as_possible(plan.phase)?;
    let cpu = tree.used().zip(before).map(|(after, before)| after.since(before));
    let steady = rate.map(|rate| load.at_rate(rate, plan.phase)).transpose()?;
    let others = watch.others();
    let memory = tree.memory();
    drop(load);
    let folder = standing.stop()?;

    let all = [Some(&warm_up), Some(&fast), steady.as_ref()];
    for outcome in all.into_iter().flatten() {
        verify(contestant, outcome)?;
    }
    let answers: u64 = all.into_iter().flatten().map(Outcome::answers).sum();
    let recorded = contestant.recorded(folder.path());
    let steady = steady.as_ref();
    Ok(Turn {
        rate: fast.answers() as f64 / fast.took.as_secs_f64(),
        answers: fast.answers() as f64,
        cpu,
        busy: cpu.map(|cpu| cpu.sum().as_secs_f64() / fast.took.as_secs_f64()),
        latency: [0.5, 0.99, 0.999].map(|part| steady.map_or(f64::NAN, |steady| steady.quantile(part))),
        held: steady.is_none_or(|steady| steady.took < plan.phase.mul_f64(1.02)),
        passed: *fast.statuses.get(&200).unwrap_or(&0) as f64 / fast.answers() as f64,
        others,
        memory,
        unrecorded: recorded.map(|recorded| answers.saturating_sub(recorded) as f64 / answers as f64),
    })
}

/// Figures of wrong answers are none.
pub(crate) fn verify(contestant: &dyn Contestant, outcome: &Outcome) -> Result<(), LoadError> {
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
