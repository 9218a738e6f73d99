//! Attackers that take their time: every connection costs them nothing, and the gate a place.

use std::io;
use std::time::Duration;

use rustix::net::sockopt::set_socket_recv_buffer_size;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::target::{Target, drain};

/// How often each of them moves.
const NOW_AND_THEN: Duration = Duration::from_secs(1);
/// Asks for much.
const LARGE: &[u8] = b"GET /large HTTP/1.1\r\nHost: bench\r\nUser-Agent: Mozilla/5.0\r\n\r\n";
/// What the kernel is asked to keep for a reader that is fast, and then stops.
const FAST: usize = 128 << 10;
/// Half of what the origin answers.
const HALF: usize = 8 << 20;

/// A head that never ends.
pub(crate) async fn head(target: &Target, number: usize) -> io::Result<()> {
    drip(target.connect(number).await?, "GET / HTTP/1.1\r\nHost: bench\r\nX-Slow: ").await
}

/// A body that never ends.
pub(crate) async fn body(target: &Target, number: usize) -> io::Result<()> {
    let head =
        "POST /upload HTTP/1.1\r\nHost: bench\r\nUser-Agent: Mozilla/5.0\r\nContent-Length: 1000000\r\n\r\n";
    drip(target.connect(number).await?, head).await
}

/// An answer that is read for ever.
pub(crate) async fn reader(target: &Target, number: usize) -> io::Result<()> {
    let mut stream = target.connect_small(number).await?;
    stream.write_all(LARGE).await?;
    loop {
        stream.read_u8().await?;
        sleep(NOW_AND_THEN).await;
    }
}

/// An answer that is worth large buffers, until nobody takes any more of it.
pub(crate) async fn half(target: &Target, number: usize) -> io::Result<()> {
    let mut stream = target.connect(number).await?;
    set_socket_recv_buffer_size(&stream, FAST)?;
    stream.write_all(LARGE).await?;
    let mut buffer = vec![0; 64 << 10];
    let mut left = HALF;
    while left > 0 {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            count => left = left.saturating_sub(count),
        }
    }
    // Nothing is read any more, and the connection stays.
    std::future::pending().await
}

async fn drip(mut stream: TcpStream, begin: &str) -> io::Result<()> {
    stream.write_all(begin.as_bytes()).await?;
    let (mut reader, mut writer) = stream.split();
    let dripping = async {
        loop {
            sleep(NOW_AND_THEN).await;
            writer.write_u8(b'x').await?;
        }
    };
    tokio::select! {
        ended = drain(&mut reader) => ended,
        ended = dripping => ended,
    }
}
