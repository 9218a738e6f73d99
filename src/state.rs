//! The state file: what was learned about traffic, over a restart; and beside it, the file of [`counts`].
//!
//! One line says what it is, in which version, and the BLAKE3 hash of all that follows; then comes JSON. It is
//! replaced as a whole, so that a crash leaves the old one or the new one. What this program did not write is never
//! read as if it were, nor replaced. IO only: what it means is for `traffic`.

pub mod counts;
mod file;

use std::io::{Read, Write};
use std::path::Path;

use self::file::Kind;
pub use self::file::StateError;
use crate::traffic::{Memory, MemoryError};

const KIND: Kind = Kind { magic: "riskgate-state ", version: "1", key: "state" };
/// Nothing longer was written by this program: that would be 60,000 routes.
const MOST_BYTES: u64 = 64 << 20;

impl StateError {
    /// What was kept in `path` cannot be recalled.
    pub fn unknown(path: &Path, error: &MemoryError) -> Self {
        Self::damaged(path, error.to_string())
    }
}

/// What is kept in `path`; `None` if there is no such file.
pub fn read(path: &Path) -> Result<Option<Memory>, StateError> {
    let Some((hash, file)) = KIND.open(path)? else { return Ok(None) };
    let mut text = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut text).map_err(StateError::io(path))?;
    if blake3::hash(&text).to_hex().as_str() != hash {
        return Err(StateError::damaged(path, "it does not have the hash that it says"));
    }
    serde_json::from_slice(&text).map(Some).map_err(|error| StateError::damaged(path, error.to_string()))
}

/// Replaces what is kept in `path`, for the owner of this process alone. A file that this program did not write stays.
pub fn write(path: &Path, memory: &Memory) -> Result<(), StateError> {
    KIND.replace(path, |file| {
        let text = serde_json::to_vec(memory)?;
        writeln!(file, "{}{} {}", KIND.magic, KIND.version, blake3::hash(&text).to_hex())?;
        file.write_all(&text)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    fn memory(saved: u64) -> Memory {
        let mut memory = Memory::default();
        memory.saved = saved;
        memory
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("traffic.state");
        (folder, path)
    }

    #[test]
    fn what_is_written_is_read_and_belongs_to_the_owner_alone() {
        let (_folder, path) = folder();
        assert_eq!(read(&path).unwrap(), None);
        for saved in [1, 2] {
            write(&path, &memory(saved)).unwrap();
            assert_eq!(read(&path).unwrap(), Some(memory(saved)));
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_damaged_file_is_reported_and_replaced() {
        let (_folder, path) = folder();
        write(&path, &memory(1)).unwrap();
        let good = fs::read(&path).unwrap();
        let mut turned = good.clone();
        *turned.last_mut().unwrap() ^= 1;
        let with_hash =
            |text: &str| format!("riskgate-state 1 {}\n{text}", blake3::hash(text.as_bytes())).into_bytes();
        let strange = with_hash("{\"saved\":1,\"addresses\":[]}");
        for bad in [&good[..good.len() - 1], &good[..20], &turned, &strange, &with_hash("")] {
            fs::write(&path, bad).unwrap();
            let error = read(&path).unwrap_err();
            assert!(matches!(error, StateError::Damaged { .. }), "{error}");
            write(&path, &memory(2)).unwrap();
            assert_eq!(read(&path).unwrap(), Some(memory(2)));
        }
    }

    #[test]
    fn what_somebody_else_wrote_is_neither_read_nor_replaced() {
        let (_folder, path) = folder();
        write(&path, &memory(1)).unwrap();
        for (other, message) in [
            (&b"{\"id\":1}\n"[..], "is no state file"),
            (b"\xff\xfe\n", "is no state file"),
            (b"riskgate-state 2 00\n{}", "is of version `2`"),
        ] {
            fs::write(&path, other).unwrap();
            assert!(read(&path).unwrap_err().to_string().contains(message));
            assert!(write(&path, &memory(2)).unwrap_err().to_string().contains(message));
            assert_eq!(fs::read(&path).unwrap(), other);
        }
        assert!(matches!(read(path.parent().unwrap()), Err(StateError::Foreign { .. })));
    }

    #[test]
    fn an_empty_file_is_none() {
        let (_folder, path) = folder();
        write(&path, &memory(1)).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(read(&path).unwrap(), None);
        write(&path, &memory(1)).unwrap();
    }
}
