//! `--reload`: the gate's latency at a fixed rate, with and without a script that changes every second.
//!
//! Two hundred compiled rules, the rest as in the reference configuration. The gate finds each change by itself, as
//! it would for an operator who saves a file. When it had published one is in its log.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use crate::arena::Arena;
use crate::bare::Bare;
use crate::contestant::Contestant;
use crate::error::LoadError;
use crate::gate::Gate;
use crate::generator::{Generator, Outcome};
use crate::machine;
use crate::noise::Watch;
use crate::options::Plan;
use crate::process::OUTPUT;
use crate::rounds;
use crate::rules;
use crate::spread::{Spread, plain, with_span};
use crate::table::{Form, Table};
use crate::usage;

/// How often a script changes.
const EVERY: Duration = Duration::from_secs(1);
/// A phase is this many times as long as one of the contest, so that it has several reloads.
const LONGER: u32 = 4;
/// How long the gate waits for more changes, which is no part of a reload.
const DEBOUNCE: Duration = Duration::from_millis(300);
/// Threads that only reloads keep busy.
const THREADS: [&str; 3] = ["tokio-rt-worker", "BG reload", "notify-rs"];

/// One round: the same load without and with reloads.
#[derive(Debug)]
struct Round {
    without: Outcome,
    with: Outcome,
    /// When scripts were changed.
    changes: Vec<Timestamp>,
    /// CPU time of the threads that reload, while they did.
    cpu: Option<Duration>,
}

/// Measures, and reports.
pub(crate) fn run(plan: &Plan, form: Form) -> Result<String, LoadError> {
    let (arena, gate) = (Arena::open()?, Gate::with_scripts("riskgate, 200 rules", rules::write));
    let rate = rounds::turn(plan, &arena, &Bare::Baseline, None)?.rate * plan.part;
    let standing = arena.start(&gate, arena.origin().address())?;
    all_compiled(standing.folder.path())?;
    let mut load = Generator::connect(gate.name(), standing.process.address(), plan.connections)?;
    rounds::verify(&gate, &load.as_fast_as_possible(plan.warm_up)?)?;
    let length = if plan.smoke { EVERY * 2 } else { (plan.phase * LONGER).max(EVERY) };
    let ours = [standing.process.pid(), arena.origin().pid(), std::process::id()];
    let watch = Watch::begin(arena.cores(), &ours);
    let (mut measured, mut changed) = (Vec::new(), 0);
    for _ in 0..plan.rounds {
        let without = load.at_rate(rate, length)?;
        let threads = || usage::of_threads(standing.process.pid(), &THREADS);
        let before = threads();
        let (with, changes) =
            while_changing(standing.folder.path(), changed, length, || load.at_rate(rate, length))?;
        changed += changes.len();
        let cpu = threads().zip(before).map(|(after, before)| after.saturating_sub(before));
        measured.push(Round { without, with: with?, changes, cpu });
    }
    let noise = watch.others().map_or("n/a".into(), |others| format!("{:.1}", others * 100.0));
    drop(load);
    let folder = standing.stop()?;
    for Round { without, with, .. } in &measured {
        rounds::verify(&gate, without)?;
        rounds::verify(&gate, with)?;
    }
    let reloads = reloads(folder.path(), &measured)?;
    let cores = arena.cores();
    arena.close()?;
    let (latencies, durations) =
        (latencies(&measured).write(form), durations(&measured, &reloads).write(form));
    Ok(format!(
        "{latencies}\n{durations}\nMethod: {} with the gate on one core, {} rounds of {length:?} at {rate:.0} \
         requests/s ({:.0} % of what bare Pingora reached), first without changes, then with one every {EVERY:?}. \
         Ratios within a round; median [lowest to highest]. A reload shares the gate's one core with its \
         requests here.\nNoise: other programs used {noise} % of the cores.\n{}",
        gate.name(),
        plan.rounds,
        plan.part * 100.0,
        machine::about(cores)
    ))
}

/// Interpreted rules would be another measurement.
fn all_compiled(folder: &Path) -> Result<(), LoadError> {
    let file = Gate::file(folder);
    let checked = Gate::asked_to("check", &file).output().map_err(LoadError::io("check the rules"))?;
    let said = String::from_utf8_lossy(&checked.stdout);
    match said.lines().find(|line| line.contains("interpreted")) {
        Some(line) => {
            let (path, why) =
                (file.display().to_string(), format!("a rule is not compiled: {}", line.trim()));
            Err(LoadError::Configuration { path, why })
        }
        None => Ok(()),
    }
}

/// Does something that takes so long while another thread changes scripts, `first` ones of which changed before; when
/// it changed them. The last change is early enough to become live before the end.
fn while_changing<T>(
    folder: &Path,
    first: usize,
    length: Duration,
    work: impl FnOnce() -> T,
) -> Result<(T, Vec<Timestamp>), LoadError> {
    let over = AtomicBool::new(false);
    let change = || -> std::io::Result<Vec<Timestamp>> {
        let (begin, mut changes) = (Instant::now(), Vec::new());
        let mut due = Duration::ZERO;
        while !over.load(Ordering::SeqCst) && due + EVERY <= length {
            if begin.elapsed() >= due {
                rules::change(folder, first + changes.len())?;
                changes.push(Timestamp::now());
                due += EVERY;
            }
            sleep(Duration::from_millis(10));
        }
        Ok(changes)
    };
    let (done, changes) = std::thread::scope(|scope| {
        let changing = scope.spawn(change);
        let done = work();
        over.store(true, Ordering::SeqCst);
        (done, changing.join())
    });
    let changes = changes.unwrap_or_else(|_| Err(std::io::Error::other("a thread broke off")));
    Ok((done, changes.map_err(LoadError::io("change a script"))?))
}

/// A change that became live.
#[derive(Debug)]
struct Reload {
    /// From the change to when the gate said that it was published.
    live: Duration,
    /// How long the gate says that it took, in milliseconds.
    took: Option<f64>,
}

/// What the gate's log says of the changes.
fn reloads(folder: &Path, measured: &[Round]) -> Result<Vec<Reload>, LoadError> {
    let log = std::fs::read_to_string(folder.join(OUTPUT)).map_err(LoadError::io("read the gate's log"))?;
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let published = lines.filter(|line| line.pointer("/fields/message") == Some(&"published".into()));
    let published: Vec<(Timestamp, Value)> = published
        .filter_map(|line| {
            Some((line.get("timestamp")?.as_str()?.parse().ok()?, line.get("fields")?.clone()))
        })
        .collect();
    let of = |change: &Timestamp| {
        let (at, fields) = published.iter().find(|(at, _)| at >= change)?;
        let live = Duration::try_from(at.duration_since(*change)).ok()?;
        let took =
            fields.get("took_ms").and_then(|took| took.as_f64().or_else(|| took.as_str()?.parse().ok()));
        (live < EVERY).then_some(Reload { live, took })
    };
    Ok(measured.iter().flat_map(|round| &round.changes).filter_map(of).collect())
}

fn latencies(measured: &[Round]) -> Table {
    let mut table = Table::new(["", "p50 us", "p99 us", "p99.9 us", "longest us"]);
    let row = |name: &str, value: &dyn Fn(&Round, f64) -> f64, digits| {
        let parts = [0.5, 0.99, 0.999, 1.0]
            .map(|part| with_span(Spread::of(measured.iter().map(|round| Some(value(round, part)))), digits));
        std::iter::once(name.to_owned()).chain(parts).collect()
    };
    table.add(row("without reloads", &|round, part| round.without.quantile(part), 0));
    table.add(row("a reload every second", &|round, part| round.with.quantile(part), 0));
    table.add(row("ratio", &|round, part| round.with.quantile(part) / round.without.quantile(part), 2));
    table
}

fn durations(measured: &[Round], reloads: &[Reload]) -> Table {
    let changes: usize = measured.iter().map(|round| round.changes.len()).sum();
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let live = || reloads.iter().map(|reload| millis(reload.live));
    let spread = |values: &mut dyn Iterator<Item = f64>| Spread::of(values.map(Some));
    let debounce = millis(DEBOUNCE);
    let cpu =
        measured.iter().map(|round| round.cpu.map(|cpu| millis(cpu) / round.changes.len().max(1) as f64));
    let took = Spread::of(reloads.iter().map(|reload| reload.took));
    let mut table = Table::new(["reloads", "ms"]);
    table.add(vec![
        "changes, and how many were live within a second".into(),
        format!("{changes}, {}", reloads.len()),
    ]);
    table.add(vec!["from the change to live".into(), with_span(spread(&mut live()), 1)]);
    let beyond = spread(&mut live().map(|live| live - debounce));
    table.add(vec![
        format!("the same without the {debounce:.0} ms that the gate waits"),
        with_span(beyond, 1),
    ]);
    table.add(vec!["CPU of the threads that reload, for each change".into(), plain(Spread::of(cpu), 1)]);
    let says = if took.is_some() { with_span(took, 1) } else { "it does not say".into() };
    table.add(vec!["what the gate says that it took".into(), says]);
    table
}
