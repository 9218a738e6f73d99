//! The admin listener: health, metrics, and an API to look into the gate.
//!
//! Each endpoint is one file and one line in `ENDPOINTS`. Health is open; everything else wants the token, if there
//! is one. Nothing here can show an address: what it shows are records, metrics and configuration.

mod decisions;
mod explain;
mod health;
mod metrics;
mod policy;
mod reload;
mod token;
pub mod traffic;
mod upstreams;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderName, Response, StatusCode};
use pingora::apps::http_app::{HttpServer, ServeHttp};
use pingora::protocols::http::ServerSession;
use serde::Serialize;

use crate::cases::Setting;
use crate::clock::Clock;
use crate::facts::request::{RequestHead, Scheme};
use crate::metrics::Metrics;
use crate::proxy::drain::Drain;
use crate::proxy::waiting::WaitingRoom;
use crate::record::Recorder;
use crate::reload::{Live, Requests};
use crate::scoreboard::{RouteNumbers, Scoreboard};
use crate::traffic::Traffic;
pub use token::Token;

/// What endpoints may look into.
pub struct Admin {
    /// The snapshot in use, and how the last reload went.
    pub live: Arc<Live>,
    /// Asks for reloads.
    pub requests: Requests,
    /// Recent records.
    pub recorder: Recorder,
    /// What is counted for operators.
    pub metrics: Arc<Metrics>,
    /// What became of the requests of the last seconds.
    pub scoreboard: Arc<Scoreboard>,
    /// All that limits and scripts count.
    pub traffic: Arc<Traffic>,
    /// Where requests wait that limits delay.
    pub room: Arc<WaitingRoom>,
    /// The numbers of the routes.
    pub routes: Arc<RouteNumbers>,
    /// The clocks.
    pub clock: Clock,
    /// How described requests are judged.
    pub setting: Setting,
    /// Whether the process is stopping.
    pub drain: Drain,
    /// What operators must show; `None` on loopback only.
    pub token: Option<Token>,
    /// The log of decisions, if it is written.
    pub decisions: Option<PathBuf>,
}

/// One endpoint.
#[async_trait]
trait Endpoint: Sync {
    /// The method it answers.
    fn method(&self) -> &'static str;
    /// The path it answers; a last segment `{}` stands for anything.
    fn path(&self) -> &'static str;
    /// Whether anybody may ask.
    fn is_open(&self) -> bool {
        false
    }
    /// The answer.
    async fn answer(&self, admin: &Admin, asked: Asked) -> Answer;
}

/// Every endpoint.
const ENDPOINTS: &[&dyn Endpoint] = &[
    &health::Health,
    &health::Ready,
    &metrics::Metrics,
    &decisions::Recent,
    &decisions::One,
    &policy::Policy,
    &traffic::Traffic,
    &upstreams::Upstreams,
    &explain::Explain,
    &reload::Reload,
];

/// What an endpoint is asked.
struct Asked {
    /// What `{}` in its path stands for.
    rest: String,
    /// The query, without `?`.
    query: String,
    /// The body.
    body: Vec<u8>,
}

/// What an endpoint answers.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    header: Option<(HeaderName, String)>,
    body: Vec<u8>,
}

/// The most bytes of a body that are kept.
const MAX_BODY: usize = 64 * 1024;
/// The most bytes of a body that are read, so that a refusal arrives before the connection is closed.
const MAX_READ: usize = 128 * MAX_BODY;
/// How long to wait for the next bytes of a body.
const PATIENCE: Duration = Duration::from_secs(10);

impl Admin {
    /// The application that answers operators.
    pub fn app(self) -> HttpServer<Self> {
        HttpServer::new_app(self)
    }

    async fn answer(&self, session: &mut ServerSession) -> Answer {
        let request = session.req_header();
        let (method, path) = (request.method.as_str().to_owned(), request.uri.path().to_owned());
        let query = request.uri.query().unwrap_or("").to_owned();
        let host = RequestHead::read(request, Scheme::Http).host().to_owned();
        let shown = request.headers.get(AUTHORIZATION).map(|value| value.as_bytes().to_vec());
        let known =
            ENDPOINTS.iter().filter_map(|endpoint| Some((endpoint, matched(endpoint.path(), &path)?)));
        let known: Vec<_> = known.collect();
        let asked_method = if method == "HEAD" { "GET" } else { method.as_str() };
        let Some((endpoint, rest)) = known.iter().find(|(endpoint, _)| endpoint.method() == asked_method)
        else {
            return no_such_endpoint(
                &known.iter().map(|(endpoint, _)| endpoint.method()).collect::<Vec<_>>(),
            );
        };
        if let Some(refusal) = self.refusal(shown.as_deref(), &host).filter(|_| !endpoint.is_open()) {
            return refusal;
        }
        match read_body(session).await {
            Ok(body) => endpoint.answer(self, Asked { rest: rest.clone(), query, body }).await,
            Err(refusal) => refusal,
        }
    }

    /// Why this caller may not ask. With a token, it must be shown. Without one, only loopback can connect, and
    /// must mean to: a page in an operator's browser that gives a name of its own to 127.0.0.1 does not.
    fn refusal(&self, shown: Option<&[u8]>, host: &str) -> Option<Answer> {
        match &self.token {
            Some(token) if token.is_shown_by(shown) => None,
            Some(_) => {
                let detail = "show the admin token as `Authorization: Bearer ...`";
                Some(Answer::problem(StatusCode::UNAUTHORIZED, detail).with(WWW_AUTHENTICATE, "Bearer"))
            }
            None if is_loopback(host) => None,
            None => {
                let detail = "without an admin token, ask `localhost` or a loopback address by that name";
                Some(Answer::problem(StatusCode::FORBIDDEN, detail))
            }
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        session.set_read_timeout(Some(PATIENCE));
        let head_only = session.req_header().method == http::Method::HEAD;
        let answer = self.answer(session).await;
        let mut response = Response::builder()
            .status(answer.status)
            .header(CONTENT_TYPE, answer.content_type)
            .header(CONTENT_LENGTH, answer.body.len())
            .header(CACHE_CONTROL, "no-store");
        if let Some((name, value)) = answer.header {
            response = response.header(name, value);
        }
        let body = if head_only { Vec::new() } else { answer.body };
        response.body(body).unwrap_or_default()
    }
}

impl Answer {
    fn json(value: &impl Serialize) -> Self {
        // These types have no maps with odd keys, so they always become JSON.
        let mut body = serde_json::to_vec_pretty(value).unwrap_or_default();
        body.push(b'\n');
        Self { status: StatusCode::OK, content_type: "application/json", header: None, body }
    }

    fn text(text: String) -> Self {
        let content_type = "text/plain; version=0.0.4; charset=utf-8";
        Self { status: StatusCode::OK, content_type, header: None, body: text.into_bytes() }
    }

    fn problem(status: StatusCode, detail: &str) -> Self {
        let title = status.canonical_reason().unwrap_or("error");
        let body = serde_json::json!({ "status": status.as_u16(), "title": title, "detail": detail });
        Self { status, content_type: "application/problem+json", ..Self::json(&body) }
    }

    fn with(self, name: HeaderName, value: impl Into<String>) -> Self {
        Self { header: Some((name, value.into())), ..self }
    }
}

/// Whether a host without port names this machine's loopback.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn no_such_endpoint(methods: &[&str]) -> Answer {
    if methods.is_empty() {
        let known: Vec<String> =
            ENDPOINTS.iter().map(|endpoint| format!("{} {}", endpoint.method(), endpoint.path())).collect();
        return Answer::problem(StatusCode::NOT_FOUND, &format!("there is {}", known.join(", ")));
    }
    // What answers GET answers HEAD.
    let allowed = methods.join(", ").replace("GET", "GET, HEAD");
    let detail = format!("this takes {allowed}");
    Answer::problem(StatusCode::METHOD_NOT_ALLOWED, &detail).with(ALLOW, allowed)
}

/// What `{}` at the end of `pattern` stands for in `path`; empty without `{}`; `None` if they do not match.
fn matched(pattern: &str, path: &str) -> Option<String> {
    match pattern.strip_suffix("{}") {
        Some(start) => path.strip_prefix(start).filter(|rest| !rest.is_empty()).map(str::to_owned),
        None => (pattern == path).then(String::new),
    }
}

/// The whole body, unless it is too large or breaks off.
async fn read_body(session: &mut ServerSession) -> Result<Vec<u8>, Answer> {
    let broken = |_| Answer::problem(StatusCode::BAD_REQUEST, "the body breaks off");
    let (mut body, mut read) = (Vec::new(), 0);
    while let Some(chunk) = session.read_request_body().await.map_err(broken)? {
        read += chunk.len();
        if read <= MAX_BODY {
            body.extend_from_slice(&chunk);
        } else if read > MAX_READ {
            break;
        }
    }
    if read > MAX_BODY {
        return Err(Answer::problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 64 KiB"));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_one_method_and_path() {
        let mut seen = std::collections::HashSet::new();
        assert!(ENDPOINTS.iter().all(|endpoint| seen.insert((endpoint.method(), endpoint.path()))));
    }

    #[test]
    fn only_health_is_open() {
        let open: Vec<_> = ENDPOINTS.iter().filter(|e| e.is_open()).map(|e| e.path()).collect();
        assert_eq!(open, ["/healthz", "/readyz"]);
    }

    #[test]
    fn only_names_of_loopback_are_loopback() {
        assert!(["localhost", "127.0.0.1", "127.9.9.9", "[::1]"].iter().all(|host| is_loopback(host)));
        assert!(
            ["", "evil.example", "localhost.evil.example", "10.0.0.1", "[::2]"]
                .iter()
                .all(|h| !is_loopback(h))
        );
    }

    #[test]
    fn a_placeholder_stands_for_the_rest() {
        assert_eq!(matched("/api/decisions/{}", "/api/decisions/x").as_deref(), Some("x"));
        assert_eq!(matched("/api/decisions/{}", "/api/decisions/"), None);
        assert_eq!(matched("/healthz", "/healthz").as_deref(), Some(""));
        assert_eq!(matched("/healthz", "/healthzz"), None);
    }
}
