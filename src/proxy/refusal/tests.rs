//! What a client sees when it is refused.

use super::*;
use crate::facts::request::{RequestHead, Scheme};
use http::request::Parts;

const DECISION: Uuid = Uuid::from_u128(0x0190_5f2e_0000_7000_8000_0000_0000_0001);

fn request(method: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::builder().method(method).uri("/x");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn form(method: &str, headers: &[(&str, &str)]) -> Form {
    Form::asked_by(&RequestHead::read(&request(method, headers), Scheme::Http))
}

fn throttled() -> Refusal {
    let (window, reset) = (Duration::from_secs(10), Duration::from_millis(6001));
    Refusal::new(RefusalStatus::TooManyRequests, DECISION)
        .of_type(ProblemType::AbnormalUsageDetected)
        .retry_after(reset)
        .rate_limit(RateLimit { quota: 20, window, remaining: 0, reset })
}

fn field<'a>(header: &'a ResponseHeader, name: &str) -> &'a str {
    header.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[test]
fn a_program_gets_a_problem_document() {
    let refusal = Refusal::new(RefusalStatus::Forbidden, DECISION);
    let (header, body) = refusal.on_wire(&form("POST", &[("accept", "*/*")]), 0.0).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "type": "about:blank",
            "title": "Forbidden",
            "status": 403,
            "detail": "This request was not allowed.",
            "instance": format!("urn:riskgate:decision:{DECISION}"),
        })
    );
    assert_eq!(header.status, 403);
    assert_eq!(field(&header, "content-type"), "application/problem+json");
    assert_eq!(field(&header, "content-length"), body.len().to_string());
    assert_eq!(field(&header, "cache-control"), "no-store");
    assert_eq!(field(&header, "riskgate-decision"), DECISION.to_string());
    assert!(!header.headers.contains_key("retry-after") && !header.headers.contains_key("vary"));
}

#[test]
fn a_throttled_program_learns_when_to_come_back_but_not_which_limit() {
    let (header, body) = throttled().on_wire(&form("GET", &[]), 0.0).unwrap();
    assert_eq!(field(&header, "retry-after"), "7");
    assert_eq!(field(&header, "ratelimit-policy"), r#""client";q=20;w=10"#);
    assert_eq!(field(&header, "ratelimit"), r#""client";r=0;t=7"#);
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(json["type"], "https://iana.org/assignments/http-problem-types#abnormal-usage-detected");
    assert_eq!(json["violated-policies"], serde_json::json!(["client"]));
}

/// The name, and the parameters, of the one member of a list of structured fields.
fn member(field: &str) -> (String, Vec<(String, i64)>) {
    let list: sfv::List = sfv::Parser::new(field).parse().unwrap();
    let [sfv::ListEntry::Item(item)] = list.as_slice() else { panic!("{list:?}") };
    let number = |value: &sfv::BareItem| i64::from(value.as_integer().unwrap());
    let params = item.params.iter().map(|(name, value)| (name.as_str().to_owned(), number(value)));
    (item.bare_item.as_string().unwrap().as_str().to_owned(), params.collect())
}

proptest::proptest! {
    #[test]
    fn what_is_told_of_a_limit_is_a_list_of_structured_fields(
        quota in 1u64..250_000_000, window in 1u64..86_400, reset in 1u64..200_000_000_000_000,
    ) {
        let (window, reset) = (Duration::from_secs(window), Duration::from_nanos(reset));
        let limit = RateLimit { quota, window, remaining: 0, reset };
        let refusal = Refusal::new(RefusalStatus::TooManyRequests, DECISION).retry_after(reset).rate_limit(limit);
        let (header, _) = refusal.on_wire(&form("GET", &[]), 0.0).unwrap();
        let seconds = i64::try_from(reset.as_nanos().div_ceil(1_000_000_000)).unwrap();
        let params = |params: [(&str, i64); 2]| params.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let policy = params([("q", i64::try_from(quota).unwrap()), ("w", window.as_secs() as i64)]);
        proptest::prop_assert_eq!(member(field(&header, "ratelimit-policy")), ("client".to_owned(), policy));
        let state = params([("r", 0), ("t", seconds)]);
        proptest::prop_assert_eq!(member(field(&header, "ratelimit")), ("client".to_owned(), state));
        proptest::prop_assert_eq!(field(&header, "retry-after"), seconds.to_string());
    }
}

#[test]
fn a_navigation_gets_a_page_with_the_decision_and_the_wait() {
    let (header, body) = throttled().on_wire(&form("GET", &[("sec-fetch-mode", "navigate")]), 0.0).unwrap();
    let page = std::str::from_utf8(&body).unwrap();
    assert_eq!(field(&header, "content-type"), "text/html; charset=utf-8");
    assert_eq!(field(&header, "content-length"), body.len().to_string());
    assert!(field(&header, "content-security-policy").starts_with("default-src 'none'"));
    for part in ["<html lang=\"en\">", "<h1>Abnormal", "7 seconds", &DECISION.to_string()] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
}

#[test]
fn only_a_person_who_waits_for_a_page_gets_one() {
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for (method, headers, html) in [
        ("GET", &[("accept", browser)][..], true),
        ("HEAD", &[("accept", browser)], true),
        ("GET", &[("accept", "application/json;q=0.5, text/html")], true),
        ("POST", &[("sec-fetch-mode", "navigate")], true),
        ("POST", &[("accept", browser)], false),
        ("GET", &[("accept", browser), ("authorization", "Bearer x")], false),
        ("GET", &[("accept", browser), ("sec-fetch-mode", "cors")], false),
        ("GET", &[("accept", "application/json, text/html")], false),
        ("GET", &[("accept", "text/html;q=0")], false),
        ("GET", &[("accept", "text/html;q=x")], false),
        ("GET", &[("accept", "*/*")], false),
        ("GET", &[], false),
    ] {
        let parts = request(method, headers);
        assert_eq!(prefers_html(&RequestHead::read(&parts, Scheme::Http)), html, "{method} {headers:?}");
    }
}

#[test]
fn a_head_request_gets_the_length_but_not_the_body() {
    let (header, body) = throttled().on_wire(&form("HEAD", &[]), 0.0).unwrap();
    let (_, sent) = throttled().on_wire(&form("GET", &[]), 0.0).unwrap();
    assert!(body.is_empty());
    assert_eq!(field(&header, "content-length"), sent.len().to_string());
}

#[test]
fn another_origin_may_read_a_refusal_and_a_sibling_also_with_credentials() {
    let app = ("origin", "https://app.example.com");
    for (headers, origin, credentials) in [
        (&[][..], "", ""),
        (&[app], "*", ""),
        (&[app, ("sec-fetch-site", "cross-site")], "*", ""),
        (&[app, ("sec-fetch-site", "same-site")], "https://app.example.com", "true"),
        (&[("origin", "null"), ("sec-fetch-site", "same-site")], "*", ""),
    ] {
        let (header, _) = throttled().on_wire(&form("GET", headers), 0.0).unwrap();
        assert_eq!(field(&header, "access-control-allow-origin"), origin, "{headers:?}");
        assert_eq!(field(&header, "access-control-allow-credentials"), credentials, "{headers:?}");
        let exposed = field(&header, "access-control-expose-headers");
        assert_eq!(exposed.contains("Retry-After"), !origin.is_empty(), "{headers:?}");
        assert_eq!(header.headers.contains_key("vary"), !origin.is_empty(), "{headers:?}");
    }
}

#[test]
fn jitter_only_ever_adds_and_never_more_than_a_quarter_and_a_second() {
    let seconds = |wait: u64, jitter| whole_seconds_with_jitter(Duration::from_millis(wait), None, jitter);
    assert_eq!((seconds(0, 0.0), seconds(1, 0.0), seconds(1000, 0.0), seconds(1001, 0.0)), (1, 1, 1, 2));
    assert_eq!((seconds(60_000, 0.5), seconds(60_000, 1.0)), (68, 76));
    assert_eq!((seconds(1000, 0.7), seconds(1000, 0.9)), (1, 2));
    assert_eq!((seconds(4000, -3.0), seconds(4000, 9.0), seconds(4000, f64::NAN)), (4, 6, 4));
}

#[test]
fn nobody_is_sent_away_for_longer_than_a_place_is_kept() {
    let seconds = |kept: u64| {
        let kept = Some(Duration::from_millis(kept));
        whole_seconds_with_jitter(Duration::from_secs(60), kept, 1.0)
    };
    assert_eq!((seconds(900), seconds(1_250), seconds(7_500), seconds(100_000)), (61, 62, 68, 76));
}

#[test]
fn a_preflight_is_known_by_all_three_of_its_marks() {
    let (origin, asks) = (("origin", "https://a.example"), ("access-control-request-method", "PUT"));
    for (method, headers, preflight) in [
        ("OPTIONS", &[origin, asks][..], true),
        ("OPTIONS", &[origin], false),
        ("OPTIONS", &[asks], false),
        ("GET", &[origin, asks], false),
    ] {
        let parts = request(method, headers);
        assert_eq!(is_preflight(&RequestHead::read(&parts, Scheme::Http)), preflight, "{method} {headers:?}");
    }
}

#[test]
fn every_status_has_its_number_and_words() {
    for (status, code, title) in [
        (RefusalStatus::BadRequest, 400, "Bad Request"),
        (RefusalStatus::Forbidden, 403, "Forbidden"),
        (RefusalStatus::NotFound, 404, "Not Found"),
        (RefusalStatus::UriTooLong, 414, "URI Too Long"),
        (RefusalStatus::HeadersTooLarge, 431, "Request Header Fields Too Large"),
        (RefusalStatus::TooManyRequests, 429, "Too Many Requests"),
        (RefusalStatus::InternalServerError, 500, "Internal Server Error"),
        (RefusalStatus::BadGateway, 502, "Bad Gateway"),
        (RefusalStatus::ServiceUnavailable, 503, "Service Unavailable"),
        (RefusalStatus::GatewayTimeout, 504, "Gateway Timeout"),
    ] {
        assert_eq!((status.code(), status.title()), (code, title));
    }
}
