//! Headers that are good, cut, too long, mixed and hostile.

use proptest::prelude::*;

use super::*;
use crate::facts::client::{Keyring, Truncation, TrustedProxies};
use crate::facts::forwarded::ForwardHeader;

/// What a header says, reading exactly as many bytes of `stream` as it asks for; and how many those were.
fn follow(stream: &[u8]) -> (String, usize) {
    let mut taken = 0;
    loop {
        match read(&stream[..taken]) {
            Ok(Progress::More(0)) => panic!("nothing is asked for"),
            Ok(Progress::More(_)) if taken == stream.len() => return ("cut".into(), taken),
            // In pieces, as a network would hand them out.
            Ok(Progress::More(more)) => taken += more.min(7).min(stream.len() - taken),
            Ok(Progress::Done(told)) => return (shown(told), taken),
            Err(error) => return (format!("{error:?}"), taken),
        }
    }
}

fn shown(told: Told) -> String {
    let Told::Peer(peer) = told else { return "itself".into() };
    let keys = Keyring::new(&zeroize::Zeroizing::new([1; 32]));
    let ip = TrustedProxies::default().client_of(peer, ForwardHeader::Forwarded, std::iter::empty());
    ip.identify(Truncation::new(32, 128).unwrap(), &keys).prefix().to_string()
}

fn v2(command: u8, transport: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [V2, &[command, transport], &length, content].concat()
}

const IPV4: [u8; 12] = [203, 0, 113, 77, 10, 0, 0, 1, 0x80, 0, 1, 0xbb];

fn ipv6() -> Vec<u8> {
    let source = "2001:db8::77".parse::<std::net::Ipv6Addr>().unwrap().octets();
    [source.as_slice(), &[0; 16], &[0x80, 0, 1, 0xbb]].concat()
}

#[test]
fn version_1_is_read() {
    for (header, said) in [
        ("PROXY TCP4 203.0.113.77 10.0.0.1 56324 443\r\n", "203.0.113.77/32"),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255/32"),
        ("PROXY TCP6 2001:db8::77 2001:db8::1 56324 443\r\n", "2001:db8::77/128"),
        ("PROXY TCP6 ::ffff:203.0.113.77 ::1 1 2\r\n", "203.0.113.77/32"),
        ("PROXY UNKNOWN\r\n", "unknown"),
        ("PROXY UNKNOWN 203.0.113.77 10.0.0.1 56324 443\r\n", "unknown"),
        (
            "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            "unknown",
        ),
    ] {
        let stream = format!("{header}GET / HTTP/1.1\r\n\r\n");
        assert_eq!(follow(stream.as_bytes()), (said.to_owned(), header.len()), "{header:?}");
        for end in 0..header.len() {
            assert_eq!(follow(&header.as_bytes()[..end]), ("cut".to_owned(), end), "{header:?} {end}");
        }
    }
}

#[test]
fn version_2_is_read() {
    let extended = [IPV4.as_slice(), &[0x04, 0, 3, 1, 2, 3], &[0x20, 0, 0]].concat();
    let large = [IPV4.as_slice(), &[0x04, 0x0f, 0xf1], &[0; MAX_V2 - 15]].concat();
    for (header, said) in [
        (v2(0x21, 0x11, &IPV4), "203.0.113.77/32"),
        (v2(0x21, 0x21, &ipv6()), "2001:db8::77/128"),
        (v2(0x21, 0x11, &extended), "203.0.113.77/32"),
        (v2(0x21, 0x11, &large), "203.0.113.77/32"),
        (v2(0x21, 0x31, &[b'x'; 216]), "unknown"),
        (v2(0x21, 0x00, &[]), "unknown"),
        (v2(0x21, 0x00, &IPV4), "unknown"),
        (v2(0x20, 0x00, &[]), "itself"),
        (v2(0x20, 0x11, &IPV4), "itself"),
        // The family of the proxy's own connection is to be passed over.
        (v2(0x20, 0x77, &[1, 2, 3]), "itself"),
    ] {
        let stream = [header.as_slice(), b"\x16\x03\x01"].concat();
        assert_eq!(follow(&stream), (said.to_owned(), header.len()), "{header:?}");
        for end in 0..header.len() {
            assert_eq!(follow(&header[..end]), ("cut".to_owned(), end), "{header:?} {end}");
        }
    }
}

#[test]
fn what_is_no_header_is_known_from_its_first_bytes_on() {
    for (stream, taken) in [
        (b"GET / HTTP/1.1\r\n\r\n".as_slice(), 7),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 7),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", 7),
        (b"proxy tcp4 1.2.3.4 1.2.3.4 1 2\r\n", 7),
        (b"PROXYTCP4 1.2.3.4 1.2.3.4 1 2\r\n", 7),
        (b" PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", 7),
        (b"\r\nPROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", 7),
        (b"\r\n\r\n\0\r\nQUIX\n\x21\x11\0\x0c", 14),
        (b"\r\n\r\n\x01\r\nQUIT\n\x21\x11\0\x0c", 7),
    ] {
        assert_eq!(follow(stream), ("Absent".to_owned(), taken), "{stream:?}");
    }
}

#[test]
fn malformed_headers_of_version_1_are_refused() {
    for header in [
        "PROXY TCP4 203.0.113.77 10.0.0.1 56324\r\n",
        "PROXY TCP4 203.0.113.77 10.0.0.1 56324 443 x\r\n",
        "PROXY TCP4 203.0.113.77 10.0.0.1 56324 443 \r\n",
        "PROXY TCP4  203.0.113.77 10.0.0.1 56324 443\r\n",
        "PROXY TCP4\t203.0.113.77 10.0.0.1 56324 443\r\n",
        "PROXY TCP4 203.0.113.077 10.0.0.1 56324 443\r\n",
        "PROXY TCP4 0xcb.0.113.77 10.0.0.1 56324 443\r\n",
        "PROXY TCP4 203.0.113.77 10.0.0.1 56324 65536\r\n",
        "PROXY TCP4 203.0.113.77 10.0.0.1 -1 443\r\n",
        "PROXY TCP4 203.0.113.77 10.0.0.1 056324 443\r\n",
        "PROXY TCP4 2001:db8::77 2001:db8::1 56324 443\r\n",
        "PROXY TCP6 203.0.113.77 10.0.0.1 56324 443\r\n",
        "PROXY TCP6 [2001:db8::77] 2001:db8::1 56324 443\r\n",
        "PROXY TCP6 fe80::1%eth0 2001:db8::1 56324 443\r\n",
        "PROXY TCP4 example.com 10.0.0.1 56324 443\r\n",
        "PROXY UDP4 203.0.113.77 10.0.0.1 56324 443\r\n",
        "PROXY tcp4 203.0.113.77 10.0.0.1 56324 443\r\n",
        "PROXY UNKNOWNX 203.0.113.77 10.0.0.1 1 2\r\n",
        "PROXY TCP4\r203.0.113.77\r10.0.0.1\r1\r2\r\n",
        "PROXY TCP4 203.0.113.77 10.0.0.1 56324 443\n",
        "PROXY UNKNOWN\n\r\n",
        "PROXY TCP4 203.0.113.77\r\n10.0.0.1 56324 443\r\n",
        "PROXY TCP4 \u{0}203.0.113.77 10.0.0.1 56324 443\r\n",
        "PROXY TCP4 203.0.113.77\u{e9} 10.0.0.1 56324 443\r\n",
        "PROXY           \r\n",
        "PROXY \r\n\r\n\u{0}\r\nQUIT\n",
    ] {
        assert_eq!(follow(header.as_bytes()).0, "Malformed", "{header:?}");
    }
}

#[test]
fn malformed_headers_of_version_2_are_refused() {
    for header in [
        v2(0x11, 0x11, &IPV4),
        v2(0x31, 0x11, &IPV4),
        v2(0x22, 0x11, &IPV4),
        v2(0x2f, 0x11, &IPV4),
        v2(0x21, 0x11, &IPV4[..11]),
        v2(0x21, 0x21, &IPV4),
        v2(0x21, 0x31, &[0; 215]),
        v2(0x21, 0x10, &IPV4),
        v2(0x21, 0x01, &[]),
        v2(0x21, 0x12, &IPV4),
        v2(0x21, 0x22, &ipv6()),
        v2(0x21, 0x32, &[0; 216]),
        v2(0x21, 0x41, &[0; 216]),
        v2(0x21, 0x13, &IPV4),
        // Extensions that do not fill the header.
        v2(0x21, 0x11, &[IPV4.as_slice(), &[0x04]].concat()),
        v2(0x21, 0x11, &[IPV4.as_slice(), &[0x04, 0, 0, 0x04, 0]].concat()),
        v2(0x21, 0x11, &[IPV4.as_slice(), &[0x04, 0, 2, 1]].concat()),
    ] {
        assert_eq!(follow(&header).0, "Malformed", "{header:?}");
    }
}

/// What HAProxy 2.6 sent with `send-proxy-v2 proxy-v2-options crc32c,unique-id` for 127.0.0.1:52444 to 127.0.0.1:60619.
const OF_HAPROXY: [u8; 38] = [
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0x00, 0x16, 0x7f,
    0x00, 0x00, 0x01, 0x7f, 0x00, 0x00, 0x01, 0xcc, 0xdc, 0xec, 0xcb, 0x03, 0x00, 0x04, 0xcb, 0x50, 0x36,
    0x3f, 0x05, 0x00, 0x00,
];

#[test]
fn a_checksum_covers_every_byte_of_a_header() {
    assert_eq!(follow(&OF_HAPROXY), ("127.0.0.1/32".to_owned(), OF_HAPROXY.len()));
    // Any address, the type of an extension, and the checksum itself.
    for changed in (16..28).chain(31..36) {
        for bit in 0..8 {
            let mut header = OF_HAPROXY;
            header[changed] ^= 1 << bit;
            assert_eq!(follow(&header).0, "Checksum", "byte {changed}, bit {bit}");
        }
    }
    // One of another length, and two of them: each may have been made for the other as zeros.
    let short = [IPV4.as_slice(), &[0x03, 0, 3, 1, 2, 3]].concat();
    let long = [IPV4.as_slice(), &[0x03, 0, 5, 1, 2, 3, 4, 5]].concat();
    let twice = [IPV4.as_slice(), &[0x03, 0, 4, 0, 0, 0, 0], &[0x03, 0, 4, 0, 0, 0, 0]].concat();
    for content in [short, long, twice] {
        assert_eq!(follow(&v2(0x21, 0x11, &content)).0, "Malformed", "{content:?}");
    }
}

#[test]
fn a_proxys_own_connection_and_an_unknown_family_have_nothing_to_verify() {
    let mut header = OF_HAPROXY;
    header[31] ^= 1;
    header[12] = V2_LOCAL;
    assert_eq!(follow(&header).0, "itself", "whatever else it says is to be passed over");
    (header[12], header[13]) = (0x21, V2_UNSPECIFIED);
    assert_eq!(follow(&header).0, "unknown");
}

#[test]
fn headers_that_are_too_long_are_refused_before_they_are_read() {
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(1000));
    assert_eq!(follow(endless.as_bytes()), ("TooLong".to_owned(), MAX_V1));
    let late = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_V1 - 15));
    assert_eq!((late.len(), follow(late.as_bytes()).0.as_str()), (MAX_V1 + 1, "TooLong"));
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_V1 - 16));
    assert_eq!(follow(longest.as_bytes()), ("unknown".to_owned(), MAX_V1));
    let large = v2(0x21, 0x11, &[0; MAX_V2 + 1]);
    assert_eq!(follow(&large), ("TooLong".to_owned(), V2_FIXED));
    assert_eq!(follow(&v2(0x20, 0x00, &[0xff; 0xffff])), ("TooLong".to_owned(), V2_FIXED));
}

#[test]
fn a_second_header_is_not_the_first_ones_business() {
    let first = "PROXY TCP4 203.0.113.77 10.0.0.1 1 2\r\n";
    let stream = [first.as_bytes(), &v2(0x21, 0x21, &ipv6())].concat();
    assert_eq!(follow(&stream), ("203.0.113.77/32".to_owned(), first.len()));
}

#[test]
fn no_error_and_no_debug_output_shows_an_address() {
    let Ok(Progress::Done(told)) = read(b"PROXY TCP4 203.0.113.77 10.0.0.1 1 2\r\n") else { panic!() };
    assert!(!format!("{told:?}").contains("113"), "{told:?}");
    let error = read(b"PROXY TCP4 203.0.113.77 203.0.113.78 1 x\r\n").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("113"), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(start in 0usize..4, rest in prop::collection::vec(any::<u8>(), 0..200)) {
        let starts: [&[u8]; 4] = [b"", V1, V2, b"PROXY TCP4 "];
        let stream = [starts[start], &rest].concat();
        let (_, taken) = follow(&stream);
        prop_assert!(taken <= stream.len());
    }

    #[test]
    fn what_a_header_names_is_read_back(address in any::<std::net::IpAddr>(), port in any::<u16>()) {
        let family = if address.is_ipv4() { "TCP4" } else { "TCP6" };
        let header = format!("PROXY {family} {address} {address} {port} 443\r\n");
        let expected = shown(Told::Peer(PeerAddr::new(Some((address, port).into()))));
        prop_assert_eq!(follow(header.as_bytes()), (expected, header.len()));
    }
}
