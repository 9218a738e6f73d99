//! What forwarding headers say, hop by hop, and whom one believes in the end.

use super::*;

fn nodes(header: ForwardHeader, lines: &[&str]) -> Vec<String> {
    let mut seen = Vec::new();
    header.walk(lines.iter().map(|line| line.as_bytes()), |node| {
        seen.push(match node {
            Node::Address(address) => address.to_string(),
            Node::Opaque => "?".into(),
        });
        true
    });
    seen
}

#[test]
fn hops_come_from_the_right_over_all_lines() {
    let lines = ["192.0.2.1, 192.0.2.2:8080", "[2001:db8::1]:443 ,2001:db8::2"];
    assert_eq!(
        nodes(ForwardHeader::XForwardedFor, &lines),
        ["2001:db8::2", "2001:db8::1", "192.0.2.2", "192.0.2.1"]
    );
}

#[test]
fn forwarded_reads_quotes_brackets_ports_and_any_case() {
    let line = [
        r#"for=192.0.2.43;proto=http, For="[2001:db8:cafe::17]:4711";by=203.0.113.43, for=unknown, for=_x, proto=https"#,
    ];
    assert_eq!(nodes(ForwardHeader::Forwarded, &line), ["?", "?", "?", "2001:db8:cafe::17", "192.0.2.43"]);
}

#[test]
fn what_cannot_be_read_is_opaque_not_skipped() {
    let lines = ["1.2.3, , 01.2.3.4, 1.2.3.4.5, ::g, [1.2.3.4], 1.2.3.4:99999"];
    assert!(nodes(ForwardHeader::XForwardedFor, &lines).iter().all(|node| node == "?"));
    let twice = ["for=192.0.2.1;for=192.0.2.2"];
    assert_eq!(nodes(ForwardHeader::Forwarded, &twice), ["?"]);
}

#[test]
fn a_comma_inside_quotes_does_not_separate() {
    assert_eq!(nodes(ForwardHeader::Forwarded, &[r#"for=192.0.2.1;by="a,b""#]), ["192.0.2.1"]);
}

#[test]
fn the_walk_is_bounded() {
    let many = vec!["192.0.2.1"; 10_000].join(",");
    let seen = nodes(ForwardHeader::XForwardedFor, &[&many]);
    assert_eq!(seen.len(), MAX_NODES + 1);
    assert_eq!(seen.last().map(String::as_str), Some("?"));
}

#[test]
fn one_element_cannot_spoil_the_next() {
    let seen = |header: ForwardHeader, line: &[u8]| {
        let mut first = None;
        header.walk(std::iter::once(line), |node| {
            first = Some(matches!(node, Node::Address(_)));
            false
        });
        first
    };
    assert_eq!(seen(ForwardHeader::XForwardedFor, b"\xff\xfe\0, 203.0.113.7"), Some(true));
    assert_eq!(seen(ForwardHeader::Forwarded, b"for=\"\\\xff, for=\"[2001:db8::7]\""), Some(true));
}

#[path = "table.rs"]
mod table;
