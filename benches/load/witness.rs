//! An origin that remembers: what arrives behind a contestant, while it is probed.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};

use crate::origin;

/// Serves like the origin, on threads of its own, until it is dropped.
#[derive(Debug)]
pub(crate) struct Witness {
    address: SocketAddr,
    heads: Receiver<String>,
    over: Arc<AtomicBool>,
}

impl Witness {
    /// Starts to serve at a free port.
    pub(crate) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (sender, heads) = mpsc::channel();
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let sender = sender.clone();
                // A connection that breaks has nothing more to say.
                std::thread::spawn(move || serve(stream, &sender));
            }
        });
        Ok(Self { address, heads, over })
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads of the requests that it answered since it was last asked.
    pub(crate) fn seen(&mut self) -> Vec<String> {
        self.heads.try_iter().collect()
    }
}

impl Drop for Witness {
    /// Wakes the thread that accepts, so that it ends.
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// The value of a header in a head.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let pairs = head.lines().filter_map(|line| line.split_once(':'));
    let mut values = pairs.filter(|(of, _)| of.eq_ignore_ascii_case(name));
    values.next().map(|(_, value)| value.trim())
}

fn serve(stream: TcpStream, heads: &Sender<String>) -> io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    let answer = origin::answer();
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if input.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let body = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        io::copy(&mut input.by_ref().take(body), &mut io::sink())?;
        // Told before it is answered: whoever has the answer finds the head.
        heads.send(head).map_err(io::Error::other)?;
        out.write_all(&answer)?;
    }
}
