//! Every way in which a full address could be written down.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One address in all its spellings.
pub(super) struct Canary {
    spellings: Vec<Vec<u8>>,
}

impl Canary {
    pub(super) fn new(address: &str) -> Self {
        let (texts, raw) = match address.parse().unwrap() {
            IpAddr::V4(v4) => (v4_texts(v4), v4.octets().to_vec()),
            IpAddr::V6(v6) => (v6_texts(v6), v6.octets().to_vec()),
        };
        let reversed = raw.iter().rev().copied().collect();
        let texts = texts.into_iter().map(|text| text.to_lowercase().into_bytes());
        let escaped =
            [raw.escape_ascii().to_string(), format!("{raw:?}"), format!("{raw:?}").replace(' ', "")];
        let escaped = escaped.into_iter().map(|text| text.to_lowercase().into_bytes());
        Self { spellings: texts.chain(escaped).chain([raw, reversed]).collect() }
    }

    /// The first spelling that is in there; case does not count.
    pub(super) fn found_in(&self, bytes: &[u8]) -> Option<String> {
        let lower = bytes.to_ascii_lowercase();
        let found = self.spellings.iter().find(|spelling| {
            memchr::memmem::find(&lower, spelling).is_some()
                || memchr::memmem::find(bytes, spelling).is_some()
        });
        found.map(|spelling| String::from_utf8_lossy(spelling).into_owned())
    }
}

fn v4_texts(v4: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = v4.octets();
    let number = u32::from(v4);
    vec![
        format!("{a}.{b}.{c}.{d}"),
        format!("{d}.{c}.{b}.{a}"),
        format!("{a}-{b}-{c}-{d}"),
        format!("{a}_{b}_{c}_{d}"),
        format!("{a:03}.{b:03}.{c:03}.{d:03}"),
        format!("{a:o}.{b:o}.{c:o}.{d:o}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("{a:x}.{b:x}.{c:x}.{d:x}"),
        format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}"),
        format!("{a}%2e{b}%2e{c}%2e{d}"),
        format!("{number:08x}"),
        format!("{:08x}", number.swap_bytes()),
        format!("{:x}:{:x}", number >> 16, number & 0xffff),
        format!("{number}"),
        format!("{}", number.swap_bytes()),
    ]
}

fn v6_texts(v6: Ipv6Addr) -> Vec<String> {
    let segments = v6.segments();
    let number = u128::from(v6);
    let joined = |separator: &str, each: &dyn Fn(u16) -> String| {
        segments.iter().map(|segment| each(*segment)).collect::<Vec<_>>().join(separator)
    };
    let long = format!("{number:032x}");
    let nibbles: Vec<String> = long.chars().rev().map(String::from).collect();
    // The half that no prefix keeps is telling by itself.
    let host = format!("{:x}:{:x}:{:x}:{:x}", segments[4], segments[5], segments[6], segments[7]);
    vec![
        v6.to_string(),
        joined(":", &|segment| format!("{segment:x}")),
        joined(":", &|segment| format!("{segment:04x}")),
        joined("%3a", &|segment| format!("{segment:x}")),
        joined("-", &|segment| format!("{segment:x}")),
        nibbles.join("."),
        long.clone(),
        format!("{number}"),
        format!("{}", number as u64),
        host,
        long[16..].to_owned(),
    ]
}

#[test]
fn the_search_itself_finds_every_spelling_and_no_prefix() {
    let (v4, v6) = (Canary::new("203.0.113.77"), Canary::new("2001:db8:77:1234:5678:9abc:def0:4242"));
    for text in
        ["at 203.0.113.77!", "CB00714D", "0xcb00714d", "3405803853", "[203, 0, 113, 77]", "77.113.0.203"]
    {
        assert!(v4.found_in(text.as_bytes()).is_some(), "{text}");
    }
    assert!(v4.found_in(b"x\xcb\x00\x71\x4d").is_some());
    for text in [
        "2001:DB8:77:1234:5678:9ABC:DEF0:4242",
        "2001:0db8:0077:1234:5678:9abc:def0:4242",
        "...5678:9abc:def0:4242",
        "20010db80077123456789abcdef04242",
    ] {
        assert!(v6.found_in(text.as_bytes()).is_some(), "{text}");
    }
    for text in ["203.0.113.0/24", "203.0.113.7", "2001:db8:77::/48"] {
        assert_eq!((v4.found_in(text.as_bytes()), v6.found_in(text.as_bytes())), (None, None), "{text}");
    }
}
