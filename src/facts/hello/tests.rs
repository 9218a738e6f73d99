//! Reading hellos from bytes of any kind, in pieces of any size.

use proptest::prelude::*;

use super::*;

/// A hello with GREASE at every place, a name and a protocol.
fn body() -> Vec<u8> {
    let extensions: &[(u16, &[u8])] = &[
        (0x1a1a, &[]),
        (SERVER_NAME, b"\0\x0f\0\0\x0cgate.example"),
        (SIGNATURE_ALGORITHMS, &[0, 6, 0x3a, 0x3a, 4, 3, 8, 4]),
        (ALPN, b"\0\x03\x02h2"),
        (SUPPORTED_VERSIONS, &[6, 0xaa, 0xaa, 3, 4, 3, 3]),
        (51, &[0; 1200]),
    ];
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 8, 0x0a, 0x0a, 0x13, 1, 0x13, 2, 0xfa, 0xfa, 1, 0]);
    let encoded: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, content)| {
            let length = u16::try_from(content.len()).unwrap();
            [&kind.to_be_bytes(), &length.to_be_bytes(), *content].concat()
        })
        .collect();
    body.extend(u16::try_from(encoded.len()).unwrap().to_be_bytes());
    [body, encoded].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

/// The message in records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        [&[HANDSHAKE_RECORD, 3, 1], length.as_slice(), part].concat()
    };
    message.chunks(size).flat_map(record).collect()
}

fn whole() -> Vec<u8> {
    records(&message(CLIENT_HELLO, &body()), MAX_RECORD)
}

fn read(bytes: &[u8]) -> Progress {
    HelloReader::default().read(bytes)
}

fn done(progress: Progress) -> Hello {
    match progress {
        Progress::Done(hello) => hello,
        other @ (Progress::More | Progress::NotTls) => panic!("{other:?}"),
    }
}

#[test]
fn a_hello_is_read_without_grease() {
    let hello = done(read(&whole()));
    assert_eq!(hello.server_name(), Some("gate.example"));
    assert_eq!(hello.ciphers, [0x1301, 0x1302]);
    assert_eq!(hello.extensions, [0, 13, 16, 43, 51]);
    assert_eq!((hello.versions, hello.signatures), (vec![0x0304, 0x0303], vec![0x0403, 0x0804]));
    for value in 0..=u16::MAX {
        let [high, low] = value.to_be_bytes();
        assert_eq!(is_grease(value), high == low && low & 0xf == 0xa, "{value:04x}");
    }
}

#[test]
fn what_follows_the_hello_is_left_alone() {
    assert_eq!(read(&[whole(), vec![20, 3, 3, 0, 1, 1]].concat()), read(&whole()));
}

#[test]
fn a_hello_that_has_not_ended_needs_more() {
    let whole = whole();
    assert!((0..whole.len()).all(|end| read(&whole[..end]) == Progress::More));
}

#[test]
fn other_protocols_are_no_tls_from_their_first_bytes_on() {
    for other in [
        b"GET / HTTP/1.1\r\n".as_slice(),
        b"PRI * HTTP/2.0",
        b"PROXY TCP4 ",
        b"\r\n\r\n\0\r\nQUIT\n",
        b"\x80\x2e\x01\x03\x01",
        b"\x15\x03\x01\0\x02\x01\0",
        b"\x16\x02",
        b"\x16\x03\x01\0\x04\x02",
        // Records without a byte, and one that is too long.
        b"\x16\x03\x01\0\0",
        b"\x16\x03\x01\x40\x01",
    ] {
        assert_eq!(read(other), Progress::NotTls, "{other:?}");
    }
}

#[test]
fn what_promises_or_sends_too_much_is_not_read() {
    let promised = [&[HANDSHAKE_RECORD, 3, 1, 0, 4, CLIENT_HELLO], [1, 0, 1].as_slice()].concat();
    assert_eq!(read(&promised), Progress::NotTls);
    // It would be small enough, but for its records of one byte.
    let dripped = records(&message(CLIENT_HELLO, &[0; 30_000]), 1);
    let mut reader = HelloReader::default();
    let mut taken = 0;
    for byte in &dripped {
        taken += 1;
        if reader.read(std::slice::from_ref(byte)) != Progress::More {
            break;
        }
    }
    assert_eq!(taken, MAX_HELLO);
}

#[test]
fn lengths_that_do_not_fit_are_no_hello() {
    let body = body();
    for wrong in [&body[..body.len() - 1], &[body.as_slice(), &[0]].concat(), &body[..30], &[]] {
        assert_eq!(read(&records(&message(CLIENT_HELLO, wrong), MAX_RECORD)), Progress::NotTls);
    }
    // An odd number of bytes of cipher suites.
    let odd = [&[3, 3], [0; 33].as_slice(), &[0, 3, 1, 2, 3, 1, 0]].concat();
    assert_eq!(read(&records(&message(CLIENT_HELLO, &odd), MAX_RECORD)), Progress::NotTls);
}

#[test]
fn a_hello_of_old_has_no_extensions() {
    let old = [&[3, 1], [0; 33].as_slice(), &[0, 2, 0, 0x2f, 1, 0]].concat();
    let hello = done(read(&records(&message(CLIENT_HELLO, &old), MAX_RECORD)));
    assert_eq!((hello.legacy_version, hello.ciphers.as_slice()), (0x0301, [0x2f].as_slice()));
    assert!(hello.extensions.is_empty() && hello.server_name().is_none());
}

proptest! {
    #[test]
    fn pieces_and_records_of_any_size_make_the_same_hello(
        record in 1usize..3000, pieces in prop::collection::vec(1usize..700, 1..20),
    ) {
        let bytes = records(&message(CLIENT_HELLO, &body()), record);
        let mut reader = HelloReader::default();
        let (mut at, mut sizes, mut last) = (0, pieces.iter().cycle(), Progress::More);
        while at < bytes.len() && last == Progress::More {
            let end = bytes.len().min(at + sizes.next().unwrap());
            last = reader.read(&bytes[at..end]);
            at = end;
        }
        prop_assert_eq!(last, read(&whole()));
        prop_assert!(at == bytes.len());
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in any::<Vec<u8>>()) {
        let _any = read(&bytes);
        let _any = read(&records(&message(CLIENT_HELLO, &bytes), 300));
    }

    #[test]
    fn a_damaged_hello_is_read_without_panic(at in 0usize..1400, byte in any::<u8>(), cut in 0usize..1400) {
        let mut bytes = whole();
        let last = bytes.len() - 1;
        bytes[at.min(last)] = byte;
        bytes.truncate(bytes.len().saturating_sub(cut / 10));
        if let Progress::Done(hello) = read(&bytes) {
            prop_assert_eq!(super::super::ja4::Ja4::of(&hello).as_str().len(), 36);
        }
    }
}
