//! The gate: a request's life, from parsed head to record.
//!
//! `Gate::serve` is the whole story on one screen. What it calls is either pure (`pipeline`) or one
//! of three effects: count, act ([`enforce`], the only file that writes responses), record. An upstream is chosen
//! only with a [`enforce::Permit`], which only [`enforce`] can make.

pub mod acme;
pub mod bounds;
mod conclude;
pub mod door;
pub mod drain;
pub mod enforce;
mod exchange;
pub mod failure;
pub mod forward;
pub mod http2;
pub mod identity;
mod inspect;
mod intake;
mod observe;
mod onward;
pub mod origin;
mod panics;
pub mod pool;
mod rate_limit;
pub mod redirect;
pub mod refusal;
pub mod relay;
pub mod server;
mod told;
pub mod unread;
pub mod unserved;
pub mod upstream;
pub mod waiting;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};

use crate::clock::Clock;
use crate::facts::request::{RequestHead, Scheme};
use crate::metrics::Metrics;
use crate::pipeline::{self, Enquiry};
use crate::record::Recorder;
use crate::reload::Live;
use crate::scoreboard::Scoreboard;
use acme::Challenges;
use door::{Connection, Crowd};
use drain::Drain;
use exchange::{Exchange, Judged, Seen, Taken};
use inspect::Inspected;
use relay::Relay;
use upstream::fleet::Fleet;
use waiting::WaitingRoom;

pub use identity::{Caller, Identity};

/// The gate itself. Everything in it is shared by all requests.
pub struct Gate {
    /// The snapshot in use.
    pub live: Arc<Live>,
    /// All that is counted.
    pub traffic: Arc<crate::traffic::Traffic>,
    /// Who is calling.
    pub identity: Arc<Identity>,
    /// The short way to upstreams.
    pub relay: Relay,
    /// Requests over HTTP/2.
    pub streams: Arc<Crowd>,
    /// Where requests wait that limits delay.
    pub room: Arc<WaitingRoom>,
    /// Where records go.
    pub recorder: Recorder,
    /// What is counted for operators.
    pub metrics: Arc<Metrics>,
    /// What operators who look on see of the last seconds.
    pub scoreboard: Arc<Scoreboard>,
    /// How authorities are answered that ask whether a host is served here.
    pub challenges: Arc<Challenges>,
    /// The clocks.
    pub clock: Clock,
    /// Whether the process is stopping.
    pub drain: Drain,
    /// How long to wait for clients.
    pub patience: Patience,
}

/// How long to wait for clients.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long an idle connection is kept.
    pub keepalive: Duration,
    /// Between two reads, and between two writes, of one request.
    pub read: Duration,
}

impl Gate {
    /// A request's life up to its answer, or up to where Pingora goes on with it. `Ok(true)` if it was answered.
    async fn serve(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        self.set_patience(session);
        if self.answers_at_once(session).await? {
            return Ok(true);
        }
        let has_body = !session.is_body_empty();
        let raw = session.as_http1().map(|session| session.get_headers_raw_bytes());
        let snapshot = self.live.pin();
        let inspected = match self.enter(session, exchange) {
            Ok(()) => self.inspect(session, raw.as_deref(), &snapshot).await,
            Err(full) => Inspected::refused(full),
        };
        let now = self.clock.now();

        let head = RequestHead::read(session.req_header(), scheme_of(session)).from_wire(raw.as_deref());
        let head = head.with_body(inspected.body.as_ref());
        let caller = self.identity.identify(session, &head);
        let fleet = Fleet::of(&snapshot);
        let route = fleet.and_then(|fleet| fleet.routes().find(head.host(), head.path()));
        let enquiry = Enquiry {
            head: &head,
            ip: &caller.ip,
            client: &caller.client,
            route: route.map(|route| route.key()).unwrap_or_default(),
            now,
            secrets: &caller.secrets,
            tls: caller.tls(),
        };
        let located = pipeline::locate(&snapshot, &self.traffic, enquiry);
        let context = pipeline::enrich(&located);
        let judgement = pipeline::judge(&snapshot, &context);
        pipeline::count(&snapshot, located.subject(), &judgement.decision, &self.traffic, now);

        let (unfit, intake) = self.measure(fleet, route, &head, has_body, now.tick);
        let (seen, route) = (Seen::of(&located, &context), route.map(Taken::from));
        let mut judged = Judged::new(&head, route, caller, now, snapshot, seen, judgement);
        judged.measured(unfit.or(inspected.fault), intake);
        judged.decided(self.clock.tick());
        let answered = enforce::enforce(session, &mut judged, self).await;
        self.scoreboard.count(&judged.event());
        exchange.keep(judged);
        if answered? {
            return Ok(true);
        }
        let short = relay::takes(session) && exchange.speaks_http1();
        if short {
            self.relay(session, exchange).await?;
        }
        Ok(short)
    }
}

#[async_trait]
impl ProxyHttp for Gate {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        Exchange::new(self.drain.enter())
    }

    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        let served = panics::caught(pin!(self.serve(session, exchange))).await;
        served.unwrap_or_else(|panicked| Err(self.broken(panicked)))
    }

    async fn upstream_peer(&self, session: &mut Session, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
        self.unharmed(|| {
            self.server(session.req_header(), exchange).map(|server| Box::new(server.peer.clone()))
        })
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _: &HttpPeer,
        exchange: &mut Exchange,
        error: Box<Error>,
    ) -> Box<Error> {
        let failed = self.unharmed(|| Ok(self.not_connected(session.req_header(), exchange, error)));
        failed.unwrap_or_else(|panic| panic)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        exchange: &mut Exchange,
        reused: bool,
    ) -> Box<Error> {
        self.unharmed(|| Ok(self.broke_off(session, exchange, error, reused))).unwrap_or_else(|panic| panic)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        self.unharmed(|| {
            self.begin_body(session, exchange);
            self.tell_origin(request, exchange)
        })
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let bytes = body.as_ref().map_or(0, Bytes::len);
        self.unharmed(|| self.hear(session, bytes, is_end, exchange))
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        self.unharmed(|| self.answer(session, response, exchange))
    }

    fn upstream_response_trailer_filter(
        &self,
        _: &mut Session,
        trailers: &mut HeaderMap,
        exchange: &mut Exchange,
    ) -> Result<()> {
        self.unharmed(|| {
            self.ended(trailers, exchange);
            Ok(())
        })
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        exchange: &mut Exchange,
    ) -> FailToProxy {
        self.answer_failure(session, error, exchange).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
        self.conclude(session, error, exchange);
    }

    fn suppress_error_log(&self, _: &Session, _: &Exchange, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Exchange, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}

/// How the client names what it speaks.
fn scheme_of(session: &Session) -> Scheme {
    Connection::of(session).map_or(Scheme::Http, |connection| connection.scheme())
}

impl Gate {
    /// Answers whatever has nothing to do with who asks: authorities, and all who came to a door that leads nowhere.
    async fn answers_at_once(&self, session: &mut Session) -> Result<bool> {
        if let Some(told) = self.challenges.told(session.req_header()) {
            let (header, body) = told?;
            enforce::write(session, header, body).await?;
            return Ok(true);
        }
        if let Some(port) = Connection::of(session).and_then(|connection| connection.manner.redirect) {
            enforce::redirect(session, port).await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Without this a connection that is kept alive could idle for ever after its first request.
    fn set_patience(&self, session: &mut Session) {
        Connection::began(session);
        // What the client, a conflict of lengths, or a stopping server has turned off stays off.
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(self.patience.keepalive.as_secs().max(1)));
        }
        session.set_pipelining_enabled(true);
        session.set_read_timeout(Some(self.patience.read));
        session.set_write_timeout(Some(self.patience.read));
    }

    /// Closes the connection with the answer, and says so, if the gate is leaving.
    fn part(&self, session: &mut Session) {
        if self.drain.parts() {
            session.set_keepalive(None);
        }
    }

    /// Notes that a body is sent to the origin, from its start.
    fn begin_body(&self, session: &mut Session, exchange: &mut Exchange) {
        if let Some(intake) = exchange.intake() {
            intake.begin(self.clock.tick());
            session.set_read_timeout(Some(intake.patience()));
        }
    }

    /// Notes so many bytes of a body on its way to the origin.
    fn hear(&self, session: &mut Session, bytes: usize, is_end: bool, exchange: &mut Exchange) -> Result<()> {
        let Some(intake) = exchange.intake().filter(|_| !session.was_upgraded()) else { return Ok(()) };
        let heard = intake.hear(bytes, is_end, self.clock.tick());
        session.set_read_timeout(Some(intake.patience()));
        match (heard, exchange.judged_mut()) {
            (Err(why), Some(judged)) => Err(enforce::cut_off(judged, why)),
            (Ok(()), _) | (_, None) => Ok(()),
        }
    }

    /// Notes that the origin answers, and tells the client what it is to know.
    fn answer(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        relay::check_protocol(response, session.is_upgrade_req())?;
        if !response.status.is_informational() {
            self.part(session);
            if let Some(intake) = exchange.intake() {
                intake.answered();
                session.set_read_timeout(Some(intake.patience()));
            }
        }
        self.tell_client(response, exchange)
    }
}
