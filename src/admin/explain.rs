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

/// What the body asks for.
enum Question {
    Recorded(Uuid),
    Described(Box<Described>),
}

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
        let read = match Question::parse(&asked.body) {
            Ok(Question::Recorded(id)) => recorded(admin, &snapshot, id).await,
            Ok(Question::Described(described)) => {
                let context = described.context(&snapshot, &admin.setting).map_err(|detail| bad(&detail));
                context.map(|context| (context, Vec::new()))
            }
            Err(error) => Err(bad(&error.to_string())),
        };
        match read {
            Ok((context, unrecorded)) => {
                let explanation = Explanation::new(&snapshot, &context, &judge(&snapshot, &context));
                Answer::json(&explanation.without(unrecorded))
            }
            Err(answer) => answer,
        }
    }
}

impl Question {
    /// Reads a body; an empty one describes nothing in particular.
    fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        let body = if body.is_empty() { b"{}" } else { body };
        // A struct alone would also be read from an array.
        let json: Map<String, Value> = serde_json::from_slice(body)?;
        let by_id = json.contains_key("id");
        let json = Value::Object(json);
        if by_id {
            return serde_json::from_value(json).map(|ById { id }| Self::Recorded(id));
        }
        serde_json::from_value(json).map(Box::new).map(Self::Described)
    }
}

fn bad(detail: &str) -> Answer {
    Answer::problem(StatusCode::BAD_REQUEST, detail)
}

/// What a recorded request was judged by, and the signals that its record lacks.
async fn recorded(
    admin: &Admin,
    snapshot: &Snapshot,
    id: Uuid,
) -> Result<(RequestContext<'static>, Vec<String>), Answer> {
    let line = decisions::find(admin, id).await;
    let line = line.map_err(|detail| Answer::problem(StatusCode::INTERNAL_SERVER_ERROR, &detail))?;
    let line = line.ok_or_else(|| Answer::problem(StatusCode::NOT_FOUND, "no such decision is kept"))?;
    let signals = serde_json::from_slice::<Map<String, Value>>(&line).ok();
    let signals = signals.and_then(|mut record| record.remove("signals"));
    let Some(Value::Object(signals)) = signals else {
        return Err(Answer::problem(StatusCode::INTERNAL_SERVER_ERROR, "the record has no `signals`"));
    };
    Ok(snapshot.policy().needs().read_recorded(&signals))
}
