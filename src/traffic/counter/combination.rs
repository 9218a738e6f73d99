//! What a counter tells apart: clients, countries, networks, routes, credentials, or any of these together.
//!
//! A [`Combination`] picks its part out of a [`Subject`] and hashes it under keys of this process, so that nobody
//! outside can choose what shares a place, and nothing of a credential or a value is kept but such a hash.

use std::fmt;
use std::hash::Hasher;

use zeroize::Zeroizing;

use crate::traffic::secret::{self, Secret, short};
use crate::traffic::subject::{Key, Per, Subject};

/// One thing that a counter tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// Each truncated client address.
    Client,
    /// Each country.
    Country,
    /// Each autonomous system.
    Asn,
    /// Each configured route.
    Route,
    /// Each credential.
    Token,
}

/// What a counter tells apart, taken together; never nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Combination(u8);

/// A credential's name within this process: a keyed hash, good for nothing but telling credentials apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token(u64);

/// The keys under which everything counted is hashed.
pub(super) struct Hashing {
    places: secret::Hashing,
    tokens: Zeroizing<[u8; 32]>,
    values: Zeroizing<[u8; 32]>,
}

impl Dimension {
    /// Every dimension, in the order in which they are documented.
    pub const ALL: [Self; 5] = [Self::Client, Self::Country, Self::Asn, Self::Route, Self::Token];

    /// `client`, `country`, `asn`, `route` or `token`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Country => "country",
            Self::Asn => "asn",
            Self::Route => "route",
            Self::Token => "token",
        }
    }
}

impl Combination {
    /// These dimensions together, in any order; `None` if there are none.
    pub fn new(dimensions: &[Dimension]) -> Option<Self> {
        let bits = dimensions.iter().fold(0, |bits, dimension| bits | 1 << *dimension as u8);
        (bits != 0).then_some(Self(bits))
    }

    /// Its dimensions, in the order in which they are documented.
    pub fn dimensions(self) -> impl Iterator<Item = Dimension> {
        Dimension::ALL.into_iter().filter(move |dimension| self.has(*dimension))
    }

    /// Whether it tells these apart.
    pub const fn has(self, dimension: Dimension) -> bool {
        self.0 & 1 << dimension as u8 != 0
    }

    /// Whether there is a key for each client or credential, rather than a few thousand at most.
    pub(super) const fn has_many_keys(self) -> bool {
        self.has(Dimension::Client) || self.has(Dimension::Token)
    }

    /// Whether countries are all that it tells apart, of which there are few enough for a place each.
    pub(super) fn is_country(self) -> bool {
        self == Self::from(Dimension::Country)
    }

    /// The hash of a request's part; `None` without the credential that it needs.
    pub(super) fn hash(self, subject: &Subject, hashing: &Hashing) -> Option<u64> {
        let mut hasher = hashing.places.hasher(u64::from(self.0));
        let mut add = |key: Key| {
            hasher.write_u128(key.bits());
            hasher.write_u64(key.tag());
        };
        for dimension in self.dimensions() {
            match dimension {
                Dimension::Client => add(subject.key(Per::Client, 0)),
                Dimension::Country => add(subject.key(Per::Country, 0)),
                Dimension::Asn => add(subject.key(Per::Asn, 0)),
                Dimension::Route => add(subject.key(Per::Route, 0)),
                Dimension::Token => add(Key::of_token(subject.token?.0)),
            }
        }
        Some(hasher.finish())
    }
}

impl From<Dimension> for Combination {
    fn from(dimension: Dimension) -> Self {
        Self(1 << dimension as u8)
    }
}

/// `client and route`
impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, dimension) in self.dimensions().enumerate() {
            let and = if at == 0 { "" } else { " and " };
            write!(f, "{and}{}", dimension.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(private)")
    }
}

impl Hashing {
    /// Derives all keys from the secret.
    pub(super) fn new(secret: &Secret) -> Self {
        Self {
            places: secret.hashing("counters"),
            tokens: secret.derive("riskgate 2026 counted credentials"),
            values: secret.derive("riskgate 2026 counted values"),
        }
    }

    /// A name for a credential.
    pub(super) fn token(&self, credential: &[u8]) -> Token {
        Token(short(&self.tokens, credential))
    }

    /// The hash of a value of which distinct ones are counted.
    pub(super) fn value(&self, value: &[u8]) -> u64 {
        short(&self.values, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::simulation::subject;

    fn hashing(seed: u8) -> Hashing {
        Hashing::new(&Secret::new(Zeroizing::new([seed; 32])))
    }

    #[test]
    fn a_combination_tells_apart_what_it_names_and_nothing_else() {
        let hashing = hashing(1);
        let both = Combination::new(&[Dimension::Country, Dimension::Client]).unwrap();
        assert_eq!(both.to_string(), "client and country");
        let hash = |who: &Subject| both.hash(who, &hashing).unwrap();
        assert_ne!(hash(&subject("DE", 1)), hash(&subject("DE", 2)));
        assert_ne!(hash(&subject("DE", 1)), hash(&subject("FR", 1)));
        let elsewhere = Subject { route: crate::traffic::RouteKey::named("other"), ..subject("DE", 1) };
        assert_eq!(hash(&subject("DE", 1)), hash(&elsewhere));
        assert_eq!(Combination::new(&[]), None);
    }

    #[test]
    fn each_dimension_tells_apart_what_it_is_named_after() {
        let hashing = hashing(1);
        let one = Subject { token: Some(hashing.token(b"alice")), ..subject("DE", 1) };
        let others = [
            (Dimension::Client, Subject { client: subject("DE", 2).client, ..one }),
            (Dimension::Country, Subject { country: subject("FR", 1).country, ..one }),
            (Dimension::Asn, Subject { asn: crate::facts::place::Asn::new(1), ..one }),
            (Dimension::Route, Subject { route: crate::traffic::RouteKey::named("other"), ..one }),
            (Dimension::Token, Subject { token: Some(hashing.token(b"bob")), ..one }),
        ];
        for (named, _) in &others {
            let per = Combination::from(*named);
            for (differs, other) in &others {
                let apart = per.hash(other, &hashing) != per.hash(&one, &hashing);
                assert_eq!(apart, named == differs, "per {per}, of another {}", Combination::from(*differs));
            }
        }
    }

    #[test]
    fn without_a_credential_there_is_nothing_to_count_for() {
        let (hashing, per) = (hashing(1), Combination::from(Dimension::Token));
        assert_eq!(per.hash(&subject("DE", 1), &hashing), None);
        let with = |credential: &[u8]| Subject { token: Some(hashing.token(credential)), ..subject("DE", 1) };
        assert_ne!(per.hash(&with(b"alice"), &hashing), per.hash(&with(b"bob"), &hashing));
        assert_eq!(format!("{:?}", hashing.token(b"alice")), "Token(private)");
    }

    #[test]
    fn another_key_gives_other_hashes() {
        let [one, two] = [hashing(1), hashing(2)];
        let per = Combination::from(Dimension::Client);
        assert_ne!(per.hash(&subject("DE", 1), &one), per.hash(&subject("DE", 1), &two));
        assert_ne!(one.value(b"/orders"), two.value(b"/orders"));
        assert!(one.token(b"alice") != two.token(b"alice"));
    }
}
