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
    /// How many shares of a fair limit the client has.
    pub weight: Weight,
    /// The credential that it came with, if counters ask for it.
    pub token: Option<Token>,
}

/// How many ordinary clients' shares of a fair limit one client has: 1 by default, up to 1000. For clients that are
/// known to stand for many, or that have proved something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight(u16);

impl Subject {
    /// Where the request comes from.
    pub fn place(&self) -> Place {
        Place { country: self.country, asn: self.asn }
    }
}

/// A configured route's identity, the same after every reload that keeps its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RouteKey(u64);

/// A key that is shared by clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// All clients of a country.
    Country(CountryCode),
    /// All clients of a network.
    Asn(Asn),
    /// All who take a route.
    Route(RouteKey),
}

/// What a table hashes: the identity of one bucket, in a fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    bits: u128,
    tag: u64,
}

/// Set in a tag for a client without an address, which would otherwise look like `::`.
const UNKNOWN_CLIENT: u64 = 1 << 63;
/// Set in a tag for a whole network.
const NETWORK: u64 = 1 << 62;

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

impl Weight {
    /// The most that a client can have.
    pub const MOST: u16 = 1_000;

    /// 1 to 1000 shares.
    pub fn new(shares: u16) -> Option<Self> {
        (1..=Self::MOST).contains(&shares).then_some(Self(shares))
    }

    /// Shares.
    pub const fn shares(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1)
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

impl Whose {
    /// The key that is told apart by `per` and has this number.
    pub(super) fn of(per: Per, number: u64) -> Option<Self> {
        match per {
            Per::Client => None,
            Per::Country => Some(Self::Country(CountryCode::all().nth(usize::try_from(number).ok()?)?)),
            Per::Asn => Some(Self::Asn(Asn::new(u32::try_from(number).ok()?))),
            Per::Route => Some(Self::Route(RouteKey(number))),
        }
    }
}

impl Subject {
    /// The bucket of this request when told apart by `per`; `tag` keeps users of one table apart.
    pub(super) fn key(&self, per: Per, tag: u32) -> Key {
        match per {
            Per::Client => Key::of_client(&self.client, tag),
            Per::Country => Key::of_country(self.country, tag),
            Per::Asn => Key { bits: u128::from(self.asn.number()), tag: u64::from(tag) },
            Per::Route => Key { bits: u128::from(self.route.0), tag: u64::from(tag) },
        }
    }

    /// The client as a member of the bucket `pool`, which is told apart by `per`.
    pub(super) fn member(&self, per: Per, pool: Key) -> Key {
        Key::of_client(&self.client, 0).within(per, pool)
    }

    /// The client's network as a member of the bucket `pool`: the autonomous system, or without one the addresses
    /// that share a wider prefix, 16 bits of IPv4 or 32 of IPv6.
    pub(super) fn network(&self, per: Per, pool: Key) -> Key {
        let bits = match (self.asn, self.client.network()) {
            (Asn::UNKNOWN, Some(IpAddr::V4(v4))) => v4.to_ipv6_mapped().to_bits() >> 16,
            (Asn::UNKNOWN, Some(IpAddr::V6(v6))) => v6.to_bits() >> 96 << 96,
            (Asn::UNKNOWN, None) => 0,
            (asn, _) => u128::from(asn.number()),
        };
        Key { bits, tag: NETWORK }.within(per, pool)
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

    /// The key's number, where it is a small one: [`CountryCode::index`].
    pub(super) fn index(self) -> usize {
        usize::try_from(self.bits).unwrap_or(usize::MAX)
    }

    /// What tells two keys of one tag and kind apart, apart from clients'.
    pub(super) fn number(self) -> u64 {
        self.bits as u64
    }

    /// This key in the bucket `pool`. A client has one network, but may take any route; and networks, even small ones, may lie
    /// in several countries.
    fn within(self, per: Per, pool: Self) -> Self {
        let bucket = match per {
            Per::Client | Per::Asn => 0,
            Per::Country | Per::Route => {
                pool.number().wrapping_mul(0x9e37_79b9_7f4a_7c15) & !(UNKNOWN_CLIENT | NETWORK)
            }
        };
        Self { tag: self.tag ^ pool.tag ^ bucket, ..self }
    }

    #[cfg(test)]
    pub(super) fn numbered(number: u64) -> Self {
        Self { bits: number.into(), tag: 0 }
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
    fn whoever_is_in_two_countries_or_on_two_routes_is_a_member_of_each_by_itself() {
        let subject = crate::traffic::simulation::subject;
        let (here, there) = (subject("DE", 9), subject("US", 9));
        let other = Subject { route: RouteKey::named("a/b"), ..subject("DE", 9) };
        for (per, one, two) in [(Per::Country, &here, &there), (Per::Route, &here, &other)] {
            let pools = [one.key(per, 7), two.key(per, 7)];
            assert_ne!(one.member(per, pools[0]), two.member(per, pools[1]), "{per:?}");
            assert_ne!(one.network(per, pools[0]), two.network(per, pools[1]), "{per:?}");
            assert_ne!(one.member(per, pools[0]), one.network(per, pools[0]), "{per:?}");
        }
    }

    #[test]
    fn a_route_keeps_its_key() {
        assert_eq!(RouteKey::named("api.example.com/v1"), RouteKey::named("api.example.com/v1"));
        assert_ne!(RouteKey::named("api.example.com/v1"), RouteKey::named("api.example.com/v2"));
    }
}
