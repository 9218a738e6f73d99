//! The command line: `run`, `check`, `test`, `explain`, `top`, `health`.
//!
//! Each command is one file. Exit codes are fit for CI: 0 is good, 1 means that something is wrong with what was
//! given (configuration, scripts, a failed case), 2 that the command itself was wrong. Results go to standard
//! output, problems to standard error, colours only to a terminal.

mod check;
pub mod diagnostics;
mod explain;
mod health;
mod kernel;
mod layout;
mod open_files;
mod run;
mod test;
mod top;

use std::io::{Write as _, stderr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use layout::Ink;

use crate::facts::problem::Problem;

/// A programmable, privacy-first edge proxy for risk-based API access.
#[derive(Debug, Parser)]
#[command(version, about, after_help = "Start with `riskgate run`, then edit a script in `scripts/`.")]
struct Cli {
    /// The configuration file.
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        default_value = "conf/riskgate.toml",
        env = "RISKGATE_CONFIG"
    )]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves: judges requests and passes them on. This is what happens without a command.
    Run(run::Args),
    /// Says what would be loaded, or everything that is wrong with it.
    Check,
    /// Runs the policy cases beside the scripts, `scripts/cases/*.toml`.
    Test(test::Args),
    /// Says why a request is judged as it is: a described one, or a recorded decision.
    Explain(Box<explain::Args>),
    /// Shows in a terminal what becomes of requests right now, as a running gate tells it.
    Top(top::Args),
    /// Says whether a running gate is ready, by its exit code.
    Health(health::Args),
}

/// Reads the arguments and does what they say.
pub fn main() -> ExitCode {
    let Cli { config, command } = Cli::parse();
    match command.unwrap_or(Command::Run(run::Args::default())) {
        Command::Run(args) => run::run(&config, &args),
        Command::Check => check::check(&config),
        Command::Test(args) => test::test(&config, &args),
        Command::Explain(args) => explain::explain(&config, &args),
        Command::Top(args) => top::top(&args),
        Command::Health(args) => health::health(&args),
    }
}

/// Something is wrong with what was given.
const WRONG: u8 = 1;
/// The command itself was wrong.
const MISUSED: u8 = 2;

/// Shows everything that is wrong with what was given, what that means, and how much of it there is.
fn refuse(problems: &[Problem], meaning: &str) -> ExitCode {
    let _ = diagnostics::show(problems, &mut stderr());
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    let count = Ink::of(&stderr()).bad(&layout::count(errors, "error"));
    let _ = writeln!(stderr(), "{}: {count}", layout::one_line(meaning));
    ExitCode::from(WRONG)
}

/// Shows why a configuration, or what it names, cannot be used.
fn not_good(config: &Path, problems: &[Problem]) -> ExitCode {
    refuse(problems, &format!("{} is not good", config.display()))
}
