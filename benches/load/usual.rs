//! What the benches of whole programs have in common: the usual options of their command lines, and how they end.
//!
//! Cargo says `--bench` when figures are wanted. Without it (`cargo test --benches`), with `--test` or `--smoke`, or
//! with `RISKGATE_BENCH_SMOKE=1`, a bench only shows in a few seconds that it works.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::error::LoadError;
use crate::table::Form;

/// How long, and how it is told.
#[derive(Debug, Args)]
pub(crate) struct Usual {
    /// How many rounds; in each, everything has its turn
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: Option<u32>,
    /// How long each measured phase of a turn lasts
    #[arg(long, value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// A few seconds that show that the bench works; the figures mean nothing
    #[arg(long)]
    smoke: bool,
    /// Write tables for a page in Markdown
    #[arg(long)]
    markdown: bool,
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(long, hide = true)]
    test: bool,
}

impl Usual {
    /// Whether the figures will mean nothing.
    pub(crate) fn is_smoke(&self) -> bool {
        let variable =
            std::env::var("RISKGATE_BENCH_SMOKE").is_ok_and(|value| !matches!(value.as_str(), "" | "0"));
        self.smoke || self.test || variable || !self.bench
    }

    /// How tables are written.
    pub(crate) fn form(&self) -> Form {
        if self.markdown { Form::Markdown } else { Form::Aligned }
    }
}

/// The end of a program: an error is told to whoever started it.
#[expect(clippy::print_stderr, reason = "a program's errors go to its standard error")]
pub(crate) fn end(done: Result<(), LoadError>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=120.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "write a number of seconds from 0.1 to 120".into())
}
