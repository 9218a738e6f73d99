//! Where two gates meet: a Unix socket of mode 0600 in a folder that nobody else can write to.
//!
//! A gate that starts listens under another name first, and takes the place only when it serves: until then the gate that
//! runs can still be found there.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::UpgradeError;
use crate::app::owner::Owner;

/// A socket that listens at a place, or will.
#[derive(Debug)]
pub(in crate::app) struct Place {
    path: PathBuf,
    /// Where it listens until the place is taken.
    waiting: PathBuf,
    listener: UnixListener,
    taken: AtomicBool,
}

/// The bits of a mode that let others write.
const OTHERS_WRITE: u32 = 0o022;

/// Whoever listens at `path`; `None` if nobody does.
pub(super) fn visit(path: &Path) -> Result<Option<UnixStream>, UpgradeError> {
    match UnixStream::connect(path) {
        Ok(stream) => {
            is_private(folder_of(path))?;
            Ok(Some(stream))
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(UpgradeError::place(path)(error)),
    }
}

impl Place {
    /// Listens, for `owner` if the process will be theirs, though not at its place yet.
    pub(super) fn prepare(path: &Path, owner: Option<&Owner>) -> Result<Self, UpgradeError> {
        let failed = UpgradeError::place(path);
        let folder = folder_of(path);
        if !folder.exists() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(UpgradeError::place(folder))?;
            give(folder, owner).map_err(UpgradeError::place(folder))?;
        }
        is_private(folder)?;
        let waiting = path.with_added_extension(std::process::id().to_string());
        forget(&waiting).map_err(&failed)?;
        let listener = UnixListener::bind(&waiting).map_err(&failed)?;
        let place = Self { path: path.to_path_buf(), waiting, listener, taken: AtomicBool::new(false) };
        fs::set_permissions(&place.waiting, Permissions::from_mode(0o600)).map_err(&failed)?;
        give(&place.waiting, owner).map_err(&failed)?;
        place.listener.set_nonblocking(true).map_err(&failed)?;
        Ok(place)
    }

    /// Takes the place of whoever was there.
    pub(super) fn take(&self) -> io::Result<()> {
        fs::rename(&self.waiting, &self.path)?;
        self.taken.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// The socket.
    pub(super) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }

    /// Leaves no trace. Not for a gate whose place another one has taken.
    pub(in crate::app) fn leave(&self) {
        if self.taken.load(Ordering::SeqCst) {
            // Nobody is there to be told, and the next gate takes the place in any case.
            let _ = forget(&self.path);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // It is there only if the gate has never served.
        let _ = forget(&self.waiting);
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn is_private(folder: &Path) -> Result<(), UpgradeError> {
    let found = fs::metadata(folder).map_err(UpgradeError::place(folder))?;
    if found.mode() & OTHERS_WRITE == 0 { Ok(()) } else { Err(UpgradeError::Public(folder.to_path_buf())) }
}

fn give(path: &Path, owner: Option<&Owner>) -> io::Result<()> {
    owner.map_or(Ok(()), |owner| owner.give(path))
}

fn forget(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
