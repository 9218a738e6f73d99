//! Which values a signal can have at all, so that a script which waits for another one is told when it is loaded.
//!
//! It is a promise of the signal's reader. What is not known is [`Domain::Any`]; nothing depends on a domain when a
//! request is judged.

/// The values that a signal can have.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Domain {
    /// Nothing is known.
    #[default]
    Any,
    /// A number from this to that; the end may be infinite.
    Numbers(f64, f64),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A text that nobody writes with lower-case letters.
    Upper,
    /// A text without upper-case letters.
    Lower,
    /// A normalised path: it begins with `/`, or is the `*` of `OPTIONS *`.
    Path,
    /// Two upper-case letters.
    Country,
}

impl Domain {
    /// A number that is not negative.
    pub const COUNT: Self = Self::Numbers(0.0, f64::INFINITY);

    /// Why a signal never has this text, in words that say what to write instead; `None` if it can have it.
    pub fn excludes(self, text: &str) -> Option<String> {
        let is_upper = |letter: char| letter.is_ascii_uppercase();
        match self {
            Self::Any | Self::Numbers(..) => None,
            Self::OneOf(texts) if texts.contains(&text) => None,
            Self::OneOf(texts) => Some(format!("it is one of `{}`", texts.join("`, `"))),
            Self::Upper if text.chars().any(char::is_lowercase) => {
                Some(format!("it is in upper case: write `{}`", text.to_uppercase()))
            }
            Self::Lower if text.chars().any(char::is_uppercase) => {
                Some(format!("it is in lower case: write `{}`", text.to_lowercase()))
            }
            Self::Path if !text.starts_with('/') && text != "*" => {
                Some(format!("a path begins with `/`: write `/{text}`"))
            }
            Self::Country if text.len() != 2 || !text.chars().all(is_upper) => {
                Some("it is two upper-case letters, ISO 3166-1, such as `DE`; `ZZ` is unknown".to_owned())
            }
            Self::Upper | Self::Lower | Self::Path | Self::Country => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_says_what_is_never_read() {
        assert_eq!(Domain::Upper.excludes("get").unwrap(), "it is in upper case: write `GET`");
        assert_eq!(Domain::Path.excludes("login").unwrap(), "a path begins with `/`: write `/login`");
        assert!(Domain::Country.excludes("de").is_some() && Domain::Country.excludes("Germany").is_some());
        assert!(Domain::OneOf(&["a"]).excludes("b").is_some() && Domain::Lower.excludes("A").is_some());
        for (domain, text) in [
            (Domain::Any, "x"),
            (Domain::Upper, "GET"),
            (Domain::Path, "*"),
            (Domain::Path, "/x"),
            (Domain::Country, "ZZ"),
            (Domain::OneOf(&["a"]), "a"),
            (Domain::Lower, ""),
        ] {
            assert_eq!(domain.excludes(text), None, "{domain:?} {text}");
        }
    }
}
