//! Finds one record in the files, current and rotated, by its id.
//!
//! Lines are streamed; only one that contains the id is parsed, since other records may mention it too. A
//! UUIDv7 says when its record was made, so files that were put away before that are not opened.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use memchr::memmem::Finder;
use uuid::Uuid;

use super::rotation::Family;
use super::{MAX_LINE, id_time};
use crate::facts::time::Wall;

/// Clocks are set back now and then; a file is only skipped if it is too old by more than this.
const SLACK: Duration = Duration::from_secs(3600);
const BLOCK: usize = 128 * 1024;

/// The record with this id among the log at `path` and its rotated files: one JSON object without a newline.
/// `None` if no file holds it, or if there is no file. Reads whole files: not for the path of a request.
pub fn find_in_files(path: &Path, id: Uuid) -> io::Result<Option<Vec<u8>>> {
    // Opened before the others are listed: should it be rotated meanwhile, it is still read.
    let current = open(path)?;
    let mut rotated = Family::of(path)?.rotated()?;
    let oldest_first = id_time(id).is_some();
    if let Some(made) = id_time(id) {
        rotated.retain(|file| made <= later(file.at, SLACK));
    }
    // The first file that was put away after the record was made is the likeliest. Else the newest is.
    let mut rotated: Vec<PathBuf> = rotated.into_iter().map(|file| file.path).collect();
    if !oldest_first {
        if let Some(found) = search(current, id)? {
            return Ok(Some(found));
        }
        rotated.reverse();
        return search_each(&rotated, id);
    }
    match search_each(&rotated, id)? {
        Some(found) => Ok(Some(found)),
        None => search(current, id),
    }
}

/// The id of a record from its line.
pub(super) fn line_id(line: &[u8]) -> Option<Uuid> {
    #[derive(serde::Deserialize)]
    struct Identified<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
    }
    let identified: Identified = serde_json::from_slice(line).ok()?;
    Uuid::try_parse(&identified.id).ok()
}

fn search_each(paths: &[PathBuf], id: Uuid) -> io::Result<Option<Vec<u8>>> {
    for path in paths {
        if let Some(found) = search(open(path)?, id)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The file; `None` if it does not exist or is no regular file, whose end would never come.
fn open(path: &Path) -> io::Result<Option<File>> {
    match std::fs::metadata(path) {
        Ok(data) if data.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}

fn search(file: Option<File>, id: Uuid) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = file else { return Ok(None) };
    let quoted = format!("\"{}\"", id.hyphenated());
    let finder = Finder::new(&quoted);
    let mut reader = BufReader::with_capacity(BLOCK, file);
    let mut line = Vec::new();
    // A piece that begins in the middle of an endless line is no record.
    let mut at_start = true;
    loop {
        line.clear();
        if reader.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let whole = line.last() == Some(&b'\n');
        if whole && at_start && finder.find(&line).is_some() && line_id(&line) == Some(id) {
            line.pop();
            return Ok(Some(line));
        }
        at_start = whole;
    }
}

fn later(at: Wall, by: Duration) -> Wall {
    Wall::from_millis(at.as_millis().saturating_add(by.as_millis() as u64))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::testing::*;
    use super::*;
    use crate::record::Entry;

    const ROTATED: &str = "d-20261123T175630Z.jsonl";

    fn log_with(files: &[(&str, &[&str])]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, lines)| fs::write(folder.path().join(name), lines.concat()).unwrap());
        let path = folder.path().join("d.jsonl");
        (folder, path)
    }

    #[test]
    fn a_record_is_found_in_the_current_and_in_rotated_files() {
        let (old, new) = (Note::at(Wall::from_millis(1_795_456_580_000), 1), Note::numbered(2));
        let (_folder, path) = log_with(&[(ROTATED, &[&old.line()]), ("d.jsonl", &[&new.line()])]);
        for note in [&old, &new] {
            let found = find_in_files(&path, note.id()).unwrap().unwrap();
            assert_eq!(String::from_utf8(found).unwrap(), note.line().trim_end());
        }
        assert_eq!(find_in_files(&path, Note::numbered(3).id()).unwrap(), None);
    }

    #[test]
    fn files_that_are_older_than_the_record_are_not_searched() {
        // Put there by somebody: a record two hours younger than the file's end.
        let young = Note::at(Wall::from_millis(1_795_456_590_000 + 2 * 3_600_000), 1);
        let (_folder, path) = log_with(&[(ROTATED, &[&young.line()])]);
        assert_eq!(find_in_files(&path, young.id()).unwrap(), None);
    }

    #[test]
    fn an_id_of_another_version_is_looked_for_everywhere() {
        let id = Uuid::from_u128(7);
        let line = format!("{{\"id\":\"{id}\"}}\n");
        let (_folder, path) = log_with(&[(ROTATED, &[&line])]);
        assert_eq!(find_in_files(&path, id).unwrap().unwrap(), line.trim_end().as_bytes());
    }

    #[test]
    fn a_mention_is_not_the_record() {
        let (wanted, other) = (Note::numbered(1), Note::numbered(2));
        let mention = format!("{{\"id\":\"{}\",\"path\":\"{}\"}}\n", other.id(), wanted.id());
        let torn = wanted.line().trim_end().to_owned();
        let (_folder, path) = log_with(&[("d.jsonl", &[&mention, "not json\n", &torn])]);
        assert_eq!(find_in_files(&path, wanted.id()).unwrap(), None);
    }

    #[test]
    fn an_endless_line_is_passed_over_in_bounded_memory() {
        let wanted = Note::numbered(1);
        let endless = format!("{}{}", "x".repeat(2 * MAX_LINE), wanted.line());
        let (_folder, path) = log_with(&[("d.jsonl", &[&endless])]);
        assert_eq!(find_in_files(&path, wanted.id()).unwrap(), None);
        let (_folder, path) = log_with(&[("d.jsonl", &[&endless, &wanted.line()])]);
        assert!(find_in_files(&path, wanted.id()).unwrap().is_some());
    }

    #[test]
    fn no_file_holds_no_record() {
        let (folder, path) = log_with(&[]);
        assert_eq!(find_in_files(&path, Uuid::nil()).unwrap(), None);
        assert_eq!(find_in_files(&folder.path().join("none/d.jsonl"), Uuid::nil()).unwrap(), None);
        assert_eq!(find_in_files(Path::new("/dev/full"), Uuid::nil()).unwrap(), None);
    }
}
