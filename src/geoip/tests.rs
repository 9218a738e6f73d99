//! Databases as they are found in the wild, and as they should never be.

use std::collections::BTreeMap;
use std::net::IpAddr;

use maxminddb_writer::metadata::IpVersion;
use proptest::prelude::*;

use super::*;

#[path = "../../tests/support/mmdb.rs"]
mod writer;
use writer::{country_mmdb, mmdb};

type Map<T> = BTreeMap<&'static str, T>;

fn prefix(address: &str) -> Prefix {
    Prefix::of_described(address.parse().unwrap(), Truncation::default())
}

fn countries(bytes: Vec<u8>) -> Result<GeoDb, Problem> {
    GeoDb::from_bytes(Path::new("geo.mmdb"), bytes, Truncation::default())
}

fn asns(bytes: Vec<u8>) -> Result<AsnDb, Problem> {
    AsnDb::from_bytes(Path::new("asn.mmdb"), bytes, Truncation::default())
}

fn country(db: &GeoDb, address: &str) -> String {
    db.country(&prefix(address)).to_string()
}

fn small() -> Vec<u8> {
    country_mmdb(&[
        ("10.0.0.0/8", "DE"),
        ("10.1.2.0/25", "FR"),
        ("10.1.2.128/25", "CH"),
        ("192.0.2.66/32", "KP"),
        ("2001:db8::/32", "JP"),
        ("2001:db8:1:1::/64", "BR"),
    ])
}

#[test]
fn a_flat_database_is_looked_up_by_the_truncated_address() {
    let db = countries(small()).unwrap();
    assert_eq!(country(&db, "10.255.0.1"), "DE");
    assert_eq!(country(&db, "10.1.2.200"), "FR", "the block starts in France");
    assert_eq!(country(&db, "192.0.2.66"), "ZZ", "the block starts outside of the network");
    assert_eq!(country(&db, "2001:db8:1:1::5"), "JP");
    assert_eq!(country(&db, "::ffff:10.0.0.9"), "DE");
    assert_eq!(country(&db, "8.8.8.8"), "ZZ");
    assert_eq!(db.country(&Prefix::UNKNOWN), CountryCode::UNKNOWN);
}

#[test]
fn the_summary_says_what_was_loaded_and_what_truncation_costs() {
    let db = countries(small()).unwrap();
    let summary = db.summary();
    assert_eq!((summary.database_type.as_str(), summary.values, summary.ipv6), ("Test-Country", 6, true));
    assert_eq!(summary.built.as_millis(), 1_780_345_978_000);
    // Half a /24 is Swiss but found as French; one address is North Korean but found as unknown.
    assert_eq!(summary.truncation.ipv4.share, 129.0 / 2f64.powi(32));
    assert_eq!((summary.truncation.ipv4.moved, summary.truncation.ipv6.moved), (2, 1));
    assert!(summary.networks() > 6 && summary.memory_bytes > small().len());
}

#[test]
fn maxmind_records_are_read_and_fall_back_to_the_registered_country() {
    let iso = |code| BTreeMap::from([("iso_code", code), ("note", "x")]);
    let entries: [(&str, Map<Map<&str>>); 3] = [
        ("10.0.0.0/8", BTreeMap::from([("country", iso("DE")), ("registered_country", iso("FR"))])),
        ("11.0.0.0/8", BTreeMap::from([("registered_country", iso("FR"))])),
        ("12.0.0.0/8", BTreeMap::from([("continent", iso("EU"))])),
    ];
    let db = countries(mmdb("GeoLite2-Country", IpVersion::V6, &entries)).unwrap();
    let found = ["10.0.0.1", "11.0.0.1", "12.0.0.1"].map(|address| country(&db, address));
    assert_eq!(found, ["DE", "FR", "ZZ"]);
}

#[test]
fn a_country_spelt_out_beside_its_code_is_no_code() {
    let entries: [(&str, Map<&str>); 1] =
        [("10.0.0.0/8", BTreeMap::from([("country", "Germany"), ("country_code", "DE")]))];
    let db = countries(mmdb("lite", IpVersion::V4, &entries)).unwrap();
    assert_eq!(country(&db, "10.0.0.1"), "DE");
}

#[test]
fn an_ipv4_database_knows_nothing_of_ipv6() {
    let entries: [(&str, Map<&str>); 1] = [("10.0.0.0/8", BTreeMap::from([("country_code", "DE")]))];
    let db = countries(mmdb("v4", IpVersion::V4, &entries)).unwrap();
    assert_eq!((country(&db, "10.0.0.1"), country(&db, "2001:db8::1")), ("DE".into(), "ZZ".into()));
    assert!(!db.summary().ipv6);
}

#[test]
fn an_ipv6_database_without_an_ipv4_part_knows_nothing_of_ipv4() {
    let db = countries(country_mmdb(&[("2001:db8::/32", "JP")])).unwrap();
    assert_eq!((country(&db, "10.0.0.1"), country(&db, "2001:db8::1")), ("ZZ".into(), "JP".into()));
}

#[test]
fn autonomous_systems_come_as_numbers_and_as_texts() {
    let number: [(&str, Map<u32>); 2] = [
        ("10.0.0.0/8", BTreeMap::from([("autonomous_system_number", 64500)])),
        ("11.0.0.0/8", BTreeMap::from([("asn", 64501)])),
    ];
    let db = asns(mmdb("GeoLite2-ASN", IpVersion::V6, &number)).unwrap();
    assert_eq!(["10.0.0.1", "11.0.0.1", "9.9.9.9"].map(|a| db.asn(&prefix(a)).number()), [64500, 64501, 0]);

    let text: [(&str, Map<&str>); 3] = [
        ("10.0.0.0/8", BTreeMap::from([("as_number", "AS64502"), ("as_name", "EXAMPLE")])),
        ("11.0.0.0/8", BTreeMap::from([("asn", "64503")])),
        ("12.0.0.0/8", BTreeMap::from([("asn", "none")])),
    ];
    let db = asns(mmdb("lite", IpVersion::V6, &text)).unwrap();
    assert_eq!(["10.0.0.1", "11.0.0.1", "12.0.0.1"].map(|a| db.asn(&prefix(a)).number()), [64502, 64503, 0]);
    assert_eq!(db.summary().values, 2);
}

#[test]
fn both_databases_make_a_place_and_without_them_everything_is_unknown() {
    assert_eq!(Geo::default().place(&prefix("10.0.0.1")), Place::default());
    let entries: [(&str, Map<u32>); 1] = [("10.0.0.0/8", BTreeMap::from([("asn", 64500)]))];
    let asn = asns(mmdb("asn", IpVersion::V6, &entries)).unwrap();
    let geo = Geo { country: countries(small()).ok().map(Into::into), asn: Some(asn.into()) };
    let place = geo.place(&prefix("10.0.0.1"));
    assert_eq!((place.country.as_str(), place.asn), ("DE", Asn::new(64500)));
}

#[test]
fn a_database_of_the_wrong_kind_is_refused_with_the_key_to_use() {
    let entries: [(&str, Map<u32>); 1] =
        [("10.0.0.0/8", BTreeMap::from([("autonomous_system_number", 64500)]))];
    let problem = countries(mmdb("GeoLite2-ASN", IpVersion::V6, &entries)).unwrap_err();
    assert_eq!(
        problem.to_string(),
        "geo.mmdb: no record of this `GeoLite2-ASN` has a known country; records need `country.iso_code` or \
         `country_code`; a database of networks belongs under `asn` in `[geoip]`"
    );
    let problem = asns(small()).unwrap_err();
    assert!(problem.message().starts_with("no record of this `Test-Country` has a known autonomous system"));
}

#[test]
fn an_empty_database_is_refused() {
    assert!(countries(Vec::new()).unwrap_err().message().contains("empty"));
    assert!(countries(country_mmdb(&[])).unwrap_err().message().contains("node_count"));
    let no_network = rewired(|_| 128);
    assert!(countries(no_network).unwrap_err().message().starts_with("no record of this"));
}

#[test]
fn a_text_file_is_refused_with_advice() {
    let problem = countries(b"hello".to_vec()).unwrap_err();
    assert!(problem.message().starts_with("not a MaxMind database"), "{problem}");
    assert!(problem.advice().unwrap().contains("download it again"));
}

#[test]
fn a_missing_description_says_which_part_is_missing() {
    let mut bytes = small();
    let at = bytes.windows(11).rposition(|window| window == b"description").unwrap();
    bytes[at] = b'D';
    let problem = countries(bytes).unwrap_err();
    assert!(problem.message().contains("description"), "{problem}");
}

/// Makes every node of a database with 128 nodes point to `next(node)` on both sides (24-bit records).
fn rewired(next: impl Fn(u32) -> u32) -> Vec<u8> {
    let mut bytes = country_mmdb(&[("2001:db8::1/128", "JP")]);
    for node in 0..128 {
        let pointer = next(node).to_be_bytes();
        for side in 0..2 {
            let at = node as usize * 6 + side * 3;
            bytes[at..at + 3].copy_from_slice(&pointer[1..]);
        }
    }
    bytes
}

#[test]
fn a_tree_that_turns_in_circles_is_refused() {
    assert!(countries(rewired(|_| 0)).unwrap_err().message().contains("cycle"));
    assert!(countries(rewired(|node| (node + 1) % 128)).is_err());
}

#[test]
fn a_tree_whose_every_part_is_used_twice_is_refused_before_it_takes_forever() {
    // 2^128 paths lead to the one record.
    let problem = countries(rewired(|node| if node < 127 { node + 1 } else { 128 + 16 })).unwrap_err();
    assert!(problem.message().contains("tangled"), "{problem}");
}

/// Loads, and if that works, looks up: neither may panic.
fn survives(bytes: Vec<u8>) {
    if let Ok(db) = countries(bytes) {
        for address in ["10.1.2.3", "192.0.2.66", "255.255.255.255", "2001:db8:1:1::", "ffff::", "::"] {
            db.country(&prefix(address));
        }
    }
}

#[test]
fn a_database_cut_short_anywhere_is_refused() {
    let whole = small();
    for length in 0..whole.len() {
        assert!(countries(whole[..length].to_vec()).is_err(), "cut to {length} bytes");
    }
}

#[test]
fn no_single_wrong_byte_makes_a_database_panic() {
    let whole = small();
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff, whole[at]] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            survives(bytes);
        }
    }
}

proptest! {
    #[test]
    fn no_damage_makes_a_database_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        packed in any::<bool>(),
    ) {
        let mut bytes = small();
        if packed {
            bytes = gzip(&bytes);
        }
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        survives(bytes);
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in any::<Vec<u8>>()) {
        survives(bytes);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn the_shipped_database_knows_where_well_known_addresses_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/geoip/dbip-country-lite.mmdb.gz");
    let db = GeoDb::from_bytes(&path, std::fs::read(&path).unwrap(), Truncation::default()).unwrap();
    let found =
        ["8.8.8.8", "175.45.176.1", "2001:200::1", "203.0.113.7", "127.0.0.1"].map(|a| country(&db, a));
    assert_eq!(found, ["US", "KP", "JP", "ZZ", "ZZ"]);
    let summary = db.summary();
    assert!(summary.values > 200 && summary.networks() > 1_000_000, "{summary:?}");
    assert!(summary.truncation.ipv4.share < 0.002, "{summary:?}");
}

#[test]
fn the_shipped_database_says_what_its_file_says() {
    #[derive(serde::Deserialize)]
    struct Record {
        country_code: Option<String>,
    }
    let bytes = std::fs::read("conf/geoip/dbip-country-lite.mmdb.gz").unwrap();
    let file = maxminddb::Reader::from_source(unpack::unpack(bytes.clone()).ok().unwrap()).unwrap();
    let whole = Truncation::new(32, 128).unwrap();
    let db = GeoDb::from_bytes(Path::new("geo.mmdb"), bytes, whole).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..20_000 {
        let ipv6 = (random.u128(..) >> 3) | (1 << 125);
        let addresses: [IpAddr; 3] = [
            std::net::Ipv4Addr::from(random.u32(..)).into(),
            std::net::Ipv6Addr::from(ipv6).into(),
            // 2a00::/12 and 2001::/16, where most of the known networks are.
            std::net::Ipv6Addr::from(
                ((ipv6 >> 16) % (1 << 108)) | [0x2a0 << 116, 0x2001 << 112][random.usize(..2)],
            )
            .into(),
        ];
        for address in addresses {
            let said = file.lookup(address).unwrap().decode::<Record>().unwrap();
            let said = said.and_then(|record| CountryCode::parse(&record.country_code?));
            let found = db.country(&Prefix::of_described(address, whole));
            assert_eq!(found, said.unwrap_or(CountryCode::UNKNOWN), "{address}");
        }
    }
}
