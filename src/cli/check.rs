//! `riskgate check`: what would be loaded, or everything that is wrong with it.

use std::fmt::Write as _;
use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::{WRONG, diagnostics};
use crate::app::{self, Loaded, parts};
use crate::decision::Mode;
use crate::facts::problem::Problem;
use crate::record::{DecisionRecord, rfc3339};
use crate::reload::sources::Sources;
use crate::reload::{Build, Built};
use crate::signals::Vocabulary;
use crate::snapshot::Snapshot;

pub(super) fn check(config: &Path) -> ExitCode {
    match load(config) {
        Ok((loaded, snapshot, notes)) => {
            let _ = diagnostics::show(&notes, &mut stderr());
            let _ = stdout().write_all(report(&loaded, &snapshot).as_bytes());
            ExitCode::SUCCESS
        }
        Err(problems) => {
            let _ = diagnostics::show(&problems, &mut stderr());
            ExitCode::from(WRONG)
        }
    }
}

/// Loads as the gate would at start, without binding or serving anything.
pub(super) fn load(config: &Path) -> Result<(Loaded, Snapshot, Vec<Problem>), Vec<Problem>> {
    let mut loaded = app::load(config, Vocabulary::standard())?;
    let sources = read(&loaded)?;
    match loaded.builder.build(&sources)? {
        Built::Candidate(snapshot, mut notes) => {
            notes.extend(loaded.config.warnings.iter().cloned());
            Ok((loaded, *snapshot, notes))
        }
        Built::ReadAgain => Err(vec![Problem::error(config, "the configuration changed while it was read; try again")]),
    }
}

/// Reads everything that a snapshot is made from.
pub(super) fn read(loaded: &Loaded) -> Result<Sources, Vec<Problem>> {
    let clock = loaded.clock;
    let mut pause = || std::thread::sleep(Duration::from_millis(20));
    Sources::read(&loaded.builder.paths(), None, &move || clock.now().wall, &mut pause)
}

fn report(loaded: &Loaded, snapshot: &Snapshot) -> String {
    let mut text = format!("{} is good\n", loaded.config_path.display());
    let _ = policy(&mut text, snapshot);
    let _ = geo(&mut text, snapshot);
    let _ = lists(&mut text, snapshot);
    let _ = levels(&mut text, loaded, snapshot);
    let _ = routes(&mut text, loaded);
    let _ = bounds(&mut text, loaded);
    text
}

fn policy(text: &mut String, snapshot: &Snapshot) -> std::fmt::Result {
    writeln!(text, "\npolicy")?;
    for rule_set in snapshot.policy().rule_sets() {
        let observed = if rule_set.mode() == Mode::Observe { " (observed only)" } else { "" };
        writeln!(text, "  {:<16} {}{observed}", rule_set.name(), rule_set.functions().join(" "))?;
        let reasons: Vec<&str> = rule_set.reasons().collect();
        writeln!(text, "  {:<16}   reasons: {}", "", reasons.join(" "))?;
    }
    let needs: Vec<String> = snapshot.policy().needs().names().collect();
    writeln!(text, "  reads {}", needs.join(" "))
}

/// The databases in one line.
pub(super) fn places(snapshot: &Snapshot) -> String {
    let country = snapshot.geo().country.as_ref().map(|db| db.summary());
    let asn = snapshot.geo().asn.as_ref().map(|db| db.summary());
    let shown = country.map(|summary| {
        format!("{} countries, {} of {}", summary.values, summary.database_type, day(summary.built))
    });
    let networks = asn.map(|summary| format!("{} networks, {} of {}", summary.values, summary.database_type, day(summary.built)));
    match (shown, networks) {
        (None, None) => "none: every request is from `ZZ`".to_owned(),
        (shown, networks) => shown.into_iter().chain(networks).collect::<Vec<_>>().join("; "),
    }
}

fn geo(text: &mut String, snapshot: &Snapshot) -> std::fmt::Result {
    writeln!(text, "\nplaces\n  {}", places(snapshot))?;
    if let Some(summary) = snapshot.geo().country.as_ref().map(|db| db.summary()) {
        let loss = &summary.truncation;
        writeln!(
            text,
            "  truncation moves {:.3} % of IPv4 addresses to another country, and {} of {} IPv6 networks",
            loss.ipv4.share * 100.0,
            loss.ipv6.moved,
            loss.ipv6.networks,
        )?;
    }
    Ok(())
}

fn lists(text: &mut String, snapshot: &Snapshot) -> std::fmt::Result {
    writeln!(text, "\nlists")?;
    for list in snapshot.lists() {
        let hard = if list.hard { ", hard: refused whatever scripts say" } else { "" };
        writeln!(text, "  {:<16} {} entries, {}{hard}", list.name, list.addresses.len(), size(list.addresses.memory_bytes()))?;
    }
    Ok(())
}

fn levels(text: &mut String, loaded: &Loaded, snapshot: &Snapshot) -> std::fmt::Result {
    writeln!(text, "\nlevels")?;
    for (level, from, action) in snapshot.rulebook().levels.iter() {
        writeln!(text, "  {:<16} from {from}: {}", level.as_str(), action.action().as_str())?;
    }
    writeln!(text, "\nlimits and counters")?;
    let mut limits: Vec<String> = snapshot.limits().map(|limit| {
        let spec = limit.spec();
        format!("  {:<16} per {}, window {:?}", spec.name, spec.per.as_str(), spec.window.duration())
    }).collect();
    limits.sort();
    limits.iter().try_for_each(|limit| writeln!(text, "{limit}"))?;
    for counter in snapshot.counters() {
        let spec = counter.spec();
        writeln!(text, "  {:<16} counts per {}, window {:?}", spec.name, spec.per.as_str(), spec.window.duration())?;
    }
    let limited = loaded.config.countries.values().filter(|country| country.limit.is_some()).count();
    writeln!(text, "  {limited} of {} configured countries have a limit", loaded.config.countries.len())
}

fn routes(text: &mut String, loaded: &Loaded) -> std::fmt::Result {
    writeln!(text, "\nroutes")?;
    for route in &loaded.config.routes {
        writeln!(text, "  {:<16} {:?} {} -> {}", route.name, route.host, route.path, route.upstream)?;
    }
    Ok(())
}

fn bounds(text: &mut String, loaded: &Loaded) -> std::fmt::Result {
    writeln!(text, "\nmemory at most")?;
    for part in loaded.traffic.memory() {
        writeln!(text, "  {:<40} {}", part.what, size(part.bytes))?;
    }
    let records = parts::record_settings(&loaded.config);
    writeln!(text, "  {:<40} {}", "waiting and recent decisions", size(records.memory_bytes::<Box<DecisionRecord>>()))?;
    let disk = usize::try_from(records.max_bytes()).unwrap_or(usize::MAX);
    writeln!(text, "\ndisk at most\n  {:<40} {}", "log of decisions", size(disk))
}

fn size(bytes: usize) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut value = bytes as f64;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or("B");
    for next in units {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

fn day(wall: crate::facts::time::Wall) -> String {
    rfc3339(wall).chars().take(10).collect()
}
