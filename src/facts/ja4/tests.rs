//! Fingerprints against published ones and against those that other programs computed from hellos of real clients.

use std::fs;
use std::path::Path;

use super::*;
use crate::facts::hello::{HelloReader, Progress};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hellos")
}

fn bytes_of(name: &str) -> Vec<u8> {
    let text = fs::read_to_string(folder().join(format!("{name}.hex"))).unwrap();
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn hello_of(name: &str) -> Hello {
    match HelloReader::default().read(&bytes_of(name)) {
        Progress::Done(hello) => hello,
        other @ (Progress::More | Progress::NotTls) => panic!("{name}: {other:?}"),
    }
}

#[test]
fn real_clients_have_the_fingerprint_that_others_compute() {
    let expected = fs::read_to_string(folder().join("expected.tsv")).unwrap();
    let mut count = 0;
    for line in expected.lines() {
        let (name, ja4) = line.split_once('\t').unwrap();
        assert_eq!(Ja4::of(&hello_of(name)).as_str(), ja4, "{name}");
        assert_eq!(Ja4::parse(ja4).unwrap().as_str(), ja4);
        count += 1;
    }
    let files = fs::read_dir(folder()).unwrap();
    let hex = files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "hex"));
    assert_eq!((count, hex.count()), (36, 36), "each hello has an expected fingerprint");
}

#[test]
fn what_a_hello_asks_for_is_read() {
    let hello = hello_of("chromium");
    assert_eq!(hello.server_name(), Some("gate.example"));
    assert_eq!(hello.protocols().collect::<Vec<_>>(), [b"h2".as_slice(), b"http/1.1"]);
    let to_an_address = hello_of("chromium-to-an-address");
    assert_eq!(to_an_address.server_name(), None);
    assert_eq!(hello_of("openssl-no-name").protocols().count(), 0);
}

/// The example of the document, made from the lists that it prints.
#[test]
fn the_example_of_the_document_comes_out() {
    let hello = Hello {
        versions: vec![0x0303, 0x0304],
        legacy_version: 0x0303,
        ciphers: vec![
            0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
            0x009d, 0x002f, 0x0035,
        ],
        extensions: vec![
            0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b,
            0xff01, 0x000b, 0x000a, 0x0015,
        ],
        signatures: vec![0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601],
        protocols: vec![b"h2".as_slice().into()],
        ..Hello::default()
    };
    assert_eq!(Ja4::of(&hello).as_str(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    let unsigned = Hello { signatures: Vec::new(), ..hello };
    assert_eq!(Ja4::of(&unsigned).as_str(), "t13d1516h2_8daaf6152771_6d807ffa2a79");
}

#[test]
fn the_ends_of_a_protocol_are_those_of_the_document() {
    let table: [(&[u8], &str); 13] = [
        (b"", "00"),
        (b"h2", "h2"),
        (b"http/1.1", "h1"),
        (b"x", "xx"),
        (b"\xab", "ab"),
        (b"\x20", "20"),
        (b"\xab\xcd", "ad"),
        (b"\x20\x61", "21"),
        (b"\x30\xab", "3b"),
        (b"\x61\x20", "60"),
        (b"\x30\x31\xab\xcd", "3d"),
        (b"\x30\xab\xcd\x31", "01"),
        (b"_x_", "5f"),
    ];
    for (protocol, shown) in table {
        assert_eq!(ends(protocol).iter().collect::<String>(), shown, "{protocol:?}");
    }
}

#[test]
fn a_hello_that_offers_nothing_has_zeros_and_one_that_offers_all_is_capped() {
    assert_eq!(Ja4::of(&Hello::default()).as_str(), "t00i000000_000000000000_000000000000");
    let hello = Hello {
        legacy_version: 0x0301,
        ciphers: (0..300).collect(),
        extensions: (100..400).collect(),
        ..Hello::default()
    };
    assert!(Ja4::of(&hello).as_str().starts_with("t10i999900_"));
}

#[test]
fn only_what_has_the_form_of_one_is_read_and_none_prints_itself() {
    let good = "t13d1516h2_8daaf6152771_e5627efa2ab1";
    let ja4 = Ja4::parse(good).unwrap();
    assert_eq!(format!("{ja4:?}"), "Ja4(private)");
    for bad in [
        "",
        "t13d1516h2",
        "t13d1516h2_8daaf6152771",
        "t13d1516h2_8daaf6152771_e5627efa2ab1_x",
        "t13d1516h2_8daaf6152771_e5627efa2ab",
        "t13d1516h2_8daaf615277_1e5627efa2ab1",
        "t13d1516h2_8DAAF6152771_e5627efa2ab1",
        "q13d1516h2_8daaf6152771_e5627efa2ab1",
        "t13x1516h2_8daaf6152771_e5627efa2ab1",
        "t13d1516h__8daaf6152771_e5627efa2ab1",
        "t13d15a6h2_8daaf6152771_e5627efa2ab1",
        "t13d1516\u{e9}_8daaf6152771_e5627efa2ab1",
        "8daaf6152771_e5627efa2ab1",
    ] {
        assert_eq!(Ja4::parse(bad), None, "{bad}");
    }
}
