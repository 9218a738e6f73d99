//! How each function of a script is run, and what keeps one from being compiled.
//!
//! It is for people: both ways mean the same, one is just faster.

use std::fmt;

/// One function of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionReport {
    /// As written: `assess(req, risk)`.
    pub signature: String,
    /// How it is run.
    pub run: Run,
}

/// How a function is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// At native speed.
    Compiled,
    /// By the interpreter, because of this.
    Interpreted(Kept),
    /// Never: nothing calls it.
    Never,
}

/// What keeps a function interpreted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The construct, in words.
    pub construct: String,
    /// Its line, from 1; 0 if it is not the function itself but what calls it.
    pub line: usize,
    /// Its column, from 1; 0 with line 0.
    pub column: usize,
}

impl FunctionReport {
    /// What keeps it interpreted, if something does.
    pub fn kept(&self) -> Option<&Kept> {
        match &self.run {
            Run::Interpreted(kept) => Some(kept),
            Run::Compiled | Run::Never => None,
        }
    }
}

/// `a list of other than plain values at 3:12`
impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.construct)?;
        if self.line > 0 {
            write!(f, " at {}:{}", self.line, self.column)?;
        }
        Ok(())
    }
}
