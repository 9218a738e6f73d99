//! `riskgate test`: the policy cases beside the scripts, with a readable difference for each that fails.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;

use super::{WRONG, check, diagnostics};
use crate::app::build::Builder;
use crate::app::{self, Loaded};
use crate::cases::Case;
use crate::facts::problem::Problem;
use crate::signals::Vocabulary;
use crate::snapshot::Snapshot;

/// Which cases.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only cases whose name or file contains this.
    filter: Option<String>,
    /// Names passing cases too.
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    text: String,
}

pub(super) fn test(config: &Path, args: &Args) -> ExitCode {
    match run(config, args) {
        Ok(tally) => {
            let _ = write!(stdout(), "{}{} passed, {} failed\n", tally.text, tally.passed, tally.failed);
            if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(WRONG) }
        }
        Err(problems) => {
            let _ = diagnostics::show(&problems, &mut stderr());
            ExitCode::from(WRONG)
        }
    }
}

fn run(config: &Path, args: &Args) -> Result<Tally, Vec<Problem>> {
    let mut loaded = app::load(config, Vocabulary::standard())?;
    let sources = check::read(&loaded)?;
    let snapshot = loaded.builder.assemble(&sources)?;
    let mut tally = Tally::default();
    for (path, cases) in Builder::cases(&sources)? {
        let shown = path.display().to_string();
        let wanted = |case: &&Case| {
            args.filter.as_ref().is_none_or(|filter| case.name().contains(filter) || shown.contains(filter))
        };
        for case in cases.iter().filter(wanted) {
            tally.case(&shown, case, &snapshot, &loaded, args.verbose);
        }
    }
    Ok(tally)
}

impl Tally {
    fn case(&mut self, file: &str, case: &Case, snapshot: &Snapshot, loaded: &Loaded, verbose: bool) {
        let (lines, judgement) = match case.run(snapshot, &loaded.setting) {
            Ok((judgement, differences)) => {
                let line = |d: &crate::cases::Difference| {
                    format!("      {}: expected {}\n      {:>width$}  found    {}", d.what, shown(&d.expected), "", shown(&d.found), width = d.what.len())
                };
                (differences.iter().map(line).collect::<Vec<_>>(), Some(judgement))
            }
            Err(error) => (vec![format!("      {error}")], None),
        };
        let colours = stdout().is_terminal();
        if lines.is_empty() {
            self.passed += 1;
            if verbose {
                let _ = writeln!(self.text, "  {} {}", coloured("ok", "32", colours), case.name());
            }
            return;
        }
        self.failed += 1;
        let _ = writeln!(self.text, "  {} {} ({file}:{})", coloured("FAILED", "31", colours), case.name(), case.line());
        for line in lines {
            let _ = writeln!(self.text, "{line}");
        }
        let reasons = judgement.iter().flat_map(|judgement| judgement.decision.reasons());
        for reason in reasons {
            let _ = writeln!(self.text, "      said: {} {} {:+}", reason.rule, reason.reason, reason.points);
        }
    }
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "nothing" } else { text }
}

fn coloured(text: &str, code: &str, colours: bool) -> String {
    if colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}
