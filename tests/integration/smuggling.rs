//! Requests that two programs in a row could read in two ways, or that are none: each is refused with one answer and a
//! record, its connection is closed, what follows on it is not looked at, and nothing of it reaches the origin.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::net::PATIENCE;
use crate::net::origin::{Answer, Origin};
use crate::support::{Running, Setup, eventually};

mod http2;

/// A request behind each one that is refused; it must not be answered, nor reach the origin.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

/// Heads that the gate refuses, with the fault and the reason that are recorded.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "POST /cl-te HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
        "length_and_encoding",
        "request.ambiguous",
    ),
    (
        "POST /te-cl HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n0\r\n\r\n",
        "length_and_encoding",
        "request.ambiguous",
    ),
    (
        "GET /get-cl-te HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        "length_and_encoding",
        "request.ambiguous",
    ),
    (
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "odd_encoding",
        "request.ambiguous",
    ),
    (
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "odd_encoding",
        "request.ambiguous",
    ),
    (
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "odd_encoding",
        "request.ambiguous",
    ),
    (
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "odd_encoding",
        "request.ambiguous",
    ),
    (
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , chunked\r\n\r\n0\r\n\r\n",
        "odd_encoding",
        "request.ambiguous",
    ),
    (
        "POST /x HTTP/1.1\r\nHost: a\r\nFoo: bar\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "bare_newline",
        "request.malformed",
    ),
    (
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "repeated_length",
        "request.ambiguous",
    ),
    (
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc",
        "repeated_length",
        "request.ambiguous",
    ),
    ("GET /x HTTP/1.1\r\nAccept: */*\r\n\r\n", "no_host", "request.malformed"),
    ("GET /x HTTP/1.1\r\nHost:\r\n\r\n", "no_host", "request.malformed"),
    ("GET /x HTTP/1.1\r\nHost: a, b\r\n\r\n", "odd_host", "request.malformed"),
    ("GET /x HTTP/1.1\r\nHost: a/b\r\n\r\n", "odd_host", "request.malformed"),
    ("GET http://a/abs-nohost HTTP/1.1\r\n\r\n", "no_host", "request.malformed"),
    ("GET /x HTTP/1.1\nHost: a\n\n", "bare_newline", "request.malformed"),
    ("GET /x HTTP/1.1\r\nHost: a\r\nX: 1\n\r\n", "bare_newline", "request.malformed"),
    ("GET /x HTTP/1.1\r\nHost: a\r\n\n", "bare_newline", "request.malformed"),
    ("\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", "bare_newline", "request.malformed"),
    ("GET  /two-spaces HTTP/1.1\r\nHost: a\r\n\r\n", "odd_target", "request.malformed"),
    ("GET /fragment#x HTTP/1.1\r\nHost: a\r\n\r\n", "odd_target", "request.malformed"),
    ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", "odd_target", "request.malformed"),
];

/// Heads that the parser refuses before the gate sees them.
const UNREAD: &[&str] = &[
    "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "POST /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost: a\r\nFoo: bar\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
    "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc",
    "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc",
    "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nabc",
    "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
    "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3 3\r\n\r\nabc",
    "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc",
    "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET /x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "GET /x HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "GET /x HTTP/1.1\r\nHost : a\r\n\r\n",
    "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a:81/x HTTP/1.1\r\nHost: a:80\r\n\r\n",
    "GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /x HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
    "GET /x HTTP/1.1\r\nHost: a\r\nX: 1\r\n\t2\r\n\r\n",
    "GET /x HTTP/1.1\r\nHost: a\r\nX: 1\r2\r\n\r\n",
    "GET /x HTTP/1.1\r\nHost: a\r\nX: 1\x002\r\n\r\n",
    "GET /x HTTP/1.1\r\nHost: a\r\nX: 1\x012\r\n\r\n",
    "GET /x HTTP/1.1\r\nHost: a\r\nX: 1\x7f2\r\n\r\n",
    "GET /x HTTP/1.1\r\nHost: a\r\nX\x00: 1\r\n\r\n",
    "GET /x HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n",
    "GET /x HTTP/1.1\r\nHost: a\r\nXY\r\n\r\n",
    "GET /x HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n",
    "GET /x HTTP/1.1\r\nHost: a\r\nX(Y): 1\r\n\r\n",
    "GET /space-target-smuggle HTTP/1.1\r HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET\t/x\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /x HTTP/1.2\r\nHost: a\r\n\r\n",
    "GET /x HTTP/2.0\r\nHost: a\r\n\r\n",
    "GET /x\r\n\r\n",
    "GET /x http/1.1\r\nHost: a\r\n\r\n",
    "G(T /x HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
];

/// What follows `Transfer-Encoding: chunked`, and is no body. Its head has been sent on by then.
const BROKEN: &[&str] = &[
    "zz\r\nabc\r\n0\r\n\r\n",
    "0x3\r\nabc\r\n0\r\n\r\n",
    "-3\r\nabc\r\n0\r\n\r\n",
    "+3\r\nabc\r\n0\r\n\r\n",
    "10000000000000003\r\nabc\r\n0\r\n\r\n",
    "3\r\nabcXX\r\n0\r\n\r\n",
    "2\r\nabc\r\n0\r\n\r\n",
    "3\nabc\n0\n\n",
    "3\r\nabc\n0\r\n\r\n",
    "3\rabc\r\n0\r\n\r\n",
    " 3\r\nabc\r\n0\r\n\r\n",
];

/// What is repaired by a rule that everybody knows, and how it reaches the origin.
const REPAIRED: &[(&str, &str, &str)] = &[
    ("\r\n\r\nGET /lines HTTP/1.1\r\nHost: a\r\n\r\n", "/lines", ""),
    (
        "POST /tab HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "/tab",
        "abc",
    ),
    (
        "POST /ext HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
        "/ext",
        "abc",
    ),
    (
        "POST /end HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
        "/end",
        "",
    ),
    ("GET http://a/absolute HTTP/1.1\r\nHost: a\r\n\r\n", "http://a/absolute", ""),
    ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "/a%20b", ""),
    ("GET /nul\x00 HTTP/1.1\r\nHost: a\r\n\r\n", "/nul%00", ""),
];

fn setup(origin: &Origin) -> Setup {
    let server = "threads = 2\nread_timeout = \"1s\"\nkeepalive = \"1s\"";
    Setup::new().section("server", server).origin(&[origin.addr()])
}

fn origin() -> Origin {
    Origin::start(|_| Answer::new(200, "ok"))
}

/// All that comes back until the connection is closed.
fn exchange(addr: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    assert!(ended.is_ok(), "{bytes:?}: {ended:?}");
    String::from_utf8(answer).unwrap()
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)).collect()
}

/// One answer, a problem document, on a connection that ends; and its decision.
fn refusal(addr: SocketAddr, bytes: &str, status: &str) -> String {
    let answer = exchange(addr, bytes);
    assert_eq!(statuses(&answer), [status], "{bytes:?}: {answer}");
    let head = answer.to_lowercase();
    assert!(head.contains("connection: close") && head.contains("application/problem+json"), "{answer}");
    let id = head.split("riskgate-decision: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    id.unwrap_or_else(|| panic!("{bytes:?}: {answer}")).to_owned()
}

/// The fault and the gate's reason of each record, by its id.
fn recorded(gate: &Running, count: usize) -> BTreeMap<String, (String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let records = gate.records(count);
    let of = |record: &serde_json::Value| {
        assert_eq!(record["action"], "blocked", "{record}");
        let reasons = record["reasons"].as_array().unwrap();
        let own = reasons.iter().find(|reason| reason["rule"] == "gate").unwrap();
        (text(&record["id"]), (text(&record["fault"]), text(&own["reason"])))
    };
    records.iter().map(of).collect()
}

#[test]
fn a_head_that_can_be_read_in_two_ways_is_refused_and_recorded() {
    let origin = origin();
    let gate = setup(&origin).start();
    let send = |(head, fault, reason): &(&'static str, &'static str, &'static str)| {
        (refusal(gate.addr, &format!("{head}{NEXT}"), "400"), *fault, *reason, *head)
    };
    let sent: Vec<_> = REFUSED.iter().map(send).collect();
    let records = recorded(&gate, sent.len());
    for (id, fault, reason, head) in sent {
        let known = records.get(&id).unwrap_or_else(|| panic!("no record of {head:?}"));
        assert_eq!((known.0.as_str(), known.1.as_str()), (fault, reason), "{head:?}");
    }
    assert_eq!((records.len(), origin.connections()), (REFUSED.len(), 0));
}

#[test]
fn a_head_that_cannot_be_read_is_refused_and_recorded() {
    let origin = origin();
    let gate = setup(&origin).start();
    for head in UNREAD {
        let status = if head.starts_with("CONNECT") { "405" } else { "400" };
        let answer = exchange(gate.addr, &format!("{head}{NEXT}"));
        assert_eq!(statuses(&answer), [status], "{head:?}: {answer}");
    }
    let records = recorded(&gate, UNREAD.len());
    let unread = ("unread".to_owned(), "request.malformed".to_owned());
    assert!(records.len() == UNREAD.len() && records.values().all(|known| *known == unread), "{records:?}");
    let counted = format!("riskgate_reasons_total{{reason=\"request.malformed\"}} {}", UNREAD.len());
    eventually("a count", || gate.metrics().contains(&counted).then_some(()));
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_body_that_is_none_is_refused_and_the_origin_never_sees_its_end() {
    let origin = origin();
    let gate = setup(&origin).start();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let send = |body: &&str| refusal(gate.addr, &format!("{head}{body}{NEXT}"), "400");
    let sent: Vec<_> = BROKEN.iter().map(send).collect();
    let records = recorded(&gate, sent.len());
    let broken = ("broken_body".to_owned(), "request.malformed".to_owned());
    for (id, body) in sent.iter().zip(BROKEN) {
        assert_eq!(records.get(id), Some(&broken), "{body:?}");
    }
    assert!(origin.received().is_empty());
}

#[test]
fn what_everybody_repairs_in_the_same_way_reaches_the_origin_repaired() {
    let origin = origin();
    let gate = setup(&origin).start();
    for (bytes, target, body) in REPAIRED {
        assert_eq!(statuses(&exchange(gate.addr, bytes)), ["200"], "{bytes:?}");
        let seen = origin.received().pop().unwrap();
        assert_eq!((seen.target.as_str(), seen.body.as_slice()), (*target, body.as_bytes()), "{bytes:?}");
        let framed = seen.headers.all("content-length").chain(seen.headers.all("transfer-encoding"));
        assert_eq!(framed.count(), usize::from(bytes.starts_with("POST")), "{bytes:?}");
    }
}

/// Each of these begins with a request that is fine, by either way; what hides behind it is seen for what it is.
#[test]
fn what_hides_behind_a_request_is_a_request_of_its_own() {
    let origin = origin();
    let rule = "if req.path == \"/admin\" { risk.block(\"test.admin\"); }";
    let gate = setup(&origin).rule("10-admin", rule).start();
    let short = "GET /short HTTP/1.1\r\nHost: a\r\n\r\n";
    let long = "GET /long HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let chunked = "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let admin = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    let folded = "GET /x HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n";
    let both =
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    for first in [short, long, chunked] {
        let answers = exchange(gate.addr, &format!("{first}{admin}{short}"));
        assert_eq!(statuses(&answers), ["200", "403", "200"], "{first:?}");
        for hidden in [folded, both] {
            let answers = exchange(gate.addr, &format!("{first}{hidden}{admin}{short}"));
            assert_eq!(statuses(&answers), ["200", "400"], "{first:?}{hidden:?}");
        }
    }
    let targets: Vec<_> = origin.received().into_iter().map(|seen| seen.target).collect();
    assert!(!targets.iter().any(|target| target == "/admin" || target == "/x"), "{targets:?}");
    assert_eq!(targets.len(), 12);
}
