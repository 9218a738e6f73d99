//! What reaches an origin, and what does not.

use super::*;
use crate::actions::Say;
use crate::decision::{Evaluation, Level, LevelAction, Mode, RuleOutcome, Rulebook, Spoken};
use crate::facts::place::CountryCode;
use proptest::prelude::*;

fn header(fields: &[(&str, &str)]) -> RequestHeader {
    let mut header = RequestHeader::build("GET", b"/", None).unwrap();
    for (name, value) in fields {
        header.append_header((*name).to_owned(), *value).unwrap();
    }
    header
}

fn field<'a>(header: &'a RequestHeader, name: &str) -> Option<&'a str> {
    header.headers.get(name).map(|value| value.to_str().unwrap())
}

fn forwarded(forward: ForwardHeader, node: Option<&str>, host: &str) -> RequestHeader {
    let mut header = header(&[("Host", host)]);
    Forwarding { header: forward, node, scheme: Scheme::Https }.write(&mut header, Some(host)).unwrap();
    header
}

#[test]
fn a_client_cannot_speak_for_us_in_any_spelling() {
    let mut header = header(&[
        ("Riskgate-Score", "0"),
        ("riskgate-score", "1"),
        ("RISKGATE_SCORE", "2"),
        ("riskgate-anything", "x"),
        ("X-Forwarded-For", "8.8.8.8"),
        ("x_forwarded_for", "8.8.8.8"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=8.8.8.8"),
        ("X-Real-IP", "8.8.8.8"),
        ("CF_Connecting_IP", "8.8.8.8"),
        ("True-Client-IP", "8.8.8.8"),
        ("Host", "a"),
        ("Risk", "kept"),
        ("X-Forward", "kept"),
    ]);
    let nobody = Forwarding { header: ForwardHeader::XForwardedFor, node: None, scheme: Scheme::Http };
    strip_claims(&mut header, &nobody);
    let mut left: Vec<_> = header.headers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["host", "risk", "x-forward"]);
    let mut wire = Vec::new();
    header.header_to_h1_wire(&mut wire);
    assert!(!String::from_utf8(wire).unwrap().contains("8.8.8.8"));
}

#[test]
fn an_upgrade_passes_untouched() {
    let handshake = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    let mut header = header(&handshake);
    let header_name = ForwardHeader::XForwardedFor;
    let forwarding = Forwarding { header: header_name, node: Some("192.0.2.0"), scheme: Scheme::Http };
    strip_claims(&mut header, &forwarding);
    forwarding.write(&mut header, None).unwrap();
    for (name, value) in handshake {
        assert_eq!(field(&header, name), Some(value));
    }
}

#[test]
fn x_forwarded_for_names_the_client_or_is_absent() {
    let header = forwarded(ForwardHeader::XForwardedFor, Some("2001:db8::"), "Example.com:8080");
    assert_eq!(field(&header, "x-forwarded-for"), Some("2001:db8::"));
    assert_eq!(field(&header, "x-forwarded-proto"), Some("https"));
    assert_eq!(field(&header, "x-forwarded-host"), Some("Example.com:8080"));
    assert_eq!(field(&header, "forwarded"), None);
    assert_eq!(field(&forwarded(ForwardHeader::XForwardedFor, None, "a"), "x-forwarded-for"), None);
}

#[test]
fn what_a_client_forwarded_is_replaced_whole() {
    for forward in [ForwardHeader::XForwardedFor, ForwardHeader::Forwarded] {
        let sent = [("X-Forwarded-For", "8.8.8.8"), ("Forwarded", "for=8.8.8.8")];
        let mut header = header(&[sent[0], sent[1], ("Host", "a"), sent[0], sent[1]]);
        let forwarding = Forwarding { header: forward, node: Some("192.0.2.0"), scheme: Scheme::Http };
        strip_claims(&mut header, &forwarding);
        forwarding.write(&mut header, None).unwrap();
        let mut wire = Vec::new();
        header.header_to_h1_wire(&mut wire);
        let wire = String::from_utf8(wire).unwrap();
        assert!(!wire.contains("8.8.8.8") && wire.matches("192.0.2.0").count() == 1, "{wire}");
    }
}

#[test]
fn forwarded_quotes_what_is_not_a_token() {
    for (node, host, element) in [
        (Some("192.0.2.0"), "example.com", "for=192.0.2.0;proto=https;host=example.com"),
        (Some("2001:db8::"), "example.com:8080", r#"for="[2001:db8::]";proto=https;host="example.com:8080""#),
        (Some("_9f86d081884c7d65"), "[::1]", r#"for=_9f86d081884c7d65;proto=https;host="[::1]""#),
        (None, r#"a";for=8.8.8.8;x="\"#, r#"for=unknown;proto=https;host="a\";for=8.8.8.8;x=\"\\""#),
        (None, "", r#"for=unknown;proto=https;host="""#),
    ] {
        let header = forwarded(ForwardHeader::Forwarded, node, host);
        assert_eq!(field(&header, "forwarded"), Some(element));
        assert_eq!(field(&header, "x-forwarded-for"), None);
    }
}

/// What the origin learns when scripts gave these reasons, 72 points for the first, and these tags.
fn verdict(reasons: &[&str], tags: &[(&str, &str)]) -> RequestHeader {
    let mut header = header(&[]);
    write_verdict(reasons, tags, &mut header);
    header
}

/// The same in a head that is bytes.
fn written(tags: &[(&str, &str)]) -> String {
    let mut head = Head::asking(&header(&[])).unwrap();
    write_verdict(&[], tags, &mut head);
    String::from_utf8(head.ended()).unwrap()
}

fn write_verdict(reasons: &[&str], tags: &[(&str, &str)], fields: &mut impl Fields) {
    let points = |at| if at == 0 { 72 } else { 0 };
    let add = |(at, reason): (usize, &&str)| Say::Add { reason: (*reason).into(), points: points(at) };
    let tag = |(name, value): &(&str, &str)| Say::Tag { name: (*name).into(), value: (*value).into() };
    let says = reasons.iter().enumerate().map(add).chain(tags.iter().map(tag)).collect();
    let mut evaluation = Evaluation::default();
    evaluation.push(RuleOutcome { rule: "rule".into(), mode: Mode::Enforce, spoken: Spoken::Whole(says) });
    let mut rulebook = Rulebook::default();
    assert!(rulebook.levels.begin(Level::High, 70, LevelAction::Allow));
    let decision = rulebook.decide(&evaluation, CountryCode::UNKNOWN, None);
    let tell = [Tell::Score, Tell::Level, Tell::Reasons, Tell::Decision];
    let id = HeaderValue::from_static("the-id");
    Verdict { decision: &decision, id: &id, tell: &tell }.write(fields).unwrap();
}

#[test]
fn the_origin_is_told_only_what_it_shall_know() {
    let decision = Rulebook::default().decide(&Evaluation::default(), CountryCode::UNKNOWN, None);
    let (id, mut header) = (HeaderValue::from_static("the-id"), header(&[]));
    Verdict { decision: &decision, id: &id, tell: &[Tell::Score] }.write(&mut header).unwrap();
    assert_eq!(field(&header, "riskgate-score"), Some("0"));
    assert_eq!(header.headers.len(), 1);
}

#[test]
fn the_origin_learns_the_judgement() {
    let header = verdict(&["country.weight", "agent.tool"], &[("plan", "free tier")]);
    assert_eq!(field(&header, "riskgate-score"), Some("72"));
    assert_eq!(field(&header, "riskgate-level"), Some("high"));
    assert_eq!(field(&header, "riskgate-reasons"), Some("country.weight, agent.tool"));
    assert_eq!(field(&header, "riskgate-decision"), Some("the-id"));
    assert_eq!(field(&header, "riskgate-plan"), Some("free tier"));
    assert_eq!(field(&verdict(&[], &[]), "riskgate-reasons"), None);
}

#[test]
fn a_tag_cannot_break_out_of_its_header_or_replace_ours() {
    let long = "y".repeat(1000);
    let tags =
        [("a", "x\r\nEvil: 1"), ("b", "  \u{e9}\0 "), ("c", &long), ("score", "0"), ("D", "x"), ("", "x")];
    let header = verdict(&["a.b"], &tags);
    assert_eq!(field(&header, "riskgate-a"), Some("x??Evil: 1"));
    assert_eq!(field(&header, "riskgate-b"), Some("??"));
    assert_eq!(field(&header, "riskgate-c").map(str::len), Some(MAX_VALUE));
    assert_eq!(field(&header, "riskgate-score"), Some("72"));
    assert_eq!(header.headers.len(), 7);
}

#[test]
fn of_a_tag_that_was_said_twice_the_last_counts() {
    let header = verdict(&[], &[("plan", "free"), ("a", "x"), ("plan", "paid")]);
    assert_eq!(field(&header, "riskgate-plan"), Some("paid"));
    assert_eq!(written(&[("plan", "free"), ("plan", "paid")]).matches("riskgate-plan: paid\r\n").count(), 1);
    assert!(!written(&[("plan", "free"), ("plan", "paid")]).contains("free"));
}

#[test]
fn a_long_list_of_reasons_ends_with_a_whole_id() {
    let ids: Vec<_> = (0..500).map(|n| format!("area.rule{n}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let header = verdict(&ids, &[]);
    let listed = field(&header, "riskgate-reasons").unwrap();
    assert!(listed.len() <= MAX_REASONS);
    assert!(listed.split(", ").eq(ids.into_iter().take(listed.split(", ").count())));
}

proptest! {
    #[test]
    fn whatever_a_script_or_a_client_says_is_one_header(tag in any::<String>(), host in "\\PC{0,40}") {
        let header = verdict(&[&tag], &[("t", &tag)]);
        prop_assert!(header.headers.get("riskgate-t").unwrap().len() <= MAX_VALUE);
        let quoted = quote(&host);
        let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let bare = inner.map(|inner| inner.replace("\\\\", "").replace("\\\"", ""));
        prop_assert!(bare.is_none_or(|bare| !bare.contains(['"', '\\'])), "{}", quoted);
        prop_assert!(quoted.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
    }
}
