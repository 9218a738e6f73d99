//! How much the system may hold for a connection, which is written as a size or as `"system"`.

use super::kinds::Size;
use super::reader::{Fallback, Key, Kind, Section, Value};
use super::units::size;
use crate::proxy::server::{Buffer, Buffers};

/// A size of at least so many bytes, or the system's own choice.
pub(super) struct BufferKind(u64);

/// What leaves it to the system.
const SYSTEM: &str = "system";
/// In less than this a segment of the loopback interface has no room, and everything is slow.
const LEAST: u64 = 128 * 1024;
/// No system gives more.
const MOST: u64 = 256 * 1024 * 1024;

pub(super) const AHEAD: Key<BufferKind> = Key {
    name: "send_ahead",
    kind: BufferKind(16 * 1024),
    fallback: Fallback::Is("\"128KiB\""),
    doc: "How much the system takes from the gate, for each connection by TCP, before it can be sent, so that who takes nothing \
          more has little waiting. It costs no speed (`TCP_NOTSENT_LOWAT` of Linux). `\"system\"`: as much as it likes.",
};

pub(super) const TO_CLIENTS: Key<BufferKind> = Key {
    name: "send_buffer",
    kind: BufferKind(LEAST),
    fallback: Fallback::Is("\"system\""),
    doc: "Memory that the system may hold for each connection of a client by TCP, of all that the client has not acknowledged. \
          By `\"system\"` it grows with what the connection proves to carry, up to the last number of `net.ipv4.tcp_wmem`. A \
          size has a price in speed: by 1 MiB, 7 MB/s over a path of 100 ms.",
};

pub(super) const FROM_CLIENTS: Key<BufferKind> = Key {
    name: "receive_buffer",
    kind: BufferKind(LEAST),
    fallback: Fallback::Is("\"system\""),
    doc: "Memory that the system may hold for each connection of a client by TCP, of what the client has sent and the gate has \
          not read; about half of it is the most that comes in one round trip. By `\"system\"` it grows up to the last number \
          of `net.ipv4.tcp_rmem`, with what the gate has read.",
};

pub(super) const FROM_SERVERS: Key<BufferKind> = Key {
    name: "receive_buffer",
    kind: BufferKind(LEAST),
    fallback: Fallback::Is("\"system\""),
    doc: "The same for each connection to a server, of an answer that the gate has not read because its client does not take \
          it. A size has a price in speed: by 256 KiB, 15 MB/s come over a path of 10 ms.",
};

impl Kind for BufferKind {
    type Value = Buffer;

    fn expects(&self) -> String {
        format!("`\"{SYSTEM}\"`, or {}", self.sizes().expects())
    }

    fn read(&self, value: &Value<'_>) -> Option<Buffer> {
        if value.toml().as_str() == Some(SYSTEM) {
            return Some(Buffer::System);
        }
        let (size, sizes) = (value.toml().as_str().and_then(size), self.sizes());
        let fits = size.filter(|size| (sizes.from..=sizes.to).contains(size));
        let bytes = fits.and_then(|size| usize::try_from(size).ok());
        bytes.map(Buffer::AtMost).or_else(|| {
            let hint = size.is_none().then(|| "write a size such as `\"512KiB\"`".to_owned());
            value.mismatch(self, hint)
        })
    }
}

impl BufferKind {
    const fn sizes(&self) -> Size {
        Size { from: self.0, to: MOST }
    }
}

/// Reads what is said of connections of clients.
pub(super) fn of_clients(section: &Section<'_>) -> Option<Buffers> {
    let (ahead, send, receive) =
        (section.read(&AHEAD), section.read(&TO_CLIENTS), section.read(&FROM_CLIENTS));
    Some(Buffers { ahead: ahead?, send: send?, receive: receive? })
}

/// Reads what is said of connections to servers.
pub(super) fn to_servers(section: &Section<'_>) -> Option<Buffers> {
    let (ahead, receive) = (section.read(&AHEAD), section.read(&FROM_SERVERS));
    Some(Buffers { ahead: ahead?, send: Buffer::System, receive: receive? })
}
