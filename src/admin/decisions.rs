//! `GET /api/decisions?limit=`: the recent records, newest first. `GET /api/decisions/{id}`: one, recent or logged.

use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;
use uuid::Uuid;

use super::{Admin, Answer, Asked, Endpoint};
use crate::record::find_in_files;

pub(super) struct Recent;
pub(super) struct One;

/// How many are shown unless asked for another number.
const DEFAULT_LIMIT: usize = 100;

#[async_trait]
impl Endpoint for Recent {
    fn method(&self) -> &'static str {
        "GET"
    }

    fn path(&self) -> &'static str {
        "/api/decisions"
    }

    async fn answer(&self, admin: &Admin, asked: Asked) -> Answer {
        let limit = asked.query.split('&').find_map(|pair| pair.strip_prefix("limit="));
        let Ok(limit) = limit.map_or(Ok(DEFAULT_LIMIT), str::parse) else {
            return Answer::problem(StatusCode::BAD_REQUEST, "`limit` must be a whole number");
        };
        let lines: Vec<Arc<[u8]>> = admin.recorder.recent().list(limit);
        let body = [b"[\n".as_slice(), &lines.join(b",\n".as_slice()), b"\n]\n"].concat();
        Answer { body, ..Answer::json(&()) }
    }
}

#[async_trait]
impl Endpoint for One {
    fn method(&self) -> &'static str {
        "GET"
    }

    fn path(&self) -> &'static str {
        "/api/decisions/{}"
    }

    async fn answer(&self, admin: &Admin, asked: Asked) -> Answer {
        let Ok(id) = asked.rest.parse::<Uuid>() else {
            return Answer::problem(StatusCode::BAD_REQUEST, "this is no decision id: it looks like a UUID");
        };
        match find(admin, id).await {
            Ok(Some(line)) => Answer { body: [&line, b"\n".as_slice()].concat(), ..Answer::json(&()) },
            Ok(None) => Answer::problem(StatusCode::NOT_FOUND, "no such decision is kept"),
            Err(detail) => Answer::problem(StatusCode::INTERNAL_SERVER_ERROR, &detail),
        }
    }
}

/// A record by its id: from the short memory, else from the log.
pub(super) async fn find(admin: &Admin, id: Uuid) -> Result<Option<Vec<u8>>, String> {
    if let Some(line) = admin.recorder.recent().find(id) {
        return Ok(Some(line.to_vec()));
    }
    let Some(path) = admin.decisions.clone() else { return Ok(None) };
    let found = tokio::task::spawn_blocking(move || find_in_files(&path, id)).await;
    found
        .map_err(|_| "the search broke off".to_owned())?
        .map_err(|error| format!("the log cannot be read: {error}"))
}
