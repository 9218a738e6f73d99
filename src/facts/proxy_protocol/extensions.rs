//! What follows the addresses in a header of version 2: extensions (TLVs), of which one is read, the checksum.
//!
//! Where a sender gives it, the protocol wants it to be verified, and the connection to end if it is wrong (section 2.2.3
//! of its specification). All others are passed over; they have to fill the header exactly.

use super::HeaderError;

/// The type of the extension that holds the checksum.
const CHECKSUM: u8 = 0x03;
/// The polynomial of CRC32c (RFC 4960, appendix B), its bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// Looks at all extensions of `header`, which begin at `start`.
pub(super) fn verify(header: &[u8], start: usize) -> Result<(), HeaderError> {
    let (mut at, mut told) = (start, None);
    while at < header.len() {
        let (kind, value) = extension(header, at).ok_or(HeaderError::Malformed)?;
        if kind == CHECKSUM {
            // Two of them would have to cover each other.
            let sum = <[u8; 4]>::try_from(value).ok().filter(|_| told.is_none());
            told = Some((at, u32::from_be_bytes(sum.ok_or(HeaderError::Malformed)?)));
        }
        at += 3 + value.len();
    }
    match told {
        Some((at, sum)) if checksum(header, at + 3) != sum => Err(HeaderError::Checksum),
        Some(_) | None => Ok(()),
    }
}

/// The type and the value of the extension that begins there; `None` if it ends behind the header.
fn extension(header: &[u8], at: usize) -> Option<(u8, &[u8])> {
    let [kind, high, low] = *header.get(at..)?.first_chunk::<3>()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    Some((kind, header.get(at + 3..)?.get(..length)?))
}

/// CRC32c of a header whose checksum is at `field`: its four bytes count as zeros.
fn checksum(header: &[u8], field: usize) -> u32 {
    let byte = |(at, byte): (usize, &u8)| if (field..field + 4).contains(&at) { 0 } else { *byte };
    !header.iter().enumerate().map(byte).fold(!0, step)
}

/// Bit by bit: a header is short, and read once for each connection.
fn step(sum: u32, byte: u8) -> u32 {
    (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(sum & 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4: their octets are in the order of the wire there.
    #[test]
    fn the_sums_of_the_rfc_are_met() {
        let crc = |bytes: &[u8]| !bytes.iter().copied().fold(!0, step);
        let rising: Vec<u8> = (0..32).collect();
        let falling: Vec<u8> = (0..32).rev().collect();
        assert_eq!(crc(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc(&rising), 0x46dd_794e);
        assert_eq!(crc(&falling), 0x113f_db5c);
        assert_eq!(crc(b"123456789"), 0xe306_9283);
    }
}
