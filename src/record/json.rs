//! Writes JSON by hand, straight into a buffer: what a record is made of, at the cost of copying it.
//!
//! Anything out of the ordinary, such as a text that needs escapes, is left to `serde_json`. What is written is
//! what `serde_json` would write, byte for byte.

use uuid::Uuid;

use crate::facts::time::Wall;

/// A JSON text in the making. Its calls follow each other as the text does.
pub(super) struct Json<'o>(pub(super) &'o mut Vec<u8>);

impl Json<'_> {
    /// Punctuation and names.
    pub(super) fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// JSON that was written before.
    pub(super) fn json(&mut self, json: &[u8]) -> &mut Self {
        self.0.extend_from_slice(json);
        self
    }

    /// A string of which it is known that it needs no escapes.
    pub(super) fn word(&mut self, word: &str) -> &mut Self {
        self.raw("\"").raw(word).raw("\"")
    }

    /// Any string.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        if is_plain(text.as_bytes()) {
            return self.word(text);
        }
        // A string is always valid JSON, and writing into memory cannot fail.
        let _ = serde_json::to_writer(&mut *self.0, text);
        self
    }

    /// A string, or `null`.
    pub(super) fn text_or_null(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => self.raw("null"),
        }
    }

    /// A whole number.
    pub(super) fn number(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.raw(itoa::Buffer::new().format(number))
    }

    /// An id, in its usual form.
    pub(super) fn id(&mut self, id: Uuid) -> &mut Self {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        self.word(id.hyphenated().encode_lower(&mut text))
    }

    /// A moment as RFC 3339 in UTC, with milliseconds.
    pub(super) fn moment(&mut self, wall: Wall) -> &mut Self {
        self.raw("\"");
        moment(wall, self.0);
        self.raw("\"")
    }

    /// An array, each of whose members `write` writes.
    pub(super) fn array<T>(
        &mut self,
        members: impl Iterator<Item = T>,
        write: impl Fn(&mut Json<'_>, T),
    ) -> &mut Self {
        self.raw("[");
        for (at, member) in members.enumerate() {
            if at > 0 {
                self.raw(",");
            }
            write(self, member);
        }
        self.raw("]")
    }
}

/// Writes a moment as RFC 3339 in UTC, with milliseconds.
pub(super) fn moment(wall: Wall, out: &mut Vec<u8>) {
    let millis = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
    let timestamp = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    let civil = jiff::tz::Offset::UTC.to_datetime(timestamp);
    // Time begins in 1970, and the calendar ends in 9999.
    let (century, year) = (civil.year().unsigned_abs() / 100, civil.year().unsigned_abs() % 100);
    let (hundreds, millis) =
        (civil.millisecond().unsigned_abs() / 100, civil.millisecond().unsigned_abs() % 100);
    let [[a, b], [c, d]] = [pair(century), pair(year)];
    let [[e, f], [g, h]] =
        [pair(civil.month().unsigned_abs().into()), pair(civil.day().unsigned_abs().into())];
    let [[i, j], [k, l], [m, n]] =
        [civil.hour(), civil.minute(), civil.second()].map(|part| pair(part.unsigned_abs().into()));
    let ([_, o], [p, q]) = (pair(hundreds), pair(millis));
    out.extend_from_slice(&[
        a, b, c, d, b'-', e, f, b'-', g, h, b'T', i, j, b':', k, l, b':', m, n, b'.', o, p, q, b'Z',
    ]);
}

/// The two digits of a number below 100.
fn pair(number: u16) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

/// Whether a string is its own JSON: no quotes, no backslashes, no control characters. Looks at all of it, without
/// branches, which is faster than to stop early.
fn is_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, &byte| plain & (byte >= 0x20) & (byte != b'"') & (byte != b'\\'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Json<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Json(&mut out));
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn strings_and_numbers_are_written_as_serde_json_does(text: String, ascii in "[ -~]*", number: i64) {
            for text in [&text, &ascii] {
                prop_assert_eq!(written(|json| { json.text(text); }), serde_json::to_string(text).unwrap());
            }
            prop_assert_eq!(written(|json| { json.number(number); }), number.to_string());
        }

        #[test]
        fn ids_are_written_in_their_usual_form(id: u128) {
            let id = Uuid::from_u128(id);
            prop_assert_eq!(written(|json| { json.id(id); }), format!("\"{id}\""));
        }

        #[test]
        fn moments_are_written_as_the_calendar_has_them(near in 0_u64..10_000_000_000_000, any: u64) {
            for millis in [near, any, any % 300_000_000_000_000] {
                let timestamp = jiff::Timestamp::from_millisecond(i64::try_from(millis).unwrap_or(i64::MAX));
                let expected = format!("\"{:.3}\"", timestamp.unwrap_or(jiff::Timestamp::MAX));
                prop_assert_eq!(written(|json| { json.moment(Wall::from_millis(millis)); }), expected);
            }
        }
    }

    #[test]
    fn every_character_that_needs_an_escape_gets_it() {
        let all: String = (0..=0x2100).filter_map(char::from_u32).collect();
        assert_eq!(
            written(|json| {
                json.text(&all);
            }),
            serde_json::to_string(&all).unwrap()
        );
        for each in all.chars().map(String::from) {
            assert_eq!(
                written(|json| {
                    json.text(&each);
                }),
                serde_json::to_string(&each).unwrap()
            );
        }
    }
}
