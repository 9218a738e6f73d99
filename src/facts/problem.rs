//! Something that a person must mend: what, where and what to do about it.
//!
//! Configuration, scripts, lists, cases and databases all report in this one shape, so that a terminal, a log
//! line and the admin API can show them alike. Rendering with colours and source snippets happens elsewhere.

use std::fmt;
use std::path::{Path, PathBuf};

/// A problem in a file that a person wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    severity: Severity,
    file: PathBuf,
    position: Option<Position>,
    message: String,
    hint: Option<String>,
}

/// Whether a problem stops the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The load is refused.
    Error,
    /// Worth a look; the load goes on.
    Warning,
}

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters are meant, at least 1.
    pub width: usize,
}

impl Problem {
    /// A problem that stops the load. `message` is lower case, without full stop, user text in backticks.
    pub fn error(file: impl AsRef<Path>, message: impl Into<String>) -> Self {
        let file = file.as_ref().to_path_buf();
        Self { severity: Severity::Error, file, position: None, message: message.into(), hint: None }
    }

    /// A problem that does not stop the load.
    pub fn warning(file: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, message) }
    }

    /// Says where in the file, both from 1.
    pub fn at(mut self, line: usize, column: usize) -> Self {
        self.position = Some(Position { line, column, width: 1 });
        self
    }

    /// Says how many characters from the place on are meant.
    pub fn spanning(mut self, width: usize) -> Self {
        if let Some(position) = &mut self.position {
            position.width = width.max(1);
        }
        self
    }

    /// Says what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether the load is refused.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Error or warning.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The place in the file, if it has one.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// `file:line:column: message; hint`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(Position { line, column, .. }) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// The name in `known` that `name` was probably meant to be, if one is close enough to be worth saying.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().max(name.len()) / 4)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_one_line() {
        let problem = Problem::error("scripts/30-login.rhai", "unknown signal `geo.contry`")
            .at(4, 12)
            .spanning(6)
            .hint("did you mean `country`?");
        assert_eq!(
            problem.to_string(),
            "scripts/30-login.rhai:4:12: unknown signal `geo.contry`; did you mean `country`?"
        );
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        assert_eq!(nearest("contry", ["country", "continent"]), Some("country"));
        assert_eq!(nearest("banana", ["country", "continent"]), None);
    }
}
