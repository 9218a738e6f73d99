//! The figures. Medians of rounds; a ratio is taken within each round, and then the median of those.
//!
//! Behind a ratio stand its lowest and highest round: two rows whose spans overlap have not been told apart.

use std::fmt::Write;

use crate::options::Plan;
use crate::rounds::{Results, Row, Turn};
use crate::spread::{ABSENT, Spread, plain, with_span};
use crate::table::{Form, Table};

/// Everything that was measured.
pub(crate) fn write(plan: &Plan, results: &Results, form: Form) -> String {
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = write_all(&mut text, plan, results, form);
    text
}

fn write_all(text: &mut String, plan: &Plan, results: &Results, form: Form) -> std::fmt::Result {
    writeln!(text, "{}", figures(results).write(form))?;
    if let Some(table) = comparison(results) {
        writeln!(text, "{}", table.write(form))?;
    }
    notes(text, results)?;
    method(text, plan, results)
}

/// A figure of a turn, and how many digits of it mean something.
type Figure = (&'static str, fn(&Turn) -> Option<f64>, usize);

const MIB: f64 = 1_048_576.0;

/// What is compared.
const FIGURES: [Figure; 7] = [
    ("requests/s", |turn| Some(turn.rate), 0),
    ("CPU us/request", |turn| turn.cpu.map(|cpu| micros(cpu.sum()) / turn.answers), 1),
    ("p50 us", |turn| turn.latency.first().copied(), 0),
    ("p99 us", |turn| turn.latency.get(1).copied(), 0),
    ("p99.9 us", |turn| turn.latency.get(2).copied(), 0),
    ("peak RSS MiB", |turn| turn.memory.map(|memory| memory.peak as f64 / MIB), 0),
    ("end RSS MiB", |turn| turn.memory.map(|memory| memory.now as f64 / MIB), 0),
];

/// One row for each contestant: each figure, and in brackets its ratio to the baseline.
fn figures(results: &Results) -> Table {
    let [rate, cpu, p50, p99, p999, peak, end] = FIGURES.map(|(name, ..)| name);
    let mut table = Table::new(["", rate, cpu, "user + system", p50, p99, p999, "added p99 us", peak, end]);
    let baseline = results.rows.first().map_or(&[][..], |row| &row.turns);
    for row in &results.rows {
        let mut cells: Vec<String> = FIGURES.iter().map(|figure| beside(row, baseline, *figure)).collect();
        cells.insert(0, row.name.clone());
        cells.insert(3, parts(row));
        let added = row.turns.iter().zip(baseline);
        let added = added.map(|(turn, bare)| Some(turn.latency.get(1)? - bare.latency.get(1)?));
        cells.insert(7, with_span(Spread::of(added), 0));
        table.add(cells);
    }
    for (name, _) in &results.missing {
        table.add(vec![name.clone(), "not installed".into()]);
    }
    table
}

fn beside(row: &Row, baseline: &[Turn], (_, value, digits): Figure) -> String {
    let own = Spread::of(row.turns.iter().map(value));
    let ratio =
        ratio(&row.turns, baseline, value).map_or(ABSENT.into(), |ratio| format!("{:.2}", ratio.median));
    format!("{} ({ratio})", plain(own, digits))
}

fn ratio(turns: &[Turn], others: &[Turn], value: fn(&Turn) -> Option<f64>) -> Option<Spread> {
    let both = turns.iter().zip(others);
    Spread::of(both.map(|(turn, other)| Some(value(turn)? / value(other)?)))
}

/// CPU in the program and in the system.
fn parts(row: &Row) -> String {
    let user = row.turns.iter().map(|turn| turn.cpu.map(|cpu| micros(cpu.user) / turn.answers));
    let system = row.turns.iter().map(|turn| turn.cpu.map(|cpu| micros(cpu.system) / turn.answers));
    format!("{} + {}", plain(Spread::of(user), 1), plain(Spread::of(system), 1))
}

/// The gate against everybody who was measured, with the span of all rounds.
fn comparison(results: &Results) -> Option<Table> {
    let gate = results.rows.iter().find(|row| row.name == results.subject)?;
    let [rate, cpu, p50, p99, p999, peak, end] = FIGURES.map(|(name, ..)| name);
    let head = format!("{}, divided by", gate.name);
    let mut table = Table::new([head.as_str(), rate, cpu, p50, p99, p999, peak, end]);
    for other in results.rows.iter().filter(|row| row.name != gate.name) {
        let mut cells = vec![other.name.clone()];
        cells.extend(
            FIGURES.iter().map(|(_, value, _)| with_span(ratio(&gate.turns, &other.turns, *value), 2)),
        );
        table.add(cells);
    }
    Some(table)
}

fn micros(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// What a reader has to know before believing the table.
fn notes(text: &mut String, results: &Results) -> std::fmt::Result {
    for (name, how) in &results.missing {
        writeln!(text, "* {name} is not installed; to measure it: {how}")?;
    }
    for Row { name, turns } in &results.rows {
        let late = turns.iter().filter(|turn| !turn.held).count();
        if late > 0 {
            writeln!(text, "* {name} did not hold the fixed rate in {late} of {} rounds.", turns.len())?;
        }
        let passed = Spread::of(turns.iter().map(|turn| Some(turn.passed)));
        if let Some(Spread { median, .. }) = passed.filter(|passed| passed.low < 1.0) {
            let refused = 100.0 * (1.0 - median);
            writeln!(
                text,
                "* {name} refused {refused:.1} % of the requests, which did not reach the origin."
            )?;
        }
        let unrecorded = Spread::of(turns.iter().map(|turn| turn.unrecorded));
        if let Some(Spread { median, high, .. }) = unrecorded.filter(|unrecorded| unrecorded.high > 0.0) {
            let (median, high) = (median * 100.0, high * 100.0);
            writeln!(text, "* {name} left {median:.2} % of the requests unrecorded, {high:.2} % at most.")?;
        }
        let busy = Spread::of(turns.iter().map(|turn| turn.busy)).filter(|busy| busy.median < 0.95);
        if let Some(Spread { median, .. }) = busy {
            let filled = median * 100.0;
            writeln!(
                text,
                "* {name} filled {filled:.0} % of its core; compare its CPU, not its requests/s."
            )?;
        }
    }
    Ok(())
}

fn method(text: &mut String, plan: &Plan, results: &Results) -> std::fmt::Result {
    writeln!(
        text,
        "Method: {} rounds in rotating order, a fresh process for each turn: {:?} warm-up, {:?} as fast as \
         possible on {} connections (requests/s, CPU), {:?} at {:.0} requests/s (latency from when a request was \
         meant to start). Medians; in brackets the ratio to the first row, within a round; [lowest to highest \
         round]. CPU is what the proxy's processes were charged with, and the steadiest figure here: it does not \
         depend on how much of a core others left over. Contestants with the reference policy have proved with a \
         few requests that they do that work. {:.0} s in all.",
        plan.rounds,
        plan.warm_up,
        plan.phase,
        plan.connections,
        plan.phase,
        results.rate,
        results.took.as_secs_f64(),
    )?;
    noise(text, results)?;
    let others = if results.versions.is_empty() { "none".into() } else { results.versions.join(", ") };
    write!(text, "{} Beside them: {others}.", crate::machine::about(results.cores))
}

/// How quiet the machine was.
fn noise(text: &mut String, results: &Results) -> std::fmt::Result {
    let percent = |part: f64| Some(part * 100.0);
    let stalls = Spread::of(results.stalls.iter().map(|stalls| percent(stalls.part)));
    let longest = results.stalls.iter().map(|stalls| stalls.longest).max().unwrap_or_default();
    let turns = || results.rows.iter().flat_map(|row| &row.turns);
    let others = Spread::of(turns().map(|turn| turn.others.and_then(percent)));
    writeln!(
        text,
        "Noise: other programs used {} % of the cores, by turns; the load's core stood still for {} % of the time, \
         {:.1} ms at the longest.{}",
        with_span(others, 1),
        plain(stalls, 2),
        longest.as_secs_f64() * 1e3,
        if others.is_some_and(|others| others.high > QUIET) {
            " **Not quiet enough: repeat this.**"
        } else {
            ""
        },
    )
}

/// Percent of the cores that others may use before the figures are in doubt.
const QUIET: f64 = 5.0;
