//! A whole database as two sorted lists: where a range of addresses begins, and what is true of it.
//!
//! A walk down the file's tree touches a new part of memory at nearly every step. Here the first half of an IPv4
//! address says where to look, and what is left to search there is a few neighbours. The file itself is not needed
//! any more. Of an IPv6 address the first half is kept: no prefix that is looked up is longer.

use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr};

use super::record::Fact;

/// What is true of every address.
#[derive(Debug)]
pub(super) struct Ranges<F> {
    ipv4: List<u32, F>,
    /// By the first half of the address.
    ipv6: List<u64, F>,
    /// For each first half of an IPv4 address: the range that holds the first address with it; and one more.
    halves: Box<[u32]>,
}

/// Takes networks in ascending order, as a tree is walked.
pub(super) struct Gather<F> {
    ipv4: List<u32, F>,
    ipv6: List<u64, F>,
}

/// Ranges that follow one another without a gap, neighbours of different value, from the first address on.
#[derive(Debug)]
struct List<A, F> {
    begins: Vec<A>,
    values: Vec<F>,
}

impl<F: Fact> Gather<F> {
    /// With room for so many ranges of each kind; room that is not used costs nothing.
    pub(super) fn with_room(ranges: usize) -> Self {
        Self { ipv4: List::with_room(ranges, 0), ipv6: List::with_room(ranges, 0) }
    }

    /// Takes the next network.
    pub(super) fn add(&mut self, first: IpAddr, prefix_len: u8, fact: F) {
        match first {
            IpAddr::V4(first) => self.ipv4.add(first.into(), fact),
            IpAddr::V6(first) => {
                // All of IPv4 has its place in there.
                if first.is_unspecified() && prefix_len <= 96 {
                    self.ipv4.add(0, fact);
                }
                let first = u128::from(first);
                // Others begin inside a half that has its value already.
                if first as u64 == 0 {
                    self.ipv6.add((first >> 64) as u64, fact);
                }
            }
        }
    }

    pub(super) fn finish(mut self) -> Ranges<F> {
        self.ipv4.shrink();
        self.ipv6.shrink();
        let half = |half: u32| self.ipv4.range_of(half << 16) as u32;
        let last = self.ipv4.begins.len().saturating_sub(1) as u32;
        let halves = (0..=u32::from(u16::MAX)).map(half).chain([last]).collect();
        Ranges { ipv4: self.ipv4, ipv6: self.ipv6, halves }
    }
}

impl<F: Fact> Ranges<F> {
    /// What is true of an address.
    pub(super) fn value(&self, address: IpAddr) -> F {
        match address {
            IpAddr::V4(address) => self.ipv4_value(address),
            IpAddr::V6(address) => match u32::try_from(u128::from(address)) {
                Ok(within) => self.ipv4_value(within.into()),
                Err(_) => self.ipv6.value(self.ipv6.range_of((u128::from(address) >> 64) as u64)),
            },
        }
    }

    fn ipv4_value(&self, address: Ipv4Addr) -> F {
        let address = u32::from(address);
        let half = (address >> 16) as usize;
        let Some(&[first, last]) = self.halves.get(half..half + 2) else { return F::UNKNOWN };
        let (first, last) = (first as usize, last as usize);
        let begins = self.ipv4.begins.get(first..=last).unwrap_or_default();
        self.ipv4.value(first + last_at_or_before(begins, address))
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> usize {
        self.ipv4.bytes() + self.ipv6.bytes() + size_of::<u32>() * self.halves.len()
    }
}

impl<A: Copy + Ord, F: Fact> List<A, F> {
    fn with_room(ranges: usize, first: A) -> Self {
        let mut list = Self { begins: Vec::with_capacity(ranges), values: Vec::with_capacity(ranges) };
        list.begins.push(first);
        list.values.push(F::UNKNOWN);
        list
    }

    fn add(&mut self, begin: A, fact: F) {
        if self.begins.last() == Some(&begin) {
            self.begins.pop();
            self.values.pop();
        }
        if self.values.last() != Some(&fact) {
            self.begins.push(begin);
            self.values.push(fact);
        }
    }

    fn shrink(&mut self) {
        self.begins.shrink_to_fit();
        self.values.shrink_to_fit();
    }

    /// The range that holds an address.
    fn range_of(&self, address: A) -> usize {
        last_at_or_before(&self.begins, address)
    }

    fn value(&self, range: usize) -> F {
        self.values.get(range).copied().unwrap_or(F::UNKNOWN)
    }

    fn bytes(&self) -> usize {
        size_of::<A>() * self.begins.len() + size_of::<F>() * self.values.len()
    }
}

fn last_at_or_before<A: Copy + Ord>(begins: &[A], address: A) -> usize {
    begins.partition_point(|begin| *begin <= address).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::place::Asn;

    fn gather(networks: &[(&str, u8, u32)]) -> Ranges<Asn> {
        let mut gather = Gather::with_room(4);
        for (first, prefix_len, asn) in networks {
            gather.add(first.parse().unwrap(), *prefix_len, Asn::new(*asn));
        }
        gather.finish()
    }

    fn value(ranges: &Ranges<Asn>, address: &str) -> u32 {
        ranges.value(address.parse().unwrap()).number()
    }

    #[test]
    fn an_address_has_the_value_of_the_last_network_that_begins_before_it() {
        let ranges = gather(&[
            ("0.0.0.0", 8, 0),
            ("1.0.0.0", 24, 1),
            ("1.0.1.0", 24, 2),
            ("1.0.2.0", 23, 0),
            ("1.1.0.0", 16, 2),
            ("1.2.0.0", 15, 3),
            ("2.0.0.0", 7, 0),
            ("255.255.255.0", 24, 9),
            ("2001:db8::", 32, 5),
            ("2001:db9::", 32, 0),
        ]);
        for (address, expected) in [
            ("0.0.0.0", 0),
            ("0.255.255.255", 0),
            ("1.0.0.0", 1),
            ("1.0.0.255", 1),
            ("1.0.1.0", 2),
            ("1.0.2.0", 0),
            ("1.0.255.255", 0),
            ("1.1.0.0", 2),
            ("1.1.255.255", 2),
            ("1.2.0.0", 3),
            ("1.3.255.255", 3),
            ("1.200.0.0", 3),
            ("2.0.0.0", 0),
            ("255.255.254.255", 0),
            ("255.255.255.255", 9),
            ("::1.0.1.7", 2),
            ("2001:db7:ffff::", 0),
            ("2001:db8:ffff::1", 5),
            ("2001:db9::", 0),
            ("ffff::", 0),
        ] {
            assert_eq!(value(&ranges, address), expected, "{address}");
        }
    }

    #[test]
    fn of_ipv6_the_first_half_decides() {
        let ranges = gather(&[
            ("2001:db8::", 80, 1),
            ("2001:db8:0:0:1::", 80, 2),
            ("2001:db8:0:1::", 64, 3),
            ("2001:db8:0:2:8000::", 65, 4),
        ]);
        for (address, expected) in [("2001:db8::", 1), ("2001:db8:0:0:1::", 1), ("2001:db8:0:1::7", 3)] {
            assert_eq!(value(&ranges, address), expected, "{address}");
        }
        assert_eq!(value(&ranges, "2001:db8:0:2::"), 3, "the last that begins before it");
    }

    #[test]
    fn neighbours_of_one_value_are_one_range() {
        let ranges = gather(&[("0.0.0.0", 1, 1), ("128.0.0.0", 2, 1), ("192.0.0.0", 2, 2)]);
        assert_eq!((ranges.ipv4.begins.len(), ranges.ipv6.begins.len()), (2, 1));
    }

    #[test]
    fn a_network_of_ipv6_that_holds_all_of_ipv4_speaks_for_it() {
        let ranges = gather(&[("::", 64, 4), ("0:0:0:1::", 64, 5)]);
        assert_eq!(
            [value(&ranges, "9.9.9.9"), value(&ranges, "::1"), value(&ranges, "0:0:0:1::9")],
            [4, 4, 5]
        );
    }
}
