//! Heads that no request came of: the parser answers them, and closes the connection, before any filter of the gate.
//!
//! They are attacks as often as mistakes, so they are recorded and counted like any request: of nobody but the other end
//! of the connection, to no host and path, and judged by nothing but the bounds of HTTP.

use std::sync::Arc;
use std::time::Duration;

use super::exchange::id_at;
use super::identity::Identity;
use super::unserved::Unserved;
use crate::clock::Clock;
use crate::decision::{Evaluation, Outcome};
use crate::facts::client::PeerAddr;
use crate::metrics::Metrics;
use crate::record::{DecisionRecord, Recorder};
use crate::reload::Live;

/// Records heads that could not be read.
pub struct Unread {
    /// The snapshot in use.
    pub live: Arc<Live>,
    /// Who is calling.
    pub identity: Arc<Identity>,
    /// Where records go.
    pub recorder: Recorder,
    /// What is counted for operators.
    pub metrics: Arc<Metrics>,
    /// The clocks.
    pub clock: Clock,
}

impl Unread {
    /// Records a head from `peer` that was answered with `status`.
    pub fn record(&self, peer: PeerAddr, status: u16) {
        let (now, snapshot) = (self.clock.now(), self.live.pin());
        let client = self.identity.identify_other_end(peer);
        let place = snapshot.place(client.prefix());
        let evaluation = Evaluation::default();
        let decision = snapshot.rulebook().decide(&evaluation, place.country, None);
        let record = DecisionRecord {
            id: id_at(now),
            time: now.wall,
            generation: snapshot.generation(),
            route: None,
            method: "",
            path: "",
            host: "",
            status,
            place,
            client: client.pseudonym(),
            decision: &decision,
            evaluation: &evaluation,
            observed: &evaluation,
            signals: b"{}",
            outcome: Outcome::Blocked,
            limit: None,
            fault: Some(Unserved::Unread.as_str()),
            refused_for: Unserved::Unread.reason(),
            judge: Duration::ZERO,
            waited: Duration::ZERO,
            total: Duration::ZERO,
            ended: now.tick,
        };
        self.metrics.unread(place.country, decision.level());
        self.metrics.reasoned(record.refused_for.as_slice());
        self.recorder.record(&record);
    }
}
