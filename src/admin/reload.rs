//! `POST /api/reload`: read everything again now, and say how it went.

use async_trait::async_trait;
use http::StatusCode;

use super::{Admin, Answer, Asked, Endpoint, policy};
use crate::reload::ReloadOutcome;

pub(super) struct Reload;

#[async_trait]
impl Endpoint for Reload {
    fn method(&self) -> &'static str {
        "POST"
    }

    fn path(&self) -> &'static str {
        "/api/reload"
    }

    /// 200 if something was published or nothing had changed, 422 if the candidate was refused.
    async fn answer(&self, admin: &Admin, _: Asked) -> Answer {
        let last = admin.requests.reload().await;
        let mut answer = Answer::json(&policy::last_reload(&last));
        if matches!(last.outcome, ReloadOutcome::Refused(_)) {
            answer.status = StatusCode::UNPROCESSABLE_ENTITY;
        }
        answer
    }
}
