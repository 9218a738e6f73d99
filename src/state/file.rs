//! What files of state have in common: a first line that says what they are, and that they are replaced as a whole.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A kind of file.
pub(super) struct Kind {
    /// What every version of it begins with.
    pub(super) magic: &'static str,
    /// The version that is written, and the only one that is read.
    pub(super) version: &'static str,
    /// The key of `[traffic]` that names it.
    pub(super) key: &'static str,
}

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
    #[error("`{}` is no state file and is left alone, choose another path for `{key}` in `[traffic]`", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Which key names it.
        key: &'static str,
    },
    /// It is that of another version.
    #[error("`{}` is of version `{version}`, which this riskgate does not know, and is left alone; move it away to start afresh", path.display())]
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
    pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Self::Io { path: path.to_path_buf(), error }
    }

    pub(super) fn damaged(path: &Path, why: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_path_buf(), why: why.into() }
    }
}

impl Kind {
    /// Opens a file and reads its first line; what that says after the version. An empty file is none.
    pub(super) fn open(&self, path: &Path) -> Result<Option<(String, BufReader<File>)>, StateError> {
        match fs::metadata(path) {
            Ok(found) if !found.is_file() => return Err(self.foreign(path)),
            Ok(found) if found.len() == 0 => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::io(path)(error)),
        }
        self.read(File::open(path).map_err(StateError::io(path))?, path).map(Some)
    }

    /// Reads the first line of a file.
    pub(super) fn read(&self, file: File, path: &Path) -> Result<(String, BufReader<File>), StateError> {
        let (mut file, mut line) = (BufReader::new(file), Vec::new());
        file.by_ref().take(200).read_until(b'\n', &mut line).map_err(StateError::io(path))?;
        let line = String::from_utf8(line).map_err(|_| self.foreign(path))?;
        let said = line.strip_prefix(self.magic).ok_or_else(|| self.foreign(path))?;
        let Some(said) = said.strip_suffix('\n') else {
            return Err(StateError::damaged(path, "its first line is torn"));
        };
        let (version, rest) = said.split_once(' ').unwrap_or((said, ""));
        if version != self.version {
            return Err(StateError::Version { path: path.to_path_buf(), version: version.to_owned() });
        }
        Ok((rest.to_owned(), file))
    }

    /// Replaces a file by what `fill` writes, once that is on the disk. A file that this program did not write stays.
    pub(super) fn replace(
        &self,
        path: &Path,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), StateError> {
        match self.open(path) {
            Ok(_) | Err(StateError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        replaced(path, fill).map_err(StateError::io(path))
    }

    fn foreign(&self, path: &Path) -> StateError {
        StateError::Foreign { path: path.to_path_buf(), key: self.key }
    }
}

fn replaced(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700);
    builder.create(folder)?;
    // Only the owner may read it, which is what `tempfile` does.
    let mut file = NamedTempFile::new_in(folder)?;
    fill(file.as_file_mut())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}
