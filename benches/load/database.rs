//! The country database, for programs that cannot read it as it is in the repository.
//!
//! Everything is made from the one file that the gate uses, so that all contestants know the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};

use flate2::read::GzDecoder;
use maxminddb::{Reader, WithinOptions};
use serde::Deserialize;

use crate::error::LoadError;

/// The database in other forms.
#[derive(Debug)]
pub(crate) struct Database {
    reader: Reader<Vec<u8>>,
    unpacked: Vec<u8>,
}

/// Where it is, below the repository.
const PATH: &str = "conf/geoip/dbip-country-lite.mmdb.gz";

#[derive(Deserialize)]
struct Country<'a> {
    country_code: &'a str,
}

impl Database {
    /// Reads it.
    pub(crate) fn open() -> Result<Self, LoadError> {
        let path = crate::gate::repository().join(PATH);
        let doing = || format!("read `{}`", path.display());
        let packed = std::fs::read(&path).map_err(LoadError::io(doing()))?;
        let mut unpacked = Vec::new();
        GzDecoder::new(packed.as_slice()).read_to_end(&mut unpacked).map_err(LoadError::io(doing()))?;
        let reader = Reader::from_source(unpacked.clone()).map_err(unreadable)?;
        Ok(Self { reader, unpacked })
    }

    /// As a plain `.mmdb`.
    pub(crate) fn unpacked(&self) -> &[u8] {
        &self.unpacked
    }

    /// As a map of HAProxy: a line `CIDR CC` for each network.
    pub(crate) fn map(&self) -> Result<String, LoadError> {
        let mut map = String::new();
        self.each(|network, country| {
            // Writing into a string does not fail.
            let _ = writeln!(map, "{network} {country}");
        })?;
        Ok(map)
    }

    /// An address of each country that has a whole /24.
    pub(crate) fn examples(&self) -> Result<BTreeMap<String, Ipv4Addr>, LoadError> {
        let mut examples = BTreeMap::new();
        self.each(|network, country| {
            if let IpAddr::V4(first) = network.ip
                && network.length <= 24
                && !examples.contains_key(country)
            {
                examples.insert(country.to_owned(), Ipv4Addr::from_bits(first.to_bits() | 7));
            }
        })?;
        Ok(examples)
    }

    fn each(&self, mut take: impl FnMut(Network, &str)) -> Result<(), LoadError> {
        for found in self.reader.networks(WithinOptions::default()).map_err(unreadable)? {
            let found = found.map_err(unreadable)?;
            let network = found.network().map_err(unreadable)?;
            if let Some(country) = found.decode::<Country<'_>>().map_err(unreadable)? {
                take(Network::new(network.network(), network.prefix()), country.country_code);
            }
        }
        Ok(())
    }
}

/// A network; an IPv4 one is written as such, wherever the database keeps it.
#[derive(Clone, Copy, Debug)]
struct Network {
    ip: IpAddr,
    length: u8,
}

impl Network {
    fn new(ip: IpAddr, length: u8) -> Self {
        match ip {
            // The database keeps IPv4 below `::/96`.
            IpAddr::V6(six) if length >= 96 && six.to_bits() <= u128::from(u32::MAX) => {
                Self { ip: Ipv4Addr::from_bits(six.to_bits() as u32).into(), length: length - 96 }
            }
            IpAddr::V4(_) | IpAddr::V6(_) => Self { ip, length },
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{}/{}", self.ip, self.length)
    }
}

fn unreadable(error: maxminddb::MaxMindDbError) -> LoadError {
    LoadError::Database { path: PATH.into(), why: error.to_string() }
}
