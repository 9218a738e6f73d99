//! Bodies that are read before the request is judged, where a route asks for it.
//!
//! Pingora keeps what is read here and sends it on again, byte for byte, as long as it is no more than 64 KiB; of more it
//! would send nothing, so more is refused. All other routes stream.

use std::sync::Arc;
use std::time::Duration;

use pingora::ErrorType;
use pingora::proxy::Session;
use tokio::time::timeout;

use super::Gate;
use super::bounds::{BodyBounds, Inspection};
use super::intake::{Intake, Reads};
use super::unserved::Unserved;
use super::upstream::fleet::Fleet;
use crate::facts::body::{BodyFault, Document};
use crate::facts::request::RequestHead;
use crate::facts::time::Tick;
use crate::routes::Route;
use crate::snapshot::Snapshot;

/// What became of a body before the request is judged.
#[derive(Default)]
pub(super) struct Inspected {
    /// What was read.
    pub(super) body: Option<Document>,
    /// Why it was not.
    pub(super) fault: Option<Unserved>,
}

impl Inspected {
    /// Nothing was read, for this.
    pub(super) fn refused(fault: Unserved) -> Self {
        Self { body: None, fault: Some(fault) }
    }
}

impl Gate {
    /// What is wrong with a request as far as its head shows, and what is to come of its body.
    pub(super) fn measure(
        &self,
        fleet: Option<&Fleet>,
        route: Option<&Route>,
        head: &RequestHead<'_>,
        has_body: bool,
        now: Tick,
    ) -> (Option<Unserved>, Option<Intake>) {
        // Without a fleet nothing is served.
        let Some(bounds) = fleet.map(Fleet::bounds) else { return (Some(Unserved::NoRoute), None) };
        let intake = || self.intake(bounds.body(route), head.raw().is_some(), now);
        (bounds.fault(head, has_body, route), has_body.then(intake))
    }

    fn intake(&self, bounds: &Arc<BodyBounds>, is_http1: bool, now: Tick) -> Intake {
        let reads = if is_http1 { Reads::Timed } else { Reads::Untimed };
        Intake::new(Arc::clone(bounds), reads, self.patience.read, now)
    }

    /// Reads the body, if the route asks for it and nothing else is wrong with the request.
    pub(super) async fn inspect(
        &self,
        session: &mut Session,
        raw: Option<&[u8]>,
        snapshot: &Snapshot,
    ) -> Inspected {
        let fleet = Fleet::of(snapshot).filter(|fleet| fleet.bounds().inspects());
        let Some(fleet) = fleet.filter(|_| !session.is_body_empty()) else { return Inspected::default() };
        let head = RequestHead::read(session.req_header(), super::scheme_of(session)).from_wire(raw);
        let route = fleet.routes().find(head.host(), head.path());
        let bounds = fleet.bounds().body(route);
        let fits = fleet.bounds().fault(&head, true, route).is_none();
        let Some(inspection) = bounds.inspect.filter(|_| fits) else { return Inspected::default() };
        let mut intake = self.intake(bounds, raw.is_some(), self.clock.tick());
        // Large, and only for such routes.
        let read = Box::pin(self.read(session, inspection, &mut intake)).await;
        let parse = |bytes: Vec<u8>| Document::parse(&bytes, inspection.shape).map_err(Unserved::from);
        match read.and_then(parse) {
            Ok(body) => Inspected { body: Some(body), fault: None },
            Err(fault) => Inspected::refused(fault),
        }
    }

    /// The whole body, in time.
    async fn read(
        &self,
        session: &mut Session,
        inspection: Inspection,
        intake: &mut Intake,
    ) -> Result<Vec<u8>, Unserved> {
        session.enable_retry_buffering();
        if session.req_header().headers.contains_key(http::header::EXPECT) {
            // A client that has gone shows when its body is read.
            let _ = session.write_continue_response().await;
        }
        let mut body = Vec::new();
        loop {
            let patience: Duration = intake.patience();
            let piece = match timeout(patience, session.read_request_body()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => return Ok(body),
                Err(_) => return Err(Unserved::SlowBody),
                Ok(Err(error)) if *error.etype() == ErrorType::ReadTimedout => {
                    return Err(Unserved::SlowBody);
                }
                Ok(Err(_)) => return Err(Unserved::BrokenBody),
            };
            intake.hear(piece.len(), false, self.clock.tick())?;
            body.extend_from_slice(&piece);
            if u64::try_from(body.len()).unwrap_or(u64::MAX) > inspection.bytes {
                return Err(Unserved::LargeBody);
            }
        }
    }
}

impl From<BodyFault> for Unserved {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::NoJson => Self::NoJson,
            BodyFault::BeyondShape => Self::BeyondShape,
        }
    }
}
