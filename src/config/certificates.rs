//! `[certificates.NAME]`: what listeners show to clients that speak TLS.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::Config;
use super::acme::HostName;
use super::kinds::{FilePath, ListOf, is_name, name_hint};
use super::reader::{Document, Fallback, Key, Kind, Layout, Section, Value};
use crate::proxy::acme::Challenge;

/// Where a certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// From files that somebody else keeps up to date.
    Files(KeyPair),
    /// From the authority of `[acme]`, for these hosts; at least one.
    Acme(Vec<String>),
}

/// A certificate with its key, in two files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// The certificate and those that vouch for it, as PEM.
    pub cert: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// A [`KeyPair`] as an inline table.
pub(super) struct Pair;

pub(super) const LAYOUT: Layout = Layout {
    table: "certificates",
    heading: "[certificates.NAME]",
    doc: "A certificate for listeners that speak TLS, which name it: `cert` and `key`, or `acme`. A client gets the one whose \
          names have the server that it asks for. Files are checked before they are used, and loaded anew when they change.",
    keys: &[&CERT, &KEY, &ACME],
    reserved: &[],
};

/// A pair of files as a value of another section.
const PAIR: Layout = Layout { keys: &[&CERT, &KEY], ..LAYOUT };

const CERT: Key<FilePath> = Key {
    name: "cert",
    kind: FilePath,
    fallback: Fallback::Absent,
    doc: "The certificate, and behind it those that vouch for it, as PEM.",
};

const KEY: Key<FilePath> = Key {
    name: "key",
    kind: FilePath,
    fallback: Fallback::Absent,
    doc: "Its private key, as PEM (PKCS #8, PKCS #1 or SEC 1).",
};

const ACME: Key<ListOf<HostName>> = Key {
    name: "acme",
    kind: ListOf(HostName),
    fallback: Fallback::Absent,
    doc: "Instead of files: the hosts of a certificate that the authority of `[acme]` issues, and issues anew in time.",
};

/// One certificate has at most so many hosts, as with most authorities.
const MAX_HOSTS: usize = 100;

/// Reads every `[certificates.NAME]`; `agreed` is whether the terms of `[acme]` are agreed to, if that is known.
pub(super) fn read(document: &Document<'_>, agreed: Option<bool>) -> Option<BTreeMap<String, Certificate>> {
    let read = document.members(&LAYOUT)?.into_iter().map(|(name, value)| {
        let title = format!("[certificates.{}]", name.text.escape_debug());
        let certificate = value.section(&LAYOUT, title).and_then(|section| read_one(&section, agreed));
        if !is_name(name.text) {
            let message = format!("`{}` cannot name a certificate", name.text.escape_debug());
            document.source.error(Some(name.span), message, Some(name_hint(name.text)));
            return None;
        }
        Some((name.text.to_owned(), certificate?))
    });
    read.collect::<Vec<_>>().into_iter().collect()
}

/// Reports that an authority could not reach the gate to have hosts proved, as far as the configuration shows it.
pub(super) fn report_unreachable(document: &Document<'_>, config: &Config) {
    let wanted = config.certificates.values().any(|one| matches!(one, Certificate::Acme(_)));
    let (by_tls, how) = match config.acme.challenge {
        Challenge::Http01 => (false, "in the clear, or choose `challenge = \"tls-alpn-01\"`"),
        Challenge::TlsAlpn01 => (true, "with `tls` or `certificates`, or choose `challenge = \"http-01\"`"),
    };
    if wanted && !config.listeners.iter().any(|listener| listener.tls.is_some() == by_tls) {
        let message = format!("no listener takes what `{}` asks", config.acme.challenge.as_str());
        let hint = Some(format!("add a `[[listener]]` {how}"));
        document.source.warning(document.span(&LAYOUT), message, hint);
    }
}

fn read_one(section: &Section<'_>, agreed: Option<bool>) -> Option<Certificate> {
    let hosts = section.optional(&ACME)?;
    let has_files = section.has(&CERT) || section.has(&KEY);
    match hosts {
        None if has_files => read_pair(section).map(Certificate::Files),
        None => {
            let hint = "add `cert` and `key`, or `acme = [\"api.example.com\"]`";
            section.complain(&ACME, "it is not said where the certificate comes from", hint);
            None
        }
        Some(_) if has_files => {
            let key = if section.has(&CERT) { &CERT } else { &KEY };
            let message = format!("`{}` and `acme` exclude each other", key.name);
            section.complain(key, message, "leave files out, or leave `acme` out");
            None
        }
        Some(hosts) => {
            let counted = is_counted(section, &hosts);
            (counted && is_agreed(section, agreed)).then_some(Certificate::Acme(hosts))
        }
    }
}

/// Whether each host is there once, and there are neither none nor too many; reports it if not.
fn is_counted(section: &Section<'_>, hosts: &[String]) -> bool {
    let (mut seen, mut good) = (BTreeSet::new(), true);
    for twice in hosts.iter().filter(|host| !seen.insert(host.as_str())) {
        section.complain(&ACME, format!("`{twice}` is there twice"), "remove one of the two");
        good = false;
    }
    if !(1..=MAX_HOSTS).contains(&hosts.len()) {
        let hint = "name the hosts that clients ask for; further ones go into another certificate";
        section.complain(&ACME, format!("a certificate is for 1 to {MAX_HOSTS} hosts"), hint);
        good = false;
    }
    good
}

/// Whether certificates may be ordered, or it cannot be said; reports it if not.
fn is_agreed(section: &Section<'_>, agreed: Option<bool>) -> bool {
    if agreed != Some(false) {
        return true;
    }
    let message = "a certificate by ACME needs your agreement to the terms of its authority";
    section.complain(&ACME, message, "read them, and write `terms_agreed = true` below `[acme]`");
    false
}

fn read_pair(section: &Section<'_>) -> Option<KeyPair> {
    let (cert, key) = (section.read(&CERT), section.read(&KEY));
    Some(KeyPair { cert: cert?, key: key? })
}

impl Kind for Pair {
    type Value = KeyPair;

    fn expects(&self) -> String {
        "a table `{ cert = \"...\", key = \"...\" }`".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<KeyPair> {
        if value.toml().is_table() {
            let section = value.section(&PAIR, value.subject().trim_matches('`').to_owned())?;
            return read_pair(&section);
        }
        value.mismatch(self, None)
    }
}
