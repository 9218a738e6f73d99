//! The table. Medians of rounds; ratios to the baseline are taken within each round and then their median.
//!
//! Behind a ratio stand its lowest and highest round: two rows whose spans overlap have not been told apart.

use std::fmt::Write;

use crate::options::Plan;
use crate::rounds::{Results, Row, Turn};

/// Everything that was measured, as Markdown.
pub(crate) fn markdown(plan: &Plan, results: &Results) -> String {
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = write_all(&mut text, plan, results);
    text
}

const HEAD: [&str; 11] = [
    "",
    "requests/s",
    "ratio",
    "CPU us/request",
    "ratio",
    "core",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "added p99 us",
    "peak RSS MiB",
];

fn write_all(text: &mut String, plan: &Plan, results: &Results) -> std::fmt::Result {
    if plan.smoke {
        writeln!(text, "A smoke run: these figures mean nothing.\n")?;
    }
    writeln!(text, "| {} |\n|---|{}", HEAD.join(" | "), "--:|".repeat(HEAD.len() - 1))?;
    let baseline = results.rows.first().map_or(&[][..], |row| &row.turns);
    for row in &results.rows {
        writeln!(text, "| {} |", cells(row, baseline).join(" | "))?;
    }
    writeln!(text)?;
    notes(text, &results.rows)?;
    method(text, plan, results)
}

fn cells(row: &Row, baseline: &[Turn]) -> [String; HEAD.len()] {
    let of = |value: &dyn Fn(&Turn) -> Option<f64>| Spread::of(row.turns.iter().map(value));
    let ratio = |value: &dyn Fn(&Turn) -> Option<f64>| {
        let both = row.turns.iter().zip(baseline);
        Spread::of(both.map(|(turn, bare)| Some(value(turn)? / value(bare)?)))
    };
    let [p50, p99, p999] = [0, 1, 2].map(|at| move |turn: &Turn| turn.latency.get(at).copied());
    let added = row.turns.iter().zip(baseline).map(|(turn, bare)| Some(p99(turn)? - p99(bare)?));
    [
        row.name.clone(),
        plain(of(&|turn| Some(turn.rate)), 0),
        with_span(ratio(&|turn| Some(turn.rate)), 2),
        plain(of(&|turn| turn.cpu), 1),
        with_span(ratio(&|turn| turn.cpu), 2),
        plain(of(&|turn| turn.busy.map(|part| part * 100.0)), 0) + " %",
        plain(of(&p50), 0),
        plain(of(&p99), 0),
        plain(of(&p999), 0),
        with_span(Spread::of(added), 0),
        plain(of(&|turn| turn.memory.map(|bytes| bytes as f64 / 1_048_576.0)), 0),
    ]
}

/// What a reader has to know before believing the table.
fn notes(text: &mut String, rows: &[Row]) -> std::fmt::Result {
    for Row { name, turns } in rows {
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
        let idle = Spread::of(turns.iter().map(|turn| turn.busy)).filter(|busy| busy.median < 0.95);
        if idle.is_some() {
            writeln!(text, "* {name} did not fill its core; compare its CPU, not its requests/s.")?;
        }
    }
    Ok(())
}

fn method(text: &mut String, plan: &Plan, results: &Results) -> std::fmt::Result {
    let pinning = match results.cores {
        Some(cores) => format!("proxy on core {}, origin and load on core {}", cores.proxy, cores.load),
        None => "not pinned".into(),
    };
    writeln!(text, "Machine: {}; {pinning}.", results.machine)?;
    writeln!(
        text,
        "Method: {} rounds in rotating order, a fresh process for each turn: {:?} warm-up, {:?} as fast as \
         possible on {} connections (requests/s, CPU, core), {:?} at {:.0} requests/s (latency from when a \
         request was meant to start). Medians; ratios within a round, [lowest to highest]. {:.0} s in all.",
        plan.rounds,
        plan.warm_up,
        plan.phase,
        plan.connections,
        plan.phase,
        results.rate,
        results.took.as_secs_f64(),
    )?;
    noise(text, results)?;
    let versions = ["pingora-proxy", "rhai"].map(|package| format!("{package} {}", locked(package)));
    let profile = if cfg!(debug_assertions) { "without optimisation" } else { "optimised" };
    write!(
        text,
        "Versions: riskgate {}, {}; built {profile}.",
        env!("CARGO_PKG_VERSION"),
        versions.join(", ")
    )
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

/// The version of a package that this was built with.
fn locked(package: &str) -> &'static str {
    const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"));
    let name = format!("name = \"{package}\"");
    let mut lines = LOCK.lines().skip_while(|line| *line != name).skip(1);
    lines.next().and_then(|line| line.split('"').nth(1)).unwrap_or("unknown")
}

/// Values of several rounds.
#[derive(Clone, Copy, Debug)]
struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    /// `None` if any round has no value.
    fn of(values: impl Iterator<Item = Option<f64>>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect::<Option<_>>()?;
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let lower = if values.len().is_multiple_of(2) { *values.get(middle.checked_sub(1)?)? } else { upper };
        Some(Self { low: *values.first()?, median: (lower + upper) / 2.0, high: *values.last()? })
    }
}

const ABSENT: &str = "n/a";

fn plain(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or(ABSENT.into(), |spread| format!("{:.digits$}", spread.median))
}

fn with_span(spread: Option<Spread>, digits: usize) -> String {
    let span =
        |Spread { low, median, high }| format!("{median:.digits$} [{low:.digits$} to {high:.digits$}]");
    spread.map_or(ABSENT.into(), span)
}
