//! The admin token: a secret shared with operators.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret shared with operators. Never shown, and wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

/// Shorter tokens can be guessed.
const MIN_TOKEN: usize = 16;

impl Token {
    /// A token of at least 16 printable ASCII characters. The error is what is wrong and what to do.
    pub fn parse(text: &str) -> Result<Self, (&'static str, &'static str)> {
        if text.len() < MIN_TOKEN {
            Err(("has fewer than 16 characters", "make one with `openssl rand -hex 32`"))
        } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Err(("has characters that cannot be sent in a header", "use printable ASCII without spaces"))
        } else {
            Ok(Self(Zeroizing::new(text.to_owned())))
        }
    }

    /// The value of an `Authorization` header that shows this token.
    pub fn authorization(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("Bearer {}", self.0.as_str()))
    }

    /// Whether an `Authorization` header shows this token. Takes the same time whatever it holds.
    pub fn is_shown_by(&self, authorization: Option<&[u8]>) -> bool {
        let shown = authorization.and_then(|shown| shown.strip_prefix(b"Bearer "));
        shown.is_some_and(|shown| shown.ct_eq(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = Token::parse("0123456789abcdef").unwrap();
        assert!(token.is_shown_by(Some(b"Bearer 0123456789abcdef")));
        for wrong in ["", "Bearer ", "Bearer 0123456789abcde", "Bearer 0123456789abcdef0", "0123456789abcdef"]
        {
            assert!(!token.is_shown_by(Some(wrong.as_bytes())), "{wrong}");
        }
        assert!(!token.is_shown_by(None));
        assert_eq!(format!("{token:?}"), "Token(secret)");
    }
}
