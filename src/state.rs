//! The state file: what was learned about traffic, over a restart.
//!
//! One line says what it is, in which version, and the BLAKE3 hash of all that follows; then comes JSON. It is
//! replaced as a whole, so that a crash leaves the old one or the new one. What this program did not write is never
//! read as if it were, nor replaced. IO only: what it means is for `traffic`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::traffic::{Memory, MemoryError};

/// What every version of the file begins with.
const MAGIC: &str = "riskgate-state ";
/// The version that is written, and the only one that is read.
const VERSION: &str = "1";
/// Nothing longer was written by this program: that would be 60,000 routes.
const MOST_BYTES: u64 = 64 << 20;

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read or written.
    #[error("`{}`: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is something else.
    #[error("`{}` is no state file and is left alone, choose another path for `state` in `[traffic]`", .0.display())]
    Foreign(PathBuf),
    /// It is that of another version.
    #[error("`{}` is of version `{version}`, which this riskgate does not know, and is left alone; move it away to learn afresh", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// It is not as it was written.
    #[error("`{}` is damaged: {why}; it will be replaced", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How one can tell.
        why: String,
    },
}

impl StateError {
    /// What was kept in `path` cannot be recalled.
    pub fn unknown(path: &Path, error: &MemoryError) -> Self {
        Self::Damaged { path: path.to_path_buf(), why: error.to_string() }
    }
}

/// What is kept in `path`; `None` if there is no such file.
pub fn read(path: &Path) -> Result<Option<Memory>, StateError> {
    let damaged = |why: String| StateError::Damaged { path: path.to_path_buf(), why };
    let Some(body) = body(path)? else { return Ok(None) };
    let mut text = Vec::new();
    body.file.take(MOST_BYTES).read_to_end(&mut text).map_err(io_error(path))?;
    if blake3::hash(&text).to_hex().as_str() != body.hash {
        return Err(damaged("it does not have the hash that it says".to_owned()));
    }
    serde_json::from_slice(&text).map(Some).map_err(|error| damaged(error.to_string()))
}

/// Replaces what is kept in `path`, for the owner of this process alone. A file that this program did not write stays.
pub fn write(path: &Path, memory: &Memory) -> Result<(), StateError> {
    match body(path) {
        Ok(_) | Err(StateError::Damaged { .. }) => {}
        Err(error @ (StateError::Io { .. } | StateError::Foreign(_) | StateError::Version { .. })) => {
            return Err(error);
        }
    }
    replace(path, memory).map_err(io_error(path))
}

/// What follows the first line of a state file.
struct Body {
    hash: String,
    file: io::BufReader<File>,
}

/// Opens a state file and reads its first line. An empty file is none.
fn body(path: &Path) -> Result<Option<Body>, StateError> {
    let foreign = || StateError::Foreign(path.to_path_buf());
    match fs::metadata(path) {
        Ok(found) if !found.is_file() || found.len() > MOST_BYTES => return Err(foreign()),
        Ok(found) if found.len() == 0 => return Ok(None),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(path)(error)),
    }
    let mut file = io::BufReader::new(File::open(path).map_err(io_error(path))?);
    let mut line = Vec::new();
    io::BufRead::read_until(&mut file.by_ref().take(200), b'\n', &mut line).map_err(io_error(path))?;
    let line = String::from_utf8(line).map_err(|_| foreign())?;
    let rest = line.strip_prefix(MAGIC).ok_or_else(foreign)?;
    let Some((version, hash)) = rest.strip_suffix('\n').and_then(|rest| rest.split_once(' ')) else {
        let why = "its first line is torn".to_owned();
        return Err(StateError::Damaged { path: path.to_path_buf(), why });
    };
    if version != VERSION {
        return Err(StateError::Version { path: path.to_path_buf(), version: version.to_owned() });
    }
    Ok(Some(Body { hash: hash.to_owned(), file }))
}

/// A new file beside it takes its place once it is on the disk.
fn replace(path: &Path, memory: &Memory) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700);
    builder.create(folder)?;
    let text = serde_json::to_vec(memory)?;
    // Only the owner may read it, which is what `tempfile` does.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(file, "{MAGIC}{VERSION} {}", blake3::hash(&text).to_hex())?;
    file.write_all(&text)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> StateError {
    move |error| StateError::Io { path: path.to_path_buf(), error }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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
        assert!(matches!(read(path.parent().unwrap()), Err(StateError::Foreign(_))));
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
