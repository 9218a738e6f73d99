//! How much the system may hold for one socket: what came and was not read yet, and what was written and is not
//! acknowledged yet.
//!
//! Left alone, Linux lets both grow with what a connection carries, up to the last numbers of `net.ipv4.tcp_rmem` and
//! `tcp_wmem`, whether or not anybody still takes anything. A size is reserved by nobody; it is how much there can be.

use std::io;
use std::os::fd::AsFd;

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
#[cfg(target_os = "linux")]
use socket2::SockRef;

/// How much the system may hold for one socket in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Buffer {
    /// What the system thinks best.
    #[default]
    System,
    /// At most so many bytes, with what it needs around them.
    AtMost(usize),
}

/// How much it may hold on the way out and on the way in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Buffers {
    /// Of what is written and not sent yet. It costs no speed, since what is on its way is not counted.
    pub ahead: Buffer,
    /// Of what the other end has not acknowledged.
    pub send: Buffer,
    /// Of what was not read.
    pub receive: Buffer,
}

impl Buffer {
    /// What the system is asked for, which takes twice as much (socket(7)): half of it is for what it needs itself.
    pub fn asked(self) -> Option<usize> {
        match self {
            Self::System => None,
            Self::AtMost(bytes) => Some(bytes / 2),
        }
    }
}

impl Buffers {
    /// Bounds what is held for a socket. One that listens hands the bounds on to those that are accepted from it, which
    /// is the only way to a window of this size: it is agreed on while they connect (tcp(7)).
    pub(in crate::proxy) fn bound(self, socket: &impl AsFd) -> io::Result<()> {
        if let Buffer::AtMost(bytes) = self.ahead {
            write_ahead(socket, u32::try_from(bytes).unwrap_or(u32::MAX))?;
        }
        if let Some(bytes) = self.send.asked() {
            set_socket_send_buffer_size(socket, bytes)?;
        }
        if let Some(bytes) = self.receive.asked() {
            set_socket_recv_buffer_size(socket, bytes)?;
        }
        Ok(())
    }
}

/// Lets no more be written than this, besides what can be sent at once. Linux knows of it; elsewhere nothing happens.
fn write_ahead(socket: &impl AsFd, bytes: u32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    SockRef::from(socket).set_tcp_notsent_lowat(bytes)?;
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use rustix::net::sockopt::{socket_recv_buffer_size, socket_send_buffer_size};

    use super::*;

    #[test]
    fn who_is_accepted_has_the_buffers_of_the_listener_and_the_system_its_own() {
        let held = |buffers: Buffers| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            buffers.bound(&listener).unwrap();
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let ahead = SockRef::from(&accepted).tcp_notsent_lowat().unwrap() as usize;
            [ahead, socket_send_buffer_size(&accepted).unwrap(), socket_recv_buffer_size(&accepted).unwrap()]
        };
        let at_most = |kib: usize| Buffer::AtMost(kib * 1024);
        let all = Buffers { ahead: at_most(160), send: at_most(96), receive: at_most(64) };
        assert_eq!(held(all), [160 * 1024, 96 * 1024, 64 * 1024]);
        let [none, ahead] =
            [Buffers::default(), Buffers { ahead: at_most(160), ..Buffers::default() }].map(held);
        assert_eq!(ahead, [160 * 1024, none[1], none[2]]);
        assert!(none.into_iter().zip(held(all)).all(|(system, ours)| system != ours));
    }
}
