//! `cargo bench --bench attack`: what a well-behaved client notices while others attack the gate, and what an attack costs
//! the gate in memory.
//!
//! The attackers are part of this program, in a process of their own with the lowest priority; they reach no further than
//! the loopback interface and end by themselves. The gate is alone on its core. A well-behaved client sends requests
//! at a fixed, modest pace, first in peace and then under the attack.

#[path = "load/alarm.rs"]
mod alarm;
#[path = "load/arena.rs"]
#[expect(dead_code, reason = "the load bench needs more of it")]
mod arena;
#[path = "attack/attacker.rs"]
mod attacker;
#[path = "attack/attacks.rs"]
mod attacks;
#[path = "load/certificate.rs"]
mod certificate;
#[path = "load/connection.rs"]
mod connection;
#[path = "load/contestant.rs"]
#[expect(dead_code, reason = "the load bench needs more of it")]
mod contestant;
#[path = "attack/crowds.rs"]
mod crowds;
#[path = "load/error.rs"]
#[expect(dead_code, reason = "the load bench needs more of it")]
mod error;
#[path = "attack/frames.rs"]
mod frames;
#[path = "load/gate.rs"]
#[expect(dead_code, reason = "the load bench needs more of it")]
mod gate;
#[path = "load/generator.rs"]
#[expect(dead_code, reason = "the load bench needs more of it")]
mod generator;
#[path = "attack/heavy.rs"]
mod heavy;
#[path = "attack/kernel.rs"]
mod kernel;
#[path = "load/machine.rs"]
mod machine;
#[path = "load/noise.rs"]
#[expect(dead_code, reason = "the load bench needs more of it")]
mod noise;
#[path = "attack/options.rs"]
mod options;
#[path = "load/origin.rs"]
mod origin;
#[path = "load/pace.rs"]
mod pace;
#[path = "load/process.rs"]
mod process;
#[path = "attack/report.rs"]
mod report;
#[path = "load/requests.rs"]
#[expect(dead_code, reason = "the load bench needs more of it")]
mod requests;
#[path = "load/response.rs"]
mod response;
#[path = "attack/siege.rs"]
mod siege;
#[path = "attack/slow.rs"]
mod slow;
#[path = "load/spread.rs"]
mod spread;
#[path = "load/table.rs"]
mod table;
#[path = "attack/target.rs"]
mod target;
#[path = "load/usage.rs"]
#[expect(dead_code, reason = "the load bench needs more of it")]
mod usage;
#[path = "load/usual.rs"]
mod usual;

use std::process::ExitCode;

use clap::Parser;

use crate::error::LoadError;
use crate::options::Options;

/// The gate's allocator, so that this program costs no more than it must.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((role, rest)) if role == process::ROLE => process::launch(rest),
        Some((role, rest)) if role == origin::ROLE => origin::run(rest),
        Some((role, rest)) if role == heavy::ROLE => heavy::run(rest),
        Some((role, rest)) if role == attacker::ROLE => attacker::run(rest),
        Some(_) | None => bench(&Options::parse()),
    };
    usual::end(done)
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn bench(options: &Options) -> Result<(), LoadError> {
    let plan = options.plan();
    let sieges = siege::run(&plan, &options.attacks())?;
    if plan.smoke {
        println!("A smoke run: these figures mean nothing.\n");
    }
    println!("{}", report::write(&plan, &sieges, options.form()));
    Ok(())
}
