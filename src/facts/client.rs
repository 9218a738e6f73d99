//! Who is calling, and how little of it leaves.
//!
//! [`PeerAddr`] and [`ClientIp`] hold full addresses and live in this file alone: they have no `Display`, no
//! `Debug` that shows digits and no `Serialize`. What goes on is a [`Client`]: a truncated [`Prefix`] and a
//! [`Pseudonym`], a keyed hash under a random key that rotates and is destroyed. There are two narrow exits
//! for a full address: a yes-or-no question (`ClientIp::matches`) and the operator's explicit choice to
//! tell the origin (`ClientIp::forwarded`).

mod keyring;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;

pub use self::keyring::Keyring;
use super::forwarded::{ForwardHeader, Node};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The other end of the connection.
#[derive(Clone, Copy)]
pub struct PeerAddr(Peer);

#[derive(Clone, Copy)]
enum Peer {
    Address(IpAddr),
    /// A process of this machine.
    Unix,
    Unknown,
}

/// Who we believe is calling, after trusted proxies were taken at their word.
#[derive(Clone, Copy)]
pub struct ClientIp(Option<IpAddr>);

/// Whose forwarding header is believed, and how far; by default nobody's.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    unix: bool,
    hops: Option<NonZeroU8>,
}

/// How many leading bits of an address are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncation {
    ipv4: u8,
    ipv6: u8,
}

/// A truncated address: a network, or unknown. Safe to show, count and log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(Option<IpNet>);

/// A client's name for as long as one key lives: 64 bits of a keyed hash, shown as 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pseudonym([u8; 8]);

/// All that the rest of the house learns about who is calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    prefix: Prefix,
    pseudonym: Pseudonym,
}

/// What the origin is told about the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Forward {
    /// The full address.
    Full,
    /// The first address of the truncated prefix.
    #[default]
    Truncated,
    /// `_` and a pseudonym under a key of its own (RFC 7239, section 6.3).
    Pseudonym,
}

impl PeerAddr {
    /// Nobody knows who it is: there is no limit or trust that it could have for itself.
    pub const UNKNOWN: Self = Self(Peer::Unknown);
    /// The other end of a Unix socket.
    pub const UNIX: Self = Self(Peer::Unix);

    /// The peer of a connection; `None` if it is unknown.
    pub fn new(socket: Option<SocketAddr>) -> Self {
        Self(socket.map_or(Peer::Unknown, |socket| Peer::Address(canonical(socket.ip()))))
    }

    fn address(self) -> Option<IpAddr> {
        match self.0 {
            Peer::Address(address) => Some(address),
            Peer::Unix | Peer::Unknown => None,
        }
    }

    /// The network that the peer is in.
    pub fn prefix(self, truncation: Truncation) -> Prefix {
        Prefix(self.address().map(|address| truncation.apply(address)))
    }
}

impl TrustedProxies {
    /// Believes the forwarding header of peers in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self { networks, ..Self::default() }
    }

    /// Believes that of peers on Unix sockets too.
    #[must_use]
    pub fn and_unix(self) -> Self {
        Self { unix: true, ..self }
    }

    /// Believes as many hops as there are proxies, wherever those are, instead of all in the networks. The peer is the
    /// first of them and must still be trusted by itself.
    #[must_use]
    pub fn counting(self, hops: NonZeroU8) -> Self {
        Self { hops: Some(hops), ..self }
    }

    /// Whether a peer's forwarding header is believed.
    pub fn trust(&self, peer: PeerAddr) -> bool {
        match peer.0 {
            Peer::Address(address) => self.trusts(address),
            Peer::Unix => self.unix,
            Peer::Unknown => false,
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The client behind `peer`: walks `header` from the right while every hop passed is trusted, and stops
    /// at the first other one. A hop that cannot be read ends the walk at the last address believed; where hops are
    /// counted, it counts.
    pub fn client_of<'a>(
        &self,
        peer: PeerAddr,
        header: ForwardHeader,
        lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> ClientIp {
        let mut believed = peer.address();
        if !self.trust(peer) {
            return ClientIp(believed);
        }
        let mut left = self.hops.map(NonZeroU8::get);
        header.walk(lines, |node| {
            let address = match node {
                Node::Address(address) => Some(canonical(address)),
                Node::Opaque => None,
            };
            believed = address.or(believed);
            match &mut left {
                Some(left) => {
                    *left -= 1;
                    *left > 0
                }
                None => address.is_some_and(|address| self.trusts(address)),
            }
        });
        ClientIp(believed)
    }
}

impl ClientIp {
    /// Asks a yes-or-no question about the full address; an unknown address is never a match.
    pub(crate) fn matches(&self, question: impl FnOnce(IpAddr) -> bool) -> bool {
        self.0.is_some_and(question)
    }

    /// What the rest of the house may know.
    pub fn identify(&self, truncation: Truncation, keys: &Keyring) -> Client {
        let prefix = Prefix(self.0.map(|address| truncation.apply(address)));
        Client { prefix, pseudonym: keys.client(&prefix) }
    }

    /// The node to name in the forwarding header toward the origin, as `forward` says; `None` if unknown.
    pub(crate) fn forwarded(&self, forward: Forward, client: &Client, keys: &Keyring) -> Option<String> {
        let address = self.0?;
        Some(match forward {
            Forward::Full => text_of(address),
            Forward::Truncated => text_of(client.prefix.network()?),
            Forward::Pseudonym => format!("_{}", keys.origin(&client.prefix)),
        })
    }
}

/// As `Display` writes it. Most requests need one, so that IPv4 does not take the way of all formatting.
fn text_of(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else { return address.to_string() };
    let [a, b, c, d] = address.octets();
    let mut text = String::with_capacity("255.255.255.255".len());
    text.push_str(itoa::Buffer::new().format(a));
    for octet in [b, c, d] {
        text.push('.');
        text.push_str(itoa::Buffer::new().format(octet));
    }
    text
}

impl fmt::Debug for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerAddr(private)")
    }
}

impl fmt::Debug for ClientIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIp(private)")
    }
}

impl Truncation {
    /// Keeps `ipv4` of 32 and `ipv6` of 128 leading bits; `None` if there are not that many.
    pub const fn new(ipv4: u8, ipv6: u8) -> Option<Self> {
        if ipv4 > 32 || ipv6 > 128 { None } else { Some(Self { ipv4, ipv6 }) }
    }

    /// The leading bits kept of an IPv4 address.
    pub const fn ipv4(self) -> u8 {
        self.ipv4
    }

    /// The leading bits kept of an IPv6 address.
    pub const fn ipv6(self) -> u8 {
        self.ipv6
    }

    fn apply(self, address: IpAddr) -> IpNet {
        match address {
            IpAddr::V4(v4) => IpNet::V4(Ipv4Net::new_assert(v4, self.ipv4).trunc()),
            IpAddr::V6(v6) => IpNet::V6(Ipv6Net::new_assert(v6, self.ipv6).trunc()),
        }
    }
}

impl Default for Truncation {
    fn default() -> Self {
        Self { ipv4: 24, ipv6: 48 }
    }
}

impl Prefix {
    /// No address is known.
    pub const UNKNOWN: Self = Self(None);

    /// Reads what [`fmt::Display`] wrote; bits past the prefix length are refused.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "unknown" {
            return Some(Self::UNKNOWN);
        }
        text.parse::<IpNet>().ok().filter(|net| net.trunc() == *net).map(|net| Self(Some(net)))
    }

    /// The prefix that `truncation` leaves of an address that is not a client's: one that a policy case or an
    /// operator at a terminal wrote down.
    pub fn of_described(address: IpAddr, truncation: Truncation) -> Self {
        Self(Some(truncation.apply(canonical(address))))
    }

    /// The first address of the prefix, with all truncated bits zero.
    pub fn network(&self) -> Option<IpAddr> {
        self.0.map(|net| net.network())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(net) => net.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

impl Pseudonym {
    /// Reads what [`fmt::Display`] wrote: 16 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(Self::from_bits)
    }

    /// The name as a number, to be kept where a text is too large.
    pub const fn bits(self) -> u64 {
        u64::from_be_bytes(self.0)
    }

    /// The name of that number.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits.to_be_bytes())
    }

    /// What [`fmt::Display`] writes.
    pub fn digits(self) -> [u8; 16] {
        let digit = |half: u8| if half < 10 { b'0' + half } else { b'a' - 10 + half };
        let mut digits = [0; 16];
        for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(self.0) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        digits
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.bits())
    }
}

impl Client {
    /// A client from its parts, as a record or a policy case describes it.
    pub const fn new(prefix: Prefix, pseudonym: Pseudonym) -> Self {
        Self { prefix, pseudonym }
    }

    /// The truncated address.
    pub const fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// The client's name while the current key lives.
    pub const fn pseudonym(&self) -> Pseudonym {
        self.pseudonym
    }
}

impl Prefix {
    fn bytes(&self) -> [u8; 18] {
        let mut bytes = [0; 18];
        let (kind, length, octets) = match self.0 {
            None => (0, 0, [0; 16]),
            Some(IpNet::V4(net)) => (4, net.prefix_len(), net.network().to_ipv6_mapped().octets()),
            Some(IpNet::V6(net)) => (6, net.prefix_len(), net.network().octets()),
        };
        let (head, tail) = bytes.split_at_mut(2);
        head.copy_from_slice(&[kind, length]);
        tail.copy_from_slice(&octets);
        bytes
    }
}

/// One form for each address: IPv4 inside IPv6 (`::ffff:0:0/96`, and NAT64 `64:ff9b::/96`) is IPv4.
fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address.to_canonical() else {
        return address.to_canonical();
    };
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
        }
        _ => IpAddr::V6(v6),
    }
}

#[cfg(test)]
mod tests;
