//! Enforcement: the one place that lets requests through and writes responses.
//!
//! A [`Permit`] can be made only here, and choosing an upstream takes one: nothing reaches an origin unjudged.
//! Whatever is not admitted waits for a while, where a limit may delay it, or is answered, on a connection that stays
//! open, with a refusal that tells nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::EXPECT;
use http::header::STRICT_TRANSPORT_SECURITY;
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use smallvec::SmallVec;
use uuid::Uuid;

use super::Gate;
use super::door::Connection;
use super::exchange::{Judged, Waited};
use super::failure::Failure;
use super::redirect::to_https;
use super::refusal::{Form, ProblemType, RateLimit, Refusal, RefusalStatus};
use super::relay;
use super::unserved::Unserved;
use super::waiting::Place;
use crate::actions::concurrency_reason;
use crate::decision::{Demand, Outcome};
use crate::facts::request::{RequestHead, Scheme};
use crate::facts::time::Tick;
use crate::pipeline::{Plan, claims, plan};
use crate::signals::Text;
use crate::traffic::{Admission, Check, Claim, Held, Lane, Left, Per, Rejection, Traffic};

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
            Self::Blocked => Outcome::Blocked,
            Self::Unserved(why) => why.outcome(),
        }
    }
}

/// Carries a judgement out. `Ok(true)` if the request was answered here.
pub async fn enforce(session: &mut Session, judged: &mut Judged, gate: &Gate) -> Result<bool> {
    let mut sentence = sentence(judged, gate, judged.arrived(), None);
    if Stop::of(judged, &sentence, Duration::ZERO).is_some() {
        // Rare, and large.
        sentence = Box::pin(delayed(session, judged, gate, sentence)).await?;
    }
    let refusal = match &sentence {
        Sentence::Pass(_) => None,
        Sentence::Throttled { rejection, .. } => Some(throttled(judged, *rejection)),
        Sentence::Crowded { retry_after, .. } => Some(crowded(judged, *retry_after)),
        Sentence::Blocked => Some(Refusal::new(RefusalStatus::Forbidden, judged.id)),
        Sentence::Unserved(why) => Some(Refusal::new(why.status(), judged.id).retry_after(why.lasts())),
    };
    judged.sentence = Some(sentence);
    match refusal {
        None => Ok(false),
        Some(refusal) => {
            keep_open(session, judged);
            gate.part(session);
            answer(session, &refusal).await?;
            if judged.unserved().is_some_and(Unserved::is_of_body) {
                hear_out(session).await;
            }
            Ok(true)
        }
    }
}

/// Answers a request that a panic has ended before it was judged, if nothing was answered yet.
pub(super) async fn answer_unjudged(session: &mut Session, id: Uuid, failure: Failure) {
    session.set_keepalive(None);
    if let (None, Some(status)) = (session.response_written(), failure.answer()) {
        // The client may be gone by now.
        let _ = answer(session, &Refusal::new(status, id)).await;
    }
}

/// Ends a request that was let through, for what its body turned out to be. The error is what its proxying ends with.
pub(super) fn cut_off(judged: &mut Judged, why: Unserved) -> Box<Error> {
    judged.sentence = Some(Sentence::Unserved(why));
    Error::explain(ErrorType::HTTPStatus(why.status().code()), why.as_str()).into_down()
}

/// Answers a request that was let through and could not be served, if nothing was answered yet. If that was for what its
/// body turned out to be, this is what became of it.
pub async fn answer_failure(session: &mut Session, judged: &mut Judged, failure: Failure, now: Tick) {
    session.set_keepalive(None);
    if let Some(why) = judged.body_fault(failure, session.is_body_done(), now) {
        judged.sentence = Some(Sentence::Unserved(why));
    }
    if session.response_written().is_some_and(|response| !response.status.is_informational()) {
        return;
    }
    let unserved = judged.unserved();
    if let Some(status) = unserved.map(Unserved::status).or_else(|| failure.answer()) {
        // The client may be gone by now; the failure is recorded all the same.
        let refusal = Refusal::new(status, judged.id).retry_after(failure.lasts());
        let answered = answer(session, &refusal).await;
        if answered.is_ok() && unserved.is_some_and(Unserved::is_of_body) {
            hear_out(session).await;
        }
    }
}

/// Reads on for a moment, where the client is still sending: a connection that is closed on what nobody has read is
/// reset, and the answer may be lost with it.
async fn hear_out(session: &mut Session) {
    let waits = session.req_header().headers.contains_key(EXPECT);
    if session.as_http1().is_some() && !waits && !session.is_body_done() {
        session.set_total_drain_timeout(Some(DRAIN_TIME));
        // It ends with the body, the connection or the time.
        let _ = session.drain_request_body().await;
    }
}

/// A limit that refused a request for now, and may delay it.
struct Stop {
    lane: Lane,
    limit: String,
    per: Per,
    most: usize,
    /// For how long the request may still wait.
    left: Duration,
    rejection: Rejection,
}

impl Stop {
    /// `None` if the request may go on, or is to be refused: its limit delays nothing, or not for so long, after it has
    /// `waited` already.
    fn of(judged: &Judged, sentence: &Sentence, waited: Duration) -> Option<Self> {
        let (limit, per, rejection) = match sentence {
            Sentence::Throttled { limit, per, rejection } => (limit, *per, *rejection),
            Sentence::Pass(_) | Sentence::Crowded { .. } | Sentence::Blocked | Sentence::Unserved(_) => {
                return None;
            }
        };
        let name = Text::from(limit.as_str());
        let delay = judged.snapshot.delay(&name)?;
        let left = delay.longest.checked_sub(waited).filter(|left| rejection.retry_after <= *left)?;
        let lane = judged.snapshot.limit(&name, per)?.lane(&judged.seen.subject);
        Some(Self { lane, limit: limit.clone(), per, most: delay.most, left, rejection })
    }
}

/// Lets a request wait that a limit refused for now, until its limits admit it or it is clear that they will not in
/// time. Who waits has one place in one line, and none among the requests in flight. When the gate stops, whoever still
/// waits is refused. The error is that the client has gone.
async fn delayed(
    session: &mut Session,
    judged: &mut Judged,
    gate: &Gate,
    mut sentence: Sentence,
) -> Result<Sentence> {
    let (begun, watched) = (gate.clock.tick(), relay::takes(session));
    let (mut now, mut place) = (begun, None::<Place<'_>>);
    while !gate.drain.has_begun()
        && let Some(stop) = Stop::of(judged, &sentence, between(begun, now))
    {
        let join = || gate.room.join(stop.lane, &stop.limit, stop.most, stop.rejection, now);
        // Whoever goes to another line leaves its own first.
        place = place.filter(|place| place.is_in(stop.lane)).or_else(join);
        let Some(here) = &place else { break };
        let came = tokio::select! {
            biased;
            () = gate.drain.begun() => Ok(false),
            gone = gone(session, watched) => Err(gone),
            came = here.wait(stop.rejection, now, stop.left) => Ok(came),
        };
        now = gate.clock.tick();
        judged.waited = Some(Waited { per: stop.per, time: between(begun, now) });
        match came {
            Ok(true) => sentence = self::sentence(judged, gate, now, place.as_ref()),
            Ok(false) => {
                let rejection = here.forecast(now).unwrap_or(stop.rejection);
                return Ok(Sentence::Throttled { limit: stop.limit, per: stop.per, rejection });
            }
            Err(gone) => {
                judged.sentence = Some(sentence);
                return Err(gone);
            }
        }
    }
    Ok(sentence)
}

/// Resolves when the client has gone. That shows only where there is no body that would have to be read first.
async fn gone(session: &mut Session, watched: bool) -> Box<Error> {
    if !watched {
        return std::future::pending().await;
    }
    loop {
        if let Err(error) = session.read_body_or_idle(true).await {
            return error.into_down();
        }
    }
}

fn between(then: Tick, now: Tick) -> Duration {
    now.elapsed().saturating_sub(then.elapsed())
}

/// What becomes of a request now. Without a place in a line it does not overtake those who have one.
fn sentence(judged: &mut Judged, gate: &Gate, now: Tick, place: Option<&Place<'_>>) -> Sentence {
    if let Some(why) = judged.unfit {
        return Sentence::Unserved(why);
    }
    let snapshot = Arc::clone(&judged.snapshot);
    let claims = claims(&snapshot, &judged.judgement.decision);
    let (checks, claims) = match (plan(&snapshot, &judged.judgement.decision), claims) {
        (Plan::Block, _) | (_, None) => return Sentence::Blocked,
        (Plan::Admit(checks), Some(claims)) => (checks, claims),
    };
    if let (None, Some(waits)) = (place, queue(judged, &checks, gate, now)) {
        return waits;
    }
    // Places first: they can be given back unseen, what a limit has counted is used up.
    let held = match hold(judged, &claims, &gate.traffic, now) {
        Ok(held) => held,
        Err(crowded) => return crowded,
    };
    match (admit(judged, &checks, &gate.traffic, now), judged.destination()) {
        (Err(throttled), _) => throttled,
        (Ok(()), None) => Sentence::Unserved(Unserved::NoRoute),
        (Ok(()), Some(upstream)) => {
            judged.held = held;
            Sentence::Pass(Permit { upstream })
        }
    }
}

/// Why a request that has just come does not ask its limits: others wait there.
fn queue(judged: &Judged, demands: &[(&Demand, Check<'_>)], gate: &Gate, now: Tick) -> Option<Sentence> {
    if gate.room.waiting() == 0 {
        return None;
    }
    demands.iter().find_map(|(demand, check)| {
        judged.snapshot.delay(&demand.limit)?;
        let rejection = gate.room.behind(check.limit.lane(&judged.seen.subject), now)?;
        Some(Sentence::Throttled { limit: demand.limit.to_string(), per: demand.per, rejection })
    })
}

fn hold(judged: &Judged, claims: &[Claim<'_>], traffic: &Traffic, now: Tick) -> Result<Held, Sentence> {
    if claims.is_empty() {
        return Ok(Held::nothing());
    }
    traffic.hold(&judged.seen.subject, claims, now).map_err(|full| {
        let name = claims.get(full.claim).map(|claim| concurrency_reason(&claim.cap.spec().name));
        Sentence::Crowded { limit: name.unwrap_or_default(), retry_after: full.retry_after }
    })
}

fn admit(
    judged: &Judged,
    demands: &[(&Demand, Check<'_>)],
    traffic: &Traffic,
    now: Tick,
) -> Result<(), Sentence> {
    if demands.is_empty() {
        return Ok(());
    }
    let checks: SmallVec<[Check<'_>; 2]> = demands.iter().map(|(_, check)| *check).collect();
    match traffic.admit(&judged.seen.subject, &checks, now) {
        Admission::Admit => Ok(()),
        Admission::Reject(rejection) => {
            let demand = demands.get(rejection.check).map(|(demand, _)| demand);
            let limit = demand.map(|demand| demand.limit.to_string()).unwrap_or_default();
            let per = demand.map_or(Per::Client, |demand| demand.per);
            Err(Sentence::Throttled { limit, per, rejection })
        }
    }
}

/// What is left for the client of a request that was let through, under those of its limits that are the client's alone;
/// `None` if it has none. What others use of a limit that is shared is not for its eyes.
pub(super) fn left(judged: &Judged, traffic: &Traffic, now: Tick) -> Option<Left> {
    let Plan::Admit(checks) = plan(&judged.snapshot, &judged.judgement.decision) else { return None };
    let own = checks.iter().filter(|(demand, _)| demand.per == Per::Client);
    let checks: SmallVec<[Check<'_>; 2]> = own.map(|(_, check)| *check).collect();
    traffic.left(&judged.seen.subject, &checks, now)
}

fn throttled(judged: &Judged, rejection: Rejection) -> Refusal {
    let Rejection { retry_after, quota, window, kept, .. } = rejection;
    let limit = RateLimit { quota, window: window.duration(), remaining: 0, reset: retry_after };
    Refusal::new(RefusalStatus::TooManyRequests, judged.id)
        .of_type(ProblemType::AbnormalUsageDetected)
        .retry_after(retry_after)
        .kept((!kept.is_zero()).then_some(kept))
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
    if judged.unserved().is_some_and(Unserved::is_of_wire) {
        // Nobody knows where the next request begins.
        session.set_keepalive(None);
        return;
    }
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

/// Sends a request elsewhere that came to a door which leads nowhere.
pub(super) async fn redirect(session: &mut Session, port: u16) -> Result<()> {
    let request = session.req_header();
    let head = RequestHead::read(request, Scheme::Http);
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    let header = to_https(&head, target, port)?;
    write(session, header, Bytes::new()).await
}

pub(super) async fn write(session: &mut Session, mut header: ResponseHeader, body: Bytes) -> Result<()> {
    if let Some(hsts) = Connection::of(session).and_then(|connection| connection.manner.hsts.clone()) {
        header.insert_header(STRICT_TRANSPORT_SECURITY, hsts)?;
    }
    let end = body.is_empty();
    if end && session.is_http2() {
        // The head itself ends the stream, as clients of gRPC want it; an empty frame of data behind it would not do.
        session.response_duplex_vec(vec![HttpTask::Header(Box::new(header), true)]).await?;
        return Ok(());
    }
    session.write_response_header(Box::new(header), end).await?;
    if !end {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}
