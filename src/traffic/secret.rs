//! The secret under which everything counted is hashed: nobody outside can choose what shares a place, and a key that is kept
//! says nothing to whoever does not have the secret too.

use std::hash::{Hash, Hasher};

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use zeroize::Zeroizing;

/// 32 random bytes. As old as the process, or as what is kept over its restarts.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

/// How the keys of one table are hashed.
pub(super) struct Hashing {
    start: u64,
    shared: SharedSeed,
}

impl Secret {
    /// These bytes, which nobody else should know.
    pub const fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// A secret that everybody knows, for simulations.
    pub fn known() -> Self {
        Self(Zeroizing::new([0; 32]))
    }

    /// The bytes, to be kept beside what was hashed under them.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What shows whether two programs hash alike under it, which is not certain of two versions.
    pub fn probe(&self) -> u64 {
        self.hashing("probe").hash(&super::RouteKey::named("probe"))
    }

    /// A key of its own for each purpose.
    pub(super) fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(purpose, self.0.as_slice()))
    }

    /// The hashing of what is called so.
    pub(super) fn hashing(&self, what: &str) -> Hashing {
        Hashing::new(&self.derive("riskgate 2026 places of counted keys"), what)
    }
}

impl Hashing {
    /// The hashing under `key` of what is called so.
    fn new(key: &[u8; 32], what: &str) -> Self {
        let [seed, start] = ["seed", "start"].map(|part| short(key, format!("{part} {what}").as_bytes()));
        Self { start, shared: SharedSeed::from_u64(seed) }
    }

    /// A hash in which all 64 bits are good.
    #[inline]
    pub(super) fn hash(&self, key: &impl Hash) -> u64 {
        let mut hasher = self.hasher(0);
        key.hash(&mut hasher);
        hasher.finish()
    }

    /// A hasher, for whoever has several parts; `salt` gives each user hashes of its own.
    #[inline]
    pub(super) fn hasher(&self, salt: u64) -> FoldHasher<'_> {
        FoldHasher::with_seed(self.start ^ salt, &self.shared)
    }
}

/// 64 bits that nobody can foretell without the key.
pub(super) fn short(key: &[u8; 32], data: &[u8]) -> u64 {
    let hash = blake3::keyed_hash(key, data);
    hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_and_each_secret_hashes_in_its_own_way_and_always_alike() {
        let secret = |byte| Secret::new(Zeroizing::new([byte; 32]));
        let hash = |byte, what| secret(byte).hashing(what).hash(&7_u64);
        assert_eq!(hash(1, "limits"), hash(1, "limits"));
        assert_ne!(hash(1, "limits"), hash(1, "members"));
        assert_ne!(hash(1, "limits"), hash(2, "limits"));
        assert_eq!(secret(1).probe(), secret(1).probe());
        assert_ne!(secret(1).probe(), secret(2).probe());
    }
}
