//! `[log]`: what the process says about itself, on its standard error.

use super::kinds::OneOf;
use super::reader::{Fallback, Key, Layout, Section};

/// How the process logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least severe events that are shown.
    pub level: LogLevel,
    /// How they are written.
    pub format: LogFormat,
}

/// How severe an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Somebody should act.
    Warn,
    /// What an operator wants to know.
    Info,
    /// Explanations.
    Debug,
    /// Everything.
    Trace,
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

impl LogLevel {
    /// The level as log filters write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

pub(super) const LAYOUT: Layout = Layout {
    table: "log",
    heading: "[log]",
    doc: "What the process says about itself, on its standard error. Requests are in `[decisions]`.",
    keys: &[&LEVEL, &FORMAT],
    reserved: &[],
};

const LEVEL: Key<OneOf<LogLevel>> = Key {
    name: "level",
    kind: OneOf(&[
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ]),
    fallback: Fallback::Is("\"info\""),
    doc: "The least severe events that are shown.",
};

const FORMAT: Key<OneOf<LogFormat>> = Key {
    name: "format",
    kind: OneOf(&[("text", LogFormat::Text), ("json", LogFormat::Json)]),
    fallback: Fallback::Is("\"text\""),
    doc: "A line for people, or a JSON object a line.",
};

/// Reads `[log]`.
pub(super) fn read(section: &Section<'_>) -> Option<Log> {
    let (level, format) = (section.read(&LEVEL), section.read(&FORMAT));
    Some(Log { level: level?, format: format? })
}
