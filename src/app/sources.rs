//! Which files a snapshot is made from, as the configuration names them, and the roles that they play.

use std::path::PathBuf;

use super::{fingerprints, tls, trust};
use crate::config::{Config, List};
use crate::reload::sources::{DataKind, DataPath, SourcePaths};

/// The role of a database among the sources.
pub(super) const COUNTRY: &str = "geoip country";
pub(super) const ASN: &str = "geoip asn";

/// Everything that a snapshot is made from.
pub fn source_paths(config: &Config, config_path: PathBuf) -> SourcePaths {
    let database = |role: &str, path: &PathBuf| DataPath {
        role: role.to_owned(),
        kind: DataKind::Database,
        path: path.clone(),
    };
    let list = |(name, list): (&String, &List)| DataPath {
        role: name.clone(),
        kind: DataKind::List,
        path: list.path.clone(),
    };
    let country = config.geoip.country.as_ref().map(|path| database(COUNTRY, path));
    let asn = config.geoip.asn.as_ref().map(|path| database(ASN, path));
    let lists = config.lists.iter().map(list);
    let others = fingerprints::path(config).into_iter().chain(tls::paths(config)).chain(trust::files(config));
    let files = country.into_iter().chain(asn).chain(lists).chain(others).collect();
    SourcePaths { config: Some(config_path), scripts: config.policy.scripts.clone(), files }
}
