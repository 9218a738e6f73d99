//! `riskgate test`: the policy cases beside the scripts, with a readable difference for each that fails.

use std::collections::BTreeSet;
use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use super::layout::{Columns, Ink, grouped, one_line};
use super::{WRONG, check, not_good};
use crate::app;
use crate::app::build::Builder;
use crate::cases::{Case, Difference};
use crate::facts::problem::Problem;
use crate::pipeline::Judgement;
use crate::signals::Vocabulary;

/// Which cases.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only cases whose name or file contains this.
    filter: Option<String>,
    /// Names passing cases too.
    #[arg(short, long)]
    verbose: bool,
}

/// How a case ended.
struct Ended {
    name: String,
    place: String,
    result: Result<(Judgement, Vec<Difference>), String>,
}

pub(super) fn test(config: &Path, args: &Args) -> ExitCode {
    let ended = match run(config, args.filter.as_deref()) {
        Ok(ended) => ended,
        Err(problems) => return not_good(config, &problems),
    };
    let ink = Ink::of(&stdout());
    let (passed, failed): (Vec<_>, Vec<_>) = ended.iter().partition(|case| case.passed());
    let shown = ended.iter().filter(|case| args.verbose || !case.passed()).map(|case| case.text(ink));
    let text: String = shown.chain([summary(passed.len(), failed.len(), args, ink)]).collect();
    let _ = stdout().write_all(text.as_bytes());
    // A filter that matches nothing is a misspelt one.
    let good = failed.is_empty() && (args.filter.is_none() || !ended.is_empty());
    if good { ExitCode::SUCCESS } else { ExitCode::from(WRONG) }
}

fn run(config: &Path, filter: Option<&str>) -> Result<Vec<Ended>, Vec<Problem>> {
    let mut loaded = app::load(config, Vocabulary::standard())?;
    let sources = check::read(&mut loaded)?;
    let (snapshot, files) = (loaded.builder.assemble(&sources), Builder::cases(&sources));
    let (snapshot, files) = match (snapshot, files) {
        (Ok(snapshot), Ok(files)) => (snapshot, files),
        (snapshot, files) => {
            return Err([snapshot.err(), files.err()].into_iter().flatten().flatten().collect());
        }
    };
    let mut ended = Vec::new();
    for (path, cases) in &files {
        let file = path.display().to_string();
        let wanted =
            |case: &&Case| filter.is_none_or(|part| case.name().contains(part) || file.contains(part));
        ended.extend(cases.iter().filter(wanted).map(|case| Ended {
            name: one_line(case.name()),
            place: format!("{file}:{}", case.line()),
            result: case.run(&snapshot, &loaded.setting),
        }));
    }
    Ok(ended)
}

fn summary(passed: usize, failed: usize, args: &Args, ink: Ink) -> String {
    let count = |number: usize, what: &str| format!("{} {what}", grouped(number as u64));
    match (passed, failed, &args.filter) {
        (0, 0, Some(filter)) => {
            format!("{} `{}`\n", ink.bad("no case has a name or file with"), one_line(filter))
        }
        (0, 0, None) => "there are no cases: write some in `cases/*.toml` beside the scripts\n".to_owned(),
        (_, 0, _) => format!("{}\n", ink.good(&count(passed, "passed"))),
        (_, _, _) => format!("{}, {}\n", count(passed, "passed"), ink.bad(&count(failed, "failed"))),
    }
}

impl Ended {
    fn passed(&self) -> bool {
        matches!(&self.result, Ok((_, differences)) if differences.is_empty())
    }

    fn text(&self, ink: Ink) -> String {
        if self.passed() {
            return format!("{}      {}\n", ink.good("ok"), self.name);
        }
        let head = format!("{}  {}  {}\n", ink.bad("FAILED"), self.name, ink.faint(&self.place));
        match &self.result {
            Ok((judgement, differences)) => format!("{head}{}{}\n", shown(differences), said(judgement, ink)),
            Err(error) => format!("{head}    cannot be run: {}\n\n", one_line(error)),
        }
    }
}

/// One line for each difference; of sets, one for each element.
fn shown(differences: &[Difference]) -> String {
    let mut columns = Columns::default();
    for Difference { what, expected, found } in differences {
        if !matches!(*what, "reasons" | "tags" | "counts") {
            columns.row([what, &format!("expected {expected}, found {found}")]);
            continue;
        }
        let (expected, found) = (elements(expected), elements(found));
        let missing = expected.difference(&found).map(|element| format!("missing {element}"));
        let unexpected = found.difference(&expected).map(|element| format!("unexpected {element}"));
        for (at, line) in missing.chain(unexpected).enumerate() {
            columns.row([if at == 0 { what } else { "" }, &line]);
        }
    }
    columns.lines(4)
}

fn elements(set: &str) -> BTreeSet<&str> {
    set.split(", ").filter(|element| !element.is_empty()).collect()
}

/// Who said what, to find the line to mend.
fn said(judgement: &Judgement, ink: Ink) -> String {
    let mut columns = Columns::default();
    for reason in judgement.decision.reasons() {
        let points = format!("{:+}", reason.points);
        columns.row([&format!("{} said", reason.rule), reason.verb.unwrap_or(&points), &reason.reason]);
    }
    columns.lines(4).lines().map(|line| ink.faint(line) + "\n").collect()
}
