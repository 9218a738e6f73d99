//! Values that scripts, and therefore records, see as a pseudonym only: credentials and addresses.
//!
//! As an address is truncated before anything reads it, a secret is replaced before anything reads it: a rule
//! can tell whether there is one, and whether two are the same, and no sink can leak it. `Authorization` keeps
//! its scheme (`Bearer ~0f3a…`).

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use super::Credential;
use crate::facts::address_headers::{hyphenated, tells_address};
use crate::facts::client::Keyring;
use crate::facts::request::RequestHead;

/// Which values are secret, and the key under which they are named.
#[derive(Clone)]
pub struct Secrets {
    names: Arc<Names>,
    keys: Arc<Keyring>,
}

/// Names; only the operator puts one in.
pub type NameSet = HashSet<String, foldhash::fast::FixedState>;

/// The names of secret values, all in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Headers whose value is secret.
    pub headers: NameSet,
    /// Query parameters whose value is secret.
    pub parameters: NameSet,
    /// Cookies whose value is *not* secret; all others are.
    pub plain_cookies: NameSet,
    /// JSON pointers of texts in bodies that are *not* secret; all others are.
    pub plain_pointers: NameSet,
    /// Where a request's credential is looked for, in this order.
    pub credentials: Vec<Credential>,
}

impl Secrets {
    /// Hides the values of these names under the secret key of this ring.
    pub fn new(names: Arc<Names>, keys: Arc<Keyring>) -> Self {
        Self { names, keys }
    }

    /// The credential of a request: the first that it has. To be hashed at once.
    pub(crate) fn credential<'a>(&self, head: &RequestHead<'a>) -> Option<Cow<'a, str>> {
        self.names.credentials.iter().find_map(|credential| credential.of(head))
    }

    /// What a script reads for a header; `name` in lower case.
    pub fn header<'v>(&self, name: &str, value: Cow<'v, str>) -> Cow<'v, str> {
        if !self.hides_header(name) || value.is_empty() {
            return value;
        }
        let scheme = (name == "authorization").then(|| value.split_once(' ')).flatten();
        match scheme {
            Some((scheme, credential)) => format!("{scheme} {}", self.name(credential)).into(),
            None => self.name(&value).into(),
        }
    }

    /// What a script reads for a cookie.
    pub fn cookie<'v>(&self, name: &str, value: &'v str) -> Cow<'v, str> {
        if self.names.plain_cookies.contains(&name.to_ascii_lowercase()) || value.is_empty() {
            return Cow::Borrowed(value);
        }
        self.name(value).into()
    }

    /// What a script reads for a text in a body.
    pub fn body<'v>(&self, pointer: &str, value: &'v str) -> Cow<'v, str> {
        if value.is_empty() || self.names.plain_pointers.contains(pointer) {
            return Cow::Borrowed(value);
        }
        self.name(value).into()
    }

    /// What a script reads for a query parameter.
    pub fn parameter<'v>(&self, name: &str, value: Cow<'v, str>) -> Cow<'v, str> {
        if !self.hides_parameter(name) || value.is_empty() { value } else { self.name(&value).into() }
    }

    /// What a script reads for a whole query.
    pub fn query<'v>(&self, query: &'v str) -> Cow<'v, str> {
        let secret = |pair: &str| pair.split_once('=').is_some_and(|(name, _)| self.hides_parameter(name));
        if !query.split('&').any(secret) {
            return Cow::Borrowed(query);
        }
        let shown = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, value)) if self.hides_parameter(name) => format!("{name}={}", self.name(value)),
            Some(_) | None => pair.to_owned(),
        });
        shown.collect::<Vec<_>>().join("&").into()
    }

    /// Addresses are secret whatever is configured, and so is a secret in the spelling of CGI-like applications.
    fn hides_header(&self, name: &str) -> bool {
        self.names.headers.contains(&*hyphenated(name)) || tells_address(name)
    }

    fn hides_parameter(&self, name: &str) -> bool {
        self.names.parameters.contains(name)
            || (name.bytes().any(|byte| byte.is_ascii_uppercase())
                && self.names.parameters.contains(&name.to_ascii_lowercase()))
    }

    fn name(&self, value: &str) -> String {
        format!("~{}", self.keys.secret(value.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn secrets() -> Secrets {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let names = Names {
            headers: set(&["authorization", "x-api-key"]),
            parameters: set(&["token"]),
            plain_cookies: set(&["theme"]),
            plain_pointers: set(&["/currency"]),
            credentials: Vec::new(),
        };
        Secrets::new(Arc::new(names), Arc::new(Keyring::new(&Zeroizing::new([1; 32]))))
    }

    #[test]
    fn a_secret_reads_as_a_stable_pseudonym_and_keeps_its_scheme() {
        let secrets = secrets();
        let shown = secrets.header("authorization", "Bearer abc123".into());
        assert!(shown.starts_with("Bearer ~") && !shown.contains("abc123"), "{shown}");
        assert_eq!(secrets.header("authorization", "Bearer abc123".into()), shown);
        assert_ne!(secrets.header("authorization", "Bearer abc124".into()), shown);
        assert!(!secrets.header("authorization", "abc123".into()).contains("abc123"));
        assert_eq!(secrets.header("x-api-key", "".into()), "");
        assert_eq!(secrets.header("accept", "text/html".into()), "text/html");
    }

    #[test]
    fn addresses_are_secret_whatever_is_configured() {
        for name in ["x-real-ip", "x_forwarded_for", "client-ip", "forwarded", "x-forwarded-by", "x_api_key"]
        {
            assert!(secrets().header(name, "203.0.113.77".into()).starts_with('~'), "{name}");
        }
        assert_eq!(secrets().header("x-forwarded-proto", "https".into()), "https");
    }

    #[test]
    fn cookies_are_secret_unless_named() {
        assert!(secrets().cookie("session", "s3cr3t").starts_with('~'));
        assert_eq!(secrets().cookie("Theme", "dark"), "dark");
    }

    #[test]
    fn texts_of_bodies_are_secret_unless_named() {
        assert!(secrets().body("/iban", "DE02").starts_with('~'));
        assert_eq!(secrets().body("/currency", "EUR"), "EUR");
        assert_eq!(secrets().body("/iban", ""), "");
    }

    #[test]
    fn a_query_hides_only_its_secret_values() {
        let shown = secrets().query("a=1&Token=s3cr3t&b");
        assert!(shown.starts_with("a=1&Token=~") && shown.ends_with("&b") && !shown.contains("s3cr3t"));
        assert_eq!(secrets().query("a=1&b"), "a=1&b");
    }
}
