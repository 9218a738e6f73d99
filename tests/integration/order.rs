//! The fingerprint of header lines: what scripts and records see of the order and case in which a program writes.

use crate::net::origin::{Answer, Origin};
use crate::support::Setup;

fn order_of(gate: &crate::support::Running, head: &str) -> String {
    let mut client = gate.connect();
    client.write(head.as_bytes()).unwrap();
    let response = client.response_to("GET").unwrap();
    gate.record_of(&response)["signals"]["agent.order"].as_str().unwrap().to_owned()
}

#[test]
fn the_order_and_case_on_the_wire_tell_programs_apart() {
    let origin = Origin::start(|_| Answer::new(200, ""));
    let gate = Setup::new()
        .rule("10-order", "risk.tag(\"order\", req.agent.order);")
        .origin(&[origin.addr()])
        .start();
    let plain = order_of(&gate, "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n");
    let told = origin.received().pop().unwrap();
    assert_eq!(told.headers.first("riskgate-order"), Some(plain.as_str()));
    let busy = "GET /y HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\nUser-Agent: y\r\nCookie: s=1\r\nAccept: */*\r\n\r\n";
    assert_eq!(order_of(&gate, busy), plain, "values, credentials and proxies do not matter");
    for other in [
        "GET / HTTP/1.1\r\nUser-Agent: x\r\nHost: a\r\nAccept: */*\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nuser-agent: x\r\naccept: */*\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\nAccept: */*\r\nAccept: */*\r\n\r\n",
    ] {
        assert_ne!(order_of(&gate, other), plain, "{other:?}");
    }
}
