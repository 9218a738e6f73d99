//! The decision record: what is kept of one request, as one JSON object on one line.
//!
//! It holds the inputs that the policy saw, so that the request can be judged again, and no full address, no
//! query and no secret: those never got this far.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Entry;
use crate::decision::{Action, Evaluation, Level, Outcome, Reason, RiskScore};
use crate::facts::client::Pseudonym;
use crate::facts::place::Place;
use crate::facts::time::Wall;
use crate::pipeline::Judgement;
use crate::snapshot::Generation;

/// What is kept of one request.
pub struct DecisionRecord {
    /// The decision's id, a UUIDv7.
    pub id: Uuid,
    /// When the head was parsed.
    pub time: Wall,
    /// The snapshot that judged.
    pub generation: Generation,
    /// The route's name; `None` if no route serves the request.
    pub route: Option<Arc<str>>,
    /// The method as sent.
    pub method: String,
    /// The normalised path.
    pub path: String,
    /// The host.
    pub host: String,
    /// The status sent to the client; 499 if it had gone.
    pub status: u16,
    /// Where the request came from.
    pub place: Place,
    /// The client's pseudonym.
    pub client: Pseudonym,
    /// What was judged.
    pub judgement: Judgement,
    /// What the policy saw.
    pub signals: Box<RawValue>,
    /// What happened.
    pub outcome: Outcome,
    /// The limit that turned it away, if one did.
    pub limit: Option<String>,
    /// What went wrong besides, such as `upstream_failed`.
    pub fault: Option<&'static str>,
    /// What scripts said about the response, for their errors.
    pub observed: Evaluation,
    /// Time from the parsed head to the decision.
    pub judge: Duration,
    /// Time from the parsed head to the end of the response.
    pub total: Duration,
}

/// Longest path, host or method that is kept, in bytes.
const MAX_TEXT: usize = 1024;

/// The record on the wire. Field order is the order in the file.
#[derive(Serialize)]
struct Line<'a> {
    id: Uuid,
    time: String,
    generation: Generation,
    route: Option<&'a str>,
    method: &'a str,
    path: &'a str,
    host: &'a str,
    status: u16,
    country: &'a str,
    asn: u32,
    client: String,
    level: Level,
    score: RiskScore,
    wanted: Action,
    action: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    reasons: &'a [Reason],
    errors: Vec<ErrorLine<'a>>,
    signals: &'a RawValue,
    judge_us: u64,
    total_us: u64,
}

#[derive(Serialize)]
struct ErrorLine<'a> {
    rule: &'a str,
    message: &'a str,
    line: usize,
    column: usize,
}

impl Entry for Box<DecisionRecord> {
    fn id(&self) -> Uuid {
        self.id
    }

    fn write_json(&self, out: &mut Vec<u8>) {
        let decision = &self.judgement.decision;
        let errors = self.judgement.evaluation.errors().chain(self.observed.errors());
        let line = Line {
            id: self.id,
            time: rfc3339(self.time),
            generation: self.generation,
            route: self.route.as_deref(),
            method: short(&self.method),
            path: short(&self.path),
            host: short(&self.host),
            status: self.status,
            country: self.place.country.as_str(),
            asn: self.place.asn.number(),
            client: self.client.to_string(),
            level: decision.level(),
            score: decision.score(),
            wanted: decision.action(),
            action: self.outcome,
            limit: self.limit.as_deref(),
            fault: self.fault,
            reasons: decision.reasons(),
            errors: errors
                .map(|(outcome, error)| ErrorLine {
                    rule: &outcome.rule,
                    message: &error.message,
                    line: error.line,
                    column: error.column,
                })
                .collect(),
            signals: &self.signals,
            judge_us: micros(self.judge),
            total_us: micros(self.total),
        };
        // Writing JSON of these types into memory cannot fail; a line that did is dropped and counted as too short.
        let _ = serde_json::to_writer(out, &line);
    }
}

/// A wall time as RFC 3339 in UTC, with milliseconds.
pub fn rfc3339(wall: Wall) -> String {
    let millis = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
    format!("{:.3}", jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX))
}

fn short(text: &str) -> &str {
    if text.len() <= MAX_TEXT {
        return text;
    }
    let end = (0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or("")
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
