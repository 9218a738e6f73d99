//! Reading an answer: its status and where it ends, and nothing else.

use memchr::{memchr, memmem};

/// What has arrived so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// Not all of it.
    Part,
    /// One whole answer and nothing behind it.
    Whole {
        /// Its status.
        status: u16,
        /// The length of its body.
        body: usize,
    },
    /// Something else.
    Nonsense,
}

/// Looks at the bytes since the last answer.
pub(crate) fn look(bytes: &[u8]) -> Arrived {
    let Some((head, rest)) = memmem::find(bytes, b"\r\n\r\n").and_then(|end| bytes.split_at_checked(end + 2))
    else {
        return Arrived::Part;
    };
    let (Some(status), Some(body)) = (status(head), content_length(head)) else {
        return Arrived::Nonsense;
    };
    // The empty line that ends the head is still in `rest`.
    match (rest.len()).cmp(&(body + 2)) {
        std::cmp::Ordering::Less => Arrived::Part,
        std::cmp::Ordering::Equal => Arrived::Whole { status, body },
        std::cmp::Ordering::Greater => Arrived::Nonsense,
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let digits = head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"\ncontent-length:";
    let mut rest = head;
    while let Some(end) = memchr(b'\n', rest) {
        rest = rest.get(end..)?;
        if rest.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)) {
            let value = rest.get(NAME.len()..)?;
            let value = value.get(..memchr(b'\r', value)?)?;
            return std::str::from_utf8(value).ok()?.trim().parse().ok();
        }
        rest = rest.get(1..)?;
    }
    None
}
