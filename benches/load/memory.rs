//! `--memory`: what the gate keeps in memory after a million requests from 100,000 clients.
//!
//! The shipped configuration, with as many threads as it takes by itself; only addresses, whose header is believed and
//! the place of the log are changed. Each tenth of the requests comes from all clients, once from each.

use crate::arena::Arena;
use crate::contestant::Contestant;
use crate::error::LoadError;
use crate::gate::Gate;
use crate::generator::Generator;
use crate::machine;
use crate::options::Plan;
use crate::requests::Mix;
use crate::rounds;
use crate::table::{Form, Table};
use crate::usage::{Memory, Tree};

const CLIENTS: u32 = 100_000;
const SMOKE_CLIENTS: u32 = 200;
/// How often each client sends a request.
const TIMES: u32 = 10;

/// Measures, and reports.
pub(crate) fn run(plan: &Plan, form: Form) -> Result<String, LoadError> {
    let clients = if plan.smoke { SMOKE_CLIENTS } else { CLIENTS };
    let (arena, gate) = (Arena::anywhere()?, Gate::unbound());
    let standing = arena.start(&gate, arena.origin().address())?;
    let (address, tree) = (standing.process.address(), Tree::of(standing.process.pid()));
    let mix = Mix::from_networks(address, clients);
    let mut load = Generator::with_mix(gate.name(), address, plan.connections, mix)?;

    let mut table = Table::new(["requests", "RSS MiB", "peak RSS MiB"]);
    let (mut answers, mut row) = (0, |answers: u64, memory: Option<Memory>| {
        let mib = |bytes: u64| format!("{:.1}", bytes as f64 / 1_048_576.0);
        let [now, peak] =
            memory.map_or(["n/a".into(), "n/a".into()], |memory| [memory.now, memory.peak].map(mib));
        table.add(vec![answers.to_string(), now, peak]);
    });
    row(answers, tree.memory());
    for _ in 0..TIMES {
        let outcome = load.requests(clients.into())?;
        rounds::verify(&gate, &outcome)?;
        answers += outcome.answers();
        row(answers, tree.memory());
    }
    drop(load);
    let folder = standing.stop()?;
    // One more is of the question whether it serves.
    let recorded = gate.recorded(folder.path()).unwrap_or(0).min(answers);
    arena.close()?;
    Ok(format!(
        "{}\nMethod: {}, {clients} clients in as many /24 networks, {TIMES} requests from each, on {} connections \
         as fast as possible; {recorded} of {answers} requests are in its log. Nothing is pinned.\n{}",
        table.write(form),
        gate.name(),
        plan.connections,
        machine::about(None)
    ))
}
