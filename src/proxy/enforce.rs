//! Enforcement: the one place that lets requests through and writes responses.
//!
//! A [`Permit`] can be made only here, and choosing an upstream takes one: nothing reaches an origin unjudged.
//! Whatever is not admitted is answered, on a connection that stays open, with a refusal that tells nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::exchange::Judged;
use super::failure::Failure;
use super::refusal::{Form, ProblemType, RateLimit, Refusal, RefusalStatus};
use crate::actions::concurrency_reason;
use crate::decision::{Demand, Outcome};
use crate::facts::request::{RequestHead, Scheme};
use crate::pipeline::{Plan, claims, plan};
use crate::traffic::{Admission, Check, Claim, Held, Per, Rejection, Traffic};

/// Proof that a request was judged and admitted, and to which upstream.
#[derive(Debug)]
pub struct Permit {
    upstream: usize,
}

/// What became of a request at the gate.
#[derive(Debug)]
pub enum Sentence {
    /// It may go on.
    Pass(Permit),
    /// A limit turned it away.
    Throttled {
        /// The limit's name.
        limit: String,
        /// What it tells apart.
        per: Per,
        /// Until when, and how much there is.
        rejection: Rejection,
    },
    /// As many requests as may be are in flight already.
    Crowded {
        /// The limit's name.
        limit: String,
        /// When there is likely to be a place.
        retry_after: Duration,
    },
    /// The policy refuses it.
    Blocked,
    /// It cannot be served at all.
    Unserved(Unserved),
}

/// Why a request cannot be served, whatever the policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserved {
    /// No route serves its host and path.
    NoRoute,
    /// It names no host.
    NoHost,
    /// Its path and query are too long.
    LongTarget,
    /// Its headers are too large.
    LargeHeaders,
}

/// The most bytes of path and query.
pub const MAX_TARGET: usize = 8 * 1024;
/// The most bytes of one header value.
pub const MAX_HEADER: usize = 16 * 1024;
/// The most bytes of all header names and values.
pub const MAX_HEADERS: usize = 64 * 1024;

/// A body of at most this size, declared by a request that is refused, is read and dropped so that the connection
/// stays open. A larger one closes it.
const MAX_DRAINED_BODY: u64 = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_millis(500);

impl Permit {
    /// The upstream, as routes number them.
    pub fn upstream(&self) -> usize {
        self.upstream
    }
}

impl Sentence {
    /// What happened, for records and metrics.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Pass(_) => Outcome::Allowed,
            Self::Throttled { .. } | Self::Crowded { .. } => Outcome::Throttled,
            Self::Blocked | Self::Unserved(_) => Outcome::Blocked,
        }
    }
}

impl Unserved {
    /// What is wrong with a head whatever its route.
    pub(super) fn of(head: &RequestHead<'_>) -> Option<Self> {
        let (largest, all) = head.header_sizes();
        if head.host().is_empty() && head.version() == "1.1" {
            Some(Self::NoHost)
        } else if head.target_len() > MAX_TARGET {
            Some(Self::LongTarget)
        } else if largest > MAX_HEADER || all > MAX_HEADERS {
            Some(Self::LargeHeaders)
        } else {
            None
        }
    }

    const fn status(self) -> RefusalStatus {
        match self {
            Self::NoRoute => RefusalStatus::NotFound,
            Self::NoHost => RefusalStatus::BadRequest,
            Self::LongTarget => RefusalStatus::UriTooLong,
            Self::LargeHeaders => RefusalStatus::HeadersTooLarge,
        }
    }

    /// How records name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::NoHost => "no_host",
            Self::LongTarget => "long_target",
            Self::LargeHeaders => "large_headers",
        }
    }
}

/// Carries a judgement out. `Ok(true)` if the request was answered here.
pub async fn enforce(session: &mut Session, judged: &mut Judged, traffic: &Traffic) -> Result<bool> {
    let sentence = sentence(judged, traffic);
    let refusal = match &sentence {
        Sentence::Pass(_) => None,
        Sentence::Throttled { rejection, .. } => Some(throttled(judged, *rejection)),
        Sentence::Crowded { retry_after, .. } => Some(crowded(judged, *retry_after)),
        Sentence::Blocked => Some(Refusal::new(RefusalStatus::Forbidden, judged.id)),
        Sentence::Unserved(why) => Some(Refusal::new(why.status(), judged.id)),
    };
    judged.sentence = Some(sentence);
    match refusal {
        None => Ok(false),
        Some(refusal) => {
            keep_open(session, judged);
            answer(session, &refusal).await?;
            Ok(true)
        }
    }
}

/// Answers a request that was let through and could not be served, if nothing was answered yet.
pub async fn answer_failure(session: &mut Session, judged: &mut Judged, failure: Failure) {
    session.set_keepalive(None);
    if session.response_written().is_some() {
        return;
    }
    if let Some(status) = failure.answer() {
        // The client may be gone by now; the failure is recorded all the same.
        let _ = answer(session, &Refusal::new(status, judged.id)).await;
    }
}

fn sentence(judged: &mut Judged, traffic: &Traffic) -> Sentence {
    if let Some(why) = judged.unfit {
        return Sentence::Unserved(why);
    }
    let snapshot = Arc::clone(&judged.snapshot);
    let claims = claims(&snapshot, &judged.judgement.decision);
    let (checks, claims) = match (plan(&snapshot, &judged.judgement.decision), claims) {
        (Plan::Block, _) | (_, None) => return Sentence::Blocked,
        (Plan::Admit(checks), Some(claims)) => (checks, claims),
    };
    // Places first: they can be given back unseen, what a limit has counted is used up.
    let held = match hold(judged, &claims, traffic) {
        Ok(held) => held,
        Err(crowded) => return crowded,
    };
    match (admit(judged, &checks, traffic), judged.route.as_ref()) {
        (Err(throttled), _) => throttled,
        (Ok(()), None) => Sentence::Unserved(Unserved::NoRoute),
        (Ok(()), Some(route)) => {
            let permit = Permit { upstream: route.upstream };
            judged.held = held;
            Sentence::Pass(permit)
        }
    }
}

fn hold(judged: &Judged, claims: &[Claim<'_>], traffic: &Traffic) -> Result<Held, Sentence> {
    if claims.is_empty() {
        return Ok(Held::nothing());
    }
    traffic.hold(&judged.seen.subject, claims, judged.arrived.tick).map_err(|full| {
        let name = claims.get(full.claim).map(|claim| concurrency_reason(&claim.cap.spec().name));
        Sentence::Crowded { limit: name.unwrap_or_default(), retry_after: full.retry_after }
    })
}

fn admit(judged: &Judged, demands: &[(&Demand, Check<'_>)], traffic: &Traffic) -> Result<(), Sentence> {
    if demands.is_empty() {
        return Ok(());
    }
    let checks: Vec<Check<'_>> = demands.iter().map(|(_, check)| *check).collect();
    match traffic.admit(&judged.seen.subject, &checks, judged.arrived.tick) {
        Admission::Admit => Ok(()),
        Admission::Reject(rejection) => {
            let demand = demands.get(rejection.check).map(|(demand, _)| demand);
            let limit = demand.map(|demand| demand.limit.to_string()).unwrap_or_default();
            let per = demand.map_or(Per::Client, |demand| demand.per);
            Err(Sentence::Throttled { limit, per, rejection })
        }
    }
}

fn throttled(judged: &Judged, rejection: Rejection) -> Refusal {
    let Rejection { retry_after, quota, window, .. } = rejection;
    let limit = RateLimit { quota, window: window.duration(), remaining: 0, reset: retry_after };
    Refusal::new(RefusalStatus::TooManyRequests, judged.id)
        .of_type(ProblemType::AbnormalUsageDetected)
        .retry_after(retry_after)
        .rate_limit(limit)
}

/// Says nothing of a rate, since there is none.
fn crowded(judged: &Judged, retry_after: Duration) -> Refusal {
    Refusal::new(RefusalStatus::TooManyRequests, judged.id)
        .of_type(ProblemType::AbnormalUsageDetected)
        .retry_after(retry_after)
}

/// Lets the connection live on after a refusal, if the rest of the request is small enough to be skipped.
fn keep_open(session: &mut Session, judged: &Judged) {
    if judged.size.is_some_and(|size| (1..=MAX_DRAINED_BODY).contains(&size)) {
        session.set_close_on_response_before_downstream_finish(false);
        session.set_total_drain_timeout(Some(DRAIN_TIME));
    }
}

async fn answer(session: &mut Session, refusal: &Refusal) -> Result<()> {
    let form = Form::asked_by(&RequestHead::read(session.req_header(), Scheme::Http));
    let (header, body) = refusal.on_wire(&form, fastrand::f64())?;
    write(session, header, body).await
}

async fn write(session: &mut Session, header: ResponseHeader, body: Bytes) -> Result<()> {
    let end = body.is_empty();
    session.write_response_header(Box::new(header), end).await?;
    if !end {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}
