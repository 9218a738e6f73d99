//! `[acme]`: who issues the certificates that `[certificates]` wants by ACME (RFC 8555), and how hosts are proved.

use std::path::PathBuf;
use std::time::Duration;

use super::kinds::{FilePath, Flag, ListOf, OneOf, Period};
use super::reader::{Fallback, Key, Kind, Layout, Section, Value};
use crate::proxy::acme::Challenge;

/// Who issues certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// Where the authority's directory is.
    pub directory: String,
    /// How the authority reaches the operator.
    pub contact: Vec<String>,
    /// Whether the operator agrees to the authority's terms.
    pub terms_agreed: bool,
    /// The folder of the account and the certificates.
    pub store: PathBuf,
    /// How hosts are proved.
    pub challenge: Challenge,
    /// How long before its end a certificate is ordered anew.
    pub renew_before: Duration,
    /// Who vouches for the directory itself, as PEM; `None` if the machine knows.
    pub ca: Option<PathBuf>,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "acme",
    heading: "[acme]",
    doc: "Who issues certificates that are wanted by ACME (RFC 8555), and how the gate proves that hosts are its own. \
          Nobody is contacted as long as no `[certificates.NAME]` has `acme`.",
    keys: &[&DIRECTORY, &CONTACT, &TERMS_AGREED, &STORE, &CHALLENGE, &RENEW_BEFORE, &CA],
    reserved: &[],
};

const DIRECTORY: Key<Directory> = Key {
    name: "directory",
    kind: Directory,
    fallback: Fallback::Is("\"https://acme-v02.api.letsencrypt.org/directory\""),
    doc: "The directory of the authority. Certificates of another one are ordered anew.",
};

const CONTACT: Key<ListOf<Contact>> = Key {
    name: "contact",
    kind: ListOf(Contact),
    fallback: Fallback::Is("[]"),
    doc: "How the authority reaches you.",
};

const TERMS_AGREED: Key<Flag> = Key {
    name: "terms_agreed",
    kind: Flag,
    fallback: Fallback::Is("false"),
    doc: "Whether you have read the authority's terms of service and agree to them; without, nothing is ordered.",
};

const STORE: Key<FilePath> = Key {
    name: "store",
    kind: FilePath,
    fallback: Fallback::Is("\"data/acme\""),
    doc: "The folder where the account and the certificates are kept, with their keys, for the owner of the process alone.",
};

const CHALLENGE: Key<OneOf<Challenge>> = Key {
    name: "challenge",
    kind: OneOf(&[("http-01", Challenge::Http01), ("tls-alpn-01", Challenge::TlsAlpn01)]),
    fallback: Fallback::Is("\"http-01\""),
    doc: "How hosts are proved: by a request in the clear to port 80, or by a handshake at port 443, of each of them. It must \
          come in by a listener of this gate.",
};

const RENEW_BEFORE: Key<Period> = Key {
    name: "renew_before",
    kind: Period { from: Duration::from_secs(3600), to: Duration::from_secs(365 * 24 * 3600) },
    fallback: Fallback::Is("\"30d\""),
    doc: "How long before its end a certificate is ordered anew; after two thirds of its life, if that is later.",
};

const CA: Key<FilePath> = Key {
    name: "ca",
    kind: FilePath,
    fallback: Fallback::Absent,
    doc: "Who vouches for the directory of a private authority: one certificate, as PEM. Else whoever the machine believes.",
};

/// Reads `[acme]`.
pub(super) fn read(section: &Section<'_>) -> Option<Acme> {
    let (directory, contact) = (section.read(&DIRECTORY), section.read(&CONTACT));
    let (terms_agreed, store) = (section.read(&TERMS_AGREED), section.read(&STORE));
    let (challenge, renew_before) = (section.read(&CHALLENGE), section.read(&RENEW_BEFORE));
    Some(Acme {
        ca: section.optional(&CA)?,
        directory: directory?,
        contact: contact?,
        terms_agreed: terms_agreed?,
        store: store?,
        challenge: challenge?,
        renew_before: renew_before?,
    })
}

/// Where a directory is.
struct Directory;

/// A way to reach the operator.
struct Contact;

/// The name of one host, in lower case.
pub(super) struct HostName;

/// The longest name of a host.
const MAX_HOST: usize = 253;

impl Kind for Directory {
    type Value = String;

    fn expects(&self) -> String {
        "a URL that starts with `https://`".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<String> {
        let text = value.text(self)?;
        let host =
            text.parse::<http::Uri>().ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
        let good = text.starts_with("https://") && host.is_some();
        if good { Some(text.to_owned()) } else { value.mismatch(self, None) }
    }
}

impl Kind for Contact {
    type Value = String;

    fn expects(&self) -> String {
        "an address such as `\"mailto:you@example.com\"`".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<String> {
        let text = value.text(self)?;
        let is_address =
            |text: &str| text.split_once('@').is_some_and(|(who, host)| !who.is_empty() && !host.is_empty());
        match text.strip_prefix("mailto:") {
            Some(address) if is_address(address) => Some(text.to_owned()),
            None if is_address(text) => value.mismatch(self, Some(format!("write `\"mailto:{text}\"`"))),
            Some(_) | None => value.mismatch(self, None),
        }
    }
}

impl Kind for HostName {
    type Value = String;

    fn expects(&self) -> String {
        "the name of a host, such as `\"api.example.com\"`".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<String> {
        let text = value.text(self)?;
        if is_host(text) {
            return Some(text.to_owned());
        }
        let hint = if text.contains('*') {
            Some("`*` can only be proved by DNS, which is not done here; name each host".to_owned())
        } else if is_host(&text.to_ascii_lowercase()) {
            Some(format!("write `\"{}\"`", text.to_ascii_lowercase()))
        } else {
            text.split_once("://").map(|(scheme, _)| format!("leave out `{scheme}://`"))
        };
        value.mismatch(self, hint)
    }
}

/// Whether it is a name in lower case, not an address.
fn is_host(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(letter)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_has_letter =
        text.rsplit('.').next().is_some_and(|last| last.bytes().any(|byte| byte.is_ascii_lowercase()));
    text.len() <= MAX_HOST && text.split('.').all(label) && last_has_letter
}
