//! The file of fingerprints: where it is, and what it says. One that did not change is taken over, not parsed again.

use std::sync::Arc;

use crate::config::Config;
use crate::facts::problem::Problem;
use crate::fingerprints::Fingerprints;
use crate::reload::sources::{DataKind, DataPath, Digest, Sources};

/// The role of the file among the sources. No list can have this name.
const ROLE: &str = "fingerprints ja4";

/// What the file said when it was read last.
#[derive(Default)]
pub(super) struct Kept(Option<(Digest, Arc<Fingerprints>)>);

impl Kept {
    /// What it says now; nothing if there is no file.
    pub(super) fn load(&mut self, sources: &Sources) -> Result<Arc<Fingerprints>, Vec<Problem>> {
        let Some(data) = sources.role(ROLE) else { return Ok(Arc::default()) };
        if let Some((digest, known)) = &self.0
            && *digest == data.digest()
        {
            return Ok(Arc::clone(known));
        }
        let read = Arc::new(Fingerprints::parse(data.path(), data.bytes())?);
        self.0 = Some((data.digest(), Arc::clone(&read)));
        Ok(read)
    }
}

/// Where the file is.
pub(super) fn path(config: &Config) -> Option<DataPath> {
    let path = config.fingerprints.ja4.clone()?;
    Some(DataPath { role: ROLE.to_owned(), kind: DataKind::Fingerprints, path })
}
