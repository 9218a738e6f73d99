//! Lists of addresses and networks, as the public blocklists publish them.
//!
//! One address or CIDR a line, comments after `#` or `;`. A list answers one question, yes or no, from the full
//! address in memory; only the list's name goes on. The networks sit in a prefix trie, so a million of them
//! cost a request about as much as ten. Nothing here does IO.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use ipnet::{IpNet, Ipv4Net};
use prefix_trie::joint::JointPrefixSet;

use crate::facts::client::{ClientIp, Prefix};
use crate::facts::problem::Problem;

/// How many problems of one file are told one by one.
const PROBLEMS_MAX: usize = 20;
/// How many characters of an unreadable entry are repeated in its problem.
const SHOWN_MAX: usize = 60;

/// A set of addresses and networks.
#[derive(Clone, Debug)]
pub struct IpList {
    networks: JointPrefixSet<IpNet>,
}

impl IpList {
    /// Reads a list; `name` is only for messages. All problems are told at once: up to 20, then how many more.
    pub fn parse(name: &Path, text: &[u8]) -> Result<Self, Vec<Problem>> {
        if text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]) {
            return Err(vec![Problem::error(name, "the file is UTF-16").hint("save it as UTF-8")]);
        }
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut networks = Vec::new();
        let mut problems = Vec::new();
        let mut untold = 0;
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let Some(entry) = Entry::of(line) else { continue };
            match entry.network() {
                Ok(network) => networks.push(network),
                Err(_) if problems.len() == PROBLEMS_MAX => untold += 1,
                Err(fault) => problems.push(fault.problem(name, index + 1, &entry)),
            }
        }
        if untold > 0 {
            problems.push(Problem::error(name, format!("... and {untold} more")));
        }
        if problems.is_empty() { Ok(Self::of(networks)) } else { Err(problems) }
    }

    /// Sorted, they are inserted twice as fast and lie close together.
    fn of(mut networks: Vec<IpNet>) -> Self {
        networks.sort_unstable();
        Self { networks: networks.into_iter().collect() }
    }

    /// Whether the client's full address is on the list; an unknown address is on none.
    pub fn contains(&self, client: &ClientIp) -> bool {
        client.matches(|address| self.networks.is_covered(&IpNet::from(address)))
    }

    /// Whether every address of the prefix is on the list; an unknown prefix is on none.
    pub fn contains_prefix(&self, prefix: &Prefix) -> bool {
        // A prefix shows itself as a network, or as a word that is none.
        prefix.to_string().parse().is_ok_and(|network| self.networks.is_covered_in_aggregate(&network))
    }

    /// How many different entries it has.
    pub fn len(&self) -> usize {
        self.networks.len()
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// What it takes of memory, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.networks.t1.mem_size() + self.networks.t2.mem_size()
    }
}

/// What a line says besides its comment.
struct Entry<'a> {
    text: &'a [u8],
    /// In characters, from 1.
    column: usize,
}

/// Why an entry cannot be read.
enum Fault {
    Unreadable,
    HostBits(IpNet),
}

impl<'a> Entry<'a> {
    /// `None` if there is nothing but a comment.
    fn of(line: &'a [u8]) -> Option<Self> {
        let line = line.split(|byte| matches!(byte, b'#' | b';')).next()?.trim_ascii_end();
        let text = line.trim_ascii_start();
        // Only ASCII blanks were trimmed, so bytes are characters here.
        (!text.is_empty()).then_some(Self { text, column: line.len() - text.len() + 1 })
    }

    fn network(&self) -> Result<IpNet, Fault> {
        let text = std::str::from_utf8(self.text).map_err(|_| Fault::Unreadable)?;
        let network: IpNet = if text.contains('/') {
            text.parse().map_err(|_| Fault::Unreadable)?
        } else {
            text.parse::<IpAddr>().map_err(|_| Fault::Unreadable)?.into()
        };
        if network.addr() == network.network() {
            Ok(canonical(network))
        } else {
            Err(Fault::HostBits(network.trunc()))
        }
    }
}

impl Fault {
    fn problem(&self, name: &Path, line: usize, entry: &Entry<'_>) -> Problem {
        let text = String::from_utf8_lossy(entry.text);
        let width = text.chars().count();
        let cut = if width > SHOWN_MAX { "..." } else { "" };
        let shown: String = text.chars().take(SHOWN_MAX).collect();
        let problem = match self {
            Self::Unreadable => {
                Problem::error(name, format!("`{shown}{cut}` is neither an address nor a network"))
                    .hint(hint(&text))
            }
            Self::HostBits(network) => {
                Problem::error(name, format!("`{shown}{cut}` is an address inside a network"))
                    .hint(format!("did you mean `{network}`?"))
            }
        };
        problem.at(line, entry.column).spanning(width)
    }
}

fn hint(text: &str) -> &'static str {
    if text.contains('-') {
        "write a range as networks, like `192.0.2.0/24`"
    } else if text.contains(|c: char| c.is_whitespace() || c == ',') {
        "write one entry a line, and a comment after `#`"
    } else {
        "write an address like `192.0.2.1` or a network like `192.0.2.0/24`; names are not looked up"
    }
}

/// Clients that come as IPv4 inside IPv6 (`::ffff:0:0/96`, NAT64 `64:ff9b::/96`) are IPv4, so entries are too.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let inside = match v6.network().segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
        }
        _ => return network,
    };
    let length = v6.prefix_len().checked_sub(96);
    length.and_then(|length| Ipv4Net::new(inside, length).ok()).map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::facts::client::{PeerAddr, Truncation, TrustedProxies};
    use crate::facts::forwarded::ForwardHeader;

    fn parse(text: &str) -> Result<IpList, Vec<Problem>> {
        IpList::parse(Path::new("block.txt"), text.as_bytes())
    }

    fn client(address: IpAddr) -> ClientIp {
        let peer = PeerAddr::new(Some(SocketAddr::new(address, 1)));
        TrustedProxies::default().client_of(peer, ForwardHeader::Forwarded, std::iter::empty())
    }

    fn contains(list: &IpList, address: &str) -> bool {
        list.contains(&client(address.parse().unwrap()))
    }

    fn messages(text: &str) -> Vec<String> {
        parse(text).unwrap_err().iter().map(Problem::to_string).collect()
    }

    #[test]
    fn the_formats_of_public_lists_are_read() {
        let list = parse(
            "\u{feff}# a list\r\n\r\n; another comment\n192.0.2.66\r\n  198.51.100.0/24 ; SBL1\n\
             2001:db8::/32# no blank\n203.0.113.9 # twice\n203.0.113.9",
        )
        .unwrap();
        assert_eq!(list.len(), 4);
        for listed in ["192.0.2.66", "198.51.100.200", "2001:db8::9", "203.0.113.9", "::ffff:192.0.2.66"] {
            assert!(contains(&list, listed), "{listed}");
        }
        for other in ["192.0.2.67", "198.51.101.0", "2001:db9::", "::"] {
            assert!(!contains(&list, other), "{other}");
        }
    }

    #[test]
    fn the_shipped_list_blocks_nobody_who_tries_things_out() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/lists/blocklist.txt");
        let list = IpList::parse(&path, &std::fs::read(&path).unwrap()).unwrap();
        assert!(contains(&list, "192.0.2.66"));
        for other in
            ["127.0.0.1", "::1", "192.0.2.1", "198.51.100.7", "203.0.113.7", "8.8.8.8", "175.45.176.1"]
        {
            assert!(!contains(&list, other), "{other}");
        }
    }

    #[test]
    fn a_comment_may_be_in_any_encoding() {
        assert_eq!(IpList::parse(Path::new("l"), b"10.0.0.1 # caf\xe9\n").unwrap().len(), 1);
    }

    #[test]
    fn an_empty_list_contains_nobody() {
        for text in ["", "\n", "# nothing yet"] {
            let list = parse(text).unwrap();
            assert!(list.is_empty() && !contains(&list, "192.0.2.1"));
        }
    }

    #[test]
    fn an_unknown_client_is_on_no_list() {
        let everybody = parse("0.0.0.0/0\n::/0").unwrap();
        let nobody = TrustedProxies::default().client_of(
            PeerAddr::new(None),
            ForwardHeader::Forwarded,
            std::iter::empty(),
        );
        assert!(!everybody.contains(&nobody) && !everybody.contains_prefix(&Prefix::UNKNOWN));
        assert!(contains(&everybody, "8.8.8.8") && contains(&everybody, "2001:db8::1"));
    }

    #[test]
    fn ipv4_written_as_ipv6_is_ipv4() {
        let list = parse("::ffff:10.0.0.0/104\n64:ff9b::c000:242").unwrap();
        assert!(contains(&list, "10.200.0.1") && contains(&list, "192.0.2.66"));
        assert!(contains(&list, "::ffff:10.0.0.1") && contains(&list, "64:ff9b::10.0.0.1"));
    }

    #[test]
    fn problems_say_where_and_what_to_do() {
        assert_eq!(
            messages(
                "10.0.0.0/8\n  10.0.0.1/8 # typo\n10.0.0.1-10.0.0.9\n10.0.0.1 evil\n10.0.0.0/33\nevil.example"
            ),
            [
                "block.txt:2:3: `10.0.0.1/8` is an address inside a network; did you mean `10.0.0.0/8`?",
                "block.txt:3:1: `10.0.0.1-10.0.0.9` is neither an address nor a network; \
                 write a range as networks, like `192.0.2.0/24`",
                "block.txt:4:1: `10.0.0.1 evil` is neither an address nor a network; \
                 write one entry a line, and a comment after `#`",
                "block.txt:5:1: `10.0.0.0/33` is neither an address nor a network; write an address like \
                 `192.0.2.1` or a network like `192.0.2.0/24`; names are not looked up",
                "block.txt:6:1: `evil.example` is neither an address nor a network; write an address like \
                 `192.0.2.1` or a network like `192.0.2.0/24`; names are not looked up",
            ]
        );
    }

    #[test]
    fn problems_are_told_at_once_up_to_a_cap() {
        assert_eq!(messages(&"x\n".repeat(20)).len(), 20);
        let told = messages(&"x\n".repeat(23));
        assert_eq!((told.len(), told.last().unwrap().as_str()), (21, "block.txt: ... and 3 more"));
        assert!(messages(&"x".repeat(10_000))[0].len() < 300);
        assert_eq!(
            IpList::parse(Path::new("l"), b"\xff\xfe1\0").unwrap_err()[0].message(),
            "the file is UTF-16"
        );
    }

    #[test]
    fn a_prefix_is_on_the_list_if_all_of_it_is() {
        let list = parse("10.0.0.0/8\n192.0.2.0/25\n192.0.2.128/25\n198.51.100.0/25").unwrap();
        let listed = |text| list.contains_prefix(&Prefix::parse(text).unwrap());
        assert!(listed("10.1.2.0/24") && listed("192.0.2.0/24"));
        assert!(!listed("198.51.100.0/24") && !listed("2001:db8::/48"));
        let described = Prefix::of_described("10.1.2.3".parse().unwrap(), Truncation::default());
        assert!(list.contains_prefix(&described));
    }

    /// Networks of any length in a small part of each family, so that they meet.
    fn networks() -> impl Strategy<Value = Vec<IpNet>> {
        let v4 = (0u32..1 << 12, 18u8..=32)
            .prop_map(|(low, length)| Ipv4Net::new_assert((0x0a00_0000 | low).into(), length).into());
        let v6 = (0u128..1 << 12, 112u8..=128).prop_map(|(low, length)| {
            ipnet::Ipv6Net::new_assert((0x2001 << 112 | low).into(), length).into()
        });
        prop::collection::vec(prop_oneof![v4, v6].prop_map(|network: IpNet| network.trunc()), 0..40)
    }

    proptest! {
        #[test]
        fn a_list_agrees_with_a_naive_scan(entries in networks(), low in 0u16..1 << 12) {
            let text: String = entries.iter().map(|network| format!("{network}\n")).collect();
            let list = parse(&text).unwrap();
            for address in [
                IpAddr::from((0x0a00_0000 | u32::from(low)).to_be_bytes()),
                IpAddr::from((0x2001 << 112 | u128::from(low)).to_be_bytes()),
            ] {
                let scanned = entries.iter().any(|network| network.contains(&address));
                prop_assert_eq!(list.contains(&client(address)), scanned);
            }
        }

        #[test]
        fn what_was_written_is_read_back(entries in networks()) {
            let text: String = entries.iter().map(|network| format!("\t{network} ; {network}\r\n")).collect();
            let list = parse(&text).unwrap();
            let mut distinct = entries;
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(list.networks.iter().collect::<Vec<_>>(), distinct);
        }

        #[test]
        fn any_bytes_are_read_or_refused(text in any::<Vec<u8>>()) {
            let _either = IpList::parse(Path::new("l"), &text);
        }
    }
}
