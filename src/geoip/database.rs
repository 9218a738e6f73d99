//! One MaxMind DB file, with the records of its networks decoded into one fact each.
//!
//! Loading visits every network, and decodes each record once. So a broken file is found while loading and the last
//! good one stays in use. What is kept is not the file but [`Ranges`], so a lookup decodes nothing and cannot fail.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;

use foldhash::fast::FixedState;
use maxminddb::{LookupResult, MaxMindDbError, Reader, WithinOptions};

use crate::facts::client::{Prefix, Truncation};
use crate::facts::problem::Problem;
use crate::facts::time::Wall;

use super::loss::{LossMeter, TruncationLoss};
use super::ranges::{Gather, Ranges};
use super::record::Fact;
use super::unpack::{Refusal, unpack};

/// A tree has one leaf more than nodes; IPv6 trees repeat their IPv4 part in a few places. More leaves than this
/// per node mean that the tree is tangled, and walking it might never end.
const LEAVES_PER_NODE_MAX: u64 = 8;

/// The smallest node that a tree can have, in bytes.
const NODE_BYTES_MIN: usize = 6;

const DAMAGED: &str = "the file is damaged or cut short: download it again";

/// What a loaded database is, for an operator to read.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// What the vendor calls it.
    pub database_type: String,
    /// When the vendor built it.
    pub built: Wall,
    /// Whether it knows IPv6; otherwise all IPv6 addresses are unknown.
    pub ipv6: bool,
    /// How many different values it has.
    pub values: usize,
    /// What it takes of memory, in bytes.
    pub memory_bytes: usize,
    /// How many networks it knows, and what looking up truncated addresses costs. IPv6 forms of IPv4 addresses
    /// (mapped, 6to4, Teredo, NAT64) are left out.
    pub truncation: TruncationLoss,
}

impl Summary {
    /// How many networks it knows, IPv4 and IPv6.
    pub fn networks(&self) -> u64 {
        self.truncation.ipv4.networks + self.truncation.ipv6.networks
    }
}

#[derive(Debug)]
pub(super) struct Database<F> {
    ranges: Ranges<F>,
    summary: Summary,
}

/// By offset of the record in the file's data section; networks share records.
type Facts<F> = HashMap<usize, F, FixedState>;

impl<F: Fact> Database<F> {
    pub(super) fn from_bytes(name: &Path, bytes: Vec<u8>, truncation: Truncation) -> Result<Self, Problem> {
        Self::load(bytes, truncation)
            .map_err(|Refusal { message, hint }| Problem::error(name, message).hint(hint))
    }

    fn load(bytes: Vec<u8>, truncation: Truncation) -> Result<Self, Refusal> {
        let bytes = unpack(bytes)?;
        let size = bytes.len();
        let reader = Reader::from_source(bytes)
            .map_err(|error| Refusal::new(format!("not a MaxMind database: {error}"), DAMAGED))?;
        let survey = Survey::of(&reader, size, truncation)?;
        let values: HashSet<F> = survey.facts.values().copied().filter(|fact| *fact != F::UNKNOWN).collect();
        if values.is_empty() {
            let kind = &reader.metadata().database_type;
            return Err(Refusal::new(format!("no record of this `{kind}` has a known {}", F::NAME), F::HINT));
        }
        let ranges = survey.ranges.finish();
        let summary = Summary {
            database_type: reader.metadata().database_type.clone(),
            built: Wall::from_millis(reader.metadata().build_epoch.saturating_mul(1000)),
            ipv6: reader.metadata().ip_version == 6,
            values: values.len(),
            memory_bytes: ranges.bytes(),
            truncation: survey.loss.finish(),
        };
        Ok(Self { ranges, summary })
    }

    /// The fact about the prefix's first address; `UNKNOWN` if there is none.
    pub(super) fn value(&self, prefix: &Prefix) -> F {
        let Some(address) = prefix.network() else {
            return F::UNKNOWN;
        };
        if address.is_ipv6() && !self.summary.ipv6 {
            return F::UNKNOWN;
        }
        self.ranges.value(address)
    }

    pub(super) fn summary(&self) -> &Summary {
        &self.summary
    }
}

/// What one walk over all networks finds.
struct Survey<F> {
    facts: Facts<F>,
    ranges: Gather<F>,
    loss: LossMeter<F>,
}

impl<F: Fact> Survey<F> {
    fn of(reader: &Reader<Vec<u8>>, bytes: usize, truncation: Truncation) -> Result<Self, Refusal> {
        // What the file says of itself may be wrong; a tree of so many bytes has no more nodes than this.
        let nodes = (reader.metadata().node_count as usize).min(bytes / NODE_BYTES_MIN);
        let ranges = Gather::with_room(nodes + 1);
        let mut survey = Self { facts: Facts::default(), ranges, loss: LossMeter::new(truncation) };
        // Repeated parts are walked too: skipping them inside the iterator could not be bounded.
        let all = WithinOptions::default().include_aliased_networks().include_networks_without_data();
        let mut left = (u64::from(reader.metadata().node_count) + 1) * LEAVES_PER_NODE_MAX;
        for network in reader.networks(all).map_err(damaged)? {
            left = left.checked_sub(1).ok_or_else(|| {
                Refusal::new("the search tree is tangled: its parts are used again and again", DAMAGED)
            })?;
            survey.visit(&network.map_err(damaged)?).map_err(damaged)?;
        }
        Ok(survey)
    }

    fn visit(&mut self, found: &LookupResult<'_, Vec<u8>>) -> Result<(), MaxMindDbError> {
        let fact = match found.offset() {
            None => F::UNKNOWN,
            Some(offset) => match self.facts.get(&offset) {
                Some(fact) => *fact,
                None => {
                    let fact = F::of(found)?;
                    self.facts.insert(offset, fact);
                    fact
                }
            },
        };
        let network = found.network()?;
        self.ranges.add(network.ip(), network.prefix(), fact);
        if is_ipv4_in_disguise(network.ip()) {
            return Ok(());
        }
        self.loss.add(network.ip(), network.prefix(), fact);
        Ok(())
    }
}

fn damaged(error: MaxMindDbError) -> Refusal {
    Refusal::new(error.to_string(), DAMAGED)
}

/// Whether this is an IPv6 form of an IPv4 address, where databases repeat their IPv4 part.
fn is_ipv4_in_disguise(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(_) => address.is_ipv6(),
        IpAddr::V6(v6) => matches!(v6.segments(), [0x2002, ..] | [0x2001, 0, ..] | [0x64, 0xff9b, ..]),
    }
}
