//! What an origin says of its own limits, made no laxer than the gate's.
//!
//! The gate tells of its limits when it refuses. An origin may say more, with each answer, in `RateLimit` (a list of
//! structured-field items, draft-ietf-httpapi-ratelimit-headers-11); of a client that the gate limits too that could be
//! more than the gate will let through. So the smaller remainder and the later reset win; limits that clients share are
//! left out, since a remainder would tell what others do. What is not such a list is left alone, and so is
//! `RateLimit-Policy`, which is about the origin.

use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::ResponseHeader;
use sfv::{BareItem, FieldType, Item, List, ListEntry, Parser, key_ref};

use crate::traffic::Left;

static FIELD: HeaderName = HeaderName::from_static("ratelimit");

/// Whether there is anything to tighten.
pub(super) fn is_told(response: &ResponseHeader) -> bool {
    response.headers.contains_key(&FIELD)
}

/// Tightens what is told to what is `left` under the gate's limits.
pub(super) fn tighten(response: &mut ResponseHeader, left: Left) -> pingora::Result<()> {
    match told(&response.headers).map(|list| tightened(list, left)).and_then(|list| list.serialize()) {
        Some(list) => response.insert_header(&FIELD, list),
        None => Ok(()),
    }
}

fn told(headers: &HeaderMap) -> Option<List> {
    let lines: Vec<&[u8]> = headers.get_all(&FIELD).iter().map(HeaderValue::as_bytes).collect();
    Parser::new(&lines.join(&b", "[..])).parse().ok()
}

fn tightened(mut list: List, left: Left) -> List {
    for entry in &mut list {
        match entry {
            ListEntry::Item(item) => tighten_item(item, left),
            ListEntry::InnerList(_) => {}
        }
    }
    list
}

fn tighten_item(item: &mut Item, left: Left) {
    let integer =
        |item: &Item, name| item.params.get(key_ref(name)).and_then(BareItem::as_integer).map(i64::from);
    let remaining = i64::try_from(left.remaining).unwrap_or(i64::MAX);
    if integer(item, "r").is_none_or(|told| told <= remaining) {
        return;
    }
    let reset = i64::try_from(left.reset.as_secs_f64().ceil() as u64).unwrap_or(i64::MAX);
    let later = integer(item, "t").map_or(reset, |told| told.max(reset));
    for (name, value) in [("r", remaining), ("t", later)] {
        // Larger numbers than a structured field can hold were not told.
        if let Ok(value) = sfv::Integer::try_from(value) {
            item.params.insert(key_ref(name).to_owned(), value.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tightened(lines: &[&str], remaining: u64, reset: u64) -> Vec<String> {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for line in lines {
            response.append_header("RateLimit", *line).unwrap();
        }
        tighten(&mut response, Left { remaining, reset: Duration::from_secs(reset) }).unwrap();
        let lines = response.headers.get_all(&FIELD).iter();
        lines.map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_smaller_remainder_and_the_later_reset_win() {
        for (told, expected) in [
            (r#""default";r=50;t=30"#, r#""default";r=3;t=30"#),
            (r#""default";r=50;t=5"#, r#""default";r=3;t=10"#),
            (r#""default";r=50"#, r#""default";r=3;t=10"#),
            (r#""default";r=2;t=5"#, r#""default";r=2;t=5"#),
            (r#""a";r=9;pk=:cHU=:, "b";r=1;t=2"#, r#""a";r=3;pk=:cHU=:;t=10, "b";r=1;t=2"#),
        ] {
            assert_eq!(tightened(&[told], 3, 10), [expected], "{told}");
        }
        assert_eq!(tightened(&[r#""a";r=9"#, r#""b";r=9"#], 0, 1), [r#""a";r=0;t=1, "b";r=0;t=1"#]);
    }

    #[test]
    fn what_is_no_such_list_is_left_alone() {
        for told in ["limit=10, remaining=5, reset=3", "10;;", "\"a\";r=\"x\"", "(\"a\" \"b\");r=9"] {
            let before = tightened(&[told], u64::MAX, 1);
            assert_eq!(tightened(&[told], 0, 1).join(""), before.join(""), "{told}");
        }
        assert_eq!(tightened(&["nonsense;;", "\"a\";r=9"], 0, 1), ["nonsense;;", "\"a\";r=9"]);
    }
}
