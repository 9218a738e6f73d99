//! A table of what clients and proxies write into forwarding headers, after RFC 7239 and known ways to lie, and of who is
//! believed to be calling then.
//!
//! The peer is `10.0.0.1` and trusted, as all of `10.0.0.0/8` and `2001:db8:ffff::/48` are, so that `10.0.0.1` as an answer
//! means that nothing was believed.

use super::*;
use crate::facts::client::{Keyring, PeerAddr, Truncation, TrustedProxies};

use ForwardHeader::{Forwarded, XForwardedFor};

/// What is believed, the lines as they arrived, the answer, and why.
type Case = (ForwardHeader, &'static [(&'static str, &'static [u8])], &'static str, &'static str);

const XFF: &str = "X-Forwarded-For";
const FWD: &str = "Forwarded";
const NOBODY: &str = "10.0.0.1";

const CASES: &[Case] = &[
    // RFC 7239, section 4 and 6: what is well-formed.
    (Forwarded, &[(FWD, b"for=192.0.2.43")], "192.0.2.43", "a token"),
    (Forwarded, &[(FWD, b"For=\"[2001:db8:cafe::17]:4711\"")], "2001:db8:cafe::17", "quoted, with a port"),
    (Forwarded, &[(FWD, b"for=\"[2001:db8:cafe::17]\"")], "2001:db8:cafe::17", "quoted, bracketed"),
    (Forwarded, &[(FWD, b"for=192.0.2.60;proto=http;by=203.0.113.43")], "192.0.2.60", "other parameters"),
    (Forwarded, &[(FWD, b"by=203.0.113.43;proto=http;for=192.0.2.60")], "192.0.2.60", "in another order"),
    (Forwarded, &[(FWD, b"for=192.0.2.43, for=198.51.100.17")], "198.51.100.17", "the nearest stranger"),
    (Forwarded, &[(FWD, b"for=192.0.2.43,for=10.2.2.2")], "192.0.2.43", "behind a trusted hop"),
    (Forwarded, &[(FWD, b"for=192.0.2.43"), (FWD, b"for=10.2.2.2")], "192.0.2.43", "over two lines"),
    (Forwarded, &[(FWD, b"for=\"192.0.2.43:47011\"")], "192.0.2.43", "a port in quotes"),
    (Forwarded, &[(FWD, b"for=192.0.2.43:47011")], "192.0.2.43", "a port without quotes"),
    (Forwarded, &[(FWD, b"for=\"192.0.2.43:_port.1\"")], "192.0.2.43", "a hidden port"),
    (Forwarded, &[(FWD, b"for=\"[2001:db8::7]:_p\"")], "2001:db8::7", "a hidden port of IPv6"),
    (Forwarded, &[(FWD, b"FOR=192.0.2.43;PROTO=https")], "192.0.2.43", "names in capitals"),
    (Forwarded, &[(FWD, b"for=192.0.2.43;")], "192.0.2.43", "an empty parameter at the end"),
    (Forwarded, &[(FWD, b";for=192.0.2.43;;by=_x")], "192.0.2.43", "empty parameters between"),
    (Forwarded, &[(FWD, b"\tfor=192.0.2.43 ,\t for=10.2.2.2 ")], "192.0.2.43", "tabs and blanks"),
    (Forwarded, &[(FWD, b"for=192.0.2.43;host=\"a,b;c\"")], "192.0.2.43", "separators in quotes"),
    (Forwarded, &[(FWD, b"for=192.0.2.43;host=\"a\\\"b\"")], "192.0.2.43", "an escaped quote elsewhere"),
    (Forwarded, &[(FWD, b"for=192.0.2.43;secret=_a;ext=\"\"")], "192.0.2.43", "extensions"),
    // RFC 7239, section 6.2 and 6.3: who is not told.
    (Forwarded, &[(FWD, b"for=192.0.2.43, for=unknown")], NOBODY, "an unknown hop"),
    (Forwarded, &[(FWD, b"for=192.0.2.43, for=\"UNKNOWN\"")], NOBODY, "an unknown hop in capitals"),
    (Forwarded, &[(FWD, b"for=192.0.2.43, for=_gazonk")], NOBODY, "a hidden hop"),
    (Forwarded, &[(FWD, b"for=192.0.2.43, for=\"_SEVKISEK:443\"")], NOBODY, "a hidden hop with a port"),
    (Forwarded, &[(FWD, b"for=_hidden, for=10.2.2.2")], "10.2.2.2", "the last address believed"),
    (Forwarded, &[(FWD, b"for=192.0.2.43, proto=https")], NOBODY, "a hop that names nobody"),
    // RFC 7239: what is malformed ends the walk.
    (Forwarded, &[(FWD, b"for=192.0.2.43, for=192.0.2.44;for=192.0.2.45")], NOBODY, "twice in one element"),
    (Forwarded, &[(FWD, b"for=192.0.2.43;for=192.0.2.43")], NOBODY, "twice the same"),
    (Forwarded, &[(FWD, b"for=\"192.0.2.43")], NOBODY, "a quote that does not end"),
    (Forwarded, &[(FWD, b"for=192.0.2.43\"")], NOBODY, "a quote that does not begin"),
    (Forwarded, &[(FWD, b"for=\"192.0.2.\\43\"")], NOBODY, "an escaped digit"),
    (Forwarded, &[(FWD, b"for=\"192.0.2.43\\\"")], NOBODY, "an escaped quote at the end"),
    (Forwarded, &[(FWD, b"for=")], NOBODY, "nothing"),
    (Forwarded, &[(FWD, b"for=\"\"")], NOBODY, "nothing in quotes"),
    (Forwarded, &[(FWD, b"for")], NOBODY, "no value"),
    (Forwarded, &[(FWD, b"192.0.2.43")], NOBODY, "the other header's form"),
    (Forwarded, &[(FWD, b"for=192.0.2.43 by=203.0.113.43")], NOBODY, "a blank for a semicolon"),
    (Forwarded, &[(FWD, b"for=\"[192.0.2.43]\"")], NOBODY, "IPv4 in brackets"),
    (Forwarded, &[(FWD, b"for=\"[2001:db8::7\"")], NOBODY, "half a bracket"),
    (Forwarded, &[(FWD, b"for=\"2001:db8::7]:80\"")], NOBODY, "the other half"),
    (Forwarded, &[(FWD, b"for=\"[2001:db8::7]80\"")], NOBODY, "a port without its colon"),
    (Forwarded, &[(FWD, b"for=\"[2001:db8::7]:\"")], NOBODY, "a colon without its port"),
    (Forwarded, &[(FWD, b"for=\"[fe80::1%25eth0]\"")], NOBODY, "a zone"),
    (Forwarded, &[(FWD, b"for=\"192.0.2.43:_\"")], NOBODY, "a hidden port without a name"),
    // Clients that lie in front of a proxy's word.
    (Forwarded, &[(FWD, b"for=192.0.2.66, for=203.0.113.7")], "203.0.113.7", "an element in front"),
    (Forwarded, &[(FWD, b"for=192.0.2.66"), (FWD, b"for=203.0.113.7")], "203.0.113.7", "a line in front"),
    (Forwarded, &[(FWD, b"for=\"192.0.2.66, for=203.0.113.7")], "203.0.113.7", "a quote in front"),
    (Forwarded, &[(FWD, b"for=\"\\, for=\"[2001:db8::7]\"")], "2001:db8::7", "an escape in front"),
    (Forwarded, &[(FWD, b"\xff\xfe, for=203.0.113.7")], "203.0.113.7", "no text in front"),
    (Forwarded, &[(FWD, b"\0, for=203.0.113.7")], "203.0.113.7", "a NUL in front"),
    (Forwarded, &[(FWD, b"for=192.0.2.66\0, for=10.2.2.2")], "10.2.2.2", "a NUL behind an address"),
    (Forwarded, &[(FWD, b"for=203.0.113.7;host=\"x;for=192.0.2.66;y=z\"")], "203.0.113.7", "a host with `;`"),
    (
        Forwarded,
        &[(FWD, b"for=203.0.113.7;host=\"x\\\", for=192.0.2.66;y=\\\"\"")],
        "203.0.113.7",
        "a host that ends its own quotes",
    ),
    (Forwarded, &[(FWD, b"host=\"x;for=192.0.2.66;y=z\"")], NOBODY, "a host in an element that names nobody"),
    (Forwarded, &[(FWD, b"host=\"x\\\", for=192.0.2.66;y=\\\"\"")], NOBODY, "the same with escapes"),
    (Forwarded, &[(FWD, b"xfor=192.0.2.66;for=203.0.113.7")], "203.0.113.7", "a name that ends alike"),
    (Forwarded, &[(FWD, b"for =192.0.2.66;for=203.0.113.7")], NOBODY, "a name with a blank is the same name"),
    // The header that is not believed says nothing, and neither do its look-alikes.
    (Forwarded, &[(XFF, b"192.0.2.66")], NOBODY, "the other header"),
    (XForwardedFor, &[(FWD, b"for=192.0.2.66"), (XFF, b"203.0.113.7")], "203.0.113.7", "both headers"),
    (XForwardedFor, &[("X_Forwarded_For", b"192.0.2.66")], NOBODY, "underscores"),
    (XForwardedFor, &[("X-Forwarded", b"192.0.2.66")], NOBODY, "a part of the name"),
    (XForwardedFor, &[("X-Forwarded-For-", b"192.0.2.66")], NOBODY, "more than the name"),
    (XForwardedFor, &[("X-Real-IP", b"192.0.2.66"), ("Client-IP", b"192.0.2.67")], NOBODY, "other names"),
    (XForwardedFor, &[("x-FORWARDED-for", b"203.0.113.7")], "203.0.113.7", "any capitals"),
    // X-Forwarded-For: what is well-formed.
    (XForwardedFor, &[(XFF, b"203.0.113.7")], "203.0.113.7", "one address"),
    (XForwardedFor, &[(XFF, b"203.0.113.7:4711")], "203.0.113.7", "a port"),
    (XForwardedFor, &[(XFF, b"2001:db8::7")], "2001:db8::7", "IPv6"),
    (XForwardedFor, &[(XFF, b"2001:DB8::7")], "2001:db8::7", "IPv6 in capitals"),
    (XForwardedFor, &[(XFF, b"[2001:db8::7]")], "2001:db8::7", "IPv6 in brackets"),
    (XForwardedFor, &[(XFF, b"[2001:db8::7]:443")], "2001:db8::7", "IPv6 with a port"),
    (XForwardedFor, &[(XFF, b"203.0.113.7,10.3.3.3\t, 2001:db8:ffff::1")], "203.0.113.7", "trusted hops"),
    (XForwardedFor, &[(XFF, b"::ffff:203.0.113.7, ::ffff:10.3.3.3")], "203.0.113.7", "IPv4 as IPv6"),
    (XForwardedFor, &[(XFF, b"[::ffff:cb00:7107]:1")], "203.0.113.7", "IPv4 as IPv6 in hex"),
    (XForwardedFor, &[(XFF, b"64:ff9b::203.0.113.7")], "203.0.113.7", "IPv4 through NAT64"),
    (XForwardedFor, &[(XFF, b"10.9.9.9, 10.3.3.3")], "10.9.9.9", "nobody but proxies: the farthest"),
    // Clients that lie.
    (XForwardedFor, &[(XFF, b"127.0.0.1, 203.0.113.7")], "203.0.113.7", "loopback in front"),
    (XForwardedFor, &[(XFF, b"10.0.0.7, 203.0.113.7")], "203.0.113.7", "a proxy's address in front"),
    (XForwardedFor, &[(XFF, b"192.0.2.66"), (XFF, b"203.0.113.7")], "203.0.113.7", "a line in front"),
    (XForwardedFor, &[(XFF, b"192.0.2.66"), (XFF, b"203.0.113.7"), (XFF, b"10.3.3.3")], "203.0.113.7", "two"),
    (XForwardedFor, &[(XFF, b"\xff, 203.0.113.7")], "203.0.113.7", "no text in front"),
    (XForwardedFor, &[(XFF, b"\", 203.0.113.7")], "203.0.113.7", "a quote in front"),
    (XForwardedFor, &[(XFF, b"192.0.2.66\", 203.0.113.7, \"10.3.3.3")], NOBODY, "quotes are no part of it"),
    (XForwardedFor, &[(XFF, b",,,, 203.0.113.7")], "203.0.113.7", "commas in front"),
    (XForwardedFor, &[(XFF, b"192.0.2.66,")], NOBODY, "a proxy that adds nothing is not passed over"),
    (XForwardedFor, &[(XFF, b"192.0.2.66, , 10.3.3.3")], "10.3.3.3", "nor is one in the middle"),
    (XForwardedFor, &[(XFF, b"192.0.2.66"), (XFF, b"")], NOBODY, "nor is an empty line"),
    (XForwardedFor, &[(XFF, b"192.0.2.66, unix:")], NOBODY, "a Unix socket as a hop"),
    (XForwardedFor, &[(XFF, b"192.0.2.66, unknown")], NOBODY, "an unknown hop"),
    (XForwardedFor, &[(XFF, b"203.0.113.7\0")], NOBODY, "a NUL"),
    (XForwardedFor, &[(XFF, b"203.0.113.7\r\n")], NOBODY, "the end of a line"),
    (XForwardedFor, &[(XFF, "203.0.113.7\u{a0}".as_bytes())], NOBODY, "a blank that is none"),
    (XForwardedFor, &[(XFF, "２０３.0.113.7".as_bytes())], NOBODY, "digits that are none"),
    (XForwardedFor, &[(XFF, b"0313.0.113.7")], NOBODY, "octal"),
    (XForwardedFor, &[(XFF, b"203.0.113.07")], NOBODY, "a leading zero"),
    (XForwardedFor, &[(XFF, b"0xcb.0.0x71.7")], NOBODY, "hexadecimal"),
    (XForwardedFor, &[(XFF, b"3405803783")], NOBODY, "one number"),
    (XForwardedFor, &[(XFF, b"127.1")], NOBODY, "a short form"),
    (XForwardedFor, &[(XFF, b"203.0.113.256")], NOBODY, "a part that is too large"),
    (XForwardedFor, &[(XFF, b"203.0.113.7.8")], NOBODY, "a part too many"),
    (XForwardedFor, &[(XFF, b"203.0.113.7/32")], NOBODY, "a network"),
    (XForwardedFor, &[(XFF, b"203.0.113.7 192.0.2.66")], NOBODY, "a blank for a comma"),
    (XForwardedFor, &[(XFF, b"203.0.113.7;192.0.2.66")], NOBODY, "a semicolon for a comma"),
    (XForwardedFor, &[(XFF, b"203.0.113.7:99999")], NOBODY, "a port that is too large"),
    (XForwardedFor, &[(XFF, b"203.0.113.7:+80")], NOBODY, "a port with a sign"),
    (XForwardedFor, &[(XFF, b"203.0.113.7:")], NOBODY, "a colon without a port"),
    (XForwardedFor, &[(XFF, b"fe80::1%eth0")], NOBODY, "a zone"),
    (XForwardedFor, &[(XFF, b"[fe80::1%1]:80")], NOBODY, "a zone by its number"),
    (XForwardedFor, &[(XFF, b"[203.0.113.7]")], NOBODY, "IPv4 in brackets"),
    (XForwardedFor, &[(XFF, b"::g")], NOBODY, "a digit that is none"),
    (XForwardedFor, &[(XFF, b"1::2::3")], NOBODY, "two gaps"),
    (XForwardedFor, &[(XFF, b"localhost")], NOBODY, "a name"),
    (XForwardedFor, &[(XFF, b"for=203.0.113.7")], NOBODY, "the other header's form"),
    (XForwardedFor, &[], NOBODY, "no header"),
];

fn trusted() -> TrustedProxies {
    TrustedProxies::new(["10.0.0.0/8", "2001:db8:ffff::/48"].map(|net| net.parse().unwrap()).to_vec())
}

fn believed(trusted: &TrustedProxies, header: ForwardHeader, lines: &[(&str, &[u8])]) -> String {
    let lines: Vec<&[u8]> = lines
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(header.name()))
        .map(|(_, value)| *value)
        .collect();
    shown(trusted, PeerAddr::new(Some("10.0.0.1:80".parse().unwrap())), header, &lines)
}

fn shown(trusted: &TrustedProxies, peer: PeerAddr, header: ForwardHeader, lines: &[&[u8]]) -> String {
    let client = trusted.client_of(peer, header, lines.iter().copied());
    let keys = Keyring::new(&zeroize::Zeroizing::new([1; 32]));
    let prefix = client.identify(Truncation::new(32, 128).unwrap(), &keys).prefix().to_string();
    prefix.trim_end_matches("/32").trim_end_matches("/128").to_owned()
}

#[test]
fn the_table_is_believed_line_by_line() {
    assert!(CASES.len() >= 60, "{}", CASES.len());
    let wrong: Vec<String> = CASES
        .iter()
        .filter_map(|(header, lines, answer, why)| {
            let found = believed(&trusted(), *header, lines);
            (found != *answer).then(|| format!("{why}: {found} instead of {answer}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hops_are_counted_from_the_right_whatever_they_are() {
    let hops = |count: u8| trusted().counting(count.try_into().unwrap());
    for (count, line, answer) in [
        (1, "192.0.2.66, 203.0.113.7", "203.0.113.7"),
        (2, "192.0.2.66, 203.0.113.7, 198.51.100.1", "203.0.113.7"),
        (3, "192.0.2.66, 203.0.113.7, 198.51.100.1", "192.0.2.66"),
        // Trusted networks are passed over only as far as hops are counted.
        (1, "203.0.113.7, 10.3.3.3", "10.3.3.3"),
        // A hop that hides counts; the last one that does not is believed.
        (2, "203.0.113.7, _hidden", "203.0.113.7"),
        (2, "192.0.2.66, unknown, 198.51.100.1", "198.51.100.1"),
        (1, "203.0.113.7, unknown", NOBODY),
        // Fewer hops than proxies: whoever the farthest proxy names.
        (3, "203.0.113.7, 198.51.100.1", "203.0.113.7"),
        (3, "", NOBODY),
    ] {
        let lines: &[(&str, &[u8])] = &[(XFF, line.as_bytes())];
        assert_eq!(believed(&hops(count), XForwardedFor, lines), answer, "{count}: {line}");
    }
}

#[test]
fn only_a_trusted_peer_is_asked_for_hops() {
    let stranger = PeerAddr::new(Some("192.0.2.66:80".parse().unwrap()));
    let counting = trusted().counting(2.try_into().unwrap());
    assert_eq!(shown(&counting, stranger, XForwardedFor, &[b"8.8.8.8, 8.8.4.4"]), "192.0.2.66");
}

#[test]
fn a_peer_without_an_address_is_believed_only_if_it_is_a_unix_socket_that_is_trusted() {
    let line: &[&[u8]] = &[b"203.0.113.7"];
    let of = |trusted: &TrustedProxies, peer| shown(trusted, peer, XForwardedFor, line);
    assert_eq!(of(&trusted(), PeerAddr::UNIX), "unknown");
    assert_eq!(of(&trusted().and_unix(), PeerAddr::UNIX), "203.0.113.7");
    assert_eq!(of(&trusted().and_unix(), PeerAddr::UNKNOWN), "unknown");
    assert_eq!(of(&trusted().and_unix(), PeerAddr::new(None)), "unknown");
    assert_eq!(shown(&trusted().and_unix(), PeerAddr::UNIX, XForwardedFor, &[]), "unknown");
}

#[test]
fn huge_lists_end_at_the_bounds() {
    let many = vec!["10.3.3.3"; 10_000].join(",");
    assert_eq!(believed(&trusted(), XForwardedFor, &[(XFF, many.as_bytes())]), "10.3.3.3");
    let behind = format!("203.0.113.7,{}", vec!["10.3.3.3"; MAX_NODES].join(","));
    assert_eq!(believed(&trusted(), XForwardedFor, &[(XFF, behind.as_bytes())]), "10.3.3.3");
    let long = format!("{}, 203.0.113.7", "x".repeat(1_000_000));
    assert_eq!(believed(&trusted(), XForwardedFor, &[(XFF, long.as_bytes())]), "203.0.113.7");
    let longest = format!("203.0.113.7, {}", "1".repeat(MAX_BYTES));
    assert_eq!(believed(&trusted(), XForwardedFor, &[(XFF, longest.as_bytes())]), NOBODY);
    let lines = vec![(XFF, b"10.3.3.3".as_slice()); 10_000];
    assert_eq!(believed(&trusted(), XForwardedFor, &lines), "10.3.3.3");
}
