//! Who the gate believes is calling, and what it tells the origin about it.

use crate::net::Request;
use crate::net::origin::{Answer, Origin, Received};
use crate::support::{Running, Setup, from};

/// What a script tells the origin about the client.
const SHOW: &str = "risk.tag(\"prefix\", req.client.prefix); risk.tag(\"country\", req.geo.country);";

fn gate(origin: &Origin, client: &str) -> Running {
    Setup::new().section("client", client).rule("10-show", SHOW).origin(&[origin.addr()]).start()
}

/// What the origin received when this was sent.
fn received(client: &str, request: &Request) -> Received {
    let origin = Origin::start(|_| Answer::new(200, ""));
    let gate = gate(&origin, client);
    assert_eq!(gate.send(request).status, 200);
    origin.wait_for(1).remove(0)
}

fn header<'a>(received: &'a Received, name: &str) -> Option<&'a str> {
    let mut all = received.headers.all(name);
    let first = all.next();
    assert_eq!(all.next(), None, "`{name}` is sent once");
    first
}

const TRUSTING: &str = "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";

#[test]
fn what_a_stranger_says_about_addresses_is_ignored() {
    let seen = received("trusted_proxies = []", &from("8.8.8.8", "/").header("forwarded", "for=8.8.8.8"));
    assert_eq!(header(&seen, "riskgate-prefix"), Some("127.0.0.0/24"));
    assert_eq!(header(&seen, "riskgate-country"), Some("ZZ"));
    assert_eq!(header(&seen, "x-forwarded-for"), Some("127.0.0.0"));
    assert_eq!(header(&seen, "forwarded"), None);
}

#[test]
fn trusted_hops_are_passed_from_the_right_to_the_first_other() {
    for (lines, prefix, country) in [
        (vec!["8.8.8.8"], "8.8.8.0/24", "US"),
        (vec!["1.1.1.1, 203.0.113.7, 10.1.2.3"], "203.0.113.0/24", "DE"),
        (vec!["1.1.1.1", "175.45.176.1", "10.1.2.3"], "175.45.176.0/24", "KP"),
        (vec!["8.8.8.8, garbage, 10.1.2.3"], "10.1.2.0/24", "ZZ"),
        (vec!["2001:db8:aaaa:bbbb::1"], "2001:db8:aaaa::/48", "SE"),
        (vec!["::ffff:203.0.113.7"], "203.0.113.0/24", "DE"),
        (vec!["[2001:db8:aaaa::1]:443, 10.1.2.3:80"], "2001:db8:aaaa::/48", "SE"),
    ] {
        let request = lines.iter().fold(Request::get("/"), |it, line| it.header("X-Forwarded-For", line));
        let seen = received(TRUSTING, &request);
        assert_eq!(header(&seen, "riskgate-prefix"), Some(prefix), "{lines:?}");
        assert_eq!(header(&seen, "riskgate-country"), Some(country), "{lines:?}");
    }
}

#[test]
fn exactly_one_header_is_believed() {
    let client = format!("{TRUSTING}\nheader = \"forwarded\"");
    let request =
        from("8.8.8.8", "/").header("forwarded", "for=1.1.1.1, for=\"[2001:db8:1:2::3]:80\";proto=https");
    let seen = received(&client, &request);
    assert_eq!(header(&seen, "riskgate-prefix"), Some("2001:db8:1::/48"));
    assert_eq!(header(&seen, "forwarded"), Some("for=\"[2001:db8:1::]\";proto=http;host=api.example"));
    assert_eq!(header(&seen, "x-forwarded-for"), None);
    let unread = received(&client, &from("8.8.8.8", "/"));
    assert_eq!(header(&unread, "riskgate-prefix"), Some("127.0.0.0/24"));
}

#[test]
fn the_operator_chooses_what_the_origin_learns_of_an_address() {
    let forwarded = |forward: &str, address: &str| {
        let seen = received(&format!("{TRUSTING}\nforward = \"{forward}\""), &from(address, "/"));
        header(&seen, "x-forwarded-for").map(str::to_owned).unwrap()
    };
    assert_eq!(forwarded("full", "203.0.113.77"), "203.0.113.77");
    assert_eq!(forwarded("full", "2001:db8:1:2::3"), "2001:db8:1:2::3");
    assert_eq!(forwarded("truncated", "203.0.113.77"), "203.0.113.0");
    assert_eq!(forwarded("truncated", "2001:db8:1:2::3"), "2001:db8:1::");
    let pseudonym = forwarded("pseudonym", "203.0.113.77");
    let digits = pseudonym.strip_prefix('_').unwrap();
    assert!(digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{pseudonym}");
}

#[test]
fn a_pseudonym_is_the_same_within_one_gate_and_is_not_the_one_in_the_log() {
    let origin = Origin::start(|_| Answer::new(200, ""));
    let gate = gate(&origin, &format!("{TRUSTING}\nforward = \"pseudonym\""));
    let mut client = gate.connect();
    for address in ["203.0.113.77", "203.0.113.78", "8.8.8.8"] {
        client.send(&from(address, "/")).unwrap();
    }
    let names: Vec<_> =
        origin.wait_for(3).iter().map(|seen| header(seen, "x-forwarded-for").unwrap().to_owned()).collect();
    assert!(names[0] == names[1] && names[0] != names[2], "{names:?}");
    let records = gate.records(3);
    assert_eq!(records[0]["client"], records[1]["client"]);
    assert_ne!(format!("_{}", records[0]["client"].as_str().unwrap()), names[0]);
}

#[test]
fn what_a_client_claims_never_reaches_the_origin() {
    let claims = [
        ("riskgate-score", "0"),
        ("Riskgate_Level", "low"),
        ("riskgate-reasons", "trust.me"),
        ("riskgate-decision", "mine"),
        ("riskgate-bot-class", "good"),
        ("X-Real-IP", "8.8.4.4"),
        ("True-Client-IP", "8.8.4.4"),
        ("CF-Connecting-IP", "8.8.4.4"),
        ("x_forwarded_for", "8.8.4.4"),
        ("Forwarded", "for=8.8.4.4"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "https"),
    ];
    let request =
        claims.iter().fold(from("8.8.8.8", "/"), |request, (name, value)| request.header(name, value));
    let seen = received(TRUSTING, &request);
    assert_eq!(header(&seen, "riskgate-score"), Some("0"));
    assert_eq!(header(&seen, "x-forwarded-proto"), Some("http"));
    assert_eq!(header(&seen, "x-forwarded-host"), Some("api.example"));
    let all = format!("{:?}", seen.headers);
    for made_up in ["8.8.4.4", "evil.example", "trust.me", "mine", "good", "Riskgate_Level"] {
        assert!(!all.contains(made_up), "{made_up}: {all}");
    }
}

#[test]
fn score_level_reasons_decision_and_tags_reach_the_origin() {
    let origin = Origin::start(|_| Answer::new(200, ""));
    let gate = Setup::new()
        .rule("10-a", "risk.add(\"test.first\", 25); risk.tag(\"bot-class\", \"tool \\r\\nx: y\");")
        .rule("20-b", "risk.add(\"test.second\", 20); risk.add(\"test.none\", 0);")
        .rule("30-c", "risk.add(\"test.watched\", 50); risk.tag(\"watched\", \"no\");")
        .section("policy", "observe_only = [\"30-c\"]")
        .origin(&[origin.addr()])
        .start();
    let response = gate.send(&from("8.8.8.8", "/"));
    let seen = origin.wait_for(1).remove(0);
    assert_eq!(header(&seen, "riskgate-score"), Some("45"));
    assert_eq!(header(&seen, "riskgate-level"), Some("medium"));
    assert_eq!(header(&seen, "riskgate-reasons"), Some("test.first, test.second, test.none"));
    assert_eq!(header(&seen, "riskgate-bot-class"), Some("tool ??x: y"));
    assert_eq!(header(&seen, "riskgate-watched"), None);
    assert_eq!(header(&seen, "riskgate-decision"), response.headers.first("riskgate-decision"));
}
