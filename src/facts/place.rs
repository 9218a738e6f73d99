//! Where an address belongs: a country and, if known, the network that announces it.
//!
//! Unknown is a value of its own (`ZZ`, AS 0), never an empty string, so it can be counted, weighed and
//! limited like any other country.

use std::fmt;

/// A country as two upper-case letters (ISO 3166-1 alpha-2 and its user-assigned codes); `ZZ` is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CountryCode([u8; 2]);

/// An autonomous system number; 0 is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Asn(u32);

/// Where a request comes from, as far as the databases know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Place {
    /// The country; [`CountryCode::UNKNOWN`] if no database knows.
    pub country: CountryCode,
    /// The network; [`Asn::UNKNOWN`] if no database knows.
    pub asn: Asn,
}

/// The letters of every code, in order of [`CountryCode::index`].
static LETTERS: [u8; CountryCode::COUNT * 2] = letters();

const fn letters() -> [u8; CountryCode::COUNT * 2] {
    let mut all = [b'A'; CountryCode::COUNT * 2];
    let mut rest: &mut [u8] = &mut all;
    let mut index = 0;
    while let [first, second, more @ ..] = rest {
        *first += (index / 26) as u8;
        *second += (index % 26) as u8;
        index += 1;
        rest = more;
    }
    all
}

impl CountryCode {
    /// No database knows the address.
    pub const UNKNOWN: Self = Self(*b"ZZ");
    /// How many codes there are: AA to ZZ.
    pub const COUNT: usize = 26 * 26;

    /// Parses two ASCII letters of either case; anything else is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Some(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => None,
        }
    }

    /// The two letters.
    pub fn as_str(self) -> &'static str {
        let at = self.index() * 2;
        LETTERS.get(at..at + 2).and_then(|letters| std::str::from_utf8(letters).ok()).unwrap_or("ZZ")
    }

    /// A number below [`CountryCode::COUNT`], different for each code.
    pub const fn index(self) -> usize {
        let [a, b] = self.0;
        (a - b'A') as usize * 26 + (b - b'A') as usize
    }

    /// Every code there can be, in alphabetic order.
    pub fn all() -> impl Iterator<Item = Self> {
        (b'A'..=b'Z').flat_map(|a| (b'A'..=b'Z').map(move |b| Self([a, b])))
    }
}

impl Default for CountryCode {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

impl fmt::Display for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Asn {
    /// No database knows the address.
    pub const UNKNOWN: Self = Self(0);

    /// An autonomous system by its number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number; 0 if unknown.
    pub const fn number(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_index_of_its_own() {
        let indexes: Vec<usize> = CountryCode::all().map(CountryCode::index).collect();
        assert_eq!(indexes, (0..CountryCode::COUNT).collect::<Vec<_>>());
    }

    #[test]
    fn only_two_ascii_letters_are_a_country() {
        assert_eq!(CountryCode::parse("de").unwrap().as_str(), "DE");
        for code in CountryCode::all() {
            assert_eq!(CountryCode::parse(code.as_str()), Some(code));
        }
        for bad in ["", "D", "DEU", "D1", "ä", "--"] {
            assert_eq!(CountryCode::parse(bad), None, "{bad}");
        }
    }
}
