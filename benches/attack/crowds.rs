//! Attackers that come in great numbers, or come again and again.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::target::{Target, drain};

/// One request, and then nothing.
pub(crate) async fn idle(target: &Target, number: usize) -> io::Result<()> {
    let mut stream = target.connect(number).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\nUser-Agent: Mozilla/5.0\r\n\r\n").await?;
    drain(&mut stream).await
}

/// Comes and goes.
pub(crate) async fn churn(target: &Target, number: usize) -> io::Result<()> {
    target.connect(number).await.map(drop)
}

/// Says hello, and goes as soon as the gate has done its part. The hello is always the same, so that it costs nothing.
pub(crate) async fn handshake(target: &Target, number: usize) -> io::Result<()> {
    let mut stream = target.connect_secure(number).await?;
    stream.write_all(&target.hello).await?;
    stream.read(&mut [0; 64]).await.map(drop)
}
