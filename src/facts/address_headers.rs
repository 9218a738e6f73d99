//! The names of headers that could tell a client's address.
//!
//! There is one list, for two walls: what a client says in these headers never reaches an origin, and scripts and
//! records see it as a pseudonym only. `_` counts as `-`, because CGI-like applications cannot tell them apart. Whom to
//! believe is not decided here.

use std::borrow::Cow;

/// Headers by which proxies and applications learn a client's address; sorted. What begins with `x-forwarded-` is among
/// them in any case, unless it is known to tell something else.
pub const ADDRESS_HEADERS: &[&str] = &[
    "ali-cdn-real-ip",
    "cdn-real-ip",
    "cdn-src-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-pseudo-ipv4",
    "client-ip",
    "cloudfront-viewer-address",
    "do-connecting-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "forwarded-for",
    "forwarded-for-ip",
    "incap-client-ip",
    "proxy-client-ip",
    "remote-addr",
    "true-client-ip",
    "wl-proxy-client-ip",
    "x-appengine-remote-addr",
    "x-appengine-user-ip",
    "x-arr-clientip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-coming-from",
    "x-envoy-external-address",
    "x-forwarded",
    "x-forwarded-for",
    "x-nf-client-connection-ip",
    "x-original-forwarded-for",
    "x-original-remote-addr",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-sucuri-clientip",
    "x-vercel-forwarded-for",
    "x-vercel-ip",
    "x-vercel-proxied-for",
];

const FORWARDED_FAMILY: &str = "x-forwarded-";
/// What else of that family there is.
const NO_ADDRESSES: &[&str] = &["host", "port", "prefix", "proto", "scheme", "ssl"];

/// Bytes that names of [`ADDRESS_HEADERS`] begin and end with, as bits: most other names need no look at the list.
const ENDS: (u128, u128) = ends(ADDRESS_HEADERS);

const fn ends(mut names: &[&str]) -> (u128, u128) {
    let (mut firsts, mut lasts) = (0, 0);
    while let [name, rest @ ..] = names {
        if let ([first, ..], [.., last]) = (name.as_bytes(), name.as_bytes()) {
            firsts |= 1 << *first;
            lasts |= 1 << *last;
        }
        names = rest;
    }
    (firsts, lasts)
}

/// Whether a name could be on the list, or of the family, by its ends alone.
fn may_tell(name: &str) -> bool {
    let has = |set: u128, byte: u8| byte < 128 && set >> byte & 1 == 1;
    match name.as_bytes() {
        [b'x', _, ..] => true,
        [first, .., last] => has(ENDS.0, *first) && has(ENDS.1, *last),
        _ => false,
    }
}

/// Whether a header of this name, in lower case, could tell a client's address.
pub fn tells_address(name: &str) -> bool {
    if !may_tell(name) {
        return false;
    }
    let name = hyphenated(name);
    match name.strip_prefix(FORWARDED_FAMILY) {
        Some(what) => !NO_ADDRESSES.contains(&what),
        None => ADDRESS_HEADERS.binary_search(&&*name).is_ok(),
    }
}

/// A header's name as an application would read it that cannot tell `_` from `-`.
pub fn hyphenated(name: &str) -> Cow<'_, str> {
    if name.contains('_') { Cow::Owned(name.replace('_', "-")) } else { Cow::Borrowed(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_in_lower_case() {
        assert!(ADDRESS_HEADERS.is_sorted());
        assert!(ADDRESS_HEADERS.iter().all(|name| *name == name.to_ascii_lowercase() && !name.contains('_')));
        assert!(ADDRESS_HEADERS.iter().all(|name| tells_address(name)));
    }

    #[test]
    fn a_name_is_known_in_any_spelling_and_its_family_by_its_beginning() {
        for name in ["x_real_ip", "x-real_ip", "x_forwarded_for", "x-forwarded-by", "x-forwarded-client-ip"] {
            assert!(tells_address(name), "{name}");
        }
        for name in ["user-agent", "x-forwarded-proto", "x_forwarded_host", "x-forward", "x-real-ip-not", ""]
        {
            assert!(!tells_address(name), "{name}");
        }
    }
}
