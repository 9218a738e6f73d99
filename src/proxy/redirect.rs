//! Where a request is sent that came in the clear to a listener that only says "by HTTPS".

use http::HeaderValue;
use pingora::http::ResponseHeader;

use crate::facts::request::RequestHead;

/// The answer that sends a request to the same place by HTTPS. Method and body are kept (308), unless somebody typed an
/// address: those who only `GET` know 301 best. `None` if it does not say where it wants to go.
pub fn to_https(head: &RequestHead<'_>, target: &str, port: u16) -> Option<ResponseHeader> {
    let host = Some(head.host()).filter(|host| !host.is_empty())?;
    let target = if target.starts_with('/') { target } else { "/" };
    let location = match port {
        443 => format!("https://{host}{target}"),
        port => format!("https://{host}:{port}{target}"),
    };
    let status = if matches!(head.method(), "GET" | "HEAD") { 301 } else { 308 };
    let mut header = ResponseHeader::build(status, Some(3)).ok()?;
    header.insert_header(http::header::LOCATION, HeaderValue::from_str(&location).ok()?).ok()?;
    header.insert_header(http::header::CONTENT_LENGTH, 0).ok()?;
    header.insert_header(http::header::CACHE_CONTROL, "no-store").ok()?;
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::request::Scheme;

    fn location(method: &str, uri: &str, host: Option<&str>, port: u16) -> Option<(u16, String)> {
        let mut request = http::Request::builder().method(method).uri(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let header = to_https(&RequestHead::read(&parts, Scheme::Http), &target, port)?;
        Some((header.status.as_u16(), header.headers.get("location")?.to_str().unwrap().to_owned()))
    }

    #[test]
    fn the_place_stays_the_same() {
        let answer = |status, text: &str| Some((status, text.to_owned()));
        let host = Some("Api.example:80");
        assert_eq!(location("GET", "/a/b?c=d", host, 443), answer(301, "https://api.example/a/b?c=d"));
        assert_eq!(location("POST", "/a", host, 8443), answer(308, "https://api.example:8443/a"));
        assert_eq!(location("HEAD", "/", Some("[2001:db8::1]"), 443), answer(301, "https://[2001:db8::1]/"));
        assert_eq!(location("OPTIONS", "*", host, 443), answer(308, "https://api.example/"));
        assert_eq!(location("GET", "/", None, 443), None);
    }
}
