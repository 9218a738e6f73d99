//! From the bytes of a file to the bytes of a database: gzip is unpacked, and what is often put there by
//! mistake (a web page, an archive, nothing) is told apart by its first bytes, so that the operator reads what
//! to do instead of a decoder's complaint.

use std::io::Read;

use flate2::read::MultiGzDecoder;

/// How large a database may become when unpacked, in bytes: the largest ones in use are some hundred MiB.
const UNPACKED_MAX: u64 = 1 << 30;

/// No deflated byte unpacks to more.
const DEFLATE_MAX: u64 = 1032;

/// Where a tar archive carries the word `ustar`.
const TAR_MAGIC_AT: usize = 257;

/// Why a file is no database, and what to do about it.
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) hint: &'static str,
}

impl Refusal {
    pub(super) fn new(message: impl Into<String>, hint: &'static str) -> Self {
        Self { message: message.into(), hint }
    }
}

/// Unpacks gzip; anything else but a known mistake is taken for a database as it is.
pub(super) fn unpack(bytes: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) { gunzip(&bytes, UNPACKED_MAX)? } else { bytes };
    match mistake(&bytes) {
        Some(refusal) => Err(refusal),
        None => Ok(bytes),
    }
}

fn gunzip(packed: &[u8], max: u64) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    // Growing step by step would leave twice as much behind. If there is no such room, it will show.
    let _ = bytes.try_reserve_exact(promised(packed).min(max) as usize);
    if let Err(error) = MultiGzDecoder::new(packed).take(max + 1).read_to_end(&mut bytes) {
        return Err(Refusal::new(
            format!("cannot be unpacked: {error}"),
            "the download is probably incomplete: download it again",
        ));
    }
    if bytes.len() as u64 > max {
        return Err(Refusal::new(
            format!("unpacks to more than {max} bytes"),
            "no country or ASN database is that large: check where the file comes from",
        ));
    }
    Ok(bytes)
}

/// How many bytes the end of a gzip file says it unpacks to. No more than a hint, for room.
fn promised(packed: &[u8]) -> u64 {
    let end = packed.last_chunk().map_or(0, |end| u64::from(u32::from_le_bytes(*end)));
    end.min(packed.len() as u64 * DEFLATE_MAX)
}

fn mistake(bytes: &[u8]) -> Option<Refusal> {
    if bytes.is_empty() {
        return Some(Refusal::new("the file is empty", "download it again, or take it out of `[geoip]`"));
    }
    if bytes.trim_ascii_start().starts_with(b"<") {
        return Some(Refusal::new(
            "this is a web page, not a database",
            "the download needs a login or another link: fetch the `.mmdb` or `.mmdb.gz` itself",
        ));
    }
    let tar = bytes.get(TAR_MAGIC_AT..).is_some_and(|rest| rest.starts_with(b"ustar"));
    if tar || bytes.starts_with(b"PK\x03\x04") {
        return Some(Refusal::new(
            "this is an archive, not a database",
            "unpack it and name the `.mmdb` file that is inside",
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn refused(bytes: &[u8]) -> String {
        unpack(bytes.to_vec()).err().unwrap().message
    }

    #[test]
    fn gzip_is_unpacked_and_anything_else_is_left_alone() {
        assert_eq!(unpack(gzip(b"a database")).ok().unwrap(), b"a database");
        assert_eq!(unpack(b"a database".to_vec()).ok().unwrap(), b"a database");
    }

    #[test]
    fn an_incomplete_download_is_told_apart_from_a_wrong_file() {
        let packed = gzip(&[7; 1000]);
        assert!(refused(&packed[..packed.len() - 3]).contains("cannot be unpacked"));
        assert_eq!(refused(b""), "the file is empty");
        assert_eq!(refused(&gzip(b"")), "the file is empty");
        assert_eq!(refused(b"\n<!doctype html>"), "this is a web page, not a database");
        assert_eq!(refused(b"PK\x03\x04..."), "this is an archive, not a database");
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(refused(&gzip(&tar)), "this is an archive, not a database");
    }

    #[test]
    fn a_promise_that_is_not_kept_is_damage_and_takes_no_memory() {
        let mut packed = gzip(b"a database");
        let end = packed.len() - 4;
        packed[end..].copy_from_slice(&[0xff; 4]);
        assert!(promised(&packed) < 1032 * 64, "no more than so few bytes can become");
        assert!(refused(&packed).contains("cannot be unpacked"));
        assert_eq!(promised(b"x"), 0);
    }

    #[test]
    fn unpacking_is_bounded() {
        let packed = gzip(&[0; 1001]);
        assert!(gunzip(&packed, 1001).is_ok());
        assert_eq!(gunzip(&packed, 1000).err().unwrap().message, "unpacks to more than 1000 bytes");
    }
}
