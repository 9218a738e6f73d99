//! `cargo bench --bench load`: real HTTP load against the gate and against a bare Pingora proxy, in one run.
//!
//! Every contestant stands alone in front of the same origin, on a core of its own, and gets the same requests.
//! Rounds interleave the contestants, and ratios are taken within a round, so that a machine that changes its
//! mind changes both sides of a ratio. Nothing leaves the loopback interface, and every process, file and phase
//! is bounded and gone at the end. Other proxies become rows by implementing `Contestant`.

#[path = "load/alarm.rs"]
mod alarm;
#[path = "load/bare.rs"]
mod bare;
#[path = "load/connection.rs"]
mod connection;
#[path = "load/contestant.rs"]
mod contestant;
#[path = "load/error.rs"]
mod error;
#[path = "load/gate.rs"]
mod gate;
#[path = "load/generator.rs"]
mod generator;
#[path = "load/machine.rs"]
mod machine;
#[path = "load/noise.rs"]
mod noise;
#[path = "load/options.rs"]
mod options;
#[path = "load/origin.rs"]
mod origin;
#[path = "load/pace.rs"]
mod pace;
#[path = "load/process.rs"]
mod process;
#[path = "load/report.rs"]
mod report;
#[path = "load/requests.rs"]
mod requests;
#[path = "load/response.rs"]
mod response;
#[path = "load/rounds.rs"]
mod rounds;

use std::process::ExitCode;

use clap::Parser;

use crate::bare::Bare;
use crate::contestant::Contestant;
use crate::error::LoadError;
use crate::gate::Gate;
use crate::options::Options;
use crate::origin::Direct;

/// The gate's allocator, so that the bare proxy, which is this program too, has no worse one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[expect(clippy::print_stderr, reason = "a program's errors go to its standard error")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((role, rest)) if role == process::ROLE => process::launch(rest),
        Some((role, rest)) if role == origin::ROLE => origin::run(rest),
        Some((role, rest)) if role == bare::ROLE => bare::run(rest),
        Some(_) | None => bench(&Options::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn bench(options: &Options) -> Result<(), LoadError> {
    let contestants = contestants(options);
    if contestants.is_empty() {
        println!("load: no contestant is called like that");
        return Ok(());
    }
    let plan = options.plan();
    let results = rounds::run(&plan, &Bare::baseline(), &contestants)?;
    println!("{}", report::markdown(&plan, &results));
    Ok(())
}

/// Who is compared with the baseline. Two that say how far to trust the figures are only there if asked for.
fn contestants(options: &Options) -> Vec<Box<dyn Contestant>> {
    let all: [Box<dyn Contestant>; 4] =
        [Box::new(Gate::reference()), Box::new(Gate::shipped()), Box::new(Bare::again()), Box::new(Direct)];
    let asked_for = |name: &str| match options.filter() {
        Some(filter) => name.contains(filter),
        None => ![bare::AGAIN, origin::DIRECT].contains(&name),
    };
    all.into_iter().filter(|contestant| asked_for(contestant.name())).collect()
}
