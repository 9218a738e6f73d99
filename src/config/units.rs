//! Durations and sizes as people write them: `"250ms"`, `"24h"`, `"64KiB"`.
//!
//! One whole number and one unit; what is shown can be read again. No sums, no fractions: a value has one
//! spelling that everybody reads alike.

use std::time::Duration;

const DURATIONS: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const SIZES: &[(&str, u64)] = &[
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Reads a duration such as `"10s"`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    scaled(text, DURATIONS).map(Duration::from_millis)
}

/// Reads a size in bytes such as `"256MiB"`.
pub(super) fn size(text: &str) -> Option<u64> {
    scaled(text, SIZES)
}

/// A duration in its largest exact unit.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 { "0s".into() } else { shown(millis, DURATIONS) }
}

/// A size in its largest exact unit.
pub(super) fn show_size(bytes: u64) -> String {
    if bytes == 0 { "0B".into() } else { shown(bytes, SIZES) }
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

fn shown(value: u64, units: &[(&str, u64)]) -> String {
    let exact = units.iter().find(|(_, scale)| value.is_multiple_of(*scale));
    exact.map_or_else(|| value.to_string(), |(unit, scale)| format!("{}{unit}", value / scale))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_and_a_unit_make_a_value() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("5m"), Some(Duration::from_secs(300)));
        assert_eq!(duration("30d"), Some(Duration::from_secs(30 * 86_400)));
        assert_eq!(size("64KiB"), Some(65_536));
        assert_eq!(size("1GB"), Some(1_000_000_000));
    }

    #[test]
    fn anything_else_makes_none() {
        for text in
            ["", "s", "10", "-1s", "1.5s", "10 s", "1h30m", "99999999999999999999s", "18446744073709551615d"]
        {
            assert_eq!(duration(text), None, "{text:?}");
        }
        assert_eq!(size("64kib"), None);
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read_again(millis in 0u64..10_000_000_000, bytes in any::<u64>()) {
            let time = Duration::from_millis(millis);
            prop_assert_eq!(duration(&show_duration(time)), Some(time));
            prop_assert_eq!(size(&show_size(bytes)), Some(bytes));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,12}") {
            let _ = (duration(&text), size(&text));
        }
    }
}
