//! JA4: what kind of TLS client this is, by what it offers in its hello.
//!
//! The method is FoxIO's, <https://github.com/FoxIO-LLC/ja4> (BSD 3-Clause; "JA4: TLS Client Fingerprinting" only, none of
//! what that project calls JA4+). A fingerprint tells programs apart, not people, but it helps to tell people apart: it
//! never prints itself, and records keep no more than the class that an operator gave it.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;

use ring::digest::{SHA256, digest};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::hello::{ALPN, Hello, SERVER_NAME};

/// A JA4 fingerprint of TLS over TCP, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ja4([u8; LENGTH]);

const LENGTH: usize = 36;
/// What stands where there is nothing to hash.
const NOTHING: &str = "000000000000";
/// Hex digits kept of a hash.
const HASH: usize = 12;

impl Ja4 {
    /// The fingerprint of a hello.
    pub fn of(hello: &Hello) -> Self {
        let version = hello.versions.iter().max().unwrap_or(&hello.legacy_version);
        let to = if hello.extensions.contains(&SERVER_NAME) { 'd' } else { 'i' };
        let (ciphers, extensions) = (hello.ciphers.len().min(99), hello.extensions.len().min(99));
        let [first, last] = ends(hello.protocols().next().unwrap_or_default());
        let shape = format!("t{}{to}{ciphers:02}{extensions:02}{first}{last}", name_of(*version));
        let text = format!("{shape}_{}_{}", cipher_hash(hello), extension_hash(hello));
        let mut bytes = [b'0'; LENGTH];
        bytes.iter_mut().zip(text.bytes()).for_each(|(byte, is)| *byte = is);
        Self(bytes)
    }

    /// Reads one that somebody wrote down; `None` if it has not the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('_');
        let (shape, ciphers, extensions) = (parts.next()?, parts.next()?, parts.next()?);
        let hash = |part: &str| part.len() == HASH && part.bytes().all(is_hex_digit);
        let formed = shape.len() == 10
            && shape.bytes().zip(0..).all(|(byte, at)| match at {
                0 => byte == b't',
                1 | 2 => byte.is_ascii_digit() || byte == b's',
                3 => matches!(byte, b'd' | b'i'),
                4..8 => byte.is_ascii_digit(),
                _ => byte.is_ascii_alphanumeric(),
            });
        if !formed || !hash(ciphers) || !hash(extensions) || parts.next().is_some() {
            return None;
        }
        text.as_bytes().try_into().ok().map(Self)
    }

    /// The fingerprint as text: for scripts, and for nothing that keeps it.
    pub fn as_str(&self) -> &str {
        // Only ASCII was put in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Ja4 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'_, str>>::deserialize(deserializer)?;
        let wrong = || D::Error::custom("no JA4 fingerprint, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`");
        Self::parse(&text).ok_or_else(wrong)
    }
}

impl fmt::Debug for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ja4(private)")
    }
}

const fn name_of(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// The first and last character of a protocol's name; of its hex digits, if one of both is neither letter nor digit.
fn ends(protocol: &[u8]) -> [char; 2] {
    let (Some(first), Some(last)) = (protocol.first(), protocol.last()) else { return ['0', '0'] };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        [char::from(*first), char::from(*last)]
    } else {
        let digit = |digit: u8| char::from_digit(u32::from(digit), 16).unwrap_or('0');
        [digit(first >> 4), digit(last & 0xf)]
    }
}

fn cipher_hash(hello: &Hello) -> String {
    let mut ciphers = hello.ciphers.clone();
    ciphers.sort_unstable();
    hash_of(&listed(&ciphers))
}

fn extension_hash(hello: &Hello) -> String {
    // Which host and protocol are asked for differs between two connections of one program.
    let told = |kind: &u16| *kind != SERVER_NAME && *kind != ALPN;
    let mut extensions: Vec<u16> = hello.extensions.iter().copied().filter(told).collect();
    extensions.sort_unstable();
    let mut text = listed(&extensions);
    if !hello.signatures.is_empty() {
        text.push('_');
        text.push_str(&listed(&hello.signatures));
    }
    hash_of(&text)
}

/// `002f,0035`
fn listed(numbers: &[u16]) -> String {
    let mut text = String::with_capacity(numbers.len() * 5);
    for number in numbers {
        let comma = if text.is_empty() { "" } else { "," };
        // Writing into memory cannot fail.
        let _ = write!(text, "{comma}{number:04x}");
    }
    text
}

fn hash_of(text: &str) -> String {
    if text.is_empty() {
        return NOTHING.to_owned();
    }
    let hash = digest(&SHA256, text.as_bytes());
    hash.as_ref().iter().take(HASH / 2).map(|byte| format!("{byte:02x}")).collect()
}

const fn is_hex_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests;
