//! `GET /api/policy`: what is loaded, how often each reason was given, and how the last reload went.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Admin, Answer, Asked, Endpoint};
use crate::facts::problem::Problem;
use crate::record::rfc3339;
use crate::reload::{Last, ReloadOutcome};
use crate::rules::RuleSet;

pub(super) struct Policy;

#[async_trait]
impl Endpoint for Policy {
    fn method(&self) -> &'static str {
        "GET"
    }

    fn path(&self) -> &'static str {
        "/api/policy"
    }

    async fn answer(&self, admin: &Admin, _: Asked) -> Answer {
        let snapshot = admin.live.pin();
        let script = |rule_set: &RuleSet| {
            let hits =
                rule_set.reasons().map(|reason| (reason.to_owned(), admin.metrics.hits(reason).into()));
            let interpreted = rule_set.interpreted().map(|(function, kept)| {
                json!({ "function": function, "construct": kept.construct, "line": kept.line, "column": kept.column })
            });
            json!({
                "name": rule_set.name(),
                "path": rule_set.path(),
                "mode": rule_set.mode(),
                "functions": rule_set.functions().iter().map(|function| &function.signature).collect::<Vec<_>>(),
                "interpreted": interpreted.collect::<Vec<_>>(),
                "hits": Value::Object(hits.collect()),
            })
        };
        let lists = snapshot
            .lists()
            .iter()
            .map(|list| json!({ "name": list.name, "entries": list.addresses.len(), "hard": list.hard }));
        Answer::json(&json!({
            "generation": snapshot.generation(),
            "scripts": snapshot.policy().rule_sets().iter().map(script).collect::<Vec<_>>(),
            "signals": snapshot.policy().needs().names().collect::<Vec<_>>(),
            "lists": lists.collect::<Vec<_>>(),
            "last_reload": last_reload(&admin.live.last()),
        }))
    }
}

/// How a reload went.
pub(super) fn last_reload(last: &Last) -> Value {
    let problems = match &last.outcome {
        ReloadOutcome::Refused(problems) => problems.as_slice(),
        ReloadOutcome::Published(_) | ReloadOutcome::Unchanged => &[],
    };
    json!({
        "at": rfc3339(last.at),
        "outcome": last.outcome.as_str(),
        "generation": last.generation,
        "problems": problems.iter().map(problem).collect::<Vec<_>>(),
        "warnings": last.notes.iter().map(problem).collect::<Vec<_>>(),
    })
}

fn problem(problem: &Problem) -> Value {
    json!({
        "file": problem.file(),
        "line": problem.position().map(|at| at.line),
        "column": problem.position().map(|at| at.column),
        "message": problem.message(),
        "hint": problem.advice(),
    })
}
