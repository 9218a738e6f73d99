//! The built-in echo origin: something to proxy to while trying the gate out.
//!
//! It answers every request with what reached it, as JSON: method, path, headers and the body's size (the body
//! is counted as it streams, never kept). `GET /status/{code}` answers with that status, `/delay/{ms}` after
//! that time. It listens on a Unix socket inside a folder that only this user can enter, so it takes no port
//! and nobody reaches it around the gate; the folder goes when the [`EchoOrigin`] is dropped.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use pingora::apps::http_app::{HttpServer, ServeHttp};
use pingora::protocols::http::ServerSession;
use pingora::services::listening::Service;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use tempfile::TempDir;

use super::server::Bound;

/// The echo origin's address, and its private folder for as long as this lives. Keep it in `main` until the
/// server has stopped: a service may be cut off without being dropped.
#[derive(Debug)]
pub struct EchoOrigin {
    socket: PathBuf,
    _folder: TempDir,
}

/// Why the echo origin cannot start.
#[derive(Debug, thiserror::Error)]
#[error("the built-in origin cannot listen below `{place}` ({source}); set TMPDIR to a writable, short path")]
pub struct OriginError {
    place: PathBuf,
    source: io::Error,
}

/// What answers; see the module.
#[derive(Debug)]
pub struct Echo;

/// No answer is delayed longer.
const MAX_DELAY: Duration = Duration::from_secs(10);

impl EchoOrigin {
    /// Makes the private folder and listens in it. Requests wait until the service runs in a server.
    pub fn bind() -> Result<(Self, Bound<HttpServer<Echo>>), OriginError> {
        let place = std::env::temp_dir();
        Self::bind_below(&place).map_err(|source| OriginError { place, source })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    fn bind_below(place: &Path) -> io::Result<(Self, Bound<HttpServer<Echo>>)> {
        let private = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("riskgate-").permissions(private).tempdir_in(place)?;
        let socket = folder.path().join("origin.sock");
        let path = socket.to_str().ok_or_else(|| io::Error::other("the path is not UTF-8"))?;
        let mut service = Service::new("echo origin".to_owned(), HttpServer::new_app(Echo));
        service.threads = Some(1);
        let bound = Bound::new(service).unix(path, UnixListener::bind(path)?)?;
        Ok((Self { socket, _folder: folder }, bound))
    }
}

/// What reached the origin.
#[derive(Serialize)]
struct Seen<'a> {
    method: &'a str,
    path: &'a str,
    headers: Headers<'a>,
    body_bytes: u64,
}

/// Headers in the order in which they came; a repeated one is an array.
struct Headers<'a>(&'a HeaderMap);

#[async_trait]
impl ServeHttp for Echo {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let command = Command::of(session);
        if let Command::Delay(time) = command {
            tokio::time::sleep(time).await;
        }
        let body_bytes = count_body(session).await;
        match (command, body_bytes) {
            (_, None) => answer(session, StatusCode::BAD_REQUEST, b"{}\n".to_vec()),
            (Command::Unknown, _) => answer(session, StatusCode::BAD_REQUEST, USAGE.to_vec()),
            (Command::Status(status), Some(count)) => answer(session, status, echo(session, count)),
            (Command::Echo | Command::Delay(_), Some(count)) => {
                answer(session, StatusCode::OK, echo(session, count))
            }
        }
    }
}

const USAGE: &[u8] = b"{\n  \"usage\": [\"/status/200 to /status/599\", \"/delay/{milliseconds}\"]\n}\n";

/// What the path asks for.
#[derive(Clone, Copy)]
enum Command {
    Echo,
    Status(StatusCode),
    Delay(Duration),
    Unknown,
}

impl Command {
    fn of(session: &ServerSession) -> Self {
        let path = session.req_header().uri.path();
        if let Some(code) = path.strip_prefix("/status/") {
            let code = code.parse().ok().filter(|code| (200..=599).contains(code));
            return code.and_then(|code| StatusCode::from_u16(code).ok()).map_or(Self::Unknown, Self::Status);
        }
        if let Some(millis) = path.strip_prefix("/delay/") {
            let delay = |millis| Self::Delay(Duration::from_millis(millis).min(MAX_DELAY));
            return millis.parse().map_or(Self::Unknown, delay);
        }
        Self::Echo
    }
}

/// Reads the body to its end; `None` if it broke off.
async fn count_body(session: &mut ServerSession) -> Option<u64> {
    if session.get_header(EXPECT).is_some() {
        let go_on = pingora::http::ResponseHeader::build(StatusCode::CONTINUE, Some(0)).ok()?;
        session.write_response_header(Box::new(go_on)).await.ok()?;
    }
    let mut count = 0;
    while let Some(chunk) = session.read_request_body().await.ok()? {
        count += chunk.len() as u64;
    }
    Some(count)
}

fn echo(session: &ServerSession, body_bytes: u64) -> Vec<u8> {
    let request = session.req_header();
    let target = request.uri.path_and_query().map_or("*", |target| target.as_str());
    let headers = Headers(&request.headers);
    let seen = Seen { method: request.method.as_str(), path: target, headers, body_bytes };
    let mut json = serde_json::to_vec_pretty(&seen).unwrap_or_default();
    json.push(b'\n');
    json
}

fn answer(session: &ServerSession, status: StatusCode, body: Vec<u8>) -> Response<Vec<u8>> {
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut response = Response::new(Vec::new());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !bodiless {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    if !bodiless && session.req_header().method != Method::HEAD {
        *response.body_mut() = body;
    }
    response
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut map = serializer.serialize_map(Some(self.0.keys_len()))?;
        for name in self.0.keys() {
            let values: Vec<_> = self.0.get_all(name).iter().map(text).collect();
            match values.as_slice() {
                [value] => map.serialize_entry(name.as_str(), value)?,
                several => map.serialize_entry(name.as_str(), several)?,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn nobody_else_can_enter_the_folder_and_it_goes_with_the_origin() {
        let (origin, _service) = EchoOrigin::bind().unwrap();
        let folder = origin.socket().parent().unwrap().to_owned();
        assert_eq!(mode(&folder), 0o700);
        assert!(origin.socket().exists());
        drop(origin);
        assert!(!folder.exists());
    }

    #[test]
    fn a_place_that_does_not_work_is_named() {
        let source = EchoOrigin::bind_below(Path::new("/nowhere")).err().unwrap();
        let error = OriginError { place: "/nowhere".into(), source };
        assert!(error.to_string().contains("`/nowhere`"), "{error}");
        let long = tempfile::Builder::new().prefix(&"x".repeat(120)).tempdir().unwrap();
        assert!(EchoOrigin::bind_below(long.path()).is_err());
    }

    #[test]
    fn repeated_headers_are_arrays_in_the_order_of_arrival() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("host", "a"), ("accept", "x"), ("accept", "y"), ("b", "z")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let seen = Seen { method: "GET", path: "/", headers: Headers(&headers), body_bytes: 3 };
        assert_eq!(
            serde_json::to_string(&seen).unwrap(),
            r#"{"method":"GET","path":"/","headers":{"host":"a","accept":["x","y"],"b":"z"},"body_bytes":3}"#
        );
    }
}
