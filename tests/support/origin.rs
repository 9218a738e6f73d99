//! A real origin on threads of its own: it records what reached it and answers as the test says.
//!
//! It speaks for the world behind the gate, so it must not be clever: requests are recorded as they came, in order,
//! before they are answered.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use super::{Body, Headers, PATIENCE, chunk, head_bytes, read_body, read_head};

/// A server on a loopback port; gone with its value.
pub(crate) struct Origin {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

/// A request as it reached the origin.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    /// Which connection it came on, counted from 0.
    pub(crate) connection: usize,
}

/// What the origin says to a request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Headers,
    body: Body,
    gate: Option<Gate>,
    end: End,
}

/// Holds answers back until a test opens it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    KeepAlive,
    Close,
    /// Sends only so many bytes of the framed body, then closes.
    CutAfter(usize),
    /// Sends every byte back from here on.
    Echo,
}

struct Shared {
    answer: Box<dyn Fn(&Received) -> Answer + Send + Sync>,
    received: Mutex<Vec<Received>>,
    arrived: Condvar,
    connections: Mutex<Vec<TcpStream>>,
    stopped: AtomicBool,
}

impl Origin {
    /// Starts an origin that answers each request as `answer` says.
    pub(crate) fn start(answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), answer)
    }

    /// The same at this address, which must be free.
    pub(crate) fn at(
        address: SocketAddr,
        answer: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a free loopback port");
        let addr = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            received: Mutex::default(),
            arrived: Condvar::new(),
            connections: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Self { addr, shared }
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// All requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().expect("no panic").clone()
    }

    /// Waits until this many requests arrived; fails the test if they do not.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Received> {
        let received = self.shared.received.lock().expect("no panic");
        let waited = self.shared.arrived.wait_timeout_while(received, PATIENCE, |it| it.len() < count);
        let (received, timeout) = waited.expect("no panic");
        assert!(!timeout.timed_out(), "{} requests reached the origin, expected {count}", received.len());
        received.clone()
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.lock().expect("no panic").len()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.addr);
        if let Ok(connections) = self.shared.connections.lock() {
            connections.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        }
    }
}

impl Answer {
    /// A response with this status and body, after which the connection stays.
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = if matches!(status, 204 | 304) { Body::None } else { Body::Full(body.into()) };
        Self { status, headers: Headers::default(), body, gate: None, end: End::KeepAlive }
    }

    /// Agrees to an upgrade and sends every byte back.
    pub(crate) fn echo(protocol: &str) -> Self {
        let answer = Self { body: Body::None, end: End::Echo, ..Self::new(101, "") };
        answer.header("connection", "upgrade").header("upgrade", protocol)
    }

    /// Adds a header line.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.0.push((name.into(), value.into()));
        self
    }

    /// Sends the body in chunks instead. Behind a gate, the first is sent before it opens.
    pub(crate) fn chunks(mut self, chunks: &[&str]) -> Self {
        self.body = Body::Chunked(chunks.iter().map(|chunk| chunk.as_bytes().to_vec()).collect());
        self
    }

    /// Waits for the gate: before the response, or after the first chunk.
    pub(crate) fn behind(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// Closes the connection after the response.
    pub(crate) fn close(mut self) -> Self {
        self.end = End::Close;
        self.header("connection", "close")
    }

    /// Closes the connection after so many bytes of the body, chunk lines included.
    pub(crate) fn cut_after(mut self, bytes: usize) -> Self {
        self.end = End::CutAfter(bytes);
        self
    }

    fn write(&self, stream: &mut TcpStream, method: &str) -> io::Result<()> {
        let head = head_bytes(&format!("HTTP/1.1 {} Test", self.status), &self.headers, &self.body);
        let body = if method == "HEAD" { Vec::new() } else { self.body.to_bytes() };
        let cut = match self.end {
            End::CutAfter(bytes) => bytes.min(body.len()),
            End::KeepAlive | End::Close | End::Echo => body.len(),
        };
        let before_gate = match &self.body {
            Body::Chunked(chunks) => chunks.first().map_or(0, |first| chunk(first).len()).min(cut),
            Body::None | Body::Full(_) => 0,
        };
        let (first, rest) = body[..cut].split_at(before_gate);
        if first.is_empty() {
            self.pass_gate();
        }
        stream.write_all(&[&head, first].concat())?;
        if !first.is_empty() {
            self.pass_gate();
        }
        stream.write_all(rest)
    }

    fn pass_gate(&self) {
        if let Some(gate) = &self.gate {
            gate.wait();
        }
    }
}

impl Gate {
    /// Lets everybody pass, now and later.
    pub(crate) fn open(&self) {
        *self.0.0.lock().expect("no panic") = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let open = self.0.0.lock().expect("no panic");
        drop(self.0.1.wait_timeout_while(open, PATIENCE, |open| !*open));
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.stopped.load(Ordering::Acquire) {
                return;
            }
            let Ok(stream) = stream else { continue };
            let Ok(copy) = stream.try_clone() else { continue };
            let mut connections = self.connections.lock().expect("no panic");
            connections.push(copy);
            let (number, shared) = (connections.len() - 1, Arc::clone(&self));
            thread::spawn(move || {
                // The peer went away, or sent what is not HTTP: nothing to answer.
                let _ = shared.serve(&stream, number);
                let _ = stream.shutdown(Shutdown::Both);
            });
        }
    }

    fn serve(&self, stream: &TcpStream, connection: usize) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream.try_clone()?;
        loop {
            let (start, headers) = read_head(&mut reader)?;
            if headers.says("expect", "100-continue") {
                writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let body = read_body(&mut reader, &headers, false)?;
            let mut words = start.split(' ').map(str::to_string);
            let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let received = Received { method, target, headers, body, connection };
            self.received.lock().expect("no panic").push(received.clone());
            self.arrived.notify_all();
            let answer = (self.answer)(&received);
            answer.write(&mut writer, &received.method)?;
            match answer.end {
                End::KeepAlive => {}
                End::Close | End::CutAfter(_) => return Ok(()),
                End::Echo => return echo(&mut reader, &mut writer),
            }
        }
    }
}

fn echo(reader: &mut BufReader<TcpStream>, writer: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(()),
            count => writer.write_all(&buffer[..count])?,
        }
    }
}

mod tests {
    use super::super::{Client, Request, free_addr};
    use super::*;

    fn origin(answer: Answer) -> (Origin, Client) {
        let origin = Origin::start(move |_| answer.clone());
        let client = Client::connect(origin.addr()).unwrap();
        (origin, client)
    }

    #[test]
    fn a_connection_is_kept_and_every_request_recorded() {
        let (origin, mut client) = origin(Answer::new(200, "fine").header("x-a", "1").header("X-A", "2"));
        let chunks = Body::Chunked(vec![b"one ".to_vec(), b"two".to_vec()]);
        let response = client.send(&Request::get("/a?b=c").header("host", "b.example")).unwrap();
        assert_eq!((response.status, response.text()), (200, "fine"));
        assert_eq!(response.headers.all("x-a").collect::<Vec<_>>(), ["1", "2"]);
        client.send(&Request::new("POST", "/p").body(Body::Full(b"full".to_vec()))).unwrap();
        client.send(&Request::new("PUT", "/p").header("expect", "100-continue").body(chunks)).unwrap();
        assert_eq!(client.send(&Request::new("HEAD", "/")).unwrap().body, b"");
        let received = origin.wait_for(4);
        assert_eq!((received[0].method.as_str(), received[0].target.as_str()), ("GET", "/a?b=c"));
        assert_eq!(received[0].headers.first("Host"), Some("b.example"));
        assert_eq!((&received[1].body[..], &received[2].body[..]), (&b"full"[..], &b"one two"[..]));
        assert_eq!((received[3].connection, origin.connections()), (0, 1));
    }

    #[test]
    fn chunks_arrive_before_the_gate_opens() {
        let gate = Gate::default();
        let (_origin, mut client) = origin(Answer::new(200, "").chunks(&["first", "second"]).behind(&gate));
        client.write(&Request::get("/").to_bytes()).unwrap();
        let head = "HTTP/1.1 200 Test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        assert_eq!(client.read(head.len()).unwrap(), head.as_bytes());
        gate.open();
        assert_eq!(client.read(16).unwrap(), b"6\r\nsecond\r\n0\r\n\r\n");
    }

    #[test]
    fn a_whole_answer_waits_for_the_gate() {
        let gate = Gate::default();
        let (origin, mut client) = origin(Answer::new(200, "late").behind(&gate));
        client.write(&Request::get("/").to_bytes()).unwrap();
        assert_eq!(origin.wait_for(1).len(), origin.received().len());
        gate.open();
        assert_eq!(client.response_to("GET").unwrap().text(), "late");
    }

    #[test]
    fn a_body_that_is_cut_off_is_an_error_and_a_close_is_seen() {
        let (_origin, mut client) = origin(Answer::new(200, "four").cut_after(2));
        let error = client.send(&Request::get("/")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let (_origin, mut client) = self::origin(Answer::new(204, "").close());
        assert_eq!(client.send(&Request::get("/")).unwrap().status, 204);
        assert!(client.is_closed());
    }

    #[test]
    fn an_upgraded_connection_echoes() {
        let (_origin, mut client) = origin(Answer::echo("websocket"));
        let upgrade = Request::get("/").header("connection", "upgrade").header("upgrade", "websocket");
        assert_eq!(client.send(&upgrade).unwrap().status, 101);
        client.write(b"ping").unwrap();
        assert_eq!(client.read(4).unwrap(), b"ping");
    }

    #[test]
    fn a_free_address_is_on_loopback_and_has_a_port() {
        assert!(free_addr().ip().is_loopback() && free_addr().port() != 0);
    }

    #[test]
    fn a_dropped_origin_is_gone() {
        let (origin, mut client) = origin(Answer::new(200, ""));
        client.send(&Request::get("/")).unwrap();
        drop(origin);
        assert!(client.is_closed());
    }
}
