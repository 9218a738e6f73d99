//! Where an address belongs, read from MaxMind DB files.
//!
//! A database is handed in as bytes, walked and decoded once while loading, and refused with advice if anything
//! in it cannot be read; after that a lookup is a search among a few ranges, and cannot fail. Only a
//! truncated [`Prefix`] can be looked up, so what truncation costs is measured at load, in [`Summary`].
//! Nothing here does IO.

mod database;
mod loss;
mod ranges;
mod record;
mod unpack;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use crate::facts::client::{Prefix, Truncation};
use crate::facts::place::{Asn, CountryCode, Place};
use crate::facts::problem::Problem;

use database::Database;
pub use database::Summary;
pub use loss::{Loss, TruncationLoss};

/// The databases in use; without one, everything it would know is unknown.
#[derive(Clone, Debug, Default)]
pub struct Geo {
    /// Which country an address belongs to.
    pub country: Option<Arc<GeoDb>>,
    /// Which network announces an address.
    pub asn: Option<Arc<AsnDb>>,
}

/// A country database: MaxMind's `country.iso_code` (else `registered_country.iso_code`), or flat `country_code`.
#[derive(Debug)]
pub struct GeoDb(Database<CountryCode>);

/// A database of autonomous systems: MaxMind's `autonomous_system_number`, or flat `as_number` or `asn`.
#[derive(Debug)]
pub struct AsnDb(Database<Asn>);

impl Geo {
    /// Where the prefix belongs, looked up by its first address.
    pub fn place(&self, prefix: &Prefix) -> Place {
        Place {
            country: self.country.as_ref().map_or(CountryCode::UNKNOWN, |db| db.country(prefix)),
            asn: self.asn.as_ref().map_or(Asn::UNKNOWN, |db| db.asn(prefix)),
        }
    }
}

impl GeoDb {
    /// Reads a `.mmdb` or `.mmdb.gz` file and measures what `truncation` costs. `name` is only for messages.
    /// The problem says why the file was refused and what to do about it.
    pub fn from_bytes(name: &Path, bytes: Vec<u8>, truncation: Truncation) -> Result<Self, Problem> {
        Database::from_bytes(name, bytes, truncation).map(Self)
    }

    /// The country of the prefix's first address; [`CountryCode::UNKNOWN`] if it is not in the database.
    pub fn country(&self, prefix: &Prefix) -> CountryCode {
        self.0.value(prefix)
    }

    /// What was loaded. The values are countries.
    pub fn summary(&self) -> &Summary {
        self.0.summary()
    }
}

impl AsnDb {
    /// Reads a `.mmdb` or `.mmdb.gz` file and measures what `truncation` costs. `name` is only for messages.
    /// The problem says why the file was refused and what to do about it.
    pub fn from_bytes(name: &Path, bytes: Vec<u8>, truncation: Truncation) -> Result<Self, Problem> {
        Database::from_bytes(name, bytes, truncation).map(Self)
    }

    /// The network that announces the prefix's first address; [`Asn::UNKNOWN`] if it is not in the database.
    pub fn asn(&self, prefix: &Prefix) -> Asn {
        self.0.value(prefix)
    }

    /// What was loaded. The values are autonomous systems.
    pub fn summary(&self) -> &Summary {
        self.0.summary()
    }
}
