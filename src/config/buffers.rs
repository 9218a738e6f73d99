//! How much the system may hold for a connection, which is written as a size or as `"system"`.

use super::kinds::Size;
use super::reader::{Fallback, Key, Kind, Section, Value};
use super::units::show_size;
use crate::proxy::server::{Buffer, Buffers};

/// A size, or the system's own choice.
pub(super) struct BufferKind;

/// What leaves it to the system.
const SYSTEM: &str = "system";
/// In less than the first a segment of the loopback interface has no room, and no system gives more than the last.
const SIZES: Size = Size { from: 128 * 1024, to: 256 * 1024 * 1024 };

pub(super) const TO_CLIENTS: Key<BufferKind> = Key {
    name: "send_buffer",
    kind: BufferKind,
    fallback: Fallback::Is("\"1MiB\""),
    doc: "Memory that the system may hold for each connection of a client by TCP, of what the client has not acknowledged. \
          About two thirds of it can be on their way at once: by 1 MiB, 7 MB/s over a path of 100 ms. `\"system\"` leaves it \
          to the system, which lets it grow up to the last number of `net.ipv4.tcp_wmem`.",
};

pub(super) const FROM_CLIENTS: Key<BufferKind> = Key {
    name: "receive_buffer",
    kind: BufferKind,
    fallback: Fallback::Is("\"512KiB\""),
    doc: "The same of what a client has sent and the gate has not read, such as a body that its origin takes slowly; \
          `\"system\"` lets it grow up to the last number of `net.ipv4.tcp_rmem`.",
};

pub(super) const SEND: Key<BufferKind> = Key {
    name: "send_buffer",
    kind: BufferKind,
    fallback: Fallback::Is("\"512KiB\""),
    doc: "Memory that the system may hold for each connection to a server by TCP, of what the server has not acknowledged, or \
          `\"system\"`, as in `[server]`.",
};

pub(super) const RECEIVE: Key<BufferKind> = Key {
    name: "receive_buffer",
    kind: BufferKind,
    fallback: Fallback::Is("\"512KiB\""),
    doc: "The same of an answer that the gate has not read because its client does not take it. About half of it is the most \
          that comes in one round trip: by 512 KiB, 30 MB/s over a path of 10 ms. `\"system\"` lets it grow up to the last \
          number of `net.ipv4.tcp_rmem`.",
};

impl Kind for BufferKind {
    type Value = Buffer;

    fn expects(&self) -> String {
        format!("`\"{SYSTEM}\"`, or {}", SIZES.expects())
    }

    fn read(&self, value: &Value<'_>) -> Option<Buffer> {
        if value.toml().as_str() == Some(SYSTEM) {
            return Some(Buffer::System);
        }
        let size = value.toml().as_str().and_then(super::units::size);
        let fits = size.filter(|size| (SIZES.from..=SIZES.to).contains(size));
        let bytes = fits.and_then(|size| usize::try_from(size).ok());
        bytes.map(Buffer::AtMost).or_else(|| {
            let hint = size.is_none().then(|| format!("write a size such as `\"{}\"`", show_size(1 << 19)));
            value.mismatch(self, hint)
        })
    }
}

/// Reads the keys for both directions.
pub(super) fn read(section: &Section<'_>, [send, receive]: [&Key<BufferKind>; 2]) -> Option<Buffers> {
    let (send, receive) = (section.read(send), section.read(receive));
    Some(Buffers { send: send?, receive: receive? })
}
