//! `--tls`: the gate and nginx by TLS 1.3 and by HTTP/2, on the same work: the reference policy, one thread, the same
//! kind of certificate (ECDSA, P-256), full handshakes.
//!
//! Both serve in the clear, too, which is how they are probed and how the bench knows that they are ready.

use std::rc::Rc;
use std::time::Instant;

use crate::arena::Arena;
use crate::contestant::Contestant;
use crate::database::Database;
use crate::error::LoadError;
use crate::gate::Gate;
use crate::machine;
use crate::noise::Watch;
use crate::options::Plan;
use crate::peers::Nginx;
use crate::probe;
use crate::secure::Way;
use crate::spread::{Spread, plain, with_span};
use crate::table::{Form, Table};
use crate::usage::Tree;

/// One turn of one server, one way.
#[derive(Clone, Copy, Debug)]
struct Turn {
    rate: f64,
    /// Microseconds for each request.
    cpu: Option<f64>,
    /// Which part of its core it used.
    busy: Option<f64>,
    /// Microseconds that half and 99 % of all requests stayed below.
    latency: [f64; 2],
    others: Option<f64>,
}

/// All turns of all servers, one way.
type Row = (Way, Vec<Vec<Turn>>);

/// Measures, and reports.
pub(crate) fn run(plan: &Plan, form: Form) -> Result<String, LoadError> {
    let begin = Instant::now();
    let database = Rc::new(Database::open()?);
    let (gate, nginx) = (Gate::by_tls(), Nginx::by_tls(Rc::clone(&database)));
    let mut servers: Vec<&dyn Contestant> = vec![&gate];
    let missing = nginx.missing();
    if missing.is_none() {
        servers.push(&nginx);
    }
    let (arena, addresses) = (Arena::open()?, database.examples()?);
    for server in &servers {
        probe::verify(&arena, *server, &addresses)?;
    }
    let mut rows: Vec<Row> = Way::ALL.map(|way| (way, vec![Vec::new(); servers.len()])).into();
    for round in 0..plan.rounds as usize {
        for (way, turns) in &mut rows {
            let mut places: Vec<_> = servers.iter().zip(turns).collect();
            let first = round % places.len().max(1);
            places.rotate_left(first);
            for (server, turns) in places {
                turns.push(turn(plan, &arena, *server, *way)?);
            }
        }
    }
    let others = rows.iter().flat_map(|(_, turns)| turns.iter().flatten()).map(|turn| turn.others);
    let others = with_span(Spread::of(others.map(|part| part.map(|part| part * 100.0))), 1);
    let versions: Vec<String> = servers.iter().filter_map(|server| server.version()).collect();
    let cores = arena.cores();
    arena.close()?;
    let missing = missing.map(|how| format!("* nginx is not installed; to measure it: {how}\n"));
    Ok(format!(
        "{}\n{}{}Method: {} rounds in rotating order, a fresh process for each turn: {:?} warm-up, {:?} as fast as possible \
         with {} requests at once (HTTP/2: 8 on each connection; handshakes: each request on a new connection, nothing \
         resumed). Latency from the beginning of a request, which waits for the one before it, so it says little of a \
         server that is not full. Medians; ratio within a round, [lowest to highest]. {:.0} s in all.\nNoise: other \
         programs used {others} % of the cores.\n{} Beside it: {}.",
        table(&servers, &rows).write(form),
        notes(&servers, &rows),
        missing.unwrap_or_default(),
        plan.rounds,
        plan.warm_up,
        plan.phase,
        plan.connections,
        begin.elapsed().as_secs_f64(),
        machine::about(cores),
        if versions.is_empty() { "nothing".into() } else { versions.join(", ") },
    ))
}

fn turn(plan: &Plan, arena: &Arena, server: &dyn Contestant, way: Way) -> Result<Turn, LoadError> {
    let standing = arena.start(server, arena.origin().address())?;
    way.load(standing.secure, plan.connections, plan.warm_up, &mut || {})?;
    let tree = Tree::of(standing.process.pid());
    let ours = [tree.pids(), &[arena.origin().pid(), std::process::id()]].concat();
    let watch = Watch::begin(arena.cores(), &ours);
    let mut before = None;
    let load = way.load(standing.secure, plan.connections, plan.phase, &mut || before = tree.used())?;
    let used = tree.used().zip(before).map(|(after, before)| after.since(before).sum().as_secs_f64());
    let others = watch.others();
    standing.stop()?;
    let (answers, took) = (load.answers as f64, load.took.as_secs_f64());
    if load.answers == 0 {
        let (name, what) = (server.name().to_owned(), format!("none at all by {}", way.as_str()));
        return Err(LoadError::Wrong { name, what });
    }
    Ok(Turn {
        rate: answers / took,
        cpu: used.map(|used| used * 1e6 / answers),
        busy: used.map(|used| used / took),
        latency: [0.5, 0.99].map(|part| load.latencies.value_at_quantile(part) as f64 / 1e3),
        others,
    })
}

/// A figure of a turn, and how many digits of it mean something.
type Figure = (fn(&Turn) -> Option<f64>, usize);

const FIGURES: [Figure; 4] = [
    (|turn| Some(turn.rate), 0),
    (|turn| turn.cpu, 1),
    (|turn| turn.latency.first().copied(), 0),
    (|turn| turn.latency.last().copied(), 0),
];

/// One row for each way and server; then the first server divided by the other.
fn table(servers: &[&dyn Contestant], rows: &[Row]) -> Table {
    let mut table = Table::new(["", "server", "requests/s", "CPU us/request", "p50 us", "p99 us"]);
    for (way, all) in rows {
        for (server, turns) in servers.iter().zip(all) {
            let figures = FIGURES.map(|(value, digits)| plain(Spread::of(turns.iter().map(value)), digits));
            let name = [way.as_str().to_owned(), server.name().to_owned()];
            table.add(name.into_iter().chain(figures).collect());
        }
        if let [ours, theirs] = all.as_slice() {
            let ratio = |(value, _): Figure| {
                let both = ours.iter().zip(theirs);
                with_span(Spread::of(both.map(|(our, their)| Some(value(our)? / value(their)?))), 2)
            };
            let name = [way.as_str().to_owned(), "ratio".to_owned()];
            table.add(name.into_iter().chain(FIGURES.map(ratio)).collect());
        }
    }
    table
}

/// Where the load was what was measured.
fn notes(servers: &[&dyn Contestant], rows: &[Row]) -> String {
    let mut text = String::new();
    for (way, all) in rows {
        for (server, turns) in servers.iter().zip(all) {
            let busy = Spread::of(turns.iter().map(|turn| turn.busy)).filter(|busy| busy.median < 0.95);
            if let Some(Spread { median, .. }) = busy {
                let (name, way, filled) = (server.name(), way.as_str(), median * 100.0);
                text.push_str(&format!(
                    "* {name} filled {filled:.0} % of its core by {way}; the load could do no more, so compare CPU, \
                     not requests/s.\n"
                ));
            }
        }
    }
    text
}
