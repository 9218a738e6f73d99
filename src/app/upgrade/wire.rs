//! Words between two gates: short lines, each of which may carry a socket. Both ends wait for each other after every line, so
//! one message is one line.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::slice;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// No line is longer: some words and a path.
const LONGEST: usize = 4096 + 128;

/// Sends a line, and a socket with it.
pub(super) fn send(stream: &UnixStream, line: &str, socket: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let text = format!("{line}\n");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(socket) = &socket {
        control.push(SendAncillaryMessage::ScmRights(slice::from_ref(socket)));
    }
    let sent = sendmsg(stream.as_fd(), &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
    if sent == text.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives a line, and the socket that came with it.
pub(super) fn receive(stream: &UnixStream) -> io::Result<(String, Option<OwnedFd>)> {
    let (mut line, mut socket) = (Vec::new(), None);
    while !line.ends_with(b"\n") {
        let mut bytes = [0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            stream.as_fd(),
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(sockets) = message {
                socket = sockets.last().or(socket);
            }
        }
        if received.bytes == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other gate has gone"));
        }
        line.extend(bytes.iter().take(received.bytes));
        if line.len() > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it says something else"));
        }
    }
    let text = String::from_utf8(line).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok((text.trim_end_matches('\n').to_owned(), socket))
}

/// Receives this line and no other.
pub(super) fn expect(stream: &UnixStream, line: &str) -> io::Result<()> {
    match receive(stream)? {
        (said, _) if said == line => Ok(()),
        (said, _) => {
            let message = format!("it says `{}` instead of `{line}`", said.escape_debug());
            Err(io::Error::new(io::ErrorKind::InvalidData, message))
        }
    }
}
