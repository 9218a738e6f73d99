//! Mends the end of a log whose last write was cut short, by a crash or a full disk.
//!
//! Whole lines are never touched. A tail that is a complete object only lacks its newline; any other tail is
//! moved into `<name>.torn`, so that the log holds whole lines only and nothing is thrown away. Memory stays
//! bounded whatever the tail holds: a power cut can leave megabytes of zeros.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::MAX_LINE;
use super::log_file::private;

const BLOCK: u64 = 8 * 1024;

/// Makes `file`, which lies at `path`, end with a whole line. It must be open for reading and appending.
pub(super) fn mend(file: &mut File, path: &Path) -> io::Result<()> {
    let end = file.metadata()?.len();
    let whole = end_of_last_line(file, end)?;
    if whole == end {
        return Ok(());
    }
    let torn = end - whole;
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(whole))?;
    file.take(MAX_LINE as u64).read_to_end(&mut tail)?;
    if tail.len() as u64 == torn && is_object(&tail) {
        file.write_all(b"\n")?;
        tracing::warn!(path = %path.display(), "the decision log lacked its last newline; it was added");
        return Ok(());
    }
    let aside = torn_path(path);
    private().create(true).write(true).truncate(true).open(&aside)?.write_all(&tail)?;
    file.set_len(whole)?;
    let (path, aside) = (path.display(), aside.display());
    tracing::warn!(%path, bytes = torn, %aside, "the decision log ended in a torn line; it was moved aside");
    Ok(())
}

/// Where the torn tail of a log is put.
pub(super) fn torn_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".torn");
    path.with_file_name(name)
}

/// The offset behind the last newline before `end`, or 0; reads backwards, block by block.
fn end_of_last_line(file: &mut File, end: u64) -> io::Result<u64> {
    let mut block = Vec::new();
    let mut to = end;
    while to > 0 {
        let from = to.saturating_sub(BLOCK);
        block.clear();
        file.seek(SeekFrom::Start(from))?;
        file.take(to - from).read_to_end(&mut block)?;
        if let Some(newline) = memchr::memrchr(b'\n', &block) {
            return Ok(from + newline as u64 + 1);
        }
        to = from;
    }
    Ok(0)
}

fn is_object(tail: &[u8]) -> bool {
    tail.starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(tail).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Mends a log with this content; returns the log and the torn file afterwards.
    fn mended(content: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.jsonl");
        fs::write(&path, content).unwrap();
        let mut file = File::options().read(true).append(true).open(&path).unwrap();
        mend(&mut file, &path).unwrap();
        (fs::read(&path).unwrap(), fs::read(torn_path(&path)).ok())
    }

    #[test]
    fn a_log_of_whole_lines_is_left_alone() {
        for content in [b"".as_slice(), b"\n", b"{\"a\":1}\n", b"{\"a\":1}\n{}\n"] {
            assert_eq!(mended(content), (content.to_vec(), None));
        }
    }

    #[test]
    fn a_torn_line_is_moved_aside() {
        assert_eq!(mended(b"{}\n{\"a\":"), (b"{}\n".to_vec(), Some(b"{\"a\":".to_vec())));
        assert_eq!(mended(b"{\"a"), (b"".to_vec(), Some(b"{\"a".to_vec())));
    }

    #[test]
    fn a_complete_object_only_gets_its_newline() {
        assert_eq!(mended(b"{}\n{\"a\":1}"), (b"{}\n{\"a\":1}\n".to_vec(), None));
    }

    #[test]
    fn a_tail_longer_than_a_block_is_found_whole() {
        for length in [BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7] {
            let tail = vec![b'x'; length as usize];
            let content = [b"{}\n".as_slice(), &tail].concat();
            assert_eq!(mended(&content), (b"{}\n".to_vec(), Some(tail)));
        }
    }

    #[test]
    fn a_huge_tail_of_zeros_is_kept_up_to_the_longest_line() {
        let content = [b"{}\n".as_slice(), &vec![0; 3 * MAX_LINE]].concat();
        assert_eq!(mended(&content), (b"{}\n".to_vec(), Some(vec![0; MAX_LINE])));
    }
}
