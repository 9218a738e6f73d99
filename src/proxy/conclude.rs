//! The end of a request: a failure is answered, and what became of it is counted and recorded.
//!
//! A panic in here takes nothing from others on the connection. What the request holds is given back in any case, since it
//! goes with its [`Exchange`].

use pingora::Error;
use pingora::proxy::{FailToProxy, Session};
use tracing::debug;

use super::door::Connection;
use super::enforce::{self, Sentence};
use super::exchange::{self, Exchange};
use super::failure::Failure;
use super::{Gate, panics};
use crate::facts::request::RequestHead;

impl Gate {
    /// Answers a request that was not proxied, as far as it was not answered. What Pingora is to think of it.
    pub(super) async fn answer_failure(
        &self,
        session: &mut Session,
        error: &Error,
        exchange: &mut Exchange,
    ) -> FailToProxy {
        let failure = Failure::of(error);
        let answer = std::pin::pin!(async {
            if let Some(judged) = exchange.judged_mut() {
                enforce::answer_failure(session, judged, failure, self.clock.tick()).await;
                debug!(decision = %judged.id, ?failure, kind = error.etype().as_str(), "not proxied");
            } else {
                enforce::answer_unjudged(session, exchange::id_at(self.clock.now()), failure).await;
            }
        });
        if let Err(panicked) = panics::caught(answer).await {
            self.broken(panicked);
        }
        FailToProxy { error_code: failure.recorded_status(), can_reuse_downstream: false }
    }

    /// Counts and records what became of a request.
    pub(super) fn conclude(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
        if let Err(panicked) = panics::caught_at_once(|| self.account(session, error, exchange)) {
            self.broken(panicked);
        }
    }

    fn account(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
        if let Some(connection) = Connection::of(session).filter(|_| !session.is_http2()) {
            connection.pulse.rested();
        }
        let Some(mut judged) = exchange.finish() else { return };
        let (now, failure) = (self.clock.tick(), error.map(Failure::of));
        judged.release(now);
        if let (Some(failure), Some(upstream)) = (failure, judged.upstream())
            && failure.is_upstream()
        {
            self.metrics.upstream_failed(upstream.name());
        }
        let head = RequestHead::read(session.req_header(), judged.caller.scheme());
        let observed = self.observe(session, &head, &judged, failure, now);
        let record = judged.record(&head, exchange::status(session, failure), failure, &observed, now);
        let (country, level) = (record.place.country, record.decision.level());
        self.metrics.decided(country, record.outcome, level, record.judge, record.total);
        if let Some(Sentence::Throttled { per, .. }) = judged.sentence {
            self.metrics.throttled(country, per);
        }
        if let Some(waited) = judged.waited {
            self.metrics.delayed(waited.per, record.outcome, waited.time);
        }
        self.metrics.reasoned(record.decision.reasons());
        self.metrics.reasoned(record.refused_for.as_slice());
        self.metrics.failed(record.evaluation);
        self.metrics.failed(record.observed);
        self.recorder.record(&record);
    }
}
