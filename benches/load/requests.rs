//! The mix: the requests of the reference load, as bytes that are ready to be sent.
//!
//! 4,096 client addresses (or as many as are asked for) and 5 paths, each request with the next one of both. The addresses are made by a
//! generator with a fixed seed, so that every run and every contestant gets the same requests in the same order.

use std::net::{Ipv4Addr, SocketAddr};

const ADDRESSES: usize = 4_096;
const PATHS: [&str; 5] = ["/", "/api/v1/items", "/login", "/api/v1/orders/42?expand=lines", "/admin/users"];
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36";
const SEED: u64 = 42;

/// The requests, in order, again and again.
#[derive(Debug)]
pub(crate) struct Mix {
    begins: Vec<Vec<u8>>,
    ends: Vec<Vec<u8>>,
    sent: usize,
}

impl Mix {
    /// The mix, for a server at `address`.
    pub(crate) fn for_server(address: SocketAddr) -> Self {
        let mut numbers = Numbers(SEED);
        let any = |_| {
            let [a, b, c, d] =
                [(1, 223), (0, 255), (0, 255), (1, 254)].map(|(from, to)| numbers.within(from, to));
            format!("{a}.{b}.{c}.{d}")
        };
        let clients: Vec<String> = (0..ADDRESSES).map(any).collect();
        Self::new(address, &clients)
    }

    /// The mix from other clients: as many networks as asked for, up to 100,000, with an address in each.
    pub(crate) fn from_networks(address: SocketAddr, count: u32) -> Self {
        // Far apart, and none that a gate takes for its own machine.
        let client = |number: u32| {
            let network = Ipv4Addr::from_bits((number * 140) << 8);
            let [a, b, c, _] = network.octets();
            let a = if a < 126 { a + 1 } else { a + 2 };
            format!("{a}.{b}.{c}.7")
        };
        let clients: Vec<String> = (0..count).map(client).collect();
        Self::new(address, &clients)
    }

    fn new(address: SocketAddr, clients: &[String]) -> Self {
        let begin = |path: &&str| {
            format!(
                "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: {AGENT}\r\nAccept-Language: en\r\n"
            )
            .into()
        };
        let end = |client: &String| format!("X-Forwarded-For: {client}\r\n\r\n").into();
        Self { begins: PATHS.iter().map(begin).collect(), ends: clients.iter().map(end).collect(), sent: 0 }
    }

    /// Writes the next request.
    pub(crate) fn write_next(&mut self, request: &mut Vec<u8>) {
        request.clear();
        self.sent = self.sent.wrapping_add(1);
        for part in
            [self.begins.get(self.sent % PATHS.len()), self.ends.get(self.sent % self.ends.len().max(1))]
        {
            request.extend_from_slice(part.map_or(&[], Vec::as_slice));
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }
}
