//! What scripts say once there is a response: their `observe`, asked about what was sent.
//!
//! Nobody waits for it any more, so that a signal that panics here takes nothing from the client, nor its request from the
//! log of decisions.

use pingora::proxy::Session;

use super::exchange::{self, Judged};
use super::failure::Failure;
use super::{Gate, panics};
use crate::decision::Evaluation;
use crate::facts::request::RequestHead;
use crate::facts::time::Tick;
use crate::pipeline::{self, Observation};
use crate::signals::Response;

impl Gate {
    /// What scripts say of a response; nothing, if that panics.
    pub(super) fn observe(
        &self,
        session: &Session,
        head: &RequestHead<'_>,
        judged: &Judged,
        failure: Option<Failure>,
        ended: Tick,
    ) -> Evaluation {
        let Some(context) = &judged.seen.observers else { return Evaluation::default() };
        let observed = panics::caught_at_once(|| {
            let response = Response {
                status: exchange::status(session, failure),
                size: u64::try_from(session.body_bytes_sent()).unwrap_or(u64::MAX),
                seconds: judged.since(ended).as_secs_f64(),
                from_origin: judged.was_answered_by_origin(),
                headers: session.response_written().map(|sent| &sent.headers),
            };
            let observation = Observation {
                head,
                client: &judged.caller.client,
                response: &response,
                now: self.clock.now(),
                secrets: &judged.caller.secrets,
                tls: judged.caller.tls(),
            };
            pipeline::observe(&judged.snapshot, &judged.seen.subject, context, &observation)
        });
        observed.unwrap_or_else(|panicked| {
            self.broken(panicked);
            Evaluation::default()
        })
    }
}
