//! The file of counts: what limits and counters have counted, over a restart or on the way to the next gate.
//!
//! A first line says what it is; then come, as MessagePack, the secret under which keys are hashed and piece after piece of
//! what was counted; at the end the BLAKE3 hash of all of that. It is written and read piece by piece, so that it takes
//! next to no memory. What is counted per credential is only kept where it does not reach a disk.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::file::{Kind, StateError};
use crate::facts::time::Tick;
use crate::traffic::{Interval, Kept, Lapse, Range, Secret, Traffic};

const KIND: Kind = Kind { magic: "riskgate-counts ", version: "1", key: "counts" };
const HASH: usize = blake3::OUT_LEN;

/// What comes before the pieces.
#[derive(Serialize, Deserialize)]
struct Head {
    secret: [u8; 32],
    /// What shows that keys are still hashed as they were.
    probe: u64,
    /// When it was written, in nanoseconds since the first tick.
    saved: u64,
}

/// A file that is as it was written, opened behind its head.
struct Opened {
    head: Head,
    pieces: BufReader<io::Take<File>>,
}

/// What to do with a file of counts.
#[derive(Clone, Copy)]
pub struct Counts<'a> {
    /// All that is counted.
    pub traffic: &'a Traffic,
    /// Now.
    pub now: Tick,
}

/// The secret that was kept in `path` so lately that something else may have been; `None` if there is none.
pub fn secret(path: &Path, now: Tick) -> Result<Option<Secret>, StateError> {
    let Some((_, file)) = KIND.open(path)? else { return Ok(None) };
    let Head { secret, saved, .. } = opened(file, path)?.head;
    Ok((!is_late(saved, now)).then(|| Secret::new(Zeroizing::new(secret))))
}

/// Whether every window has gone by since. A secret under which nothing is hashed any more is better new.
fn is_late(saved: u64, now: Tick) -> bool {
    u128::from(now.as_nanos().saturating_sub(saved)) > 2 * Interval::LONGEST.duration().as_nanos()
}

impl Counts<'_> {
    /// Replaces what is kept in `path`, for the owner of this process alone. A file that this program did not write stays.
    pub fn write(self, path: &Path) -> Result<(), StateError> {
        KIND.replace(path, |file| {
            let range =
                fstatfs(&*file).map_or(Range::WithoutCredentials, |found| range_on(found.filesystem_type()));
            self.fill(file, range)
        })
    }

    /// All of it, in memory, for the gate that takes over.
    pub fn in_memory(self) -> io::Result<OwnedFd> {
        let mut file = File::from(memfd_create("riskgate-counts", MFdFlags::MFD_CLOEXEC)?);
        self.fill(&mut file, Range::All)?;
        file.rewind()?;
        Ok(file.into())
    }

    /// Counts once more what is kept in `path`; for how many keys. `None` if there is no such file.
    pub fn recall(self, path: &Path) -> Result<Option<usize>, StateError> {
        let Some((_, file)) = KIND.open(path)? else { return Ok(None) };
        self.recalled(opened(file, path)?, path).map(Some)
    }

    /// The same from the gate that ran before; `of` says so.
    pub fn recall_from(self, memory: OwnedFd, of: &Path) -> Result<usize, StateError> {
        let (_, file) = KIND.read(File::from(memory), of)?;
        self.recalled(opened(file, of)?, of)
    }

    fn recalled(self, opened: Opened, path: &Path) -> Result<usize, StateError> {
        let Self { traffic, now } = self;
        let Opened { head, mut pieces } = opened;
        if is_late(head.saved, now) {
            return Ok(0);
        }
        // Another secret, or another version of the hash.
        if head.probe != traffic.secret().probe() {
            return Err(StateError::damaged(path, "its keys are hashed in another way"));
        }
        let lapse = Lapse { saved: Tick::from_nanos(head.saved), now };
        let mut keys = 0;
        while !pieces.fill_buf().map_err(StateError::io(path))?.is_empty() {
            let piece: Kept = decoded(&mut pieces, path)?;
            keys += traffic.recall_counts(&piece, lapse);
        }
        Ok(keys)
    }

    fn fill(self, file: &mut File, range: Range) -> io::Result<()> {
        let Self { traffic, now } = self;
        file.write_all(format!("{}{}\n", KIND.magic, KIND.version).as_bytes())?;
        let mut out = BufWriter::new(Hashed { file, hasher: blake3::Hasher::new() });
        let secret = traffic.secret();
        let head = Head { secret: *secret.bytes(), probe: secret.probe(), saved: now.as_nanos() };
        let encoded = |error: rmp_serde::encode::Error| io::Error::other(error);
        rmp_serde::encode::write(&mut out, &head).map_err(encoded)?;
        traffic.keep(range, now, &mut |piece| rmp_serde::encode::write(&mut out, piece).map_err(encoded))?;
        let Hashed { file, hasher } = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.write_all(hasher.finalize().as_bytes())
    }
}

/// What may be written to a file system of this kind.
fn range_on(kind: FsType) -> Range {
    if kind == TMPFS_MAGIC { Range::All } else { Range::WithoutCredentials }
}

/// Checks what follows the first line, and reads the head.
fn opened(mut file: BufReader<File>, path: &Path) -> Result<Opened, StateError> {
    let io = StateError::io(path);
    let start = file.stream_position().map_err(&io)?;
    let end = file.seek(SeekFrom::End(0)).map_err(&io)?;
    let Some(length) = (end - start).checked_sub(HASH as u64) else {
        return Err(StateError::damaged(path, "it is torn"));
    };
    file.seek(SeekFrom::Start(start)).map_err(&io)?;
    let (mut hasher, mut said) = (blake3::Hasher::new(), [0; HASH]);
    hasher.update_reader(file.by_ref().take(length)).map_err(&io)?;
    file.read_exact(&mut said).map_err(&io)?;
    if hasher.finalize() != said {
        return Err(StateError::damaged(path, "it does not have the hash that it says"));
    }
    let mut file = file.into_inner();
    file.seek(SeekFrom::Start(start)).map_err(&io)?;
    let mut pieces = BufReader::new(file.take(length));
    let head = decoded(&mut pieces, path)?;
    Ok(Opened { head, pieces })
}

fn decoded<T: for<'de> Deserialize<'de>>(
    from: &mut BufReader<io::Take<File>>,
    path: &Path,
) -> Result<T, StateError> {
    rmp_serde::decode::from_read(from).map_err(|error| StateError::damaged(path, error.to_string()))
}

/// Hashes all that is written.
struct Hashed<'a> {
    file: &'a mut File,
    hasher: blake3::Hasher,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;
    use crate::facts::client::Prefix;
    use crate::traffic::{
        Combination, Counted, Counter, CounterSpec, Dimension, RouteKey, Settings, Shape, Subject, Weight,
    };
    use std::sync::Arc;

    fn now(seconds: u64) -> Tick {
        Tick::from_elapsed(Duration::from_secs(1_000_000 + seconds))
    }

    /// A gate with this secret, and its counters of requests per client and per credential over an hour.
    fn gate(secret: u8) -> (Traffic, Vec<Arc<Counter>>) {
        let keys = Shape::new(1_024).unwrap();
        let settings = Settings { keys, counter_slots: 1_024, ..Settings::default() };
        let secret = Secret::new(Zeroizing::new([secret; 32]));
        let traffic = Traffic::with_routes(settings, secret, std::iter::empty(), now(0));
        let window = Interval::new(Duration::from_secs(3_600)).unwrap();
        let spec = |per| CounterSpec { name: "c".to_owned(), per, kind: Counted::Events, window };
        let specs = [Dimension::Client, Dimension::Token].map(|per| spec(Combination::from(per)));
        let counters = traffic.counters(&specs, now(0));
        (traffic, counters)
    }

    fn who(traffic: &Traffic) -> Subject {
        Subject {
            client: Prefix::parse("192.0.2.0/24").unwrap(),
            country: Default::default(),
            asn: Default::default(),
            route: RouteKey::named("r"),
            weight: Weight::default(),
            token: Some(traffic.token(b"alice")),
        }
    }

    fn counts(traffic: &Traffic, seconds: u64) -> Counts<'_> {
        Counts { traffic, now: now(seconds) }
    }

    /// A file in which a gate with secret 1 has counted 7.
    fn written(path: &Path) {
        let (traffic, counters) = gate(1);
        for counter in &counters {
            (0..7).for_each(|_| counter.count(&who(&traffic), now(0)));
        }
        counts(&traffic, 0).write(path).unwrap();
    }

    fn values(traffic: &Traffic, counters: &[Arc<Counter>], seconds: u64) -> Vec<u64> {
        counters.iter().map(|counter| counter.value(&who(traffic), now(seconds))).collect()
    }

    fn folder() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("traffic.counts");
        (folder, path)
    }

    #[test]
    fn what_is_written_is_counted_on_by_who_has_the_secret_and_belongs_to_the_owner_alone() {
        let (_folder, path) = folder();
        assert!(secret(&path, now(0)).unwrap().is_none());
        written(&path);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(secret(&path, now(60)).unwrap().unwrap().bytes(), &[1; 32]);
        let (traffic, counters) = gate(1);
        assert!(counts(&traffic, 60).recall(&path).unwrap().unwrap() > 0);
        assert_eq!(values(&traffic, &counters, 60)[0], 7);
        let (other, counters) = gate(2);
        let error = counts(&other, 60).recall(&path).unwrap_err().to_string();
        assert!(error.contains("its keys are hashed in another way"), "{error}");
        assert_eq!(values(&other, &counters, 60), [0, 0]);
    }

    #[test]
    fn what_is_handed_over_in_memory_has_counts_per_credential_too() {
        let (before, counters) = gate(1);
        for counter in &counters {
            (0..7).for_each(|_| counter.count(&who(&before), now(0)));
        }
        let memory = counts(&before, 0).in_memory().unwrap();
        let (after, counters) = gate(1);
        counts(&after, 1).recall_from(memory, Path::new("x")).unwrap();
        assert_eq!(values(&after, &counters, 1), [7, 7]);
    }

    #[test]
    fn counts_per_credential_are_written_where_files_are_in_memory_only() {
        assert_eq!(range_on(TMPFS_MAGIC), Range::All);
        assert_eq!(range_on(nix::sys::statfs::EXT4_SUPER_MAGIC), Range::WithoutCredentials);
        let Ok(folder) = tempfile::tempdir_in("/dev/shm") else { return };
        let path = folder.path().join("traffic.counts");
        written(&path);
        let (traffic, counters) = gate(1);
        counts(&traffic, 1).recall(&path).unwrap();
        assert_eq!(values(&traffic, &counters, 1), [7, 7]);
    }

    #[test]
    fn a_file_is_never_larger_than_it_is_said_to_be() {
        let (traffic, counters) = gate(1);
        for n in 0..2_000_u32 {
            let network = Prefix::parse(&format!("{}/24", std::net::Ipv4Addr::from(n << 8))).unwrap();
            let who =
                Subject { client: network, token: Some(traffic.token(&n.to_le_bytes())), ..who(&traffic) };
            traffic.offer(&who, now(0));
            counters.iter().for_each(|counter| (0..300).for_each(|_| counter.count(&who, now(0))));
        }
        let bytes = File::from(counts(&traffic, 0).in_memory().unwrap()).metadata().unwrap().len();
        assert!(bytes > 50_000 && bytes < traffic.kept_bytes() as u64, "{bytes}");
    }

    #[test]
    fn a_secret_is_new_when_every_window_has_gone_by() {
        let (_folder, path) = folder();
        written(&path);
        let late = 2 * 86_400 + 1;
        assert!(secret(&path, now(late - 2)).unwrap().is_some());
        assert!(secret(&path, now(late)).unwrap().is_none());
        let (other, _) = gate(2);
        assert_eq!(counts(&other, late).recall(&path).unwrap(), Some(0));
    }

    #[test]
    fn a_damaged_file_is_reported_changes_nothing_and_is_replaced() {
        let (_folder, path) = folder();
        written(&path);
        let good = fs::read(&path).unwrap();
        let turned = |at: usize| {
            let mut turned = good.clone();
            turned[at] ^= 1;
            turned
        };
        let empty = [&good[..18], blake3::hash(b"").as_bytes()].concat();
        for bad in
            [good[..good.len() - 1].to_vec(), good[..30].to_vec(), turned(40), turned(good.len() - 1), empty]
        {
            fs::write(&path, bad).unwrap();
            assert!(matches!(secret(&path, now(0)), Err(StateError::Damaged { .. })));
            let (traffic, counters) = gate(1);
            assert!(matches!(counts(&traffic, 0).recall(&path), Err(StateError::Damaged { .. })));
            assert_eq!(values(&traffic, &counters, 0), [0, 0]);
            counts(&traffic, 0).write(&path).unwrap();
            assert!(secret(&path, now(0)).unwrap().is_some());
        }
    }

    #[test]
    fn what_somebody_else_wrote_is_neither_read_nor_replaced() {
        let (_folder, path) = folder();
        written(&path);
        for (other, message) in [
            (
                &b"{\"id\":1}\n"[..],
                "is no state file and is left alone, choose another path for `counts` in `[traffic]`",
            ),
            (b"riskgate-state 1 00\n{}", "is no state file"),
            (b"riskgate-counts 2\n", "is of version `2`"),
        ] {
            fs::write(&path, other).unwrap();
            let (traffic, _) = gate(1);
            let error = counts(&traffic, 0).recall(&path).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
            assert!(counts(&traffic, 0).write(&path).is_err());
            assert_eq!(fs::read(&path).unwrap(), other);
        }
    }
}
