//! Media types as a route accepts them: `application/json`, or `image/*` for a whole kind.
//!
//! Only type and subtype are compared, without case; parameters such as `charset` are the origin's business
//! (RFC 9110, section 8.3.1).

use std::fmt;

/// One media type, or all of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRange {
    kind: String,
    /// `None`: every subtype.
    subtype: Option<String>,
}

impl MediaRange {
    /// Reads `type/subtype` or `type/*`; `None` if it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, subtype) = text.split_once('/')?;
        let subtype = (subtype != "*").then(|| subtype.to_ascii_lowercase());
        let plain = is_token(kind) && kind != "*" && subtype.as_deref().is_none_or(is_token);
        plain.then(|| Self { kind: kind.to_ascii_lowercase(), subtype })
    }

    /// Whether a `Content-Type` is of this range.
    pub fn covers(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        essence.split_once('/').is_some_and(|(kind, subtype)| {
            let own = self.subtype.as_deref();
            self.kind.eq_ignore_ascii_case(kind)
                && is_token(subtype)
                && own.is_none_or(|own| own.eq_ignore_ascii_case(subtype))
        })
    }
}

impl fmt::Display for MediaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.subtype.as_deref().unwrap_or("*"))
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_compared_without_case_and_parameters() {
        let json = MediaRange::parse("Application/JSON").unwrap();
        for covered in ["application/json", "APPLICATION/JSON; charset=utf-8", " application/json ;x=y"] {
            assert!(json.covers(covered), "{covered}");
        }
        for other in ["", "application", "application/", "application/json5", "application/ld+json", "json"] {
            assert!(!json.covers(other), "{other}");
        }
        let images = MediaRange::parse("image/*").unwrap();
        assert!(images.covers("image/png") && !images.covers("image/") && !images.covers("text/png"));
        assert_eq!([json.to_string(), images.to_string()], ["application/json", "image/*"]);
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        for text in ["", "json", "*/*", "*/json", "text/", "/plain", "text/plain; q=1", "text/a b", "a/b/c"] {
            assert_eq!(MediaRange::parse(text), None, "{text}");
        }
    }
}
