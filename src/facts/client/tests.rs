//! Who is believed to be calling, and how little of it is shown.

use super::*;
use proptest::prelude::*;
use zeroize::Zeroizing;

fn keys() -> Keyring {
    Keyring::new(&Zeroizing::new([7; 32]))
}

fn peer(text: &str) -> PeerAddr {
    PeerAddr::new(Some(SocketAddr::new(text.parse().unwrap(), 1234)))
}

fn trusted(networks: &[&str]) -> TrustedProxies {
    TrustedProxies::new(networks.iter().map(|net| net.parse().unwrap()).collect())
}

fn prefix_of(proxies: &TrustedProxies, from: &str, lines: &[&str]) -> String {
    proxies
        .client_of(peer(from), ForwardHeader::XForwardedFor, lines.iter().map(|line| line.as_bytes()))
        .identify(Truncation::new(32, 128).unwrap(), &keys())
        .prefix()
        .to_string()
}

#[test]
fn nobody_is_believed_by_default() {
    assert_eq!(prefix_of(&TrustedProxies::default(), "192.0.2.1", &["8.8.8.8"]), "192.0.2.1/32");
}

#[test]
fn the_walk_skips_trusted_hops_and_stops_at_the_first_other() {
    let proxies = trusted(&["10.0.0.0/8", "2001:db8::/32"]);
    let lines = ["1.1.1.1, 9.9.9.9, 10.0.0.2", "2001:db8::5"];
    assert_eq!(prefix_of(&proxies, "10.0.0.1", &lines), "9.9.9.9/32");
}

#[test]
fn an_unreadable_hop_ends_at_the_last_address_believed() {
    let proxies = trusted(&["10.0.0.0/8"]);
    for opaque in ["unknown", "_hidden", "", "10.0.0.256", "\u{e9}"] {
        let line = format!("8.8.8.8, {opaque}, 10.0.0.2");
        assert_eq!(prefix_of(&proxies, "10.0.0.1", &[&line]), "10.0.0.2/32", "{opaque:?}");
    }
    assert_eq!(prefix_of(&proxies, "10.0.0.1", &[]), "10.0.0.1/32");
}

#[test]
fn ipv4_inside_ipv6_is_ipv4() {
    let proxies = trusted(&["10.0.0.0/8"]);
    assert_eq!(prefix_of(&proxies, "::ffff:10.0.0.1", &["::ffff:8.8.4.4"]), "8.8.4.4/32");
    assert_eq!(prefix_of(&proxies, "10.0.0.1", &["64:ff9b::808:404"]), "8.8.4.4/32");
}

#[test]
fn addresses_never_print() {
    let ip = TrustedProxies::default().client_of(
        peer("203.0.113.77"),
        ForwardHeader::Forwarded,
        std::iter::empty(),
    );
    let shown =
        format!("{ip:?} {:?} {:?}", peer("203.0.113.77"), ip.identify(Truncation::default(), &keys()));
    assert!(!shown.contains("203.0.113.77"), "{shown}");
}

#[test]
fn the_operator_chooses_what_the_origin_learns() {
    let keys = keys();
    let ip = ClientIp(Some("203.0.113.77".parse().unwrap()));
    let client = ip.identify(Truncation::default(), &keys);
    assert_eq!(ip.forwarded(Forward::Full, &client, &keys).unwrap(), "203.0.113.77");
    assert_eq!(ip.forwarded(Forward::Truncated, &client, &keys).unwrap(), "203.0.113.0");
    let pseudonym = ip.forwarded(Forward::Pseudonym, &client, &keys).unwrap();
    assert!(pseudonym.starts_with('_') && !pseudonym.contains(&client.pseudonym().to_string()));
}

#[test]
fn a_pseudonym_is_stable_under_one_key_and_unlinkable_under_the_next() {
    let ip = ClientIp(Some("203.0.113.77".parse().unwrap()));
    let neighbour = ClientIp(Some("203.0.113.3".parse().unwrap()));
    let (today, tomorrow) = (keys(), Keyring::new(&Zeroizing::new([8; 32])));
    let name = ip.identify(Truncation::default(), &today).pseudonym();
    assert_eq!(neighbour.identify(Truncation::default(), &today).pseudonym(), name);
    assert_ne!(ip.identify(Truncation::default(), &tomorrow).pseudonym(), name);
    assert_eq!(Pseudonym::parse(&name.to_string()), Some(name));
}

proptest! {
    #[test]
    fn no_header_makes_an_untrusted_peer_somebody_else(lines in prop::collection::vec(any::<Vec<u8>>(), 0..4)) {
        let client = trusted(&["10.0.0.0/8"]).client_of(
            peer("192.0.2.9"), ForwardHeader::XForwardedFor, lines.iter().map(Vec::as_slice));
        prop_assert_eq!(client.0, Some("192.0.2.9".parse().unwrap()));
    }

    #[test]
    fn any_header_of_a_trusted_peer_is_read_without_panic_and_only_to_its_first_stranger(
        stranger in any::<[u8; 4]>(), garbage in "\\PC{0,40}", hops in 0usize..5,
    ) {
        let stranger = IpAddr::from(stranger);
        prop_assume!(!matches!(stranger, IpAddr::V4(v4) if v4.octets()[0] == 10));
        let mut line = format!("{garbage}, {stranger}");
        for hop in 0..hops { line.push_str(&format!(",10.1.1.{hop}")); }
        for header in [ForwardHeader::XForwardedFor, ForwardHeader::Forwarded] {
            trusted(&["10.0.0.0/8"]).client_of(peer("10.0.0.1"), header, std::iter::once(line.as_bytes()));
        }
        let client = trusted(&["10.0.0.0/8"]).client_of(
            peer("10.0.0.1"), ForwardHeader::XForwardedFor, std::iter::once(line.as_bytes()));
        prop_assert_eq!(client.0, Some(stranger));
    }
}
