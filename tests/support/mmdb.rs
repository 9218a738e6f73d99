//! Writes small MaxMind databases for tests: what unit tests and the integration tests load.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use maxminddb_writer::Database;
use maxminddb_writer::metadata::IpVersion;
use maxminddb_writer::paths::IpAddrWithMask;
use serde::Serialize;

/// A country database with flat records, `{"country_code": "DE"}`, from networks and codes.
pub(crate) fn country_mmdb(entries: &[(&str, &str)]) -> Vec<u8> {
    let entries: Vec<_> =
        entries.iter().map(|(network, code)| (*network, BTreeMap::from([("country_code", *code)]))).collect();
    mmdb("Test-Country", IpVersion::V6, &entries)
}

/// A database with one record for each network; the last of overlapping networks wins, so go from wide to narrow.
pub(crate) fn mmdb<R: Serialize>(database_type: &str, version: IpVersion, entries: &[(&str, R)]) -> Vec<u8> {
    let mut database = Database::default();
    database.metadata.binary_format_major_version = 2;
    database.metadata.build_epoch = 1_780_345_978;
    database.metadata.database_type = database_type.to_owned();
    database.metadata.ip_version = version;
    for (network, record) in entries {
        let data = database.insert_value(record).expect("a record that can be written");
        database.insert_node(path(network.parse().expect("a network"), version), data);
    }
    database.write_to(Vec::new()).expect("a Vec takes every byte")
}

fn path(network: IpNet, version: IpVersion) -> IpAddrWithMask {
    match (network, version) {
        (IpNet::V4(net), IpVersion::V6) => IpAddrWithMask::new(
            IpAddr::V6(u128::from(u32::from(net.network())).into()),
            net.prefix_len() + 96,
        ),
        (net, _) => IpAddrWithMask::new(net.network(), net.prefix_len()),
    }
}
