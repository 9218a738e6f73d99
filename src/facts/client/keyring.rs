//! The keys under which clients and secrets get their names. They exist in memory only, and only as long as they are used.

use std::fmt;

use zeroize::Zeroizing;

use super::{Prefix, Pseudonym};

/// The keys under which pseudonyms are made, one per purpose, so that names for different purposes cannot be
/// joined. Wiped from memory when dropped.
pub struct Keyring {
    client: Zeroizing<[u8; 32]>,
    origin: Zeroizing<[u8; 32]>,
    secret: Zeroizing<[u8; 32]>,
}

impl Keyring {
    /// Derives one key per purpose from 32 random bytes, which should be forgotten afterwards.
    pub fn new(entropy: &Zeroizing<[u8; 32]>) -> Self {
        let derive = |purpose: &str| Zeroizing::new(blake3::derive_key(purpose, entropy.as_slice()));
        Self {
            client: derive("riskgate 2026 pseudonym of a client in records and scripts"),
            origin: derive("riskgate 2026 pseudonym of a client toward the origin"),
            secret: derive("riskgate 2026 pseudonym of a credential in records and scripts"),
        }
    }

    pub(super) fn client(&self, prefix: &Prefix) -> Pseudonym {
        pseudonym(&self.client, &prefix.bytes())
    }

    pub(super) fn origin(&self, prefix: &Prefix) -> Pseudonym {
        pseudonym(&self.origin, &prefix.bytes())
    }

    /// A name for a credential or another secret value.
    pub fn secret(&self, value: &[u8]) -> Pseudonym {
        pseudonym(&self.secret, value)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(private)")
    }
}

fn pseudonym(key: &[u8; 32], data: &[u8]) -> Pseudonym {
    let hash = blake3::keyed_hash(key, data);
    let mut short = [0; 8];
    short.copy_from_slice(hash.as_bytes().split_at(8).0);
    Pseudonym(short)
}
