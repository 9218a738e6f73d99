//! Everything a snapshot is made from, read into memory at one moment: configuration, scripts, cases, databases
//! and lists.
//!
//! A folder can be swapped between two reads and an in-place writer shows half a file, so the set is read until
//! two reads in a row agree. Big files that did not change are not read again. Nothing here understands what it
//! reads: parsing, and whether the whole makes sense, is the business of whoever builds the snapshot.

mod file;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use self::file::{Bound, Stamp};
use crate::facts::problem::Problem;
use crate::facts::time::Wall;

/// How many bytes a script, a case file or the configuration may have.
pub const MAX_TEXT: u64 = MIB;
/// How many scripts, and how many case files, are read.
pub const MAX_SCRIPTS: usize = 1000;
/// How many bytes an address list may have.
pub const MAX_LIST: u64 = 256 * MIB;
/// How many bytes a file of fingerprints may have.
pub const MAX_FINGERPRINTS: u64 = 16 * MIB;
/// How many bytes a GeoIP database may have.
pub const MAX_DATABASE: u64 = 512 * MIB;
/// How many bytes a file of certificates, or of a key, may have.
pub const MAX_CERTIFICATE: u64 = MIB;
/// The folder beside the scripts that holds their cases.
pub const CASES: &str = "cases";

const MIB: u64 = 1024 * 1024;
/// How often the set is read before giving up on two reads that agree.
const TRIES: usize = 8;

/// Where to look: what the configuration names, and the configuration itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePaths {
    /// The configuration file, if there is one.
    pub config: Option<PathBuf>,
    /// The folder of `*.rhai` scripts and `cases/*.toml`.
    pub scripts: PathBuf,
    /// Databases and lists, each under a role of its own.
    pub files: Vec<DataPath>,
}

/// Where a database or a list is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataPath {
    /// What the file is for, such as `geoip.country` or `lists.blocklist`; unique.
    pub role: String,
    /// What the file holds, which bounds its size.
    pub kind: DataKind,
    /// Where it is.
    pub path: PathBuf,
}

/// What a data file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKind {
    /// Addresses and networks as text, up to [`MAX_LIST`] bytes.
    List,
    /// Fingerprints and their classes as text, up to [`MAX_FINGERPRINTS`] bytes.
    Fingerprints,
    /// A GeoIP database, up to [`MAX_DATABASE`] bytes.
    Database,
    /// Certificates, or a key, as PEM, up to [`MAX_CERTIFICATE`] bytes.
    Certificate,
    /// The same, but it need not be there yet.
    Issued,
}

/// All sources of one snapshot, as they were at one moment. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sources {
    config: Option<Text>,
    scripts: Vec<Text>,
    cases: Vec<Text>,
    data: Vec<Data>,
    digest: Digest,
}

/// A file that a person wrote.
#[derive(Clone, Debug)]
pub struct Text {
    name: String,
    path: PathBuf,
    text: Arc<str>,
    digest: Digest,
}

/// A database or a list.
#[derive(Clone, Debug)]
pub struct Data {
    role: String,
    path: PathBuf,
    bytes: Bytes,
    digest: Digest,
    stamp: Stamp,
}

/// BLAKE3 of a file's content, or of a whole set of names and contents.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(blake3::Hash);

impl Sources {
    /// Reads the set until two reads in a row agree, and reports every problem at once otherwise.
    ///
    /// `previous` is what the last call returned. If nothing changed since, one read is enough, and a data file
    /// whose size, inode and times are the same is not read again. So keep the answer even if its digest is the
    /// old one; and pass `None` to have every byte read whatever the file system says.
    ///
    /// `now` is the clock that file times are compared with; `pause` is called between two reads and should wait
    /// for some 20 ms. Blocks on the disk.
    pub fn read(
        paths: &SourcePaths,
        previous: Option<&Self>,
        now: &dyn Fn() -> Wall,
        pause: &mut dyn FnMut(),
    ) -> Result<Self, Vec<Problem>> {
        let mut last = Self::read_once(paths, previous, now());
        if let (Ok(last), Some(previous)) = (&last, previous)
            && last.digest == previous.digest
        {
            return Ok(last.clone());
        }
        for _ in 1..TRIES {
            pause();
            let next = Self::read_once(paths, last.as_ref().ok().or(previous), now());
            if agree(&last, &next) {
                return next;
            }
            last = next;
        }
        Err(vec![restless(paths)])
    }

    /// The configuration, if there is one.
    pub fn config(&self) -> Option<&Text> {
        self.config.as_ref()
    }

    /// The scripts, in the order of their file names.
    pub fn scripts(&self) -> &[Text] {
        &self.scripts
    }

    /// The case files, in the order of their names.
    pub fn cases(&self) -> &[Text] {
        &self.cases
    }

    /// Databases and lists, in the order of [`SourcePaths::files`].
    pub fn data(&self) -> &[Data] {
        &self.data
    }

    /// The database or list of a role.
    pub fn role(&self, role: &str) -> Option<&Data> {
        self.data.iter().find(|data| data.role == role)
    }

    /// The same exactly if all names and contents are the same; times, owners and places do not matter.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    fn read_once(paths: &SourcePaths, previous: Option<&Self>, now: Wall) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut note = |problem| problems.push(problem);
        let config = paths.config.as_ref().and_then(|path| Text::read(path).map_err(&mut note).ok());
        let scripts = read_texts(&paths.scripts, "rhai", &mut note);
        if scripts.as_ref().is_ok_and(Vec::is_empty) {
            note(no_scripts(&paths.scripts));
        }
        let cases = paths.scripts.join(CASES);
        let cases = if is_absent(&cases) { Ok(Vec::new()) } else { read_texts(&cases, "toml", &mut note) };
        let data = read_data(&paths.files, previous, now, &mut note);
        match (scripts, cases) {
            (Ok(scripts), Ok(cases)) if problems.is_empty() => {
                let digest = digest_set(config.as_ref(), &scripts, &cases, &data);
                Ok(Self { config, scripts, cases, data, digest })
            }
            (Ok(_) | Err(Reported), Ok(_) | Err(Reported)) => Err(problems),
        }
    }
}

impl Text {
    /// The file's name, such as `30-login.rhai`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file's path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says, without a byte order mark.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Names the content.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    fn read(path: &Path) -> Result<Self, Problem> {
        let (bytes, _) =
            file::read(path, Bound { bytes: MAX_TEXT, what: "a configuration, script or case file" })?;
        let digest = Digest(blake3::hash(&bytes));
        let text = file::text(path, &bytes)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { name, path: path.to_path_buf(), text: text.into(), digest })
    }
}

impl Data {
    /// What the file is for.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// The file's path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content; cheap to clone.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Names the content: whoever parsed it before need not parse it again.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    fn read(from: &DataPath, previous: Option<&Self>, now: Wall) -> Result<Self, Problem> {
        let DataPath { role, path, kind } = from;
        let same =
            |bytes, digest, stamp| Self { role: role.clone(), path: path.clone(), bytes, digest, stamp };
        if let Some(previous) = previous.filter(|previous| previous.stamp.still_stands(path)) {
            return Ok(same(previous.bytes.clone(), previous.digest, previous.stamp));
        }
        let (bytes, metadata) = file::read(path, kind.bound())?;
        let digest = Digest(blake3::hash(&bytes));
        // Do not hold the same content twice.
        let bytes = match previous.filter(|previous| previous.digest == digest) {
            Some(previous) => previous.bytes.clone(),
            None => bytes.into(),
        };
        Ok(same(bytes, digest, Stamp::of(&metadata, now)))
    }
}

impl DataKind {
    fn bound(self) -> Bound {
        match self {
            Self::List => Bound { bytes: MAX_LIST, what: "a list" },
            Self::Fingerprints => Bound { bytes: MAX_FINGERPRINTS, what: "a file of fingerprints" },
            Self::Database => Bound { bytes: MAX_DATABASE, what: "a database" },
            Self::Certificate | Self::Issued => {
                Bound { bytes: MAX_CERTIFICATE, what: "a file of certificates" }
            }
        }
    }
}

/// 16 hex digits, enough to tell versions apart.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_bytes().iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// The problems were noted already.
struct Reported;

fn read_texts(folder: &Path, extension: &str, note: &mut impl FnMut(Problem)) -> Result<Vec<Text>, Reported> {
    let paths = file::list(folder, extension, MAX_SCRIPTS).map_err(|problems| {
        problems.into_iter().for_each(&mut *note);
        Reported
    })?;
    // Read all before giving up: every problem is reported at once.
    let texts: Vec<_> = paths.iter().map(|path| Text::read(path).map_err(&mut *note)).collect();
    texts.into_iter().collect::<Result<_, ()>>().map_err(|()| Reported)
}

fn read_data(
    files: &[DataPath],
    previous: Option<&Sources>,
    now: Wall,
    note: &mut impl FnMut(Problem),
) -> Vec<Data> {
    let read = |from: &DataPath| {
        let before = previous.and_then(|previous| previous.role(&from.role));
        Data::read(from, before.filter(|before| before.path == from.path), now).map_err(&mut *note).ok()
    };
    let expected = |from: &&DataPath| from.kind != DataKind::Issued || !is_absent(&from.path);
    files.iter().filter(expected).filter_map(read).collect()
}

/// For what is optional; what cannot be looked at is not absent.
fn is_absent(path: &Path) -> bool {
    let absent = |error: io::Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
    path.symlink_metadata().is_err_and(absent)
}

/// Hashes names and content digests, each part under a tag and a count, so that none can pass for another.
fn digest_set(config: Option<&Text>, scripts: &[Text], cases: &[Text], data: &[Data]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    let mut part = |tag: &[u8; 4], pieces: &[(&str, Digest)]| {
        hasher.update(tag).update(&(pieces.len() as u64).to_le_bytes());
        for (name, digest) in pieces {
            hasher
                .update(&(name.len() as u64).to_le_bytes())
                .update(name.as_bytes())
                .update(digest.0.as_bytes());
        }
    };
    part(b"conf", &config.iter().map(|config| ("", config.digest)).collect::<Vec<_>>());
    part(b"rule", &scripts.iter().map(|text| (text.name(), text.digest)).collect::<Vec<_>>());
    part(b"case", &cases.iter().map(|text| (text.name(), text.digest)).collect::<Vec<_>>());
    part(b"data", &data.iter().map(|data| (data.role(), data.digest)).collect::<Vec<_>>());
    Digest(hasher.finalize())
}

fn agree(last: &Result<Sources, Vec<Problem>>, next: &Result<Sources, Vec<Problem>>) -> bool {
    match (last, next) {
        (Ok(last), Ok(next)) => last.digest == next.digest,
        (Err(last), Err(next)) => last == next,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    }
}

fn no_scripts(folder: &Path) -> Problem {
    Problem::error(folder, "the folder holds no scripts (`*.rhai`)")
        .hint("put the policy there, or name its folder in `[policy] scripts`")
}

fn restless(paths: &SourcePaths) -> Problem {
    let message = format!("the files kept changing while they were read {TRIES} times");
    Problem::error(&paths.scripts, message)
        .hint("the next change or poll tries again; replace files by renaming a finished copy over them")
}
