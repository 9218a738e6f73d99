//! Plain HTTP/1.1 over real sockets, blocking, for tests: a client here, an origin in [`origin`].
//!
//! Both ends write and read every byte themselves, so a test sees what was on the wire and not what a library made
//! of it. Everything has a timeout: a test that waits for ever says nothing.

pub(crate) mod origin;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long one read or write may take: less than the minute that a gate waits by default, so that what hangs shows.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);
const MAX_HEAD: u64 = 1024 * 1024;

/// A loopback address whose port was free a moment ago.
pub(crate) fn free_addr() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
    listener.local_addr().expect("a bound listener has an address")
}

/// One connection to a server, kept alive until either side closes it.
#[derive(Debug)]
pub(crate) struct Client<S = TcpStream> {
    stream: BufReader<S>,
}

/// What is sent, byte for byte: nothing is added that was not said, but for the length of a body.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    target: String,
    headers: Headers,
    body: Body,
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

/// Header lines in their order, names as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

/// How a body is framed on the wire.
#[derive(Clone, Debug, Default)]
pub(crate) enum Body {
    /// No body and no word about one.
    #[default]
    None,
    /// With a `content-length`.
    Full(Vec<u8>),
    /// One chunk each.
    Chunked(Vec<Vec<u8>>),
}

impl Client {
    /// Connects, or says why not.
    pub(crate) fn connect(addr: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&addr, PATIENCE)?)
    }

    /// Speaks over a connection that was made elsewhere.
    pub(crate) fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }
}

impl Client<UnixStream> {
    /// Connects to a Unix socket, or says why not.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }
}

impl<S: Read + Write> Client<S> {
    /// Sends a request and reads its response.
    pub(crate) fn send(&mut self, request: &Request) -> io::Result<Response> {
        self.write(&request.to_bytes())?;
        self.response_to(&request.method)
    }

    /// Sends any bytes, be they HTTP or not.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads the response to a request of this method; interim responses (1xx but 101) are passed over.
    pub(crate) fn response_to(&mut self, method: &str) -> io::Result<Response> {
        loop {
            let (status_line, headers) = read_head(&mut self.stream)?;
            let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
            let status: u16 = status.ok_or_else(|| bad(format!("not a status line: `{status_line}`")))?;
            if status != 101 && (100..200).contains(&status) {
                continue;
            }
            let bodiless = method == "HEAD" || matches!(status, 101 | 204 | 304);
            let body = if bodiless { Vec::new() } else { read_body(&mut self.stream, &headers, true)? };
            return Ok(Response { status, headers, body });
        }
    }

    /// Reads exactly so many bytes, such as those of an upgraded connection.
    pub(crate) fn read(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether the server closed the connection without another word.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.stream.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

impl Request {
    /// A request with a `host` header and nothing else.
    pub(crate) fn new(method: &str, target: &str) -> Self {
        let (method, target) = (method.into(), target.into());
        Self { method, target, headers: Headers::default(), body: Body::None }.header("host", "api.example")
    }

    /// A GET request.
    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// Adds a header line; a second one of the same name stays a line of its own. `host` replaces the first.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        if name.eq_ignore_ascii_case("host") {
            self.headers.0.retain(|(name, _)| !name.eq_ignore_ascii_case("host"));
        }
        self.headers.0.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// The bytes that are sent.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes =
            head_bytes(&format!("{} {} HTTP/1.1", self.method, self.target), &self.headers, &self.body);
        bytes.extend(self.body.to_bytes());
        bytes
    }
}

impl Response {
    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }
}

impl Headers {
    /// The value of the first line of this name, in any case of letters.
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of all lines of this name.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    fn says(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().eq_ignore_ascii_case(token))
    }
}

impl Body {
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Full(body) => body.clone(),
            Self::Chunked(chunks) => chunks.iter().flat_map(|it| chunk(it)).chain(chunk(b"")).collect(),
        }
    }
}

/// A start line, headers, the line that frames the body, and an empty line.
fn head_bytes(start: &str, headers: &Headers, body: &Body) -> Vec<u8> {
    let mut head = format!("{start}\r\n");
    for (name, value) in &headers.0 {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match body {
        Body::None => {}
        Body::Full(body) => head.push_str(&format!("content-length: {}\r\n", body.len())),
        Body::Chunked(_) => head.push_str("transfer-encoding: chunked\r\n"),
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// One chunk on the wire; an empty one ends the body.
fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn read_head(stream: &mut impl BufRead) -> io::Result<(String, Headers)> {
    let start = read_line(stream)?;
    let mut headers = Headers::default();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            return Ok((start, headers));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad(format!("not a header: `{line}`")))?;
        headers.0.push((name.into(), value.trim().into()));
    }
}

/// Reads a body as its headers frame it; without a frame a response ends with its connection.
fn read_body(stream: &mut impl BufRead, headers: &Headers, to_end: bool) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if headers.says("transfer-encoding", "chunked") {
        loop {
            let line = read_line(stream)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| bad(format!("not a chunk: `{line}`")))?;
            if size == 0 {
                while !read_line(stream)?.is_empty() {}
                return Ok(body);
            }
            let begin = body.len();
            body.resize(begin + size, 0);
            stream.read_exact(&mut body[begin..])?;
            read_line(stream)?;
        }
    }
    match headers.first("content-length") {
        Some(length) => {
            let length = length.parse().map_err(|_| bad(format!("not a length: `{length}`")))?;
            body.resize(length, 0);
            stream.read_exact(&mut body)?;
        }
        None if to_end => drop(stream.read_to_end(&mut body)?),
        None => {}
    }
    Ok(body)
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    stream.by_ref().take(MAX_HEAD).read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
        None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended within a line")),
    }
}

fn bad(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
