//! The body of a request on the short way: each piece is sent on before the next one is read, so that the origin's pace
//! is the client's.
//!
//! What is read of it is measured as on Pingora's way, and kept for another try only if the request may be repeated. An
//! origin that takes no more of a body may answer all the same.

use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::v1::client::HttpSession as OriginSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, Result};
use pingora_timeout::timeout;

use super::pass_all_but_last;
use crate::proxy::Gate;
use crate::proxy::exchange::Exchange;

/// How far a body has come.
pub(super) struct Upload {
    state: State,
    /// Whether it is the body's turn, if more of it is there as well as of the answer.
    is_next: bool,
}

enum State {
    /// More is to come.
    Open,
    /// The origin has all of it.
    Whole,
    /// It took no more, for this.
    Refused(Box<Error>),
    /// The client did not go on with it after the answer.
    GivenUp,
}

/// What comes first.
pub(super) enum Next<A, B> {
    /// Something of the answer.
    OfAnswer(A),
    /// Something of the body.
    OfBody(B),
}

impl Upload {
    /// A body of which nothing was sent yet, or none.
    pub(super) fn new(has_body: bool) -> Self {
        Self { state: if has_body { State::Open } else { State::Whole }, is_next: false }
    }

    /// Whether nothing more of it is sent.
    pub(super) fn is_over(&self) -> bool {
        !matches!(self.state, State::Open)
    }

    /// Whether the origin has all of it.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.state, State::Whole)
    }

    /// Why there is no answer: that the origin did not take the body comes first.
    pub(super) fn blame(&mut self, error: Box<Error>) -> Box<Error> {
        if *error.esource() != ErrorSource::Upstream {
            return error;
        }
        match std::mem::replace(&mut self.state, State::GivenUp) {
            State::Refused(earlier) => earlier,
            State::Open | State::Whole | State::GivenUp => error,
        }
    }
}

/// What is there first, of the answer or of the body. They take turns when both are.
pub(super) async fn next<A: Future, B: Future>(
    answer: A,
    body: B,
    upload: &Upload,
) -> Next<A::Output, B::Output> {
    let (mut answer, mut body) = (pin!(answer), pin!(body));
    std::future::poll_fn(|context| {
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
    pub(super) async fn begin_upload(
        &self,
        session: &mut Session,
        origin: &mut OriginSession,
        exchange: &mut Exchange,
        upload: &mut Upload,
    ) -> Result<()> {
        if session.req_header().method.is_idempotent() {
            session.enable_retry_buffering();
        }
        match session.get_retry_buffer() {
            Some(kept) => self.pass_up(session, origin, exchange, upload, Some(kept)).await,
            None => Ok(()),
        }
    }

    /// Passes a piece of a body on to the origin; `None` is its end. An error of the origin is kept: it may answer.
    pub(super) async fn pass_up(
        &self,
        session: &mut Session,
        origin: &mut OriginSession,
        exchange: &mut Exchange,
        upload: &mut Upload,
        piece: Option<Bytes>,
    ) -> Result<()> {
        upload.is_next = false;
        if upload.is_over() {
            return Ok(());
        }
        let is_end = piece.is_none() || session.is_body_done();
        let piece = piece.unwrap_or_default();
        self.hear(session, piece.len(), is_end, exchange)?;
        match send(origin, &piece, is_end).await {
            Ok(()) if is_end => upload.state = State::Whole,
            Ok(()) => {}
            Err(error) => upload.state = State::Refused(error.into_up()),
        }
        Ok(())
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
            let body = session.downstream_session.read_body_or_idle(upload.is_over());
            match next(origin.read_body_ref(), body, upload).await {
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
                    self.pass_up(session, origin, exchange, upload, piece).await?;
                }
            }
        }
        self.pass_rest_up(session, origin, exchange, upload).await
    }

    /// Passes what is left of a body on after the answer. A client that does not go on with it is not waited for.
    async fn pass_rest_up(
        &self,
        session: &mut Session,
        origin: &mut OriginSession,
        exchange: &mut Exchange,
        upload: &mut Upload,
    ) -> Result<()> {
        while !upload.is_over() {
            match timeout(self.patience.read, session.read_body_or_idle(false)).await {
                Ok(piece) => {
                    let piece = piece.map_err(|error| error.into_down())?;
                    self.pass_up(session, origin, exchange, upload, piece).await?;
                }
                Err(_) => upload.state = State::GivenUp,
            }
        }
        Ok(())
    }
}

/// Writes a piece of a body, and its end.
async fn send(origin: &mut OriginSession, piece: &[u8], is_end: bool) -> Result<()> {
    // In chunks, one of no length would be the end.
    if !piece.is_empty() {
        origin.write_body(piece).await?;
    }
    if is_end {
        origin.finish_body().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::ErrorType;
    use std::future::{pending, ready};

    async fn first(upload: &Upload) -> &'static str {
        match next(ready(()), ready(()), upload).await {
            Next::OfAnswer(()) => "answer",
            Next::OfBody(()) => "body",
        }
    }

    #[tokio::test]
    async fn answer_and_body_take_turns_and_neither_waits_for_the_other() {
        for is_next in [false, true] {
            let upload = Upload { state: State::Open, is_next };
            assert_eq!(first(&upload).await, if is_next { "body" } else { "answer" });
            assert!(matches!(next(pending::<()>(), ready(1), &upload).await, Next::OfBody(1)));
            assert!(matches!(next(ready(2), pending::<()>(), &upload).await, Next::OfAnswer(2)));
        }
    }

    #[test]
    fn an_answer_that_fails_after_the_body_was_refused_failed_for_that() {
        let error = |kind, source| Error::create(kind, source, None, None);
        let read = || error(ErrorType::ReadError, ErrorSource::Upstream);
        let refused = || Upload {
            state: State::Refused(error(ErrorType::WriteTimedout, ErrorSource::Upstream)),
            is_next: false,
        };
        assert_eq!(*refused().blame(read()).etype(), ErrorType::WriteTimedout);
        let gone = error(ErrorType::WriteError, ErrorSource::Downstream);
        assert_eq!(*refused().blame(gone).etype(), ErrorType::WriteError, "it was the client");
        assert_eq!(*Upload::new(true).blame(read()).etype(), ErrorType::ReadError);
    }

    #[test]
    fn a_connection_is_used_again_only_after_a_whole_body() {
        let refused = State::Refused(Error::new(ErrorType::WriteError));
        for (state, over, whole) in [
            (State::Open, false, false),
            (State::Whole, true, true),
            (refused, true, false),
            (State::GivenUp, true, false),
        ] {
            let upload = Upload { state, is_next: false };
            assert_eq!((upload.is_over(), upload.is_whole()), (over, whole));
        }
    }
}
