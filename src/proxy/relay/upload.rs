//! The body of a request on the short way: each piece is sent on before the next one is read, so that the origin's pace
//! is the client's.
//!
//! What is read of it is measured as on Pingora's way, and kept for another try only if the request may be repeated. While
//! the origin takes a piece, its answer is read: it may answer and take no more.

use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use pingora::protocols::Stream;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::v1::client::HttpSession as OriginSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_timeout::timeout;

use super::outgoing::{Outgoing, Writing};
use super::pass_all_but_last;
use crate::proxy::Gate;
use crate::proxy::exchange::Exchange;

/// How far a body has come.
pub(super) struct Upload {
    state: State,
    /// Where it goes, if there is one.
    out: Option<Outgoing>,
    /// Whether it is the body's turn, if more of it is there as well as of the answer.
    is_next: bool,
    /// Whether the answer ended before the origin had all of it.
    is_outrun: bool,
    /// How long the origin may be silent while nothing is written.
    patience: Option<Duration>,
}

enum State {
    /// More is to come.
    Open,
    /// A piece is being written.
    Writing { writing: Writing, is_end: bool },
    /// The origin has all of it.
    Whole,
    /// It took no more, for this.
    Refused(Box<Error>),
    /// The client did not go on with it after the answer.
    GivenUp,
}

/// What comes first.
pub(super) enum Next<A, B> {
    /// The origin has taken a piece of the body, or never will.
    Taken,
    /// Something of the answer.
    OfAnswer(A),
    /// Something of the body.
    OfBody(B),
}

impl Upload {
    /// A body of which nothing was sent yet, or none.
    pub(super) fn new(out: Option<Outgoing>, patience: Option<Duration>) -> Self {
        let state = if out.is_some() { State::Open } else { State::Whole };
        Self { state, out, is_next: false, is_outrun: false, patience }
    }

    /// Whether nothing more of it is sent.
    pub(super) fn is_over(&self) -> bool {
        !matches!(self.state, State::Open | State::Writing { .. })
    }

    /// Whether the next piece of it can be sent.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether the origin had all of it before its answer ended. No other connection is used again: whatever the origin
    /// makes of the rest, it is no request of somebody else.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.state, State::Whole) && !self.is_outrun
    }

    /// Why there is no answer: that the origin did not take the body comes first.
    pub(super) fn blame(&mut self, error: Box<Error>) -> Box<Error> {
        if *error.esource() != ErrorSource::Upstream {
            return error;
        }
        match std::mem::replace(&mut self.state, State::GivenUp) {
            State::Refused(mut earlier) => {
                // Closed before it said anything: that may have been before it was asked.
                if *earlier.etype() == ErrorType::WriteError {
                    earlier.retry = error.retry;
                }
                earlier
            }
            State::Open | State::Writing { .. } | State::Whole | State::GivenUp => error,
        }
    }

    /// The connection that the origin gave back.
    pub(super) fn release(self, stream: Stream) -> Option<Stream> {
        match self.out {
            None => Some(stream),
            Some(out) => {
                drop(stream);
                out.release()
            }
        }
    }

    /// An origin that takes a piece has the time for that, and is not silent.
    pub(super) fn time(&self, origin: &mut OriginSession) {
        let writes = matches!(self.state, State::Writing { .. });
        origin.read_timeout = self.patience.filter(|_| !writes);
    }

    /// Begins to write a piece.
    fn send(&mut self, piece: Bytes, is_end: bool) -> Result<()> {
        if let Some(out) = &mut self.out {
            self.state = State::Writing { writing: out.write(piece, is_end)?, is_end };
        }
        Ok(())
    }

    /// Goes on writing. Ready when the piece that is being written has been taken, or never will be.
    fn poll_taken(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let State::Writing { writing, is_end } = &mut self.state else { return Poll::Pending };
        self.state = match std::task::ready!(writing.as_mut().poll(context)) {
            Ok(()) if *is_end => State::Whole,
            Ok(()) => State::Open,
            Err(error) => State::Refused(error.into_up()),
        };
        Poll::Ready(())
    }

    /// Notes that the answer has ended.
    fn answered(&mut self) {
        let has_all = match self.state {
            State::Whole => true,
            State::Open => self.out.as_ref().is_some_and(Outgoing::is_complete),
            State::Writing { .. } | State::Refused(_) | State::GivenUp => false,
        };
        self.is_outrun = !has_all;
    }
}

/// What is there first, of the answer or of the body, while the origin is sent what it is to take. They take turns when
/// both are.
pub(super) async fn next<A: Future, B: Future>(
    answer: A,
    body: B,
    upload: &mut Upload,
) -> Next<A::Output, B::Output> {
    let (mut answer, mut body) = (pin!(answer), pin!(body));
    std::future::poll_fn(|context| {
        if upload.poll_taken(context).is_ready() {
            return Poll::Ready(Next::Taken);
        }
        if upload.is_next
            && let Poll::Ready(piece) = body.as_mut().poll(context)
        {
            return Poll::Ready(Next::OfBody(piece));
        }
        if let Poll::Ready(task) = answer.as_mut().poll(context) {
            return Poll::Ready(Next::OfAnswer(task));
        }
        if upload.is_next {
            return Poll::Pending;
        }
        body.as_mut().poll(context).map(Next::OfBody)
    })
    .await
}

impl Gate {
    /// Sends what was read of a body before, which is all that was kept.
    pub(super) fn begin_upload(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        upload: &mut Upload,
    ) -> Result<()> {
        if session.req_header().method.is_idempotent() {
            session.enable_retry_buffering();
        }
        match session.get_retry_buffer() {
            Some(kept) => self.pass_up(session, exchange, upload, Some(kept)),
            None => Ok(()),
        }
    }

    /// Passes a piece of a body on to the origin; `None` is its end. That the origin does not take it is kept: it may
    /// answer.
    pub(super) fn pass_up(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        upload: &mut Upload,
        piece: Option<Bytes>,
    ) -> Result<()> {
        upload.is_next = false;
        if !upload.is_open() {
            return Ok(());
        }
        let is_end = piece.is_none() || session.is_body_done();
        let piece = piece.unwrap_or_default();
        self.hear(session, piece.len(), is_end, exchange)?;
        if let Some(intake) = exchange.intake() {
            intake.pause();
        }
        upload.send(piece, is_end)
    }

    /// Notes that the origin has taken a piece: from here on it waits for the client.
    pub(super) fn passed_up(&self, exchange: &mut Exchange, upload: &Upload) {
        if let Some(intake) = exchange.intake().filter(|_| upload.is_open()) {
            intake.resume(self.clock.tick());
        }
    }

    /// Passes both on, the answer, unless it has `ended`, and the body.
    pub(super) async fn pass_both(
        &self,
        session: &mut Session,
        origin: &mut OriginSession,
        exchange: &mut Exchange,
        upload: &mut Upload,
        mut ended: bool,
    ) -> Result<()> {
        while !ended {
            upload.time(origin);
            let body = session.downstream_session.read_body_or_idle(!upload.is_open());
            match next(origin.read_body_ref(), body, upload).await {
                Next::Taken => self.passed_up(exchange, upload),
                Next::OfAnswer(body) => {
                    let body = match body {
                        Ok(body) => body,
                        Err(error) => return Err(upload.blame(error.into_up())),
                    };
                    let last = pass_all_but_last(&mut session.downstream_session, body).await?;
                    // Only now it is known whether more is to come.
                    let task = HttpTask::Body(last, origin.is_body_done());
                    ended = session.response_duplex_vec(vec![task]).await?;
                    upload.is_next = !upload.is_over();
                }
                Next::OfBody(piece) => {
                    let piece = piece.map_err(|error| error.into_down())?;
                    self.pass_up(session, exchange, upload, piece)?;
                }
            }
        }
        upload.answered();
        self.pass_rest_up(session, exchange, upload).await
    }

    /// Passes what is left of a body on after the answer. A client that does not go on with it is not waited for.
    async fn pass_rest_up(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        upload: &mut Upload,
    ) -> Result<()> {
        while !upload.is_over() {
            let is_open = upload.is_open();
            let body = session.read_body_or_idle(!is_open);
            let next = next(std::future::pending::<()>(), body, upload);
            match timeout(self.patience.read, next).await {
                Ok(Next::OfBody(piece)) => {
                    let piece = piece.map_err(|error| error.into_down())?;
                    self.pass_up(session, exchange, upload, piece)?;
                }
                Ok(Next::Taken | Next::OfAnswer(())) => {}
                Err(_) if is_open => upload.state = State::GivenUp,
                // To write has its own time.
                Err(_) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::RetryType;
    use std::future::{pending, ready};

    fn upload(state: State) -> Upload {
        Upload { state, is_next: false, ..Upload::new(None, None) }
    }

    fn writing(writing: impl Future<Output = Result<()>> + Send + 'static, is_end: bool) -> State {
        State::Writing { writing: Box::pin(writing), is_end }
    }

    async fn first(upload: &mut Upload) -> &'static str {
        match next(ready(()), ready(()), upload).await {
            Next::OfAnswer(()) => "answer",
            Next::OfBody(()) => "body",
            Next::Taken => "taken",
        }
    }

    #[tokio::test]
    async fn answer_and_body_take_turns_and_neither_waits_for_the_other() {
        for is_next in [false, true] {
            let mut upload = Upload { is_next, ..upload(State::Open) };
            assert_eq!(first(&mut upload).await, if is_next { "body" } else { "answer" });
            assert!(matches!(next(pending::<()>(), ready(1), &mut upload).await, Next::OfBody(1)));
            assert!(matches!(next(ready(2), pending::<()>(), &mut upload).await, Next::OfAnswer(2)));
        }
    }

    #[test]
    fn an_answer_that_fails_after_the_body_was_refused_failed_for_that() {
        let error = |kind, source| Error::create(kind, source, None, None);
        let read = || error(ErrorType::ReadError, ErrorSource::Upstream);
        let refused = || upload(State::Refused(error(ErrorType::WriteTimedout, ErrorSource::Upstream)));
        assert_eq!(*refused().blame(read()).etype(), ErrorType::WriteTimedout);
        let stale = || {
            let mut closed = error(ErrorType::ConnectionClosed, ErrorSource::Upstream);
            closed.retry = RetryType::ReusedOnly;
            closed
        };
        let broken = State::Refused(error(ErrorType::WriteError, ErrorSource::Upstream));
        let may_be_stale = |error: Box<Error>| matches!(error.retry, RetryType::ReusedOnly);
        assert!(may_be_stale(upload(broken).blame(stale())), "it may have been closed before");
        assert!(!may_be_stale(refused().blame(stale())), "it was open, and took nothing");
        let gone = error(ErrorType::WriteError, ErrorSource::Downstream);
        assert_eq!(*refused().blame(gone).etype(), ErrorType::WriteError, "it was the client");
        assert_eq!(*upload(State::Open).blame(read()).etype(), ErrorType::ReadError);
    }

    #[test]
    fn a_connection_is_used_again_only_after_a_whole_body() {
        let refused = State::Refused(Error::new(ErrorType::WriteError));
        for (state, over, whole) in [
            (State::Open, false, false),
            (writing(pending(), true), false, false),
            (State::Whole, true, true),
            (refused, true, false),
            (State::GivenUp, true, false),
        ] {
            let upload = upload(state);
            assert_eq!((upload.is_over(), upload.is_whole()), (over, whole));
        }
    }

    #[tokio::test]
    async fn the_answer_is_looked_at_while_a_piece_is_written_and_no_other_piece_is_sent() {
        let mut stuck = upload(writing(pending(), false));
        assert_eq!((first(&mut stuck).await, stuck.is_open()), ("answer", false));
        let mut taken = upload(writing(ready(Ok(())), false));
        assert_eq!((first(&mut taken).await, taken.is_open()), ("taken", true));
        let mut last = upload(writing(ready(Ok(())), true));
        assert_eq!((first(&mut last).await, last.is_whole()), ("taken", true));
        let mut refused = upload(writing(ready(Err(Error::new(ErrorType::WriteError))), true));
        assert_eq!(
            (first(&mut refused).await, refused.is_over(), refused.is_whole()),
            ("taken", true, false)
        );
    }

    #[test]
    fn a_connection_whose_answer_ended_before_the_body_is_not_used_again() {
        for (state, is_whole) in
            [(State::Whole, true), (State::Open, false), (writing(pending(), true), false)]
        {
            let mut upload = upload(state);
            upload.answered();
            upload.state = State::Whole;
            assert_eq!(upload.is_whole(), is_whole);
        }
    }
}
