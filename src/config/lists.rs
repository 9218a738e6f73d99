//! `[lists]`: files of addresses and networks that scripts ask about by name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::kinds::{FilePath, Flag, is_name, name_hint};
use super::reader::{Document, Fallback, Key, Kind, Layout, Value};

/// One list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Its file.
    pub path: PathBuf,
    /// Whether its clients are refused whatever the scripts say: a hard list.
    pub block: bool,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "lists",
    heading: "[lists]",
    doc: "Files of addresses and networks, one a line. Scripts ask for them with `req.client.listed(name)`. \
          Write `NAME = \"path\"`, or `NAME = { path = \"...\", block = true }`.",
    keys: &[&PATH, &BLOCK],
    reserved: &[],
};

const PATH: Key<FilePath> =
    Key { name: "path", kind: FilePath, fallback: Fallback::Required, doc: "The file." };

const BLOCK: Key<Flag> = Key {
    name: "block",
    kind: Flag,
    fallback: Fallback::Is("false"),
    doc: "A hard list: its clients are refused whatever the scripts say.",
};

/// Reads `[lists]`.
pub(super) fn read(document: &Document<'_>) -> Option<BTreeMap<String, List>> {
    let read = document.members(&LAYOUT)?.into_iter().map(|(name, value)| {
        let list = if value.toml().is_table() {
            read_table(name.text, &value)
        } else {
            FilePath.read(&value).map(|path| List { path, block: false })
        };
        if !is_name(name.text) {
            let message = format!("`{}` cannot name a list", name.text.escape_debug());
            document.source.error(Some(name.span), message, Some(name_hint(name.text)));
            return None;
        }
        Some((name.text.to_owned(), list?))
    });
    read.collect::<Vec<_>>().into_iter().collect()
}

fn read_table(name: &str, value: &Value<'_>) -> Option<List> {
    let section = value.section(&LAYOUT, format!("[lists] {}", name.escape_debug()))?;
    let (path, block) = (section.read(&PATH), section.read(&BLOCK));
    Some(List { path: path?, block: block? })
}
