//! `riskgate top`: what becomes of requests right now, in a terminal, as the admin API of a running gate tells it.
//!
//! [`state`] is what is shown and what keys do to it, [`sheet`] turns a view into rows, [`draw`] and [`plain`] lay
//! them out; all of that is pure. [`gate`] asks, and [`live`] has the terminal, the threads and the way back out.

mod draw;
mod gate;
mod live;
mod plain;
mod sheet;
mod state;

use std::io::{IsTerminal as _, Write as _, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::layout::{Ink, one_line};
use super::{MISUSED, WRONG};
use crate::admin::traffic::Sort;
use crate::config::units;
use gate::{Gate, Secret};
use state::State;

/// Where to ask, and how often.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where operators reach the gate.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090", env = "RISKGATE_ADMIN")]
    admin: String,
    /// The admin token. Better in a file or in the variable: other users see the arguments of a process.
    #[arg(long, env = "RISKGATE_ADMIN_TOKEN", hide_env_values = true)]
    token: Option<Secret>,
    /// A file that holds the admin token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How often to look, 100ms to 1m.
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// What comes first: offered, allowed, throttled, challenged, blocked or name.
    #[arg(short, long, value_name = "COLUMN", default_value = "offered", value_parser = sort)]
    sort: Sort,
    /// How many rows of each kind `--once` prints.
    #[arg(long, value_name = "ROWS", default_value_t = 20, value_parser = clap::value_parser!(u16).range(..=1000))]
    rows: u16,
    /// Prints one look as text and ends; so it does where standard output is no terminal.
    #[arg(long)]
    once: bool,
}

pub(super) fn top(args: &Args) -> ExitCode {
    let gate = match Gate::new(&args.admin, args.token.as_ref(), args.token_file.as_deref()) {
        Ok(gate) => gate,
        Err(error) => return fail(&error, MISUSED),
    };
    if args.once || !stdout().is_terminal() {
        return once(&gate, args);
    }
    let state = State::new(gate.address().to_owned(), args.sort, args.interval);
    match live::run(gate, state) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("the terminal cannot be used: {error}; try `--once`"), WRONG),
    }
}

fn once(gate: &Gate, args: &Args) -> ExitCode {
    match gate.look(args.rows.into(), args.sort) {
        Ok(view) => {
            let _ = stdout().write_all(plain::text(&view, gate.address(), Ink::of(&stdout())).as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, WRONG),
    }
}

fn fail(error: &impl std::fmt::Display, code: u8) -> ExitCode {
    let _ = writeln!(stderr(), "{}: {}", Ink::of(&stderr()).bad("error"), one_line(&error.to_string()));
    ExitCode::from(code)
}

fn interval(text: &str) -> Result<Duration, String> {
    let known = units::duration(text).filter(|interval| state::INTERVALS.contains(interval));
    known.ok_or_else(|| "write a time from `100ms` to `1m`".to_owned())
}

fn sort(text: &str) -> Result<Sort, String> {
    Sort::parse(text).ok_or_else(|| format!("choose one of {}", Sort::ALL.map(Sort::as_str).join(", ")))
}

#[cfg(test)]
mod tests;
