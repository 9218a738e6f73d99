//! `[geoip]`: the databases that say where an address belongs.

use std::path::PathBuf;

use super::kinds::FilePath;
use super::reader::{Fallback, Key, Layout, Section};

/// Which databases to read; without one, every request is from `ZZ`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geoip {
    /// Countries.
    pub country: Option<PathBuf>,
    /// Autonomous systems.
    pub asn: Option<PathBuf>,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "geoip",
    heading: "[geoip]",
    doc: "Databases in `.mmdb` or `.mmdb.gz` format. Without one, every request comes from `ZZ`, the unknown.",
    keys: &[&COUNTRY, &ASN],
    reserved: &[],
};

const COUNTRY: Key<FilePath> =
    Key { name: "country", kind: FilePath, fallback: Fallback::Absent, doc: "The database of countries." };

const ASN: Key<FilePath> = Key {
    name: "asn",
    kind: FilePath,
    fallback: Fallback::Absent,
    doc: "The database of autonomous systems.",
};

/// Reads `[geoip]`.
pub(super) fn read(section: &Section<'_>) -> Option<Geoip> {
    let (country, asn) = (section.optional(&COUNTRY), section.optional(&ASN));
    Some(Geoip { country: country?, asn: asn? })
}
