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
        if let Some(why) = not_ready(admin.drain.stage()) {
            return Answer::problem(StatusCode::SERVICE_UNAVAILABLE, why);
        }
        Answer::json(&json!({ "status": "ready", "generation": admin.live.pin().generation() }))
    }
}

/// Why a gate that has come so far is not to be sent requests; `None` if it is.
fn not_ready(stage: Stage) -> Option<&'static str> {
    match stage {
        Stage::Open | Stage::HandedOver => None,
        Stage::Starting => Some("starting"),
        Stage::Leaving | Stage::Draining => Some("stopping"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::drain::Drain;

    #[test]
    fn a_gate_is_ready_from_its_open_doors_to_the_first_word_of_leaving() {
        let drain = Drain::new();
        let mut said = vec![not_ready(drain.stage())];
        for step in [Drain::open, Drain::leave, Drain::begin] {
            step(&drain);
            said.push(not_ready(drain.stage()));
        }
        assert_eq!(said, [Some("starting"), None, Some("stopping"), Some("stopping")]);
    }

    #[test]
    fn a_gate_that_handed_over_is_ready_for_the_other_one_is() {
        let drain = Drain::new();
        drain.open();
        drain.hand_over();
        assert_eq!(not_ready(drain.stage()), None);
    }
}
