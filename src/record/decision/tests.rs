//! The line that is written by hand is the line that `serde_json` would write: the struct here is the oracle.

use proptest::prelude::*;
use serde::Serialize;

use super::*;
use crate::actions::Say;
use crate::decision::{Action, Level, LevelAction, Levels, Mode, OnError, RiskScore, Rulebook, Spoken};
use crate::facts::place::{Asn, CountryCode};
use crate::traffic::{Per, Rate};

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
    upstream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    reasons: Vec<&'a Reason>,
    errors: Vec<ErrorLine<'a>>,
    signals: serde_json::Value,
    judge_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    waited_ms: Option<u64>,
    total_us: u64,
}

#[derive(Serialize)]
struct ErrorLine<'a> {
    rule: &'a str,
    #[serde(flatten)]
    error: &'a ScriptError,
}

impl<'a> Line<'a> {
    fn of(record: &'a DecisionRecord<'_>) -> Self {
        let decision = record.decision;
        let errors = record.evaluation.errors().chain(record.observed.errors());
        let millis = i64::try_from(record.time.as_millis()).unwrap();
        Self {
            id: record.id,
            time: format!("{:.3}", jiff::Timestamp::from_millisecond(millis).unwrap()),
            generation: record.generation,
            route: record.route,
            method: cut(record.method),
            path: cut(record.path),
            host: cut(record.host),
            status: record.status,
            country: record.place.country.as_str(),
            asn: record.place.asn.number(),
            client: record.client.to_string(),
            level: decision.level(),
            score: decision.score(),
            wanted: decision.action(),
            action: record.outcome,
            limit: record.limit,
            upstream: decision.upstream().map(|name| name.as_str()),
            fault: record.fault,
            reasons: decision.reasons().iter().chain(&record.refused_for).collect(),
            errors: errors.map(|(outcome, error)| ErrorLine { rule: &outcome.rule, error }).collect(),
            signals: serde_json::from_slice(record.signals).unwrap(),
            judge_us: record.judge.as_micros() as u64,
            waited_ms: (record.waited > Duration::ZERO)
                .then_some(record.waited.as_micros().div_ceil(1_000) as u64),
            total_us: record.total.as_micros() as u64,
        }
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(1024)).rev().find(|end| text.is_char_boundary(*end)).unwrap();
    &text[..end]
}

fn says() -> impl Strategy<Value = Vec<Say>> {
    let reason = prop_oneof!["[a-z]{1,8}\\.[a-z]{1,8}", any::<String>()];
    let say = (0..7, reason, any::<i64>()).prop_map(|(kind, text, points)| {
        let reason = text.as_str().into();
        match kind {
            6 => Say::Route { upstream: reason },
            0 | 1 => Say::Add { reason, points: points % 101 },
            2 => Say::Allow { reason },
            3 => Say::Throttle { reason, per: Per::Country, rate: Rate::new(2.5).unwrap() },
            4 => Say::Block { reason },
            _ => Say::Tag { name: "x".into(), value: reason },
        }
    });
    prop::collection::vec(say, 0..4)
}

fn evaluation() -> impl Strategy<Value = Evaluation> {
    let failure = (any::<String>(), 0..9999_usize, 0..9999_usize);
    let failure = failure.prop_map(|(message, line, column)| ScriptError { message, line, column });
    let spoken =
        prop_oneof![says().prop_map(|says| Spoken::Whole(says.into())), failure.prop_map(Spoken::Failed)];
    let outcome = ("[a-z0-9-]{1,12}", any::<bool>(), spoken).prop_map(|(rule, observed, spoken)| {
        RuleOutcome { rule: rule.into(), mode: if observed { Mode::Observe } else { Mode::Enforce }, spoken }
    });
    prop::collection::vec(outcome, 0..4).prop_map(|outcomes| {
        let mut evaluation = Evaluation::default();
        outcomes.into_iter().for_each(|outcome| evaluation.push(outcome));
        evaluation
    })
}

fn rulebook(on_error: OnError) -> Rulebook {
    let mut levels = Levels::default();
    let throttle = LevelAction::Throttle { per: Per::Client, rate: Rate::new(5.0).unwrap() };
    assert!(
        levels.begin(Level::Medium, 20, throttle) && levels.begin(Level::Critical, 90, LevelAction::Block)
    );
    Rulebook { levels, on_error, country_limits: Vec::new() }
}

proptest! {
    #[test]
    fn every_line_is_what_serde_json_would_write(
        (id, millis, generation, status, asn) in
            (any::<u128>(), 0..253_402_000_000_000_u64, any::<u64>(), any::<u16>(), any::<u32>()),
        country in "[A-Z]{2}",
        pseudonym in "[0-9a-f]{16}",
        (route, limit) in (any::<Option<String>>(), any::<Option<String>>()),
        (method, path, host) in ("[A-Z]{3,7}", "/(\\PC|[\u{0}-\u{ff}]){0,1100}", any::<String>()),
        (judged, observed, block) in (evaluation(), evaluation(), any::<bool>()),
        signals in prop::collection::vec(any::<String>(), 0..4),
        (outcome, fault) in (0..4_usize, any::<bool>()),
        (judge, total) in (any::<u32>(), any::<u64>()),
        waited in prop_oneof![Just(0), 1..30_000_000_u64],
    ) {
        let country = CountryCode::parse(&country).unwrap();
        let rulebook = rulebook(if block { OnError::Block } else { OnError::Skip });
        let decision = rulebook.decide(&judged, country, block.then_some("blocklist"));
        let record = DecisionRecord {
            id: Uuid::from_u128(id),
            time: Wall::from_millis(millis),
            generation: Generation(generation),
            route: route.as_deref(),
            method: &method,
            path: &path,
            host: &host,
            status,
            place: Place { country, asn: Asn::new(asn) },
            client: Pseudonym::parse(&pseudonym).unwrap(),
            decision: &decision,
            evaluation: &judged,
            observed: &observed,
            signals: &serde_json::to_vec(&serde_json::json!({ "header(*)": signals })).unwrap(),
            outcome: Outcome::ALL[outcome],
            limit: limit.as_deref(),
            fault: fault.then_some("upstream_failed"),
            refused_for: fault.then(|| Reason {
                rule: "gate".into(),
                reason: "request.too_large".into(),
                points: 0,
                verb: Some("block"),
                observed: false,
            }),
            judge: Duration::from_nanos(judge.into()),
            waited: Duration::from_micros(waited),
            total: Duration::from_micros(total),
            ended: Tick::default(),
        };
        let mut written = Vec::new();
        record.write_json(&mut written);
        let expected = serde_json::to_string(&Line::of(&record)).unwrap();
        prop_assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
}
