//! The head of a request on its way to an origin: parsed, as Pingora has it, or the bytes that leave.
//!
//! Pingora keeps every name twice, so that a copy of a head with four more headers costs more than the judgement. Where
//! nothing else is to be done with it, it is written as it leaves. Spelling and order are the client's.

use std::borrow::Cow;

use http::HeaderName;
use pingora::http::{HeaderNameVariant, RequestHeader};
use pingora::{Error, ErrorType, Result};

/// Where headers of ours are written.
pub trait Fields {
    /// Writes a header that is there once, in place of any other of its name.
    fn put(&mut self, name: impl Into<Cow<'static, str>>, value: &[u8]) -> Result<()>;
}

impl Fields for RequestHeader {
    fn put(&mut self, name: impl Into<Cow<'static, str>>, value: &[u8]) -> Result<()> {
        match name.into() {
            Cow::Borrowed(name) => self.insert_header(name, value),
            Cow::Owned(name) => self.insert_header(name, value),
        }
    }
}

/// A head as the bytes that leave, in HTTP/1.1. Nothing is replaced: whoever writes a header leaves out what came before.
pub struct Head(Vec<u8>);

/// Room for an ordinary head.
const ROOM: usize = 512;

impl Head {
    /// A head that asks for what `request` asks for, and has no headers yet.
    pub fn asking(request: &RequestHeader) -> Result<Self> {
        let target = request.raw_path();
        if target.iter().any(|byte| matches!(byte, b'\0' | b'\n' | b'\r' | b' ')) {
            return Error::e_explain(
                ErrorType::InvalidHTTPHeader,
                "a target that does not end where it should",
            );
        }
        let mut head = Vec::with_capacity(ROOM);
        for part in [request.method.as_str().as_bytes(), b" ", target, b" HTTP/1.1\r\n"] {
            head.extend_from_slice(part);
        }
        Ok(Self(head))
    }

    /// Writes those headers of a request whose names pass, as they came.
    pub fn pass_on(&mut self, request: &RequestHeader, passes: impl Fn(&HeaderName) -> bool) -> Result<()> {
        let mut names = request.headers.iter().map(|(name, _)| name);
        request.map(|spelling, value| {
            if names.next().is_some_and(&passes) {
                match spelling {
                    HeaderNameVariant::Case(name) => self.line(name.as_slice(), value.as_bytes()),
                    HeaderNameVariant::Titled(name) => self.line(name.as_bytes(), value.as_bytes()),
                }
            }
            Ok(())
        })
    }

    /// The whole head.
    pub fn ended(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"\r\n");
        self.0
    }

    fn line(&mut self, name: &[u8], value: &[u8]) {
        for part in [name, b": ", value, b"\r\n"] {
            self.0.extend_from_slice(part);
        }
    }
}

impl Fields for Head {
    fn put(&mut self, name: impl Into<Cow<'static, str>>, value: &[u8]) -> Result<()> {
        if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Error::e_explain(
                ErrorType::InvalidHTTPHeader,
                "a value that does not end where it should",
            );
        }
        self.line(name.into().as_bytes(), value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &[u8]) -> RequestHeader {
        RequestHeader::build("GET", target, None).unwrap()
    }

    #[test]
    fn what_passes_keeps_its_spelling_and_its_order() {
        let mut request = request(b"/a?b=%20");
        for (name, value) in [("HOST", "a"), ("X-Own", "1"), ("TE", "x"), ("x-oWN", "2"), ("accept", "")] {
            request.append_header(name, value).unwrap();
        }
        let mut head = Head::asking(&request).unwrap();
        head.pass_on(&request, |name| *name != "te").unwrap();
        head.put("x-ours", b"3\t\xff").unwrap();
        let expected = b"GET /a?b=%20 HTTP/1.1\r\nHOST: a\r\nX-Own: 1\r\nx-oWN: 2\r\naccept: \r\nx-ours: 3\t\xff\r\n\r\n";
        assert_eq!(head.ended(), expected);
    }

    #[test]
    fn names_that_came_without_their_spelling_have_the_usual_one() {
        let parts = http::Request::get("/").header("date", "then").header("x-own", "1").body(()).unwrap();
        let request = RequestHeader::from(parts.into_parts().0);
        let mut head = Head::asking(&request).unwrap();
        head.pass_on(&request, |_| true).unwrap();
        assert_eq!(head.ended(), b"GET / HTTP/1.1\r\nDate: then\r\nx-own: 1\r\n\r\n");
    }

    #[test]
    fn neither_a_target_nor_a_value_ends_its_line() {
        let mut odd = request(b"/");
        for target in [&b"/ HTTP/1.1"[..], b"/\r\nx:", b"/\n", b"/\0"] {
            if odd.set_raw_path(target).is_ok() {
                assert!(Head::asking(&odd).is_err(), "{}", target.escape_ascii());
            }
        }
        let mut head = Head::asking(&request(b"/")).unwrap();
        for value in [&b"a\r\nx: 1"[..], b"\n", b"\0", b"\x7f"] {
            assert!(head.put("x", value).is_err(), "{}", value.escape_ascii());
        }
        assert_eq!(head.ended(), b"GET / HTTP/1.1\r\n\r\n");
    }
}
