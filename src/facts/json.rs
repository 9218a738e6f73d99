//! Texts that are their own JSON, which is nearly all of them: what is written by hand on the path of every request
//! asks here first, and leaves the rest to `serde_json`.

/// Whether a string is its own JSON: no quotes, no backslashes, no control characters. Looks at eight bytes at once;
/// the last eight may be looked at twice.
pub fn is_plain(text: &[u8]) -> bool {
    let (eights, rest) = text.as_chunks();
    let last = if eights.is_empty() { None } else { text.last_chunk() };
    match last {
        Some(last) => eights.iter().all(eight_are_plain) && eight_are_plain(last),
        None => rest.iter().all(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\'),
    }
}

#[inline]
fn eight_are_plain(bytes: &[u8; 8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES * 0x80;
    let word = u64::from_le_bytes(*bytes);
    // Subtracting borrows into the high bit of a byte below `bound`, unless that bit was set before.
    let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | equal(b'"') | equal(b'\\')) & HIGHS == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_plain_if_serde_json_writes_it_as_it_is() {
        for byte in 0..=0x7f_u8 {
            let each = char::from(byte);
            for text in [each.to_string(), format!("1234567{each}"), format!("{each}\u{e9}23456789")] {
                let quoted = serde_json::to_string(&text).unwrap();
                assert_eq!(is_plain(text.as_bytes()), quoted == format!("\"{text}\""), "{text:?}");
            }
        }
        assert!(is_plain(b""));
    }
}
