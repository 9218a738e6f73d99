//! `[policy]`: where the scripts are, what their failure means, and how much they may use.

use std::path::PathBuf;

use super::kinds::{FilePath, ListOf, Number, OneOf, Placed, Size, Text, Written};
use super::reader::{Fallback, Key, Layout, Section};
pub use crate::decision::OnError;
pub use crate::rules::sandbox::Bounds;

/// How requests are judged by scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The folder of the scripts.
    pub scripts: PathBuf,
    /// What a failing script means.
    pub on_error: OnError,
    /// Scripts that are judged and recorded, never enforced. Whether they exist is not known here.
    pub observe_only: Vec<Written<String>>,
    /// How much a script may use.
    pub bounds: Bounds,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "policy",
    heading: "[policy]",
    doc: "Where the scripts are, what their failure means, and how much they may use.",
    keys: &[&SCRIPTS, &ON_ERROR, &OBSERVE_ONLY, &MAX_OPERATIONS, &MAX_CALL_DEPTH, &MAX_STRING, &MAX_ARRAY],
    reserved: &[],
};

const SCRIPTS: Key<FilePath> = Key {
    name: "scripts",
    kind: FilePath,
    fallback: Fallback::Is("\"scripts\""),
    doc: "The folder of the `*.rhai` scripts; they run in the order of their names.",
};

const ON_ERROR: Key<OneOf<OnError>> = Key {
    name: "on_error",
    kind: OneOf(&[("skip", OnError::Skip), ("block", OnError::Block)]),
    fallback: Fallback::Is("\"skip\""),
    doc: "What a failing script means: it has no say, or the request is refused.",
};

const OBSERVE_ONLY: Key<ListOf<Placed<Text>>> = Key {
    name: "observe_only",
    kind: ListOf(Placed(Text)),
    fallback: Fallback::Is("[]"),
    doc: "Scripts, by file name without `.rhai`, that are judged and recorded, never enforced.",
};

const MAX_OPERATIONS: Key<Number<u64>> = Key {
    name: "max_operations",
    kind: Number { from: 1_000, to: 100_000_000 },
    fallback: Fallback::Is("100_000"),
    doc: "Operations that one run of a script may take.",
};

const MAX_CALL_DEPTH: Key<Number<usize>> = Key {
    name: "max_call_depth",
    kind: Number { from: 1, to: 128 },
    fallback: Fallback::Is("32"),
    doc: "How deep its functions may call each other.",
};

const MAX_STRING: Key<Size> = Key {
    name: "max_string",
    kind: Size { from: 64 << 10, to: 16 << 20 },
    fallback: Fallback::Is("\"64KiB\""),
    doc: "The longest string it may make.",
};

const MAX_ARRAY: Key<Number<usize>> = Key {
    name: "max_array",
    kind: Number { from: 16, to: 1_000_000 },
    fallback: Fallback::Is("10_000"),
    doc: "The longest array it may make.",
};

/// Reads `[policy]`.
pub(super) fn read(section: &Section<'_>) -> Option<Policy> {
    let (scripts, on_error) = (section.read(&SCRIPTS), section.read(&ON_ERROR));
    let observe_only = section.read(&OBSERVE_ONLY);
    let bounds = bounds(section);
    Some(Policy { scripts: scripts?, on_error: on_error?, observe_only: observe_only?, bounds: bounds? })
}

fn bounds(section: &Section<'_>) -> Option<Bounds> {
    let (operations, depth) = (section.read(&MAX_OPERATIONS), section.read(&MAX_CALL_DEPTH));
    let (string, array) = (section.read(&MAX_STRING), section.read(&MAX_ARRAY));
    Some(Bounds {
        operations: operations?,
        call_depth: depth?,
        string: usize::try_from(string?).unwrap_or(usize::MAX),
        array: array?,
    })
}
