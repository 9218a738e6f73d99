//! `inspect_json` of a `[[route]]`: bodies that are read before the request is judged, and what they may hold.

use super::kinds::{Number, Size};
use super::reader::{Fallback, Key, Kind, Layout, Value};
use crate::facts::body::Shape;

/// What is read of bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The most bytes.
    pub max_bytes: u64,
    /// How deep it may be, and how many values it may have.
    pub shape: Shape,
}

/// The table.
pub(super) struct InspectJson;

const LAYOUT: Layout = Layout {
    table: "route",
    heading: "inspect_json",
    doc: "",
    keys: &[&MAX_BYTES, &MAX_DEPTH, &MAX_ITEMS],
    reserved: &[],
};

const MAX_BYTES: Key<Size> = Key {
    name: "max_bytes",
    // What is sent on again after it was read is no larger.
    kind: Size { from: 1, to: 64 * 1024 },
    fallback: Fallback::Is("\"64KiB\""),
    doc: "The most bytes of a body.",
};

const MAX_DEPTH: Key<Number<usize>> = Key {
    name: "max_depth",
    kind: Number { from: 1, to: 100 },
    fallback: Fallback::Is("32"),
    doc: "Objects and arrays within each other.",
};

const MAX_ITEMS: Key<Number<usize>> = Key {
    name: "max_items",
    kind: Number { from: 1, to: 65_536 },
    fallback: Fallback::Is("10000"),
    doc: "Values of all kinds.",
};

impl Kind for InspectJson {
    type Value = Inspection;

    fn expects(&self) -> String {
        "a table such as `{ max_bytes = \"64KiB\", max_depth = 32, max_items = 10000 }`, each of them at will"
            .into()
    }

    fn read(&self, value: &Value<'_>) -> Option<Inspection> {
        if !value.toml().is_table() {
            return value.mismatch(self, Some("write `inspect_json = {}` for the defaults".into()));
        }
        let section = value.section(&LAYOUT, "inspect_json".to_owned())?;
        let (bytes, depth) = (section.read(&MAX_BYTES), section.read(&MAX_DEPTH));
        let items = section.read(&MAX_ITEMS);
        Some(Inspection { max_bytes: bytes?, shape: Shape { depth: depth?, items: items? } })
    }
}
