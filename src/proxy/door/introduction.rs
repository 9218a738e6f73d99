//! The PROXY protocol at an entrance: a proxy that may say so introduces each connection with a header, which comes
//! before everything else, TLS too.
//!
//! The header is read to its last byte and no further. Whoever may not introduce, or does not, is not served. How long
//! it may take is the transport's business.

use std::io::{self, ErrorKind};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::facts::client::PeerAddr;
use crate::facts::proxy_protocol::{Progress, Told, read};

/// Room for what almost every header is.
const USUAL: usize = 64;

/// Reads the header; who is at the other end, which is `peer` itself if the connection is its own.
pub(super) async fn introduced(
    stream: &mut (impl AsyncRead + Unpin),
    peer: PeerAddr,
) -> io::Result<PeerAddr> {
    let mut header = Vec::with_capacity(USUAL);
    loop {
        match read(&header).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))? {
            Progress::More(most) => {
                if stream.take(most as u64).read_buf(&mut header).await? == 0 {
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, "the PROXY protocol header is cut"));
                }
            }
            Progress::Done(Told::Peer(peer)) => return Ok(peer),
            Progress::Done(Told::Itself) => return Ok(peer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Lines;
    use super::super::transport::{Deadlines, Socket, Transport};
    use super::*;
    use crate::clock::Clock;
    use crate::facts::client::Truncation;
    use std::num::NonZeroUsize;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::UnixStream;

    /// What is told, and what is left of the stream.
    async fn read_all(bytes: &[u8], piece: usize) -> io::Result<(String, Vec<u8>)> {
        let (mut theirs, mut ours) = tokio::io::duplex(piece);
        let bytes = bytes.to_vec();
        let writing = tokio::spawn(async move {
            // Nobody may read to the end.
            let _ = theirs.write_all(&bytes).await;
        });
        let peer = PeerAddr::new(Some("10.0.0.1:80".parse().unwrap()));
        let told = introduced(&mut ours, peer).await?;
        let mut rest = Vec::new();
        ours.read_to_end(&mut rest).await?;
        writing.await.unwrap();
        Ok((told.prefix(Truncation::new(32, 128).unwrap()).to_string(), rest))
    }

    #[tokio::test]
    async fn a_header_is_read_to_its_last_byte_however_it_comes() {
        let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xcb\0\x71\x4d\x0a\0\0\x01\0\x50\0\x50\x04\0\0";
        let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
        for piece in [1, 2, 7, 1000] {
            for (header, told) in [
                (b"PROXY TCP4 203.0.113.77 10.0.0.9 1 2\r\n".as_slice(), "203.0.113.77/32"),
                (b"PROXY TCP6 2001:db8::77 ::1 1 2\r\n", "2001:db8::77/128"),
                (b"PROXY UNKNOWN\r\n", "unknown"),
                (v2, "203.0.113.77/32"),
                (local, "10.0.0.1/32"),
            ] {
                let stream = [header, b"GET / HTTP/1.1\r\n\r\n"].concat();
                let (found, rest) = read_all(&stream, piece).await.unwrap();
                assert_eq!((found.as_str(), rest.as_slice()), (told, b"GET / HTTP/1.1\r\n\r\n".as_slice()));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_does_not_come_is_waited_for_only_as_long_as_a_head() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let deadlines = Deadlines {
            head: Duration::from_secs(10),
            stall: Duration::from_secs(60),
            idle: Duration::from_secs(60),
        };
        let mut transport = Transport::new(
            Socket::Unix(ours),
            Arc::default(),
            deadlines,
            Arc::new(Lines::new(NonZeroUsize::MIN, Clock::start())),
        );
        let dripping = tokio::spawn(async move {
            for byte in b"PROXY TCP4 203.0.113.77 10.0.0.9" {
                if theirs.write_all(std::slice::from_ref(byte)).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let error = introduced(&mut transport, PeerAddr::UNIX).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(transport);
        dripping.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_no_header_or_ends_too_early_is_an_error_that_shows_nothing() {
        for (stream, kind) in [
            (b"GET / HTTP/1.1\r\n\r\n".as_slice(), ErrorKind::InvalidData),
            (b"PROXY TCP4 203.0.113.77 nobody 1 2\r\n", ErrorKind::InvalidData),
            (b"PROXY TCP4 203.0.113.77 10.0.0.9", ErrorKind::UnexpectedEof),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", ErrorKind::UnexpectedEof),
            (b"", ErrorKind::UnexpectedEof),
        ] {
            let error = read_all(stream, 1000).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{stream:?}");
            assert!(!format!("{error} {error:?}").contains("113"), "{error:?}");
        }
    }
}
