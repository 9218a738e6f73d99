//! The PROXY protocol, versions 1 and 2: what a proxy says about a connection before the connection's own first byte.
//!
//! [`read`] looks at the bytes that came so far and says how many more may be asked for, so that whoever reads them never
//! takes a byte of what follows. The syntax is the crate `ppp`'s; here are the bounds, and whom a header names. Whether
//! the proxy is believed is not decided here. No error repeats what was sent.

mod extensions;

use std::net::SocketAddr;

use ppp::{v1, v2};

use super::client::PeerAddr;

/// What a header says about the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    /// The connection was accepted by the proxy from this peer, which may be unknown.
    Peer(PeerAddr),
    /// The connection is the proxy's own, to see whether somebody answers.
    Itself,
}

/// How far a header has been read.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// At least one byte and at most so many more belong to the header.
    More(usize),
    /// The header is complete.
    Done(Told),
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Something else came.
    #[error("the connection does not begin with a PROXY protocol header")]
    Absent,
    /// More than version 1 allows, or than [`MAX_V2`].
    #[error("the PROXY protocol header is too long")]
    TooLong,
    /// It begins like one.
    #[error("the PROXY protocol header cannot be read")]
    Malformed,
    /// Something has changed on its way.
    #[error("the checksum of the PROXY protocol header is wrong")]
    Checksum,
}

/// The most bytes of a header of version 2 behind its fixed part: addresses and extensions.
pub const MAX_V2: usize = 4096;
/// The most bytes of a header of version 1, which the protocol sets.
pub const MAX_V1: usize = 107;

const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// `PROXY UNKNOWN` and the end of the line: shorter than any other header of both versions.
const SHORTEST: usize = 15;
/// The part of a header of version 2 that all have.
const V2_FIXED: usize = 16;
/// The byte of version and command, for a connection of the proxy's own.
const V2_LOCAL: u8 = 0x20;
/// The byte of family and protocol, for a proxy that says neither.
const V2_UNSPECIFIED: u8 = 0x00;

/// Reads `header`: all bytes so far, of which the last call asked for.
pub fn read(header: &[u8]) -> Result<Progress, HeaderError> {
    if agree(header, V1) && header.len() < SHORTEST || agree(header, V2) && header.len() < V2_FIXED {
        let least = if header.first() == V2.first() { V2_FIXED } else { SHORTEST };
        return Ok(Progress::More(least - header.len()));
    }
    if header.starts_with(V1) {
        read_v1(header)
    } else if header.starts_with(V2) {
        read_v2(header)
    } else {
        Err(HeaderError::Absent)
    }
}

/// Whether one begins with the other.
fn agree(header: &[u8], signature: &[u8]) -> bool {
    header.starts_with(signature) || signature.starts_with(header)
}

fn read_v1(header: &[u8]) -> Result<Progress, HeaderError> {
    match header {
        [.., b'\r', b'\n'] => {}
        _ if header.contains(&b'\n') => return Err(HeaderError::Malformed),
        _ if header.len() >= MAX_V1 => return Err(HeaderError::TooLong),
        [.., b'\r'] => return Ok(Progress::More(1)),
        _ if header.len() + 1 == MAX_V1 => return Err(HeaderError::TooLong),
        _ => return Ok(Progress::More(2)),
    }
    let parsed = v1::Header::try_from(header).map_err(|_| HeaderError::Malformed)?;
    let source = match parsed.addresses {
        v1::Addresses::Tcp4(pair) => Some((pair.source_address, pair.source_port).into()),
        v1::Addresses::Tcp6(pair) => Some((pair.source_address, pair.source_port).into()),
        v1::Addresses::Unknown => None,
    };
    Ok(Progress::Done(peer(source)))
}

fn read_v2(header: &[u8]) -> Result<Progress, HeaderError> {
    let Some([.., command, transport, high, low]) = header.first_chunk::<V2_FIXED>() else {
        return Err(HeaderError::Malformed);
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > MAX_V2 {
        return Err(HeaderError::TooLong);
    }
    let missing = (V2_FIXED + length).saturating_sub(header.len());
    if missing > 0 {
        return Ok(Progress::More(missing));
    }
    // Whatever else it says is to be passed over.
    if *command == V2_LOCAL {
        return Ok(Progress::Done(Told::Itself));
    }
    // Nothing, or a stream; datagrams do not become connections.
    if !matches!(*transport, V2_UNSPECIFIED | 0x11 | 0x21 | 0x31) {
        return Err(HeaderError::Malformed);
    }
    let parsed = v2::Header::try_from(header).map_err(|_| HeaderError::Malformed)?;
    // Behind a family that nobody knows anything may follow.
    if *transport != V2_UNSPECIFIED {
        extensions::verify(header, V2_FIXED + parsed.addresses.len())?;
    }
    let source = match parsed.addresses {
        v2::Addresses::IPv4(pair) => Some((pair.source_address, pair.source_port).into()),
        v2::Addresses::IPv6(pair) => Some((pair.source_address, pair.source_port).into()),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    };
    Ok(Progress::Done(peer(source)))
}

/// A proxy that does not know whom it serves must not be taken for the peer itself, whose headers may be believed.
fn peer(source: Option<SocketAddr>) -> Told {
    Told::Peer(PeerAddr::new(source))
}

#[cfg(test)]
mod tests;
