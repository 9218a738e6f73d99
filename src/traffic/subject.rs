//! Whom or what a request counts for: its client, country, network and route.
//!
//! A request has one [`Subject`]; each limit and counter picks its own key out of it by its [`Per`], so that a key
//! of the wrong kind cannot be handed in. What is unknown is a bucket like any other: a missing client address can
//! never mean "no limit".

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use serde::Serialize;

use super::counter::Token;
use crate::facts::client::Prefix;
use crate::facts::place::{Asn, CountryCode, Place};

/// What a limit or a counter tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Each truncated client address.
    Client,
    /// Each country.
    Country,
    /// Each autonomous system.
    Asn,
    /// Each configured route.
    Route,
}

/// All that a request may be counted under. Cheap to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The client's truncated address.
    pub client: Prefix,
    /// The client's country.
    pub country: CountryCode,
    /// The client's network.
    pub asn: Asn,
    /// The route that the request takes.
    pub route: RouteKey,
    /// The credential that it came with, if counters ask for it.
    pub token: Option<Token>,
}

impl Subject {
    /// Where the request comes from.
    pub fn place(&self) -> Place {
        Place { country: self.country, asn: self.asn }
    }
}

/// A configured route's identity, the same after every reload that keeps its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct RouteKey(u64);

/// What a sketch hashes: the identity of one bucket, in a fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    bits: u128,
    tag: u64,
}

/// Set in a tag for a client without an address, which would otherwise look like `::`.
const UNKNOWN_CLIENT: u64 = 1 << 63;

impl Per {
    /// Every kind, in the order in which they are documented.
    pub const ALL: [Self; 4] = [Self::Client, Self::Country, Self::Asn, Self::Route];

    /// Parses the name that configuration and scripts use.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|per| per.as_str() == name)
    }

    /// `client`, `country`, `asn` or `route`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Country => "country",
            Self::Asn => "asn",
            Self::Route => "route",
        }
    }
}

impl RouteKey {
    /// The key of the route with this name: whatever text makes it unique, say its host and path.
    pub fn named(name: &str) -> Self {
        // Fixed keys: names come from the operator, and the result must be the same after a reload.
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl Subject {
    /// The bucket of this request when told apart by `per`; `tag` keeps users of one sketch apart.
    pub(super) fn key(&self, per: Per, tag: u32) -> Key {
        match per {
            Per::Client => Key::of_client(&self.client, tag),
            Per::Country => Key::of_country(self.country, tag),
            Per::Asn => Key { bits: u128::from(self.asn.number()), tag: u64::from(tag) },
            Per::Route => Key { bits: u128::from(self.route.0), tag: u64::from(tag) },
        }
    }
}

impl Key {
    pub(super) fn of_client(prefix: &Prefix, tag: u32) -> Self {
        let tag = u64::from(tag);
        match prefix.network() {
            Some(IpAddr::V4(v4)) => Self { bits: v4.to_ipv6_mapped().to_bits(), tag },
            Some(IpAddr::V6(v6)) => Self { bits: v6.to_bits(), tag },
            None => Self { bits: 0, tag: tag | UNKNOWN_CLIENT },
        }
    }

    pub(super) const fn of_token(hash: u64) -> Self {
        Self { bits: hash as u128, tag: 0 }
    }

    pub(super) const fn bits(&self) -> u128 {
        self.bits
    }

    pub(super) const fn tag(&self) -> u64 {
        self.tag
    }

    pub(super) fn of_country(country: CountryCode, tag: u32) -> Self {
        Self { bits: country.index() as u128, tag: u64::from(tag) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back() {
        for per in Per::ALL {
            assert_eq!(Per::parse(per.as_str()), Some(per));
        }
        assert_eq!(Per::parse("Client"), None);
    }

    #[test]
    fn every_kind_of_unknown_is_a_bucket_of_its_own() {
        let any = Prefix::parse("::/48").unwrap();
        let zero = Prefix::parse("0.0.0.0/24").unwrap();
        let keys = [&Prefix::UNKNOWN, &any, &zero].map(|prefix| Key::of_client(prefix, 7));
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
        assert_eq!(Key::of_client(&Prefix::UNKNOWN, 7), keys[0]);
        assert_ne!(Key::of_client(&Prefix::UNKNOWN, 8), keys[0]);
    }

    #[test]
    fn a_route_keeps_its_key() {
        assert_eq!(RouteKey::named("api.example.com/v1"), RouteKey::named("api.example.com/v1"));
        assert_ne!(RouteKey::named("api.example.com/v1"), RouteKey::named("api.example.com/v2"));
    }
}
