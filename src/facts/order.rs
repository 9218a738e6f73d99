//! The order of headers: which names a program sends, in which order and which case. It tells programs apart that call
//! themselves the same, and says nothing about who uses them.
//!
//! What goes in is the version of HTTP and the names of the first header lines as they were written, and no value. Left
//! out are names that come and go with a single request: of its body, of credentials and state, of caches, and what
//! proxies add. This is a format of our own.

use super::address_headers::{hyphenated, tells_address};
use super::request::RequestHead;
use super::wire;

/// At most so many names go in.
const MAX_NAMES: usize = 40;
/// Bytes of the hash that are shown.
const SHOWN: usize = 6;

/// Names that say more about a request than about the program that made it; sorted.
const PASSING: &[&str] = &[
    "authorization",
    "baggage",
    "cache-control",
    "cdn-loop",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "pragma",
    "proxy-authorization",
    "range",
    "referer",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "via",
    "x-correlation-id",
    "x-request-id",
];

/// The fingerprint of a head: twelve hexadecimal digits.
pub fn fingerprint(head: &RequestHead<'_>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(head.version().as_bytes());
    let mut add = |name: &[u8]| {
        hasher.update(b"\n").update(name);
    };
    match head.raw() {
        Some(raw) => {
            let names = wire::lines(raw).filter_map(|line| line.split(|byte| *byte == b':').next());
            names.filter(|name| is_lasting(name)).take(MAX_NAMES).for_each(&mut add);
        }
        None => {
            let names = head.headers().iter().map(|(name, _)| name.as_str().as_bytes());
            names.filter(|name| is_lasting(name)).take(MAX_NAMES).for_each(&mut add);
        }
    }
    let hash = hasher.finalize();
    hash.as_bytes().iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect()
}

fn is_lasting(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let name = name.to_ascii_lowercase();
    let name = hyphenated(&name);
    PASSING.binary_search(&&*name).is_err() && !tells_address(&name) && !name.starts_with("x-forwarded-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::request::Scheme;

    fn of(version: http::Version, raw: &str) -> String {
        let mut request = http::Request::builder().version(version);
        for line in wire::lines(raw.as_bytes()) {
            let (name, value) = std::str::from_utf8(line).unwrap().split_once(':').unwrap();
            request = request.header(name, value.trim());
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let head = RequestHead::read(&parts, Scheme::Http);
        let raw = (version != http::Version::HTTP_2).then_some(raw.as_bytes());
        fingerprint(&head.from_wire(raw))
    }

    fn h1(lines: &str) -> String {
        of(http::Version::HTTP_11, &format!("GET / HTTP/1.1\r\n{lines}\r\n"))
    }

    #[test]
    fn names_their_order_and_their_case_tell_programs_apart() {
        let curl = h1("Host: a\r\nUser-Agent: curl/8\r\nAccept: */*\r\n");
        assert_eq!(curl.len(), 12);
        for other in [
            "Host: a\r\nAccept: */*\r\nUser-Agent: curl/8\r\n",
            "host: a\r\nuser-agent: curl/8\r\naccept: */*\r\n",
            "Host: a\r\nUser-Agent: curl/8\r\n",
            "Host: a\r\nUser-Agent: curl/8\r\nAccept: */*\r\nAccept: */*\r\n",
        ] {
            assert_ne!(h1(other), curl, "{other:?}");
        }
        let old =
            of(http::Version::HTTP_10, "GET / HTTP/1.0\r\nHost: a\r\nUser-Agent: x\r\nAccept: y\r\n\r\n");
        assert_ne!(old, curl);
    }

    #[test]
    fn values_and_what_comes_and_goes_do_not_matter() {
        let plain = h1("Host: a\r\nUser-Agent: curl/8\r\nAccept: */*\r\n");
        let busy = "Host: b\r\nCookie: s=1\r\nUser-Agent: Mozilla\r\nX-Forwarded-For: 192.0.2.1\r\n\
                    x_forwarded_proto: https\r\nAccept: text/html\r\nContent-Type: a/b\r\nReferer: /x\r\nVia: 1.1 p\r\n";
        assert_eq!(h1(busy), plain);
    }

    #[test]
    fn over_http2_the_order_of_the_fields_is_what_there_is() {
        let h2 = |lines: &str| of(http::Version::HTTP_2, &format!("GET / HTTP/2\r\n{lines}\r\n"));
        let one = h2("user-agent: x\r\naccept: y\r\n");
        assert_ne!(one, h2("accept: y\r\nuser-agent: x\r\n"));
        assert_eq!(one, h2("user-agent: z\r\naccept: y\r\ncookie: a=b\r\n"));
        assert_ne!(one, h1("user-agent: x\r\naccept: y\r\n"));
    }

    #[test]
    fn names_beyond_the_bound_do_not_matter() {
        let many = |count: usize| h1(&(0..count).map(|n| format!("x-{n}: y\r\n")).collect::<String>());
        assert_ne!(many(MAX_NAMES - 1), many(MAX_NAMES));
        assert_eq!(many(MAX_NAMES), many(MAX_NAMES + 1));
    }

    #[test]
    fn the_list_is_sorted() {
        assert!(PASSING.is_sorted());
    }
}
