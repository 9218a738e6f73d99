//! `GET /healthz`: the process answers. `GET /readyz`: it wants requests.

use async_trait::async_trait;
use http::StatusCode;
use serde_json::json;

use super::{Admin, Answer, Asked, Endpoint};

pub(super) struct Health;
pub(super) struct Ready;

#[async_trait]
impl Endpoint for Health {
    fn method(&self) -> &'static str {
        "GET"
    }

    fn path(&self) -> &'static str {
        "/healthz"
    }

    fn is_open(&self) -> bool {
        true
    }

    async fn answer(&self, _: &Admin, _: Asked) -> Answer {
        Answer::json(&json!({ "status": "ok" }))
    }
}

#[async_trait]
impl Endpoint for Ready {
    fn method(&self) -> &'static str {
        "GET"
    }

    fn path(&self) -> &'static str {
        "/readyz"
    }

    fn is_open(&self) -> bool {
        true
    }

    /// Not ready while stopping. A refused reload does not matter: the last good snapshot serves.
    async fn answer(&self, admin: &Admin, _: Asked) -> Answer {
        if admin.drain.has_begun() {
            return Answer::problem(StatusCode::SERVICE_UNAVAILABLE, "stopping");
        }
        Answer::json(&json!({ "status": "ready", "generation": admin.live.pin().generation() }))
    }
}
