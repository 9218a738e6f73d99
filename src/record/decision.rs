//! The decision record: what is kept of one request, as one JSON object on one line.
//!
//! It holds the inputs that the policy saw, so that the request can be judged again, and no full address, no
//! query and no secret: those never got this far. It borrows everything, since it is written where it is made.

use std::time::Duration;

use uuid::Uuid;

use super::Entry;
use super::json::{self, Json};
use crate::decision::{Decision, Evaluation, Outcome, Reason, RuleOutcome, ScriptError};
use crate::facts::client::Pseudonym;
use crate::facts::place::Place;
use crate::facts::time::{Tick, Wall};
use crate::snapshot::Generation;

/// What is kept of one request.
pub struct DecisionRecord<'a> {
    /// The decision's id, a UUIDv7.
    pub id: Uuid,
    /// When the head was parsed.
    pub time: Wall,
    /// The snapshot that judged.
    pub generation: Generation,
    /// The route's name; `None` if no route serves the request.
    pub route: Option<&'a str>,
    /// The method as sent.
    pub method: &'a str,
    /// The normalised path.
    pub path: &'a str,
    /// The host.
    pub host: &'a str,
    /// The status sent to the client; 499 if it had gone.
    pub status: u16,
    /// Where the request came from.
    pub place: Place,
    /// The client's pseudonym.
    pub client: Pseudonym,
    /// What was decided.
    pub decision: &'a Decision,
    /// What scripts said, for their errors.
    pub evaluation: &'a Evaluation,
    /// What scripts said about the response, for their errors.
    pub observed: &'a Evaluation,
    /// What the policy saw: a JSON object on one line, as [`RequestContext`](crate::signals::RequestContext) is
    /// serialised.
    pub signals: &'a [u8],
    /// What happened.
    pub outcome: Outcome,
    /// The limit that turned it away, if one did.
    pub limit: Option<&'a str>,
    /// What went wrong besides, such as `upstream_failed`.
    pub fault: Option<&'static str>,
    /// Why the gate itself refused it, whatever was judged.
    pub refused_for: Option<Reason>,
    /// Time from the parsed head to the decision.
    pub judge: Duration,
    /// Time that it waited at limits, which is no part of `judge`; zero if it did not.
    pub waited: Duration,
    /// Time from the parsed head to the end of the response.
    pub total: Duration,
    /// When the response ended.
    pub ended: Tick,
}

/// Longest path, host or method that is kept, in bytes.
const MAX_TEXT: usize = 1024;

impl Entry for DecisionRecord<'_> {
    fn id(&self) -> Uuid {
        self.id
    }

    fn made(&self) -> Tick {
        self.ended
    }

    fn write_json(&self, out: &mut Vec<u8>) {
        let mut json = Json(out);
        self.write_request(&mut json);
        self.write_decision(&mut json);
        json.raw(",\"signals\":").json(self.signals);
        json.raw(",\"judge_us\":").number(micros(self.judge));
        if !self.waited.is_zero() {
            json.raw(",\"waited_ms\":").number(millis(self.waited));
        }
        json.raw(",\"total_us\":").number(micros(self.total)).raw("}");
    }
}

impl DecisionRecord<'_> {
    fn write_request(&self, json: &mut Json<'_>) {
        json.raw("{\"id\":\"").id(self.id);
        json.raw("\",\"time\":\"").json(&json::moment(self.time));
        json.raw("\",\"generation\":").number(self.generation.0);
        match self.route {
            Some(route) => json.raw(",\"route\":\"").text(route).raw("\",\"method\":\""),
            None => json.raw(",\"route\":null,\"method\":\""),
        };
        json.text(short(self.method));
        json.raw("\",\"path\":\"").text(short(self.path));
        json.raw("\",\"host\":\"").text(short(self.host));
        json.raw("\",\"status\":").number(self.status);
        json.raw(",\"country\":\"").raw(self.place.country.as_str());
        json.raw("\",\"asn\":").number(self.place.asn.number());
        json.raw(",\"client\":\"").json(&self.client.digits());
    }

    fn write_decision(&self, json: &mut Json<'_>) {
        json.raw("\",\"level\":\"").raw(self.decision.level().as_str());
        json.raw("\",\"score\":").number(self.decision.score().value());
        json.raw(",\"wanted\":\"").raw(self.decision.action().as_str());
        json.raw("\",\"action\":\"").raw(self.outcome.as_str());
        if let Some(limit) = self.limit {
            json.raw("\",\"limit\":\"").text(limit);
        }
        if let Some(upstream) = self.decision.upstream() {
            json.raw("\",\"upstream\":\"").text(upstream);
        }
        if let Some(fault) = self.fault {
            json.raw("\",\"fault\":\"").text(fault);
        }
        let reasons = self.decision.reasons().iter().chain(&self.refused_for);
        json.raw("\",\"reasons\":").array(reasons, write_reason);
        let errors = self.evaluation.errors().chain(self.observed.errors());
        json.raw(",\"errors\":").array(errors, write_error);
    }
}

fn write_reason(json: &mut Json<'_>, reason: &Reason) {
    json.raw("{\"rule\":\"").text(&reason.rule);
    json.raw("\",\"reason\":\"").text(&reason.reason);
    json.raw("\",\"points\":").number(reason.points);
    if let Some(verb) = reason.verb {
        json.raw(",\"verb\":\"").text(verb).raw("\"");
    }
    json.raw(if reason.observed { ",\"observed\":true}" } else { "}" });
}

fn write_error(json: &mut Json<'_>, (outcome, error): (&RuleOutcome, &ScriptError)) {
    json.raw("{\"rule\":\"").text(&outcome.rule);
    json.raw("\",\"message\":\"").text(&error.message);
    json.raw("\",\"line\":").number(error.line);
    json.raw(",\"column\":").number(error.column).raw("}");
}

/// A wall time as RFC 3339 in UTC, with milliseconds.
pub fn rfc3339(wall: Wall) -> String {
    String::from_utf8_lossy(&json::moment(wall)).into_owned()
}

fn short(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or(text)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Rounded up, so that whoever waited did not wait for nothing.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
