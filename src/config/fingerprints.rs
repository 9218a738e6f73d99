//! `[fingerprints]`: the file that says what clients with a certain fingerprint are called.

use std::path::PathBuf;

use super::kinds::FilePath;
use super::reader::{Fallback, Key, Layout, Section};

/// Which file to read; without one, no client has a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// Classes by JA4.
    pub ja4: Option<PathBuf>,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "fingerprints",
    heading: "[fingerprints]",
    doc: "What clients with a certain TLS fingerprint are called. Scripts read it as `req.tls.class`, and records keep it \
          instead of the fingerprint.",
    keys: &[&JA4],
    reserved: &[],
};

const JA4: Key<FilePath> = Key {
    name: "ja4",
    kind: FilePath,
    fallback: Fallback::Absent,
    doc: "The file: a JA4 fingerprint and a word a line, such as `t13d1516h2_8daaf6152771_e5627efa2ab1 chromium`.",
};

/// Reads `[fingerprints]`.
pub(super) fn read(section: &Section<'_>) -> Option<Fingerprints> {
    Some(Fingerprints { ja4: section.optional(&JA4)? })
}
