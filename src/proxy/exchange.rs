//! One request and its answer, as the gate carries them from filter to filter: an enum of phases, so that no
//! phase can see what a later one decides.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::response::Parts;
use pingora::proxy::Session;
use uuid::Uuid;

use super::door::Place;
use super::drain::InFlight;
use super::enforce::Sentence;
use super::failure::Failure;
use super::forward::Verdict;
use super::identity::Caller;
use super::intake::Intake;
use super::onward::Onward;
use super::unserved::Unserved;
use super::upstream::fleet::Fleet;
use super::upstream::{Protocol, Turn, Upstream};
use crate::decision::{Evaluation, Outcome};
use crate::facts::forwarded::Tell;
use crate::facts::request::{RequestHead, Scheme};
use crate::facts::time::{Now, Tick};
use crate::pipeline::{Judgement, Located};
use crate::record::DecisionRecord;
use crate::routes::Route;
use crate::scoreboard::Event;
use crate::signals::RequestContext;
use crate::snapshot::Snapshot;
use crate::traffic::{Held, Per, Subject};

/// One request and its answer.
pub struct Exchange {
    phase: Phase,
    _in_flight: InFlight,
    /// Its place among the requests over HTTP/2; free again when this is dropped, whatever happens.
    _place: Option<Place>,
}

enum Phase {
    /// Nothing is known yet.
    Arrived,
    /// It was judged; what became of it is in the judgement's sentence.
    Judged(Box<Judged>),
    /// It was recorded.
    Recorded,
}

/// A judged request.
pub struct Judged {
    pub(super) id: Uuid,
    /// The id as a header's value.
    pub(super) id_text: HeaderValue,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) caller: Caller,
    pub(super) seen: Seen,
    pub(super) judgement: Judgement,
    pub(super) route: Option<Taken>,
    pub(super) size: Option<u64>,
    /// What is wrong with it whatever is judged.
    pub(super) unfit: Option<Unserved>,
    /// Its body, if it has one.
    pub(super) intake: Option<Intake>,
    pub(super) arrived: Now,
    pub(super) sentence: Option<Sentence>,
    /// Its places among the requests in flight; they are free again when this is dropped, whatever happens.
    pub(super) held: Held,
    judge: Duration,
    /// How long it waited, and at what; `None` if it did not.
    pub(super) waited: Option<Waited>,
    turn: Turn,
    from_origin: bool,
}

/// How long a request waited at limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waited {
    /// What the last of these limits tells apart.
    pub(super) per: Per,
    pub(super) time: Duration,
}

/// What is kept of a request's signals when its head is no longer looked at.
pub(super) struct Seen {
    /// Whom the request counts for.
    pub(super) subject: Subject,
    /// What the policy saw, as JSON.
    signals: Vec<u8>,
    /// What the policy saw, for scripts that look at the response too.
    pub(super) observers: Option<RequestContext<'static>>,
}

/// The route that a request takes.
pub(super) struct Taken {
    pub(super) name: Arc<str>,
    pub(super) number: usize,
    pub(super) upstream: usize,
}

impl Exchange {
    pub(super) fn new(in_flight: InFlight) -> Self {
        Self { phase: Phase::Arrived, _in_flight: in_flight, _place: None }
    }

    /// Keeps a place until the end.
    pub(super) fn occupy(&mut self, place: Place) {
        self._place = Some(place);
    }

    /// Keeps a judged request for the filters to come.
    pub(super) fn keep(&mut self, judged: Box<Judged>) {
        self.phase = Phase::Judged(judged);
    }

    pub(super) fn judged(&self) -> Option<&Judged> {
        match &self.phase {
            Phase::Judged(judged) => Some(judged),
            Phase::Arrived | Phase::Recorded => None,
        }
    }

    pub(super) fn judged_mut(&mut self) -> Option<&mut Judged> {
        match &mut self.phase {
            Phase::Judged(judged) => Some(judged),
            Phase::Arrived | Phase::Recorded => None,
        }
    }

    /// The body of a judged request, if it has one.
    pub(super) fn intake(&mut self) -> Option<&mut Intake> {
        self.judged_mut()?.intake.as_mut()
    }

    /// Where the request goes, if it has a permit.
    pub(super) fn onward(&mut self) -> Option<Onward<'_>> {
        let Judged { sentence, snapshot, caller, turn, .. } = self.judged_mut()?;
        let upstream = upstream(sentence.as_ref(), snapshot)?;
        Some(Onward { upstream, client: caller.client.pseudonym(), turn })
    }

    /// Whether the upstream that the request goes to speaks HTTP/1.1 and nothing else.
    pub(super) fn speaks_http1(&self) -> bool {
        let upstream = self.judged().and_then(Judged::upstream);
        upstream.is_some_and(|upstream| upstream.settings().transport.protocol == Protocol::Http1)
    }

    /// Ends the exchange; the judgement is handed out once.
    pub(super) fn finish(&mut self) -> Option<Box<Judged>> {
        match std::mem::replace(&mut self.phase, Phase::Recorded) {
            Phase::Judged(judged) => Some(judged),
            Phase::Arrived | Phase::Recorded => None,
        }
    }
}

/// Room for the signals of an ordinary request.
const SIGNALS: usize = 512;

impl Seen {
    pub(super) fn of(located: &Located<'_>, context: &RequestContext<'_>) -> Self {
        let mut signals = Vec::with_capacity(SIGNALS);
        context.write_json(&mut signals);
        let observers = located.policy().keep_for_observers(context);
        Self { subject: *located.subject(), signals, observers }
    }
}

impl Judged {
    /// A judged request, in the place where it stays: it is large.
    pub(super) fn new(
        head: &RequestHead<'_>,
        route: Option<Taken>,
        caller: Caller,
        arrived: Now,
        snapshot: Arc<Snapshot>,
        seen: Seen,
        judgement: Judgement,
    ) -> Box<Self> {
        let id = id_at(arrived);
        Box::new(Self {
            id,
            id_text: header_value(id),
            route,
            size: head.size(),
            unfit: None,
            intake: None,
            snapshot,
            caller,
            seen,
            judgement,
            arrived,
            sentence: None,
            held: Held::nothing(),
            judge: Duration::ZERO,
            waited: None,
            turn: Turn::default(),
            from_origin: false,
        })
    }

    /// Notes what is wrong with it whatever is judged, and the body that is to come.
    pub(super) fn measured(&mut self, unfit: Option<Unserved>, intake: Option<Intake>) {
        (self.unfit, self.intake) = (unfit, intake);
    }

    /// Notes the moment of the decision.
    pub(super) fn decided(&mut self, now: Tick) {
        self.judge = self.since(now);
    }

    /// Gives back its places among the requests in flight, now that it has ended in order.
    pub(super) fn release(&mut self, now: Tick) {
        std::mem::replace(&mut self.held, Held::nothing()).end(now);
    }

    /// Notes that the origin has answered with this head; the cookie that keeps the client at its server, if there is to
    /// be one.
    pub(super) fn answered_by_origin(&mut self, head: &Parts, now: Tick) -> Option<String> {
        self.from_origin = true;
        let upstream = upstream(self.sentence.as_ref(), &self.snapshot)?;
        upstream.answered(&mut self.turn, head, now);
        upstream.cookie(&self.turn, self.caller.scheme() == Scheme::Https)
    }

    /// Whether the answer came from the origin.
    pub(super) fn was_answered_by_origin(&self) -> bool {
        self.from_origin
    }

    /// When the head was parsed.
    pub(super) fn arrived(&self) -> Tick {
        self.arrived.tick
    }

    /// When it could go on: when the head was parsed, and after the time that it waited.
    pub(super) fn passed(&self) -> Tick {
        Tick::from_elapsed(self.arrived.tick.elapsed() + self.waiting_time())
    }

    fn waiting_time(&self) -> Duration {
        self.waited.map_or(Duration::ZERO, |waited| waited.time)
    }

    /// Time since the head was parsed.
    pub(super) fn since(&self, now: Tick) -> Duration {
        now.elapsed().saturating_sub(self.arrived.tick.elapsed())
    }

    /// The upstream that scripts send the request to, or else its route. All that scripts can name was there at load.
    pub(super) fn destination(&self) -> Option<usize> {
        match self.judgement.decision.upstream() {
            Some(name) => Fleet::of(&self.snapshot)?.find(name),
            None => self.route.as_ref().map(|route| route.upstream),
        }
    }

    /// Why it could not be served, if so.
    pub(super) fn unserved(&self) -> Option<Unserved> {
        match &self.sentence {
            Some(Sentence::Unserved(why)) => Some(*why),
            Some(
                Sentence::Pass(_) | Sentence::Throttled { .. } | Sentence::Crowded { .. } | Sentence::Blocked,
            )
            | None => None,
        }
    }

    /// What is wrong with a body that ended in a failure; `None` if the failure is another's.
    pub(super) fn body_fault(&self, failure: Failure, is_whole: bool, now: Tick) -> Option<Unserved> {
        let intake = self.intake.as_ref()?;
        self.unserved().or(match failure {
            Failure::ClientStalled => Some(Unserved::SlowBody),
            Failure::ClientBroke => Some(Unserved::BrokenBody),
            // The origin was waited for, and itself waited for the client.
            Failure::UpstreamTimedOut => (!is_whole && intake.is_late(now)).then_some(Unserved::SlowBody),
            Failure::ClientGone | Failure::UpstreamFailed | Failure::UpstreamBusy | Failure::Internal => None,
        })
    }

    /// The upstream that the request was let through to, if it was.
    pub(super) fn upstream(&self) -> Option<&Upstream> {
        upstream(self.sentence.as_ref(), &self.snapshot)
    }

    /// What the origin is told.
    pub(super) fn verdict<'a>(&'a self, tell: &'a [Tell]) -> Verdict<'a> {
        Verdict { decision: &self.judgement.decision, id: &self.id_text, tell }
    }

    /// What became of it at the gate, once it was sentenced.
    pub(super) fn event(&self) -> Event<'_> {
        let refused_by = match &self.sentence {
            Some(Sentence::Throttled { limit, .. } | Sentence::Crowded { limit, .. }) => Some(limit.as_str()),
            Some(Sentence::Pass(_) | Sentence::Blocked | Sentence::Unserved(_)) | None => None,
        };
        Event {
            country: self.seen.subject.country,
            route: self.route.as_ref().map(|route| route.number),
            client: self.caller.client.pseudonym(),
            decision: &self.judgement.decision,
            outcome: self.outcome(),
            refused_by,
        }
    }

    /// What happened; without a sentence it did not get past the gate.
    fn outcome(&self) -> Outcome {
        self.sentence.as_ref().map_or(Outcome::Blocked, Sentence::outcome)
    }

    /// What is kept of it.
    pub(super) fn record<'a>(
        &'a self,
        head: &'a RequestHead<'_>,
        status: u16,
        failure: Option<Failure>,
        observed: &'a Evaluation,
        ended: Tick,
    ) -> DecisionRecord<'a> {
        let limit = match &self.sentence {
            Some(Sentence::Throttled { limit, .. } | Sentence::Crowded { limit, .. }) => Some(limit.as_str()),
            Some(Sentence::Pass(_) | Sentence::Blocked | Sentence::Unserved(_)) | None => None,
        };
        let unserved = self.unserved();
        DecisionRecord {
            id: self.id,
            time: self.arrived.wall,
            generation: self.snapshot.generation(),
            route: self.route.as_ref().map(|route| &*route.name),
            method: head.method(),
            path: head.path(),
            host: head.host(),
            status,
            place: self.seen.subject.place(),
            client: self.caller.client.pseudonym(),
            decision: &self.judgement.decision,
            evaluation: &self.judgement.evaluation,
            observed,
            signals: &self.seen.signals,
            outcome: self.outcome(),
            limit,
            fault: unserved.map(Unserved::as_str).or_else(|| failure.map(Failure::as_str)),
            refused_for: unserved.and_then(Unserved::reason),
            judge: self.judge,
            waited: self.waiting_time(),
            total: self.since(ended),
            ended,
        }
    }
}

impl From<&Route> for Taken {
    fn from(route: &Route) -> Self {
        Self { name: Arc::clone(route.name()), number: route.number(), upstream: route.upstream() }
    }
}

/// The upstream that a request was let through to; nothing else names one.
fn upstream<'s>(sentence: Option<&Sentence>, snapshot: &'s Snapshot) -> Option<&'s Upstream> {
    match sentence? {
        Sentence::Pass(permit) => {
            Fleet::of(snapshot)?.upstream(permit.upstream()).map(|upstream| &**upstream)
        }
        Sentence::Throttled { .. } | Sentence::Crowded { .. } | Sentence::Blocked | Sentence::Unserved(_) => {
            None
        }
    }
}

/// The status that the client got, or what is recorded in its place.
pub(super) fn status(session: &Session, failure: Option<Failure>) -> u16 {
    let sent = session.response_written().map(|response| response.status.as_u16());
    sent.or_else(|| failure.map(Failure::recorded_status)).unwrap_or(0)
}

fn header_value(id: Uuid) -> HeaderValue {
    let mut text = Uuid::encode_buffer();
    // Hexadecimal digits and hyphens are fit for a header.
    HeaderValue::from_str(id.as_hyphenated().encode_lower(&mut text)).unwrap_or(HeaderValue::from_static(""))
}

/// A UUIDv7: the moment in milliseconds, and random bits.
pub(super) fn id_at(now: Now) -> Uuid {
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    uuid::Builder::from_unix_timestamp_millis(now.wall.as_millis(), &random).into_uuid()
}
