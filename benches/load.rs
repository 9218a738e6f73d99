//! `cargo bench --bench load`: real HTTP load against the gate and against a bare Pingora proxy, in one run.
//!
//! Every contestant stands alone in front of the same origin, on a core of its own, and gets the same requests.
//! Rounds interleave the contestants, and ratios are taken within a round, so that a machine that changes its
//! mind changes both sides of a ratio. Nothing leaves the loopback interface, and every process, file and phase
//! is bounded and gone at the end. Other proxies become rows by implementing `Contestant`.

#[path = "load/alarm.rs"]
mod alarm;
#[path = "load/arena.rs"]
mod arena;
#[path = "load/bare.rs"]
mod bare;
#[path = "load/certificate.rs"]
mod certificate;
#[path = "load/connection.rs"]
mod connection;
#[path = "load/contestant.rs"]
mod contestant;
#[path = "load/database.rs"]
mod database;
#[path = "load/error.rs"]
mod error;
#[path = "load/gate.rs"]
mod gate;
#[path = "load/generator.rs"]
mod generator;
#[path = "load/machine.rs"]
mod machine;
#[path = "load/memory.rs"]
mod memory;
#[path = "load/noise.rs"]
mod noise;
#[path = "load/options.rs"]
mod options;
#[path = "load/origin.rs"]
mod origin;
#[path = "load/pace.rs"]
mod pace;
#[path = "load/peers.rs"]
mod peers;
#[path = "load/probe.rs"]
mod probe;
#[path = "load/process.rs"]
mod process;
#[path = "load/reload.rs"]
mod reload;
#[path = "load/report.rs"]
mod report;
#[path = "load/requests.rs"]
mod requests;
#[path = "load/response.rs"]
mod response;
#[path = "load/rounds.rs"]
mod rounds;
#[path = "load/rules.rs"]
mod rules;
#[path = "load/secure.rs"]
mod secure;
#[path = "load/spread.rs"]
mod spread;
#[path = "load/table.rs"]
mod table;
#[path = "load/tls.rs"]
mod tls;
#[path = "load/usage.rs"]
mod usage;
#[path = "load/usual.rs"]
mod usual;
#[path = "load/witness.rs"]
mod witness;

use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;

use crate::arena::Arena;
use crate::bare::Bare;
use crate::contestant::Contestant;
use crate::database::Database;
use crate::error::LoadError;
use crate::gate::Gate;
use crate::options::{Options, Plan, Scenario};
use crate::origin::Direct;
use crate::peers::{HaProxy, Nginx};

/// The gate's allocator, so that the bare proxy, which is this program too, has no worse one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((role, rest)) if role == process::ROLE => process::launch(rest),
        Some((role, rest)) if role == origin::ROLE => origin::run(rest),
        Some((role, rest)) if role == bare::ROLE => bare::run(rest),
        Some(_) | None => bench(&Options::parse()),
    };
    usual::end(done)
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn bench(options: &Options) -> Result<(), LoadError> {
    let (plan, form) = (options.plan(), options.form());
    let asked_for = options.scenario();
    let scenarios = if plan.smoke && asked_for == Scenario::Contest && options.filter().is_none() {
        Scenario::ALL.as_slice()
    } else {
        std::slice::from_ref(&asked_for)
    };
    for scenario in scenarios {
        let run = || match scenario {
            Scenario::Contest => contest(options, &plan),
            Scenario::Memory => memory::run(&plan, form),
            Scenario::Reload => reload::run(&plan, form),
            Scenario::Tls => tls::run(&plan, form),
        };
        // A thread of its own, since a thread that has chosen a core is bound to it.
        let text = std::thread::scope(|scope| scope.spawn(run).join());
        let text = text.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        if plan.smoke {
            println!("A smoke run: these figures mean nothing.\n");
        }
        println!("{text}\n");
    }
    Ok(())
}

/// Everybody against the baseline.
fn contest(options: &Options, plan: &Plan) -> Result<String, LoadError> {
    let database = Rc::new(Database::open()?);
    let others = contestants(options, &database);
    if others.is_empty() {
        return Ok("no contestant is called like that".into());
    }
    let (mut present, mut missing): (Vec<&dyn Contestant>, _) = (vec![&Bare::Baseline], Vec::new());
    for contestant in &others {
        match contestant.missing() {
            Some(how) => missing.push((contestant.name().to_owned(), how)),
            None => present.push(contestant.as_ref()),
        }
    }
    let (arena, addresses) = (Arena::open()?, database.examples()?);
    for contestant in &present {
        probe::verify(&arena, *contestant, &addresses)?;
    }
    let results = rounds::run(plan, &arena, &present, missing)?;
    arena.close()?;
    Ok(report::write(plan, &results, options.form()))
}

/// Who is compared with the baseline. Those that say how far to trust the figures, or where a difference comes from,
/// are only there if asked for.
fn contestants(options: &Options, database: &Rc<Database>) -> Vec<Box<dyn Contestant>> {
    let always: [Box<dyn Contestant>; 5] = [
        Box::new(Bare::Defaults),
        Box::new(Gate::reference()),
        Box::new(Nginx::new(Rc::clone(database))),
        Box::new(HaProxy(Rc::clone(database))),
        Box::new(Gate::shipped()),
    ];
    let asked_for: [Box<dyn Contestant>; 3] =
        [Box::new(Bare::Again), Box::new(Bare::Patient), Box::new(Direct)];
    match options.filter() {
        None => always.into(),
        Some(filter) => {
            let all = always.into_iter().chain(asked_for);
            all.filter(|contestant| contestant.name().contains(filter)).collect()
        }
    }
}
