//! Where a request is sent that came in the clear to a listener that only says "by HTTPS".

use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, LOCATION};
use pingora::http::ResponseHeader;

use crate::facts::request::RequestHead;

/// The answer that sends a request to the same place by HTTPS. Method and body are kept (308), unless somebody typed an
/// address: those who only `GET` know 301 best. Who does not say where to go gets a 400. Fails only if Pingora cannot
/// hold the header.
pub fn to_https(head: &RequestHead<'_>, target: &str, port: u16) -> pingora::Result<ResponseHeader> {
    let location = location(head.host(), if target.starts_with('/') { target } else { "/" }, port);
    let status = match (&location, head.method()) {
        (None, _) => 400,
        (Some(_), "GET" | "HEAD") => 301,
        (Some(_), _) => 308,
    };
    let mut header = ResponseHeader::build(status, Some(3))?;
    if let Some(location) = location {
        header.insert_header(LOCATION, location)?;
    }
    header.insert_header(CONTENT_LENGTH, 0)?;
    header.insert_header(CACHE_CONTROL, "no-store")?;
    Ok(header)
}

fn location(host: &str, target: &str, port: u16) -> Option<HeaderValue> {
    let host = Some(host).filter(|host| !host.is_empty())?;
    let location = match port {
        443 => format!("https://{host}{target}"),
        port => format!("https://{host}:{port}{target}"),
    };
    HeaderValue::try_from(location).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::request::Scheme;

    fn location(method: &str, uri: &str, host: Option<&str>, port: u16) -> (u16, Option<String>) {
        let mut request = http::Request::builder().method(method).uri(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let header = to_https(&RequestHead::read(&parts, Scheme::Http), &target, port).unwrap();
        let location = header.headers.get("location").map(|text| text.to_str().unwrap().to_owned());
        (header.status.as_u16(), location)
    }

    #[test]
    fn the_place_stays_the_same() {
        let answer = |status, text: &str| (status, Some(text.to_owned()));
        let host = Some("Api.example:80");
        assert_eq!(location("GET", "/a/b?c=d", host, 443), answer(301, "https://api.example/a/b?c=d"));
        assert_eq!(location("POST", "/a", host, 8443), answer(308, "https://api.example:8443/a"));
        assert_eq!(location("HEAD", "/", Some("[2001:db8::1]"), 443), answer(301, "https://[2001:db8::1]/"));
        assert_eq!(location("OPTIONS", "*", host, 443), answer(308, "https://api.example/"));
        assert_eq!(location("GET", "/", None, 443), (400, None));
    }
}
