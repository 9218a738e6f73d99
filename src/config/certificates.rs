//! `[certificates.NAME]`: what listeners show to clients that speak TLS.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::kinds::{FilePath, is_name, name_hint};
use super::reader::{Document, Fallback, Key, Kind, Layout, Value};

/// A certificate with its key, in two files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// The certificate and those that vouch for it, as PEM.
    pub cert: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// A [`KeyPair`] as an inline table.
pub(super) struct Pair;

pub(super) const LAYOUT: Layout = Layout {
    table: "certificates",
    heading: "[certificates.NAME]",
    doc: "A certificate for listeners that speak TLS, which name it. A client gets the one whose names have the server \
          that it asks for. Files are checked before they are used, and loaded anew when they change.",
    keys: &[&CERT, &KEY],
    reserved: &[],
};

const CERT: Key<FilePath> = Key {
    name: "cert",
    kind: FilePath,
    fallback: Fallback::Required,
    doc: "The certificate, and behind it those that vouch for it, as PEM.",
};

const KEY: Key<FilePath> = Key {
    name: "key",
    kind: FilePath,
    fallback: Fallback::Required,
    doc: "Its private key, as PEM (PKCS #8, PKCS #1 or SEC 1).",
};

/// Reads every `[certificates.NAME]`.
pub(super) fn read(document: &Document<'_>) -> Option<BTreeMap<String, KeyPair>> {
    let read = document.members(&LAYOUT)?.into_iter().map(|(name, value)| {
        let pair = read_pair(&value, format!("[certificates.{}]", name.text.escape_debug()));
        if !is_name(name.text) {
            let message = format!("`{}` cannot name a certificate", name.text.escape_debug());
            document.source.error(Some(name.span), message, Some(name_hint(name.text)));
            return None;
        }
        Some((name.text.to_owned(), pair?))
    });
    read.collect::<Vec<_>>().into_iter().collect()
}

fn read_pair(value: &Value<'_>, title: String) -> Option<KeyPair> {
    let section = value.section(&LAYOUT, title)?;
    let (cert, key) = (section.read(&CERT), section.read(&KEY));
    Some(KeyPair { cert: cert?, key: key? })
}

impl Kind for Pair {
    type Value = KeyPair;

    fn expects(&self) -> String {
        "a table `{ cert = \"...\", key = \"...\" }`".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<KeyPair> {
        if value.toml().is_table() {
            return read_pair(value, value.subject().trim_matches('`').to_owned());
        }
        value.mismatch(self, None)
    }
}
