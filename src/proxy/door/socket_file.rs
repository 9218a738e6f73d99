//! The file of a Unix socket: which one it is, and who removes it.
//!
//! While one gate takes over from another both listen to the same socket, whose file is one of them's to remove: the one
//! that is in charge of it. A file of another origin, systemd's for one, is nobody's here.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The file of a socket. It is removed with this value, if this process is in charge and nothing else has its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
    owner: Owner,
    in_charge: AtomicBool,
}

/// Tells a file from any other one of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The file system.
    pub device: u64,
    /// The file within.
    pub inode: u64,
}

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The gate's, or that of the one that goes on in its place.
    Gate,
    /// Somebody else's, who has lent the socket.
    Lender,
}

impl Identity {
    /// That of the socket at a path; the error may be that it is none.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        if !metadata.file_type().is_socket() {
            return Err(io::Error::other("it is no socket"));
        }
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

impl SocketFile {
    /// A file that this process has made, and is in charge of.
    pub fn made(path: PathBuf, identity: Identity) -> Self {
        Self { path, identity, owner: Owner::Gate, in_charge: AtomicBool::new(true) }
    }

    /// A file that was there before; nobody here is in charge of it yet.
    pub fn found(path: PathBuf, identity: Identity, owner: Owner) -> Self {
        Self { path, identity, owner, in_charge: AtomicBool::new(false) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which one it is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Whose it is.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Whether this process is in charge of it.
    pub fn is_in_charge(&self) -> bool {
        self.in_charge.load(Ordering::SeqCst)
    }

    /// This process is in charge of it from now on, unless it was lent.
    pub fn take_charge(&self) {
        self.in_charge.store(self.owner == Owner::Gate, Ordering::SeqCst);
    }

    /// Another process is in charge of it from now on.
    pub fn leave_charge(&self) {
        self.in_charge.store(false, Ordering::SeqCst);
    }

    /// Lets whoever may write to a file of this mode connect. One that was lent stays as it is.
    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        let now = fs::symlink_metadata(&self.path)?.permissions().mode() & 0o777;
        if self.owner == Owner::Lender || now == mode {
            return Ok(());
        }
        fs::set_permissions(&self.path, Permissions::from_mode(mode))
    }

    fn is_there(&self) -> bool {
        Identity::of(&self.path).is_ok_and(|found| found == self.identity)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if *self.in_charge.get_mut() && self.is_there() {
            // It may be gone meanwhile, which is what is wanted.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn file() -> (tempfile::TempDir, UnixListener, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.sock");
        (folder, UnixListener::bind(&path).unwrap(), path)
    }

    #[test]
    fn only_who_is_in_charge_removes_it() {
        let (_folder, _listener, path) = file();
        let identity = Identity::of(&path).unwrap();
        let old = SocketFile::made(path.clone(), identity);
        let failed = SocketFile::found(path.clone(), identity, Owner::Gate);
        drop(failed);
        assert!(path.exists(), "the one that did not get so far leaves it");
        let new = SocketFile::found(path.clone(), identity, Owner::Gate);
        old.leave_charge();
        new.take_charge();
        drop(old);
        assert!(path.exists(), "the one that was taken over from leaves it");
        drop(new);
        assert!(!path.exists());
    }

    #[test]
    fn what_was_lent_stays_as_it_is() {
        let (_folder, _listener, path) = file();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        let lent = SocketFile::found(path.clone(), Identity::of(&path).unwrap(), Owner::Lender);
        lent.take_charge();
        lent.set_mode(0o600).unwrap();
        drop(lent);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
    }

    #[test]
    fn what_is_no_socket_has_no_identity() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.sock");
        fs::write(&path, "").unwrap();
        assert!(Identity::of(&path).is_err());
    }
}
