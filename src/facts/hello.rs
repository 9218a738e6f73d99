//! What a TLS client says first: its ClientHello, read from the bytes that come before any handshake.
//!
//! A [`HelloReader`] takes bytes as they arrive. A hello may lie in several records and arrive in any pieces; what is no
//! TLS, or has more than [`MAX_HELLO`] bytes, has no hello. That is never an error: whether the connection goes on is
//! for the TLS library to say, which reads the same bytes again.

/// The most bytes of records that are read in search of a hello. Those of today have up to 2 KiB.
pub const MAX_HELLO: usize = 64 * 1024;

/// A ClientHello: what fingerprints are made of, and whom the client asks for. GREASE (RFC 8701) is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The version in the message itself, which clients of TLS 1.3 leave at 1.2.
    pub(super) legacy_version: u16,
    /// The versions of `supported_versions`.
    pub(super) versions: Vec<u16>,
    /// The cipher suites, in order.
    pub(super) ciphers: Vec<u16>,
    /// The extensions, in order.
    pub(super) extensions: Vec<u16>,
    /// The signature algorithms, in order.
    pub(super) signatures: Vec<u16>,
    /// The protocols of ALPN, in order, as they stand.
    pub(super) protocols: Vec<Box<[u8]>>,
    /// The host that is asked for.
    pub(super) server_name: Option<Box<str>>,
}

/// How far a hello has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    More,
    /// All of it was read.
    Done(Hello),
    /// This is no hello, or none that is worth reading.
    NotTls,
}

/// Joins records to a ClientHello. Work and memory are bounded by [`MAX_HELLO`], in however small pieces it comes.
#[derive(Clone, Debug, Default)]
pub struct HelloReader {
    /// The message so far, without record headers.
    message: Vec<u8>,
    /// The header of the record that has begun.
    header: Vec<u8>,
    /// Bytes of the current record that are still to come.
    left: usize,
    /// All bytes so far.
    seen: usize,
}

pub(super) const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
pub(super) const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

const RECORD_HEADER: usize = 5;
const HANDSHAKE_RECORD: u8 = 22;
const MESSAGE_HEADER: usize = 4;
const CLIENT_HELLO: u8 = 1;
/// A record holds at most so many bytes in the clear.
const MAX_RECORD: usize = 1 << 14;

impl Hello {
    /// The host that the client asks for, as it wrote it; `None` if it names none.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The protocols that the client offers, best first.
    pub fn protocols(&self) -> impl Iterator<Item = &[u8]> {
        self.protocols.iter().map(|protocol| &**protocol)
    }

    /// Reads the body of the message.
    fn parse(body: &[u8]) -> Option<Self> {
        let mut body = Bytes(body);
        let mut hello = Self { legacy_version: body.number()?, ..Self::default() };
        let _random = body.take(32)?;
        let _session = body.short_block()?;
        hello.ciphers = body.block()?.numbers()?;
        let _compression = body.short_block()?;
        // Hellos of old have no extensions at all.
        if !body.is_empty() {
            let mut extensions = body.block()?;
            while !extensions.is_empty() {
                let (kind, content) = (extensions.number()?, extensions.block()?);
                hello.extend(kind, content)?;
            }
        }
        body.is_empty().then_some(hello)
    }

    fn extend(&mut self, kind: u16, mut content: Bytes<'_>) -> Option<()> {
        match kind {
            grease if is_grease(grease) => return Some(()),
            SERVER_NAME => self.server_name = server_name(content),
            SIGNATURE_ALGORITHMS => self.signatures = content.block()?.numbers()?,
            SUPPORTED_VERSIONS => self.versions = content.short_block()?.numbers()?,
            ALPN => {
                let mut names = content.block()?;
                while !names.is_empty() {
                    self.protocols.push(names.short_block()?.0.into());
                }
            }
            _ => {}
        }
        self.extensions.push(kind);
        Some(())
    }
}

impl HelloReader {
    /// Takes the bytes that came next. After [`Progress::Done`] or [`Progress::NotTls`] there is nothing more to read.
    pub fn read(&mut self, mut bytes: &[u8]) -> Progress {
        self.seen += bytes.len();
        while !bytes.is_empty() {
            if self.left == 0 {
                let (head, rest) = split(bytes, RECORD_HEADER - self.header.len());
                self.header.extend_from_slice(head);
                bytes = rest;
                match self.record() {
                    Some(left) => self.left = left,
                    None => return Progress::NotTls,
                }
            } else {
                let (part, rest) = split(bytes, self.left);
                self.message.extend_from_slice(part);
                self.left -= part.len();
                bytes = rest;
                match self.message() {
                    Progress::More => {}
                    ended @ (Progress::Done(_) | Progress::NotTls) => return ended,
                }
            }
        }
        if self.seen < MAX_HELLO { Progress::More } else { Progress::NotTls }
    }

    /// How many bytes the record has whose header has been read; 0 while it has not.
    fn record(&mut self) -> Option<usize> {
        let of_tls = |at: usize, byte: u8| match at {
            0 => byte == HANDSHAKE_RECORD,
            1 => byte == 3,
            _ => true,
        };
        if !self.header.iter().enumerate().all(|(at, byte)| of_tls(at, *byte)) {
            return None;
        }
        let [_, _, _, high, low] = *self.header.as_slice() else { return Some(0) };
        self.header.clear();
        let length = usize::from(u16::from_be_bytes([high, low]));
        // An empty record would be a way to send for ever and say nothing.
        (1..=MAX_RECORD).contains(&length).then_some(length)
    }

    fn message(&self) -> Progress {
        let Some((head, body)) = self.message.split_first_chunk::<MESSAGE_HEADER>() else {
            return if self.message.first().is_none_or(|kind| *kind == CLIENT_HELLO) {
                Progress::More
            } else {
                Progress::NotTls
            };
        };
        let [kind, length @ ..] = *head;
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        if kind != CLIENT_HELLO || length > MAX_HELLO {
            return Progress::NotTls;
        }
        match body.get(..length) {
            Some(body) => Hello::parse(body).map_or(Progress::NotTls, Progress::Done),
            None => Progress::More,
        }
    }
}

/// The first host of the extension; one that is no text is none.
fn server_name(mut content: Bytes<'_>) -> Option<Box<str>> {
    let mut names = content.block()?;
    while !names.is_empty() {
        let (kind, name) = (names.byte()?, names.block()?);
        if kind == 0 {
            return std::str::from_utf8(name.0).ok().filter(|name| name.is_ascii()).map(Into::into);
        }
    }
    None
}

/// Values that mean nothing, so that servers get used to what they do not know.
const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

fn split(bytes: &[u8], most: usize) -> (&[u8], &[u8]) {
    bytes.split_at(most.min(bytes.len()))
}

/// Bytes that are still to be read.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, length: usize) -> Option<Self> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Self(taken))
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u16> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*number))
    }

    /// What stands behind its length in two bytes.
    fn block(&mut self) -> Option<Self> {
        let length = self.number()?;
        self.take(length.into())
    }

    /// What stands behind its length in one byte.
    fn short_block(&mut self) -> Option<Self> {
        let length = self.byte()?;
        self.take(length.into())
    }

    /// All that is left as numbers, without GREASE.
    fn numbers(mut self) -> Option<Vec<u16>> {
        let mut numbers = Vec::with_capacity(self.0.len() / 2);
        while !self.is_empty() {
            numbers.push(self.number()?);
        }
        numbers.retain(|number| !is_grease(*number));
        Some(numbers)
    }
}

#[cfg(test)]
mod tests;
