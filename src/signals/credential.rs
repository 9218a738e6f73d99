//! A request's credential, for telling credentials apart; nothing of it goes further than a keyed hash.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use http::header::AUTHORIZATION;

use crate::facts::request::RequestHead;

/// Where a credential may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// In `Authorization`: the user name of `Basic`, else what follows the scheme.
    Authorization,
    /// In a header.
    Header(HeaderName),
    /// In a cookie.
    Cookie(String),
    /// In a query parameter.
    Parameter(String),
}

impl Credential {
    /// What a request has there; `None` if nothing.
    pub(super) fn of<'a>(&self, head: &RequestHead<'a>) -> Option<Cow<'a, str>> {
        let found = match self {
            Self::Authorization => authorization(head.header(AUTHORIZATION)),
            Self::Header(name) => head.header(name),
            Self::Cookie(name) => Cow::Borrowed(head.cookies().find(|(known, _)| known == name)?.1),
            Self::Parameter(name) => head.params().find(|(known, _)| known == name)?.1,
        };
        (!found.is_empty()).then_some(found)
    }
}

fn authorization(value: Cow<'_, str>) -> Cow<'_, str> {
    let Some((scheme, rest)) = value.split_once(' ') else { return value };
    if scheme.eq_ignore_ascii_case("basic")
        && let Ok(pair) = STANDARD.decode(rest.trim())
    {
        let user = pair.split(|byte| *byte == b':').next().unwrap_or(&pair);
        return String::from_utf8_lossy(user).into_owned().into();
    }
    rest.trim().to_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::request::Scheme;

    fn found(credential: &Credential, header: (&str, &str)) -> Option<String> {
        let request = http::Request::builder().uri("/login?user=al%20ice&b=").header(header.0, header.1);
        let parts = request.body(()).unwrap().into_parts().0;
        credential.of(&RequestHead::read(&parts, Scheme::Http)).map(Cow::into_owned)
    }

    #[test]
    fn basic_is_told_apart_by_its_user_and_anything_else_by_all_of_it() {
        let of = |value| found(&Credential::Authorization, ("authorization", value));
        // `alice:one` and `alice:two`.
        assert_eq!(of("Basic YWxpY2U6b25l").as_deref(), Some("alice"));
        assert_eq!(of("basic YWxpY2U6dHdv").as_deref(), Some("alice"));
        assert_eq!(of("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(of("Basic ???").as_deref(), Some("???"));
        assert_eq!(of("abc").as_deref(), Some("abc"));
        assert_eq!(of(""), None);
    }

    #[test]
    fn a_credential_may_be_in_a_header_a_cookie_or_a_parameter() {
        let header = Credential::Header(HeaderName::from_static("x-api-key"));
        assert_eq!(found(&header, ("x-api-key", "k1")).as_deref(), Some("k1"));
        assert_eq!(found(&header, ("x-other", "k1")), None);
        let cookie = Credential::Cookie("session".into());
        assert_eq!(found(&cookie, ("cookie", "a=1; session=s1")).as_deref(), Some("s1"));
        let parameter = |name: &str| found(&Credential::Parameter(name.into()), ("a", "b"));
        assert_eq!(parameter("user").as_deref(), Some("al ice"));
        assert_eq!((parameter("b"), parameter("c")), (None, None));
    }
}
