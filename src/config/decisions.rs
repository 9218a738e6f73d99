//! `[decisions]`: where decision records go, and for how long they stay.

use std::path::PathBuf;
use std::time::Duration;

use super::kinds::{FilePath, Flag, Number, Period, Size};
use super::reader::{Fallback, Key, Layout, Section};

/// How decisions are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decisions {
    /// Whether they are written to a file; the recent ones are always kept in memory.
    pub enabled: bool,
    /// The file being written; older ones lie beside it.
    pub path: PathBuf,
    /// How many records of up to 1 KiB may wait to be written; more are dropped and counted. A longer one counts for several.
    pub queue: usize,
    /// How large a file may get before the next one is begun, in bytes.
    pub max_size: u64,
    /// How old a file may get before the next one is begun.
    pub max_age: Duration,
    /// How many older files are kept.
    pub keep_files: usize,
    /// How long older files are kept.
    pub keep_for: Duration,
    /// How many recent records are kept in memory for the admin API.
    pub recent: usize,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "decisions",
    heading: "[decisions]",
    doc: "The decision log: one JSON object a line.",
    keys: &[&ENABLED, &PATH, &QUEUE, &MAX_SIZE, &MAX_AGE, &KEEP_FILES, &KEEP_FOR, &RECENT],
    reserved: &[],
};

const ENABLED: Key<Flag> = Key {
    name: "enabled",
    kind: Flag,
    fallback: Fallback::Is("true"),
    doc: "Whether decisions are written to a file. The recent ones are always kept in memory.",
};

const PATH: Key<FilePath> = Key {
    name: "path",
    kind: FilePath,
    fallback: Fallback::Is("\"data/decisions.jsonl\""),
    doc: "The file being written; older ones lie beside it.",
};

const QUEUE: Key<Number<usize>> = Key {
    name: "queue",
    kind: Number { from: 64, to: 1_048_576 },
    fallback: Fallback::Is("16_384"),
    doc: "How many records of up to 1 KiB may wait to be written; more are dropped and counted. A longer one counts for several.",
};

const MAX_SIZE: Key<Size> = Key {
    name: "max_size",
    kind: Size { from: 64 << 10, to: 64 << 30 },
    fallback: Fallback::Is("\"256MiB\""),
    doc: "How large a file may get before the next one is begun.",
};

const MAX_AGE: Key<Period> = Key {
    name: "max_age",
    kind: Period { from: Duration::from_secs(60), to: Duration::from_secs(30 * 86_400) },
    fallback: Fallback::Is("\"24h\""),
    doc: "How old a file may get before the next one is begun.",
};

const KEEP_FILES: Key<Number<usize>> = Key {
    name: "keep_files",
    kind: Number { from: 0, to: 10_000 },
    fallback: Fallback::Is("14"),
    doc: "How many older files are kept.",
};

const KEEP_FOR: Key<Period> = Key {
    name: "keep_for",
    kind: Period { from: Duration::from_secs(60), to: Duration::from_secs(3650 * 86_400) },
    fallback: Fallback::Is("\"30d\""),
    doc: "How long older files are kept.",
};

const RECENT: Key<Number<usize>> = Key {
    name: "recent",
    kind: Number { from: 0, to: 100_000 },
    fallback: Fallback::Is("1_000"),
    doc: "How many recent records are kept in memory for the admin API and `explain`.",
};

/// Reads `[decisions]`.
pub(super) fn read(section: &Section<'_>) -> Option<Decisions> {
    let (enabled, path, queue) = (section.read(&ENABLED), section.read(&PATH), section.read(&QUEUE));
    let (max_size, max_age) = (section.read(&MAX_SIZE), section.read(&MAX_AGE));
    let (keep_files, keep_for) = (section.read(&KEEP_FILES), section.read(&KEEP_FOR));
    let recent = section.read(&RECENT);
    let decisions = Decisions {
        enabled: enabled?,
        path: path?,
        queue: queue?,
        max_size: max_size?,
        max_age: max_age?,
        keep_files: keep_files?,
        keep_for: keep_for?,
        recent: recent?,
    };
    if decisions.path.file_name().is_none() {
        section.complain(&PATH, "`path` names a folder", "name a file in it, such as `data/decisions.jsonl`");
        return None;
    }
    Some(decisions)
}
