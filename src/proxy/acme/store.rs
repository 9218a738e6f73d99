//! The folder of accounts and certificates, with their keys: readable for the owner of the process alone.
//!
//! A certificate and its key are one file, so that they change together. Every file is written beside its place, brought
//! to the disk and renamed over it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::failing::Record;
use crate::proxy::door::certificate::{Certificate, PemFile};
use crate::proxy::door::tls::provider;

/// Where accounts and certificates are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store(PathBuf);

/// A certificate that is kept.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The certificate itself.
    pub certificate: Certificate,
    /// The directory of the authority that issued it.
    pub directory: String,
}

/// The account with one authority.
#[derive(Deserialize, Serialize)]
pub(super) struct Kept {
    /// The directory of the authority.
    pub(super) directory: String,
    /// How the authority reaches the operator.
    pub(super) contact: Vec<String>,
    /// The account's address and key, as `instant_acme` writes them.
    pub(super) credentials: serde_json::Value,
}

/// Why something could not be kept, or read back.
#[derive(Debug, thiserror::Error)]
#[error("`{}`: {error}", path.display())]
pub(super) struct StoreError {
    path: PathBuf,
    error: io::Error,
}

/// Which orders failed. Names of certificates have no `-`, so it is none of theirs.
const FAILURES: &str = "failed-orders.json";
/// How the first line of a kept certificate begins; its authority follows.
const FROM: &str = "# issued by ";

impl Store {
    /// The store in this folder, which need not be there yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Where the certificate of this name is, with its key.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.pem"))
    }

    /// The certificate of this name; `None` if there is none that can be used. Blocks.
    pub fn look(&self, name: &str) -> Option<Stored> {
        let path = self.certificate(name);
        let bytes = fs::read(&path).ok()?;
        let file = PemFile { path: &path, bytes: &bytes };
        let certificate = Certificate::read(name, file, file, &provider()).ok()?;
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let directory = String::from_utf8_lossy(first).strip_prefix(FROM).unwrap_or_default().to_owned();
        Some(Stored { certificate, directory })
    }

    /// Keeps a certificate with its key, both as PEM.
    pub(super) fn keep(&self, name: &str, directory: &str, key: &str, chain: &str) -> Result<(), StoreError> {
        let path = self.certificate(name);
        self.write(&path, format!("{FROM}{directory}\n{key}{chain}").as_bytes())
    }

    /// The account with this authority, if there is one.
    pub(super) fn account(&self, directory: &str) -> Result<Option<Kept>, StoreError> {
        let path = self.account_file(directory);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError { path, error }),
        };
        match serde_json::from_slice(&text) {
            Ok(kept) => Ok(Some(kept)),
            Err(error) => Err(StoreError { path, error: io::Error::new(io::ErrorKind::InvalidData, error) }),
        }
    }

    /// Keeps an account.
    pub(super) fn keep_account(&self, account: &Kept) -> Result<(), StoreError> {
        let path = self.account_file(&account.directory);
        let text = serde_json::to_vec_pretty(account);
        let text = text.map_err(|error| StoreError { path: path.clone(), error: error.into() })?;
        self.write(&path, &text)
    }

    /// Which orders failed; none if nothing was kept.
    pub(super) fn failures(&self) -> Result<Record, StoreError> {
        let path = self.failures_file();
        let failed = |error| StoreError { path: path.clone(), error };
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| failed(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Record::default()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Keeps which orders failed. If none did, there is no file.
    pub(super) fn keep_failures(&self, record: &Record) -> Result<(), StoreError> {
        let path = self.failures_file();
        let failed = |error| StoreError { path: path.clone(), error };
        if !record.is_empty() {
            let text = serde_json::to_vec_pretty(record).map_err(|error| failed(error.into()))?;
            return self.write(&path, &text);
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn failures_file(&self) -> PathBuf {
        self.0.join(FAILURES)
    }

    /// One file for each authority. Names of certificates have no `-`, so it is none of theirs.
    fn account_file(&self, directory: &str) -> PathBuf {
        let hash = blake3::hash(directory.as_bytes()).to_hex();
        self.0.join(format!("account-{}.json", hash.get(..16).unwrap_or_default()))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let folder = &self.0;
        let write = || {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            // Nobody else may read or write a new file of this kind.
            let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|error| StoreError { path: path.to_path_buf(), error })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn kept(directory: &str) -> Kept {
        Kept {
            directory: directory.into(),
            contact: Vec::new(),
            credentials: serde_json::json!({ "id": directory }),
        }
    }

    #[test]
    fn what_is_kept_is_for_the_owner_alone_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let store = Store::new(&path);
        assert!(store.look("api").is_none() && store.account("https://a.example/").unwrap().is_none());
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
        let chain = params.self_signed(&key).unwrap().pem();
        store.keep("api", "https://a.example/", &key.serialize_pem(), &chain).unwrap();
        let stored = store.look("api").unwrap();
        assert_eq!(
            (stored.directory.as_str(), stored.certificate.hosts()),
            ("https://a.example/", &["a.example".to_owned()][..])
        );
        for directory in ["https://a.example/", "https://b.example/"] {
            store.keep_account(&kept(directory)).unwrap();
        }
        assert_eq!(
            store.account("https://b.example/").unwrap().unwrap().credentials["id"],
            "https://b.example/"
        );
        assert_eq!(mode(&path), 0o700);
        let files: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 3, "{files:?}");
        assert!(files.iter().all(|file| mode(file) == 0o600));
    }

    #[test]
    fn a_certificate_that_cannot_be_read_is_none_and_an_account_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        fs::write(store.certificate("api"), "half of it").unwrap();
        assert!(store.look("api").is_none());
        fs::write(store.account_file("https://a.example/"), "{").unwrap();
        let error = store.account("https://a.example/").err().unwrap().to_string();
        assert!(error.contains("account-") && error.contains("EOF"), "{error}");
    }
}
