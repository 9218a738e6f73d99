//! The gate that is asked: its admin API over plain HTTP, and what can be wrong with that.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use http::StatusCode;
use ureq::Agent;
use zeroize::Zeroizing;

use crate::admin::Token;
use crate::admin::traffic::{Sort, View};

/// A gate that can be asked, again and again over one connection.
pub(super) struct Gate {
    agent: Agent,
    address: String,
    token: Option<Token>,
}

/// What was typed as a token; it never shows.
#[derive(Clone)]
pub(super) struct Secret(Zeroizing<String>);

/// Why a gate cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum GateError {
    #[error("`{0}` is no address of an admin API, write it like `http://127.0.0.1:9090`")]
    Address(String),
    #[error("the token {why}, {hint}")]
    Token { why: &'static str, hint: &'static str },
    #[error("the token in `{}` cannot be read: {error}", .path.display())]
    TokenFile { path: PathBuf, error: io::Error },
}

/// Why a gate did not say how things are.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error("no answer from `{address}`: {error}; is the gate running, and is this its admin address?")]
    Unreachable { address: String, error: ureq::Error },
    #[error("`{0}` wants the admin token, give it with `--token-file` or in `RISKGATE_ADMIN_TOKEN`")]
    Token(String),
    #[error("`{0}` has no `/api/traffic`; is this the admin address of a gate of this version?")]
    NoTraffic(String),
    #[error("`{address}` answers {status}: {detail}")]
    Refused { address: String, status: StatusCode, detail: String },
    #[error("what `{address}` answers cannot be read: {error}")]
    Unreadable { address: String, error: serde_json::Error },
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of an answer.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

impl Gate {
    /// A gate at an address, and its token: what a file holds comes before what was typed.
    pub(super) fn new(
        address: &str,
        token: Option<&Secret>,
        token_file: Option<&Path>,
    ) -> Result<Self, GateError> {
        let config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("riskgate/", env!("CARGO_PKG_VERSION")));
        let token = match (token_file, token) {
            (Some(path), _) => Some(Secret::of_file(path)?.parse()?),
            (None, Some(typed)) => Some(typed.parse()?),
            (None, None) => None,
        };
        Ok(Self { agent: config.build().new_agent(), address: normal(address)?, token })
    }

    /// Where it is, as a URL.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Asks how things are.
    pub(super) fn look(&self, rows: usize, sort: Sort) -> Result<View, LookError> {
        let unreachable = |error| LookError::Unreachable { address: self.address.clone(), error };
        let url = format!("{}/api/traffic?limit={rows}&sort={}", self.address, sort.as_str());
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header("authorization", token.authorization().as_str());
        }
        let mut response = request.call().map_err(unreachable)?;
        let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(unreachable)?;
        self.read(response.status(), &body)
    }

    fn read(&self, status: StatusCode, body: &[u8]) -> Result<View, LookError> {
        let address = self.address.clone();
        match status {
            StatusCode::OK => {
                serde_json::from_slice(body).map_err(|error| LookError::Unreadable { address, error })
            }
            StatusCode::UNAUTHORIZED => Err(LookError::Token(address)),
            StatusCode::NOT_FOUND => Err(LookError::NoTraffic(address)),
            status => {
                let problem = serde_json::from_slice::<serde_json::Value>(body).unwrap_or_default();
                let detail = problem.get("detail").and_then(|detail| detail.as_str());
                let detail = detail.unwrap_or("it does not say why").to_owned();
                Err(LookError::Refused { address, status, detail })
            }
        }
    }
}

/// A URL without a path.
fn normal(address: &str) -> Result<String, GateError> {
    let wrong = || GateError::Address(address.to_owned());
    let authority = match address.split_once("://") {
        Some(("http", authority)) => authority,
        Some(_) => return Err(wrong()),
        None => address,
    };
    let authority = authority.trim_end_matches('/');
    let plain = authority.parse::<http::uri::Authority>().is_ok_and(|known| !known.host().is_empty());
    // What stands before an `@` would be a password on the screen.
    if plain && !authority.contains('@') { Ok(format!("http://{authority}")) } else { Err(wrong()) }
}

impl Secret {
    fn of_file(path: &Path) -> Result<Self, GateError> {
        let read = std::fs::read_to_string(path);
        let read = read.map_err(|error| GateError::TokenFile { path: path.to_path_buf(), error })?;
        Ok(Self(Zeroizing::new(read)))
    }

    fn parse(&self) -> Result<Token, GateError> {
        let token = Token::parse(self.0.trim_end_matches(['\r', '\n']));
        token.map_err(|(why, hint)| GateError::Token { why, hint })
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_perhaps_a_port() {
        for (typed, address) in [
            ("http://127.0.0.1:9090", "http://127.0.0.1:9090"),
            ("http://gate.internal/", "http://gate.internal"),
            ("[::1]:9090", "http://[::1]:9090"),
            ("localhost:9090", "http://localhost:9090"),
        ] {
            assert_eq!(normal(typed).unwrap(), address);
        }
        for typed in
            ["", "http://", "https://gate:9090", "http://gate/api", "http://a@gate", "gate 1", "file:///x"]
        {
            let error = normal(typed).unwrap_err().to_string();
            assert!(error.ends_with("write it like `http://127.0.0.1:9090`"), "{error}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let gate = Gate::new("http://gate:1", None, None).unwrap();
        let said = |status, body: &str| gate.read(status, body.as_bytes()).unwrap_err().to_string();
        assert!(said(StatusCode::UNAUTHORIZED, "").contains("RISKGATE_ADMIN_TOKEN"));
        assert!(said(StatusCode::NOT_FOUND, "").contains("is this the admin address"));
        assert_eq!(
            said(StatusCode::FORBIDDEN, r#"{"detail":"ask `localhost`"}"#),
            "`http://gate:1` answers 403 Forbidden: ask `localhost`"
        );
        assert!(said(StatusCode::OK, "<html>").contains("cannot be read"));
    }

    #[test]
    fn a_token_is_read_from_a_file_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        let gate = Gate::new("gate:1", Some(&"typed".parse().unwrap()), Some(&path)).unwrap();
        assert_eq!(gate.token.unwrap().authorization().as_str(), "Bearer 0123456789abcdef");
        let typed: Secret = "short".parse().unwrap();
        let error = Gate::new("gate:1", Some(&typed), None).err().unwrap().to_string();
        assert!(error.contains("fewer than 16") && !error.contains("short"), "{error}");
        assert_eq!(format!("{typed:?}"), "Secret");
        let missing = Gate::new("gate:1", None, Some(&folder.path().join("none"))).err().unwrap().to_string();
        assert!(missing.contains("cannot be read"), "{missing}");
    }
}
