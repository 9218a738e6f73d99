//! The origin: answers every request with the same small JSON body, as cheaply as a single thread can.
//!
//! It shares its core with the load generator, so each microsecond here is one that the generator does not have.
//! It understands requests without a body, which is all that the mix has, and nothing else.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::process::Command;

use memchr::memmem::Finder;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::contestant::{Contestant, Seat};
use crate::error::LoadError;
use crate::process;

/// The first argument of a process that is an origin.
pub(crate) const ROLE: &str = "as-origin";

/// What it answers.
pub(crate) const BODY: &str = r#"{"ok":true,"message":"hello from the origin, this is a small json body of about one hundred bytes...."}"#;

/// The name of an origin that is loaded directly.
pub(crate) const DIRECT: &str = "no proxy";

/// An origin in the place of a proxy: how much the load itself can do, and what latency it has by itself.
pub(crate) struct Direct;

const LISTENER: Token = Token(usize::MAX >> 1);
/// The longest request head that it takes; a gate adds a few headers to those of the mix.
const MAX_HEAD: usize = 8 * 1024;

/// Serves until it is killed. The argument is where to listen.
pub(crate) fn run(arguments: &[String]) -> Result<(), LoadError> {
    let [listen] = process::addresses(arguments)?;
    let failed = || LoadError::io(format!("serve as the origin at `{listen}`"));
    let listener = TcpListener::bind(listen).map_err(failed())?;
    Origin::new(listener).and_then(|mut origin| origin.serve()).map_err(failed())
}

/// A command that serves as the origin at `listen`.
pub(crate) fn command(listen: SocketAddr) -> Result<Command, LoadError> {
    let mut command = process::this_program(ROLE)?;
    command.arg(listen.to_string());
    Ok(command)
}

/// The bytes of every answer.
pub(crate) fn answer() -> Vec<u8> {
    let length = BODY.len();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), BODY.as_bytes()].concat()
}

impl Contestant for Direct {
    fn name(&self) -> &str {
        DIRECT
    }

    fn command(&self, seat: &Seat<'_>) -> Result<Command, LoadError> {
        command(seat.listen)
    }
}

struct Origin {
    poll: Poll,
    listener: TcpListener,
    /// By token; a client that has gone leaves a gap.
    clients: Vec<Option<Client>>,
    answer: Vec<u8>,
    end_of_head: Finder<'static>,
}

struct Client {
    stream: TcpStream,
    inbox: Box<[u8; MAX_HEAD]>,
    filled: usize,
}

impl Origin {
    fn new(mut listener: TcpListener) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let end_of_head = Finder::new(b"\r\n\r\n");
        Ok(Self { poll, listener, clients: Vec::new(), answer: answer(), end_of_head })
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept()?;
                } else {
                    self.answer(event.token());
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let token = Token(self.clients.len());
            stream.set_nodelay(true)?;
            self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
            self.clients.push(Some(Client { stream, inbox: Box::new([0; MAX_HEAD]), filled: 0 }));
        }
    }

    /// A client that ends, fails or sends too much is forgotten, which closes its connection.
    fn answer(&mut self, token: Token) {
        let Some(place) = self.clients.get_mut(token.0) else {
            return;
        };
        let stays = |client: &mut Client| matches!(client.answer(&self.answer, &self.end_of_head), Ok(true));
        if !place.as_mut().is_some_and(stays) {
            *place = None;
        }
    }
}

impl Client {
    /// Reads what there is and answers each whole request in it. `false`: the client has ended.
    fn answer(&mut self, answer: &[u8], end_of_head: &Finder<'_>) -> io::Result<bool> {
        loop {
            let room = self.inbox.get_mut(self.filled..).unwrap_or_default();
            let (free, read) = match (room.len(), self.stream.read(room)) {
                (_, Err(error)) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                (free, read) => (free, read?),
            };
            self.filled += read;
            let filled = self.inbox.get(..self.filled).unwrap_or_default();
            let mut whole = 0;
            for end in end_of_head.find_iter(filled) {
                self.stream.write_all(answer)?;
                whole = end + 4;
            }
            self.inbox.copy_within(whole..self.filled, 0);
            self.filled -= whole;
            match read {
                0 => return Ok(false),
                // There was room for more, so there is no more.
                read if read < free => return Ok(true),
                _ => {}
            }
        }
    }
}
