//! `POST /api/explain`: why a request is judged as it is. The body describes one, or names a recorded decision:
//! `{"id": "..."}`, which is judged again by the policy in use.

use async_trait::async_trait;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Admin, Answer, Asked, Endpoint, decisions};
use crate::cases::Described;
use crate::explain::Explanation;
use crate::pipeline::judge;
use crate::signals::RequestContext;
use crate::snapshot::Snapshot;

pub(super) struct Explain;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ById {
    id: Uuid,
}

#[async_trait]
impl Endpoint for Explain {
    fn method(&self) -> &'static str {
        "POST"
    }

    fn path(&self) -> &'static str {
        "/api/explain"
    }

    async fn answer(&self, admin: &Admin, asked: Asked) -> Answer {
        let snapshot = admin.live.pin();
        let context = match serde_json::from_slice::<ById>(&asked.body) {
            Ok(ById { id }) => recorded(admin, &snapshot, id).await,
            Err(_) => described(admin, &snapshot, &asked.body),
        };
        match context {
            Ok(context) => Answer::json(&Explanation::new(&snapshot, &context, &judge(&snapshot, &context))),
            Err(answer) => answer,
        }
    }
}

async fn recorded(admin: &Admin, snapshot: &Snapshot, id: Uuid) -> Result<RequestContext, Answer> {
    let line = decisions::find(admin, id).await;
    let line = line.map_err(|detail| Answer::problem(StatusCode::INTERNAL_SERVER_ERROR, &detail))?;
    let line = line.ok_or_else(|| Answer::problem(StatusCode::NOT_FOUND, "no such decision is kept"))?;
    let signals = serde_json::from_slice::<Map<String, Value>>(&line).ok();
    let signals = signals.and_then(|mut record| record.remove("signals"));
    let Some(Value::Object(signals)) = signals else {
        return Err(Answer::problem(StatusCode::INTERNAL_SERVER_ERROR, "the record has no `signals`"));
    };
    Ok(snapshot.policy().needs().read_recorded(&signals).0)
}

fn described(admin: &Admin, snapshot: &Snapshot, body: &[u8]) -> Result<RequestContext, Answer> {
    let body = if body.is_empty() { b"{}" } else { body };
    let described = serde_json::from_slice::<Described>(body);
    let described = described.map_err(|error| Answer::problem(StatusCode::BAD_REQUEST, &error.to_string()))?;
    described.context(snapshot, &admin.setting).map_err(|detail| Answer::problem(StatusCode::BAD_REQUEST, &detail))
}
