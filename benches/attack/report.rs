//! The figures. Medians of rounds; a ratio is taken within each round, and then the median of those.

use crate::attacks::Attack;
use crate::machine;
use crate::options::Plan;
use crate::siege::{Siege, Sieges};
use crate::spread::{Spread, plain, with_span};
use crate::table::{Form, Table};

const MIB: f64 = 1_048_576.0;
/// How many times its calm value a well-behaved client's p99 may be.
const BOUND: f64 = 2.0;

/// Everything that was measured.
pub(crate) fn write(plan: &Plan, sieges: &Sieges, form: Form) -> String {
    let mut table = Table::new([
        "attack",
        "attackers",
        "their connections/s",
        "calm p99 us",
        "under attack",
        "ratio",
        "worst seconds",
        "while they come",
        "the load alone",
        "gate's core",
        "failed",
        "RSS MiB before",
        "peak",
        "after",
        "system MiB",
    ]);
    for (attack, rounds) in &sieges.rows {
        table.add(row(plan, *attack, rounds));
    }
    let over =
        sieges.rows.iter().filter(|(_, rounds)| ratio(rounds).is_some_and(|ratio| ratio.median >= BOUND));
    let over: Vec<&str> = over.map(|(attack, _)| attack.as_str()).collect();
    let verdict = if over.is_empty() {
        format!("Under every attack the well-behaved client's p99 stayed below {BOUND} x its calm value.")
    } else {
        format!(
            "**The well-behaved client's p99 was {BOUND} x its calm value or more under: {}.**",
            over.join(", ")
        )
    };
    format!(
        "{}\n{verdict}\n\nMethod: {} rounds, in each a fresh gate for every attack, with one thread, alone on its core: \
         {:?} in peace; the attackers come, all of them; then {:?} under attack. The well-behaved client sends {:.0} \
         requests/s on {} connections kept alive; latency from when a request was meant to start; \
         p99 is that of the median second, and of the worst one. The load alone: the ratio for \
         requests straight to the origin, in half the time after each phase; what it is above 1 is not the gate's doing. \
         Gate's core: how busy it was, in peace and under attack. Failed are those of its requests that were not answered \
         with 200. System: the most that it held for connections by TCP, at both ends of all of them, above what it held in peace. \
         Medians; ratios within a round, [lowest to highest]. Attackers share the other core with the client and \
         with the origins, and run when nobody else there wants to.\n{}",
        table.write(form),
        plan.rounds,
        plan.phase,
        plan.phase,
        plan.rate,
        plan.connections,
        machine::about(sieges.cores),
    )
}

fn row(plan: &Plan, attack: Attack, rounds: &[Siege]) -> Vec<String> {
    let median =
        |value: &dyn Fn(&Siege) -> Option<f64>, digits| plain(Spread::of(rounds.iter().map(value)), digits);
    let memory = |at: usize| move |siege: &Siege| Some(*siege.memory?.get(at)? as f64 / MIB);
    let [failed, requests] = [
        rounds.iter().map(|siege| siege.failed).sum::<u64>(),
        rounds.iter().map(|siege| siege.requests).sum(),
    ];
    let straight =
        Spread::of(rounds.iter().map(|Siege { straight: [calm, attacked], .. }| Some(attacked / calm)));
    let percent = |at: usize| move |siege: &Siege| Some(siege.busy.get(at)? * 100.0);
    vec![
        attack.as_str().to_owned(),
        attack.attackers().div_ceil(plan.one_in).to_string(),
        median(&|siege| Some(siege.connections), 0),
        median(&|siege| siege.p99.first().copied(), 0),
        median(&|siege| siege.p99.last().copied(), 0),
        with_span(ratio(rounds), 2),
        format!(
            "{} to {}",
            median(&|siege| siege.worst.first().copied(), 0),
            median(&|siege| siege.worst.last().copied(), 0)
        ),
        median(&|siege| Some(siege.coming), 0),
        with_span(straight, 2),
        format!("{} to {} %", median(&percent(0), 0), median(&percent(1), 0)),
        format!("{failed} of {requests}"),
        median(&memory(0), 0),
        median(&memory(1), 0),
        median(&memory(2), 0),
        median(&|siege| Some(siege.system? as f64 / MIB), 0),
    ]
}

fn ratio(rounds: &[Siege]) -> Option<Spread> {
    Spread::of(rounds.iter().map(|siege| {
        let [calm, attacked] = siege.p99;
        Some(attacked / calm)
    }))
}
