//! What must not be guessed about a head: where a message ends, and for whom it is.
//!
//! Two programs in a row that read these differently can be made to see different requests (request smuggling). What
//! a reader of HTTP could repair is refused here instead (RFC 9112, sections 2.2, 5, 6 and 11.2). Much is refused by
//! the parser before; this finds what it repairs in silence.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue};

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireFault {
    /// A line ends with a line feed alone.
    BareNewline,
    /// The target is neither a path nor an absolute one of HTTP, or has a fragment.
    OddTarget,
    /// The length of the body is said more than once, even if it is the same, or not as a number.
    RepeatedLength,
    /// The body has a length and is in chunks.
    LengthAndEncoding,
    /// The body's transfer coding is said more than once, or is another than `chunked`.
    OddEncoding,
    /// The host is no host.
    OddHost,
}

impl WireFault {
    /// What is wrong with a head. `raw` are its bytes as they came, for HTTP/1.
    pub fn of(headers: &HeaderMap, raw: Option<&[u8]>) -> Option<Self> {
        if raw.is_some_and(has_bare_newline) {
            return Some(Self::BareNewline);
        }
        if raw.and_then(target).is_some_and(|target| !is_target(target)) {
            return Some(Self::OddTarget);
        }
        let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
        if let Some(encoding) = encodings.next() {
            // Of both, the parser keeps the encoding only.
            if headers.contains_key(CONTENT_LENGTH) || raw.is_some_and(|raw| has_line(raw, b"content-length"))
            {
                return Some(Self::LengthAndEncoding);
            }
            if encodings.next().is_some() || !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Some(Self::OddEncoding);
            }
        }
        let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
        if let Some(length) = lengths.next()
            && (lengths.next().is_some() || !is_number(length))
        {
            return Some(Self::RepeatedLength);
        }
        let odd_host = headers.get_all(HOST).iter().any(|host| !is_host(host.as_bytes()));
        odd_host.then_some(Self::OddHost)
    }

    /// How records name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BareNewline => "bare_newline",
            Self::OddTarget => "odd_target",
            Self::RepeatedLength => "repeated_length",
            Self::LengthAndEncoding => "length_and_encoding",
            Self::OddEncoding => "odd_encoding",
            Self::OddHost => "odd_host",
        }
    }
}

/// The lines of an HTTP/1 head after the first, as they came, up to the empty one.
pub fn lines(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    let raw = raw.trim_ascii_start();
    let lines = raw.split(|byte| *byte == b'\n').skip(1);
    lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).take_while(|line| !line.is_empty())
}

fn has_bare_newline(raw: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', raw).any(|at| at.checked_sub(1).and_then(|at| raw.get(at)) != Some(&b'\r'))
}

/// The target in the first line of a head.
fn target(raw: &[u8]) -> Option<&[u8]> {
    raw.trim_ascii_start().split(|byte| *byte == b' ').nth(1)
}

/// Whether it has one of the forms of a target (RFC 9112, section 3.2); tunnels have another one, and are refused before.
fn is_target(target: &[u8]) -> bool {
    let absolute = |scheme: &[u8]| {
        target.split_at_checked(scheme.len()).is_some_and(|(start, _)| start.eq_ignore_ascii_case(scheme))
    };
    let formed =
        target.first() == Some(&b'/') || target == b"*" || absolute(b"http://") || absolute(b"https://");
    formed && !target.contains(&b'#')
}

fn has_line(raw: &[u8], name: &[u8]) -> bool {
    let names = |line: &[u8]| {
        let (start, rest) = line.split_at_checked(name.len())?;
        Some(start.eq_ignore_ascii_case(name) && rest.first() == Some(&b':'))
    };
    lines(raw).any(|line| names(line).unwrap_or(false))
}

fn is_number(value: &HeaderValue) -> bool {
    !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit)
}

/// Whether these are the characters of a host and port (RFC 3986, section 3.2), and neither two hosts nor a user's name.
fn is_host(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%[]:".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(head: &str, dropped: &[&str]) -> Option<WireFault> {
        let mut headers = HeaderMap::new();
        for line in lines(head.as_bytes()) {
            let (name, value) = std::str::from_utf8(line).unwrap().split_once(':').unwrap();
            if !dropped.contains(&name) {
                let name = http::HeaderName::try_from(name).unwrap();
                headers.append(name, HeaderValue::try_from(value.trim()).unwrap());
            }
        }
        WireFault::of(&headers, Some(head.as_bytes()))
    }

    #[test]
    fn an_ordinary_head_is_fine() {
        for head in [
            "GET / HTTP/1.1\r\nHost: a.example:80\r\nAccept: */*\r\n\r\n",
            "\r\nPOST / HTTP/1.1\r\nhost: [2001:db8::1]:80\r\ncontent-length: 3\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a_b.example\r\nTransfer-Encoding: Chunked\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
        ] {
            assert_eq!(fault(head, &[]), None, "{head:?}");
        }
    }

    #[test]
    fn a_length_that_the_parser_dropped_is_found_in_the_raw_head() {
        let both = "POST / HTTP/1.1\r\nhost: a\r\nCONTENT-LENGTH: 3\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(fault(both, &[]), Some(WireFault::LengthAndEncoding));
        assert_eq!(fault(both, &["CONTENT-LENGTH"]), Some(WireFault::LengthAndEncoding));
        let named = both.replace("CONTENT-LENGTH", "x-content-length");
        assert_eq!(fault(&named, &[]), None);
    }

    #[test]
    fn whatever_could_be_read_in_two_ways_has_a_name() {
        for (lines, found) in [
            ("host: a\nx: y\r\n", WireFault::BareNewline),
            ("content-length: 3\r\ncontent-length: 3\r\n", WireFault::RepeatedLength),
            ("content-length: 3, 3\r\n", WireFault::RepeatedLength),
            ("content-length: +3\r\n", WireFault::RepeatedLength),
            ("content-length:\r\n", WireFault::RepeatedLength),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", WireFault::OddEncoding),
            ("transfer-encoding: gzip, chunked\r\n", WireFault::OddEncoding),
            ("transfer-encoding: identity\r\n", WireFault::OddEncoding),
            ("host: a.example, b.example\r\n", WireFault::OddHost),
            ("host: a.example/b\r\n", WireFault::OddHost),
            ("host: user@a.example\r\n", WireFault::OddHost),
        ] {
            let head = format!("POST / HTTP/1.1\r\n{lines}\r\n");
            assert_eq!(fault(&head, &[]), Some(found), "{head:?}");
        }
    }

    #[test]
    fn a_target_is_a_path_or_all_of_a_url() {
        for fine in ["/", "*", "http://a/x", "HTTPS://a", "/x?y=http://b", "//x"] {
            assert_eq!(fault(&format!("GET {fine} HTTP/1.1\r\n\r\n"), &[]), None, "{fine}");
        }
        for odd in ["x", "%20/x", "ftp://a/", "a:80", "/x#y", "", "**"] {
            let found = fault(&format!("GET {odd} HTTP/1.1\r\n\r\n"), &[]);
            assert_eq!(found, Some(WireFault::OddTarget), "{odd}");
        }
    }

    #[test]
    fn without_raw_bytes_only_the_headers_are_looked_at() {
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_LENGTH, HeaderValue::from_static("3"));
        assert_eq!(WireFault::of(&headers, None), None);
        headers.append(CONTENT_LENGTH, HeaderValue::from_static("4"));
        assert_eq!(WireFault::of(&headers, None), Some(WireFault::RepeatedLength));
    }
}
