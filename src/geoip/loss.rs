//! What truncation costs: how many addresses a database places elsewhere once their last bits are gone.
//!
//! Fed with a database's networks in ascending order. A network shorter than the truncation loses nothing; the
//! addresses of a longer one move if the network that holds the first address of their block says otherwise.

use std::net::IpAddr;

use crate::facts::client::Truncation;

use super::record::Fact;

/// How many addresses change their value through truncation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TruncationLoss {
    /// For IPv4; the share is of all 2^32 addresses.
    pub ipv4: Loss,
    /// For IPv6; the share is of all addresses whose value is known. As single networks hold most of them, the
    /// count of networks says more.
    pub ipv6: Loss,
}

/// Addresses that a lookup by truncated address places elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// Share of addresses that change their value, 0 to 1.
    pub share: f64,
    /// How many networks of the database these addresses fill.
    pub moved: u64,
    /// How many networks whose value is known the database has.
    pub networks: u64,
}

/// Measures both families.
pub(super) struct LossMeter<F> {
    ipv4: Family<F>,
    ipv6: Family<F>,
}

impl<F: Fact> LossMeter<F> {
    pub(super) fn new(truncation: Truncation) -> Self {
        Self { ipv4: Family::new(32 - truncation.ipv4()), ipv6: Family::new(128 - truncation.ipv6()) }
    }

    /// Takes the next network in ascending order, with those of unknown value.
    pub(super) fn add(&mut self, first: IpAddr, prefix_len: u8, fact: F) {
        match first {
            IpAddr::V4(first) => self.ipv4.add(u32::from(first).into(), 32 - prefix_len.min(32), fact),
            IpAddr::V6(first) => self.ipv6.add(first.into(), 128 - prefix_len.min(128), fact),
        }
    }

    pub(super) fn finish(self) -> TruncationLoss {
        let known = self.ipv6.known.max(1.0);
        TruncationLoss { ipv4: self.ipv4.finish(2f64.powi(32)), ipv6: self.ipv6.finish(known) }
    }
}

struct Family<F> {
    /// How many bits of an address are cut off.
    cut: u8,
    /// The last network that started at a truncated address: that address, and what a lookup of it says.
    block: Option<(u128, F)>,
    /// Addresses that move, and addresses of known value.
    moved: f64,
    known: f64,
    moved_networks: u64,
    known_networks: u64,
}

impl<F: Fact> Family<F> {
    fn new(cut: u8) -> Self {
        Self { cut, block: None, moved: 0.0, known: 0.0, moved_networks: 0, known_networks: 0 }
    }

    /// A network of `2^host_bits` addresses.
    fn add(&mut self, first: u128, host_bits: u8, fact: F) {
        let addresses = 2f64.powi(host_bits.into());
        if fact != F::UNKNOWN {
            self.known += addresses;
            self.known_networks += 1;
        }
        if host_bits >= self.cut {
            return;
        }
        let truncated =
            first.checked_shr(self.cut.into()).unwrap_or(0).checked_shl(self.cut.into()).unwrap_or(0);
        if first == truncated {
            self.block = Some((truncated, fact));
        } else if self.block.is_some_and(|(block, said)| block == truncated && said != fact) {
            self.moved += addresses;
            self.moved_networks += 1;
        }
    }

    fn finish(self, all: f64) -> Loss {
        Loss { share: self.moved / all, moved: self.moved_networks, networks: self.known_networks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::place::Asn;

    fn loss(truncation: Truncation, networks: &[(&str, u8, u32)]) -> TruncationLoss {
        let mut meter = LossMeter::new(truncation);
        for (first, prefix_len, asn) in networks {
            meter.add(first.parse().unwrap(), *prefix_len, Asn::new(*asn));
        }
        meter.finish()
    }

    #[test]
    fn networks_no_longer_than_the_truncation_lose_nothing() {
        let networks = [("10.0.0.0", 8, 1), ("11.0.0.0", 24, 2), ("2001:db8::", 48, 3)];
        let measured = loss(Truncation::default(), &networks);
        assert_eq!(measured.ipv4, Loss { share: 0.0, moved: 0, networks: 2 });
        assert_eq!(measured.ipv6, Loss { share: 0.0, moved: 0, networks: 1 });
        let nothing_cut = Truncation::new(32, 128).unwrap();
        assert_eq!(loss(nothing_cut, &[("10.0.0.1", 32, 1), ("10.0.0.2", 32, 2)]).ipv4.moved, 0);
    }

    #[test]
    fn addresses_move_when_the_start_of_their_block_says_otherwise() {
        let networks = [
            ("10.0.0.0", 25, 1),
            ("10.0.0.128", 26, 2),
            ("10.0.0.192", 26, 1),
            ("10.0.1.0", 25, 2),
            ("10.0.1.128", 25, 2),
        ];
        let measured = loss(Truncation::default(), &networks).ipv4;
        assert_eq!(measured, Loss { share: 64.0 / 2f64.powi(32), moved: 1, networks: 5 });
    }

    #[test]
    fn unknown_is_a_value_that_addresses_can_move_to() {
        let networks = [("10.0.0.0", 25, 0), ("10.0.0.128", 25, 7)];
        assert_eq!(loss(Truncation::default(), &networks).ipv4.moved, 1);
    }

    #[test]
    fn ipv6_is_measured_against_the_addresses_that_are_known() {
        let networks = [("2001:db8::", 49, 1), ("2001:db8:0:8000::", 49, 2)];
        let half = Loss { share: 0.5, moved: 1, networks: 2 };
        assert_eq!(loss(Truncation::default(), &networks).ipv6, half);
        let all_cut = Truncation::new(0, 0).unwrap();
        assert_eq!(loss(all_cut, &[("::", 1, 1), ("8000::", 1, 2)]).ipv6, half);
    }
}
