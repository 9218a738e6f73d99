//! One keep-alive connection of the generator: at most one request at a time, and when it was meant to start.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::response::{Arrived, look};

/// The longest answer that fits.
const MAX_ANSWER: usize = 16 * 1024;

/// A connection to the contestant.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    token: Token,
    inbox: Vec<u8>,
    filled: usize,
    meant: Option<Instant>,
}

/// A whole answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// The length of its body.
    pub(crate) body: usize,
    /// When the request was meant to start.
    pub(crate) meant: Instant,
}

impl Connection {
    /// Connects, and waits for that: it is not measured.
    pub(crate) fn open(address: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE)?;
        Ok(Self { stream, token, inbox: vec![0; MAX_ANSWER], filled: 0, meant: None })
    }

    /// Its name among the events.
    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// Whether an answer is awaited.
    pub(crate) fn is_busy(&self) -> bool {
        self.meant.is_some()
    }

    /// Sends a request that was meant to start at that moment. A few hundred bytes always fit into the socket.
    pub(crate) fn send(&mut self, request: &[u8], meant: Instant) -> io::Result<()> {
        self.meant = Some(meant);
        self.stream.write_all(request)
    }

    /// Reads what there is; an answer if it is whole. Whatever is not an answer is an error.
    pub(crate) fn receive(&mut self) -> io::Result<Option<Answer>> {
        loop {
            let room = self.inbox.get_mut(self.filled..).unwrap_or_default();
            let (free, read) = match (room.len(), self.stream.read(room)) {
                (_, Err(error)) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                (_, Ok(0)) => return Err(ErrorKind::UnexpectedEof.into()),
                (free, read) => (free, read?),
            };
            self.filled += read;
            match look(self.inbox.get(..self.filled).unwrap_or_default()) {
                Arrived::Whole { status, body } => {
                    self.filled = 0;
                    let meant = self.meant.take().ok_or(ErrorKind::InvalidData)?;
                    return Ok(Some(Answer { status, body, meant }));
                }
                // There was room for more, so there is no more yet.
                Arrived::Part if read < free => return Ok(None),
                Arrived::Part => {}
                Arrived::Nonsense => return Err(ErrorKind::InvalidData.into()),
            }
        }
    }
}
