//! `GET /healthz`: the process answers. `GET /readyz`: it wants requests.

use async_trait::async_trait;
use http::StatusCode;
use serde_json::json;

use super::{Admin, Answer, Asked, Endpoint};
use crate::proxy::drain::Stage;

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

    /// Not ready before clients can connect, nor while stopping, unless another process accepts in its place. A refused
    /// reload does not matter: the last good snapshot serves.
    async fn answer(&self, admin: &Admin, _: Asked) -> Answer {
        let not_ready = match admin.drain.stage() {
            Stage::Open | Stage::HandedOver => None,
            Stage::Starting => Some("starting"),
            Stage::Leaving | Stage::Draining => Some("stopping"),
        };
        if let Some(why) = not_ready {
            return Answer::problem(StatusCode::SERVICE_UNAVAILABLE, why);
        }
        Answer::json(&json!({ "status": "ready", "generation": admin.live.pin().generation() }))
    }
}
