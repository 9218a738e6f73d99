//! How much the system may hold for one socket: what came and was not read yet, and what was written and is not
//! acknowledged yet.
//!
//! Left alone, Linux lets both grow with what a connection carries, up to the last numbers of `net.ipv4.tcp_rmem` and
//! `tcp_wmem`, whether or not anybody still takes anything. A size is reserved by nobody; it is how much there can be.

use std::io;
use std::os::fd::AsFd;

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};

/// How much the system may hold for one socket in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Buffer {
    /// What the system thinks best.
    #[default]
    System,
    /// At most so many bytes, with what it needs around them.
    AtMost(usize),
}

/// How much it may hold in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Buffers {
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
        if let Some(bytes) = self.send.asked() {
            set_socket_send_buffer_size(socket, bytes)?;
        }
        if let Some(bytes) = self.receive.asked() {
            set_socket_recv_buffer_size(socket, bytes)?;
        }
        Ok(())
    }
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
            [socket_send_buffer_size(&accepted).unwrap(), socket_recv_buffer_size(&accepted).unwrap()]
        };
        let (send, receive) = (Buffer::AtMost(96 * 1024), Buffer::AtMost(64 * 1024));
        assert_eq!(held(Buffers { send, receive }), [96 * 1024, 64 * 1024]);
        let [left, right] = [held(Buffers { send, ..Buffers::default() }), held(Buffers::default())];
        assert_eq!(left[1], right[1]);
        assert_ne!(left[0], right[0]);
    }
}
