//! Writes JSON by hand, straight into a buffer: what a record is made of, at the cost of copying it.
//!
//! Anything out of the ordinary, such as a text that needs escapes, is left to `serde_json`. What is written is
//! what `serde_json` would write, byte for byte.

use uuid::Uuid;

use crate::facts::json::is_plain;
use crate::facts::time::Wall;

/// A JSON text in the making. Its calls follow each other as the text does.
pub(super) struct Json<'o>(pub(super) &'o mut Vec<u8>);

impl Json<'_> {
    /// Punctuation and names. In place, a text of known length is a few moves; else it is a call that costs as much
    /// as all else.
    #[inline(always)]
    pub(super) fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// JSON that was written before.
    #[inline]
    pub(super) fn json(&mut self, json: &[u8]) -> &mut Self {
        self.0.extend_from_slice(json);
        self
    }

    /// What stands between the quotes of any string.
    #[inline]
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        if is_plain(text.as_bytes()) { self.raw(text) } else { self.escaped(text) }
    }

    /// A whole number.
    #[inline]
    pub(super) fn number(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.raw(itoa::Buffer::new().format(number))
    }

    /// What stands between the quotes of an id in its usual form.
    pub(super) fn id(&mut self, id: Uuid) -> &mut Self {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        self.raw(id.hyphenated().encode_lower(&mut text))
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

    #[cold]
    fn escaped(&mut self, text: &str) -> &mut Self {
        // A string is always valid JSON.
        let quoted = serde_json::to_string(text).unwrap_or_default();
        self.raw(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default())
    }
}

/// A moment as RFC 3339 in UTC, with milliseconds.
pub(super) fn moment(wall: Wall) -> [u8; 24] {
    let millis = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
    let timestamp = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    let civil = jiff::tz::Offset::UTC.to_datetime(timestamp);
    // Time begins in 1970, and the calendar ends in 9999.
    let [a, b] = pair(civil.year().unsigned_abs() / 100);
    let [c, d] = pair(civil.year().unsigned_abs() % 100);
    let [e, f] = pair(civil.month().unsigned_abs().into());
    let [g, h] = pair(civil.day().unsigned_abs().into());
    let [i, j] = pair(civil.hour().unsigned_abs().into());
    let [k, l] = pair(civil.minute().unsigned_abs().into());
    let [m, n] = pair(civil.second().unsigned_abs().into());
    let [_, o] = pair(civil.millisecond().unsigned_abs() / 100);
    let [p, q] = pair(civil.millisecond().unsigned_abs() % 100);
    [a, b, c, d, b'-', e, f, b'-', g, h, b'T', i, j, b':', k, l, b':', m, n, b'.', o, p, q, b'Z']
}

/// The two digits of a number below 100.
#[inline]
fn pair(number: u16) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
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

    fn quoted(text: &str) -> String {
        written(|json| {
            json.raw("\"").text(text).raw("\"");
        })
    }

    proptest! {
        #[test]
        fn strings_and_numbers_are_written_as_serde_json_does(text: String, ascii in "[ -~]*", number: i64) {
            for text in [&text, &ascii] {
                prop_assert_eq!(quoted(text), serde_json::to_string(text).unwrap());
            }
            prop_assert_eq!(written(|json| { json.number(number); }), number.to_string());
        }

        #[test]
        fn ids_are_written_in_their_usual_form(id: u128) {
            let id = Uuid::from_u128(id);
            prop_assert_eq!(written(|json| { json.id(id); }), id.to_string());
        }

        #[test]
        fn moments_are_written_as_the_calendar_has_them(near in 0_u64..10_000_000_000_000, any: u64) {
            for millis in [near, any, any % 300_000_000_000_000] {
                let timestamp = jiff::Timestamp::from_millisecond(i64::try_from(millis).unwrap_or(i64::MAX));
                let expected = format!("{:.3}", timestamp.unwrap_or(jiff::Timestamp::MAX));
                let written = moment(Wall::from_millis(millis));
                prop_assert_eq!(std::str::from_utf8(&written).unwrap(), expected);
            }
        }
    }

    #[test]
    fn every_character_that_needs_an_escape_gets_it() {
        let all: String = (0..=0x2100).filter_map(char::from_u32).collect();
        assert_eq!(quoted(&all), serde_json::to_string(&all).unwrap());
        for each in all.chars() {
            for text in [each.to_string(), format!("1234567{each}"), format!("{each}123456789")] {
                assert_eq!(quoted(&text), serde_json::to_string(&text).unwrap());
            }
        }
    }
}
