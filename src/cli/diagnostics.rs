//! Shows problems to a person: with the line they are in, where somebody is looking, and as one plain line each
//! where a program is (a pipe, a log, CI).
//!
//! Rendering is pure: sources come from outside, and nothing here decides what is a problem.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use codespan_reporting::diagnostic::{self, Diagnostic, Label};
use codespan_reporting::files::SimpleFiles;
use codespan_reporting::term::termcolor::{Ansi, NoColor, WriteColor};
use codespan_reporting::term::{self, Styles, StylesWriter};

use crate::facts::problem::{Position, Problem, Severity};

/// How problems are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `file:line:column: error: message; hint`, one line each.
    Plain,
    /// With the source line, in black and white.
    Snippets,
    /// With the source line, in colours.
    Colours,
}

impl Style {
    /// What fits a stream: snippets on a terminal, in colours unless `NO_COLOR` is set, plain lines elsewhere.
    pub fn of(stream: &impl IsTerminal) -> Self {
        if !stream.is_terminal() {
            Self::Plain
        } else if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            Self::Snippets
        } else {
            Self::Colours
        }
    }
}

/// Shows problems on a stream in the style that fits it, with sources read from their files.
pub fn show(problems: &[Problem], stream: &mut (impl Write + IsTerminal)) -> io::Result<()> {
    let style = Style::of(stream);
    stream.write_all(render(problems, style, &|path| std::fs::read_to_string(path).ok()).as_bytes())
}

/// Problems as text; `source` gives the text of a file, if it has one.
pub fn render(problems: &[Problem], style: Style, source: &dyn Fn(&Path) -> Option<String>) -> String {
    match style {
        Style::Plain => problems.iter().map(|problem| plain(problem) + "\n").collect(),
        Style::Snippets => snippets(problems, source, NoColor::new(Vec::new()), NoColor::into_inner),
        Style::Colours => snippets(problems, source, Ansi::new(Vec::new()), Ansi::into_inner),
    }
}

fn plain(problem: &Problem) -> String {
    let mut text = problem.file().display().to_string();
    if let Some(Position { line, column, .. }) = problem.position() {
        text.push_str(&format!(":{line}:{column}"));
    }
    let severity = match problem.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    text.push_str(&format!(": {severity}: {}", problem.message()));
    if let Some(advice) = problem.advice() {
        text.push_str(&format!("; {advice}"));
    }
    one_line(&text)
}

fn snippets<W: WriteColor>(
    problems: &[Problem],
    source: &dyn Fn(&Path) -> Option<String>,
    mut writer: W,
    into_bytes: impl FnOnce(W) -> Vec<u8>,
) -> String {
    let mut files = SimpleFiles::new();
    let mut known: BTreeMap<PathBuf, (usize, String)> = BTreeMap::new();
    let (config, styles) = (term::Config::default(), Styles::default());
    for problem in problems {
        let (id, text) = known.entry(problem.file().to_path_buf()).or_insert_with(|| {
            let text = printable(&source(problem.file()).unwrap_or_default());
            (files.add(problem.file().display().to_string(), text.clone()), text)
        });
        let diagnostic = diagnostic(problem, *id, text);
        let mut styled = StylesWriter::new(&mut writer, &styles);
        if term::emit_to_write_style(&mut styled, &config, &files, &diagnostic).is_err() {
            // Never lose a problem because its snippet could not be drawn.
            let _ = writeln!(writer, "{}\n", plain(problem));
        }
    }
    String::from_utf8_lossy(&into_bytes(writer)).into_owned()
}

fn diagnostic(problem: &Problem, id: usize, text: &str) -> Diagnostic<usize> {
    let severity = match problem.severity() {
        Severity::Error => diagnostic::Severity::Error,
        Severity::Warning => diagnostic::Severity::Warning,
    };
    let range = problem.position().and_then(|position| range_of(position, text));
    // Without a snippet the file would go unnamed.
    let place = if range.is_none() { format!("{}: ", place(problem)) } else { String::new() };
    let shown = Diagnostic::new(severity).with_message(one_line(&format!("{place}{}", problem.message())));
    let shown = shown.with_labels(range.map(|range| Label::primary(id, range)).into_iter().collect());
    shown.with_notes(problem.advice().map(one_line).into_iter().collect())
}

fn place(problem: &Problem) -> String {
    let file = problem.file().display();
    match problem.position() {
        Some(Position { line, column, .. }) => format!("{file}:{line}:{column}"),
        None => file.to_string(),
    }
}

/// The bytes that a position means; `None` if the text has no such line.
fn range_of(position: Position, text: &str) -> Option<Range<usize>> {
    let before = position.line.checked_sub(1)?;
    let line = text.split_inclusive('\n').nth(before)?;
    let start: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    let line = line.trim_end_matches(['\r', '\n']);
    let byte = |column: usize| line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
    let first = position.column.saturating_sub(1);
    Some(start + byte(first)..start + byte(first.saturating_add(position.width)))
}

/// What a file or a message holds must not steer the terminal. Places stay where they are.
fn printable(text: &str) -> String {
    let harmless = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t' | '\r');
    text.chars().map(|letter| if harmless(letter) { letter } else { '\u{fffd}' }).collect()
}

pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "fn assess(req, risk) {\n    req.geo.contry\n}\n";

    fn misspelt() -> Problem {
        Problem::error("scripts/10-geo.rhai", "unknown signal `geo.contry`")
            .at(2, 13)
            .spanning(6)
            .hint("did you mean `country`?")
    }

    fn rendered(problem: Problem, style: Style) -> String {
        render(&[problem], style, &|path| {
            (path == Path::new("scripts/10-geo.rhai")).then(|| SCRIPT.to_owned())
        })
    }

    #[test]
    fn a_program_reads_one_line_each() {
        assert_eq!(
            rendered(misspelt(), Style::Plain),
            "scripts/10-geo.rhai:2:13: error: unknown signal `geo.contry`; did you mean `country`?\n"
        );
    }

    #[test]
    fn a_person_sees_the_line() {
        let shown = rendered(misspelt(), Style::Snippets);
        for part in [
            "error: unknown signal",
            "scripts/10-geo.rhai:2:13",
            "    req.geo.contry",
            "^^^^^^",
            "did you mean",
        ] {
            assert!(shown.contains(part), "{part:?} in\n{shown}");
        }
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }

    #[test]
    fn colours_are_only_where_asked_for() {
        assert!(rendered(misspelt(), Style::Colours).contains("\u{1b}["));
    }

    #[test]
    fn without_a_source_the_place_is_still_named() {
        let problem = Problem::warning("gone.txt", "is empty").at(3, 4);
        assert!(rendered(problem, Style::Snippets).contains("warning: gone.txt:3:4: is empty"));
        let problem = Problem::error("riskgate.toml", "there is no listener");
        assert!(rendered(problem, Style::Snippets).contains("error: riskgate.toml: there is no listener"));
    }

    #[test]
    fn places_outside_the_source_are_shown_without_panic() {
        for (line, column, width) in
            [(0, 0, 0), (1, 0, 99), (3, 99, 9), (4, 1, 1), (usize::MAX, usize::MAX, usize::MAX)]
        {
            let problem = misspelt().at(line, column).spanning(width);
            assert!(rendered(problem, Style::Snippets).contains("unknown signal"));
        }
    }

    #[test]
    fn what_a_file_holds_cannot_steer_the_terminal() {
        let problem = Problem::error("x", "unknown `\u{1b}[2J`").at(1, 1);
        for style in [Style::Plain, Style::Snippets] {
            let shown = render(std::slice::from_ref(&problem), style, &|_| Some("\u{1b}[2J = 1".into()));
            assert!(!shown.contains('\u{1b}'), "{shown:?}");
        }
    }
}
