//! The canary once more: addresses that a proxy tells by the PROXY protocol, well-formed and garbled.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use super::{CLIENTS, LISTED, Process, Sinks, ask_everything, setup};
use crate::net::Request;
use crate::net::origin::{Answer, Origin};

/// What proxies say about a connection from this address, and what they garble.
fn introductions(address: &str) -> Vec<Vec<u8>> {
    let address: IpAddr = address.parse().unwrap();
    let (family, transport, octets) = match address {
        IpAddr::V4(v4) => ("TCP4", 0x11, v4.octets().to_vec()),
        IpAddr::V6(v6) => ("TCP6", 0x21, v6.octets().to_vec()),
    };
    let content = [octets.as_slice(), &octets, &[0x12, 0x67, 1, 0xbb]].concat();
    let v2 = |transport: u8, length: u8| {
        [b"\r\n\r\n\0\r\nQUIT\n\x21", [transport, 0, length].as_slice(), &content].concat()
    };
    let length = u8::try_from(content.len()).unwrap();
    let good = format!("PROXY {family} {address} {address} 4711 443\r\n");
    let mut all: Vec<Vec<u8>> = [
        format!("PROXY UNKNOWN {address} {address} 4711 443\r\n"),
        good.replace("443", "nobody"),
        good.replace("\r\n", "\n"),
        good.replace("PROXY", "PROXIES"),
        format!("PROXY {family} {address}"),
    ]
    .map(String::into_bytes)
    .into();
    all.extend([good.into_bytes(), v2(transport, length), v2(0x13, length), v2(transport, 3)]);
    all
}

#[test]
fn no_sink_holds_an_address_that_a_proxy_tells() {
    let origin = Origin::start(|received| {
        Answer::new(200, "fine").header("x-seen", received.headers.first("x-forwarded-for").unwrap_or(""))
    });
    let silent = Origin::start(|_| Answer::new(200, "late"));
    let introduced = "proxy_protocol = \"required\"\nproxy_protocol_from = [\"127.0.0.1/32\"]";
    let process = Process::start(&setup(&origin, &silent).listener(introduced));
    let (mut sinks, mut ids, mut statuses) = (Sinks::default(), Vec::new(), BTreeSet::new());
    for (address, path) in CLIENTS
        .iter()
        .chain(&LISTED)
        .flat_map(|address| ["/", "/slow", "/slow", "/blocked", "/fail", "/dead"].map(|path| (address, path)))
    {
        for header in introductions(address) {
            let mut client = process.connect();
            // It may be closed before all was written.
            let _ = client.write(&[header, Request::get(path).to_bytes()].concat());
            let Ok(answer) = client.response_to("GET") else { continue };
            ids.extend(answer.headers.first("riskgate-decision").map(str::to_owned));
            statuses.insert(answer.status);
            sinks.response(path, &answer);
        }
    }
    assert!([200, 403, 429, 502].iter().all(|status| statuses.contains(status)), "{statuses:?}");
    process.files.records(ids.len());
    ask_everything(&process, &mut sinks, &ids[..10]);
    let (status, files) = process.stop();
    assert!(status.success(), "{status}");
    for received in origin.received().iter().chain(&silent.received()) {
        sinks.take("what the origin received", format!("{received:?}"));
    }
    for name in ["decisions.jsonl", "stdout", "stderr"] {
        sinks.take(name, fs::read(files.path(name)).unwrap());
    }
    // The prefixes are there, so the addresses went through.
    let log = files.log();
    assert!(["203.0.113.0/24", "2001:db8:77::/48"].iter().all(|prefix| log.contains(prefix)));
    sinks.assert_clean();
}
