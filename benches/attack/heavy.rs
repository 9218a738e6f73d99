//! An origin for what attackers ask for: long answers, and bodies that are taken to their end.

use std::io;
use std::net::SocketAddr;
use std::process::Command;

use memchr::memmem;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::error::LoadError;
use crate::process;

/// The first argument of a process that is this origin.
pub(crate) const ROLE: &str = "as-heavy-origin";

/// A long answer.
const LARGE: usize = 16 << 20;
const PART: usize = 64 << 10;
/// What the system is asked to keep for it: usually that is the memory of another machine, and is not to be taken for
/// what the gate's connections cost.
const KEPT: usize = 64 << 10;
/// The longest head that it takes.
const MAX_HEAD: usize = 16 << 10;

/// A command that serves at `listen`.
pub(crate) fn command(listen: SocketAddr) -> Result<Command, LoadError> {
    let mut command = process::this_program(ROLE)?;
    command.arg(listen.to_string());
    Ok(command)
}

/// Serves until it is killed. The argument is where to listen.
pub(crate) fn run(arguments: &[String]) -> Result<(), LoadError> {
    let [listen] = process::addresses::<1>(arguments)?;
    let failed = || LoadError::io(format!("serve as the heavy origin at `{listen}`"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed())?;
    runtime.block_on(serve(listen)).map_err(failed())
}

async fn serve(listen: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    set_socket_send_buffer_size(&listener, KEPT)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // Whoever breaks off is none of its business.
        tokio::spawn(async move { answer(stream).await.ok() });
    }
}

/// One request and its answer, after which the connection ends.
async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    let end = loop {
        if let Some(end) = memmem::find(&head, b"\r\n\r\n") {
            break end + 4;
        }
        if head.len() > MAX_HEAD || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    };
    let text = String::from_utf8_lossy(head.get(..end).unwrap_or_default()).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut left: usize = length.unwrap_or(0_usize).saturating_sub(head.len() - end);
    let mut part = vec![b'x'; PART];
    while left > 0 {
        match stream.read(&mut part).await? {
            0 => return Ok(()),
            count => left = left.saturating_sub(count),
        }
    }
    let mut left = if text.starts_with("get /large") { LARGE } else { 2 };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {left}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    while left > 0 {
        let now = left.min(PART);
        stream.write_all(part.get(..now).unwrap_or_default()).await?;
        left -= now;
    }
    Ok(())
}
