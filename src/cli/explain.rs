//! `riskgate explain`: reason by reason, why a request is judged as it is, and what would change it.

use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::layout::{Columns, Ink, list, one_line};
use super::{MISUSED, WRONG, check, not_good};
use crate::actions::Say;
use crate::app::{self, Loaded};
use crate::cases::Described;
use crate::decision::{Action, Mode};
use crate::explain::{Explanation, ScriptSay};
use crate::facts::problem::Problem;
use crate::pipeline::judge;
use crate::record::find_in_files;
use crate::signals::Vocabulary;
use crate::snapshot::Snapshot;

/// What to explain: a decision's id, or a description.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A recorded decision's id, as in `riskgate-decision` or the log. Without, the request is described by options.
    id: Option<Uuid>,
    #[command(flatten)]
    description: Description,
    /// Prints JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// A request in options. What is left out is unknown, zero or absent.
#[derive(Debug, clap::Args)]
struct Description {
    /// The method; GET if left out.
    #[arg(short = 'X', long, value_name = "METHOD", conflicts_with = "id")]
    method: Option<String>,
    /// The path and query; / if left out.
    #[arg(short, long, conflicts_with = "id")]
    path: Option<String>,
    /// The host; localhost if left out.
    #[arg(long, conflicts_with = "id")]
    host: Option<String>,
    /// http or https.
    #[arg(long, conflicts_with = "id")]
    scheme: Option<String>,
    /// A header; may be given again.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header, conflicts_with = "id")]
    headers: Vec<(String, String)>,
    /// The fingerprint of the header lines, as `req.agent.order` reads.
    #[arg(long, value_name = "HASH", conflicts_with = "id")]
    order: Option<String>,
    /// The body, as JSON, for a route that reads bodies.
    #[arg(long, value_name = "JSON", conflicts_with = "id")]
    body: Option<String>,
    /// The declared bytes of the body.
    #[arg(long, value_name = "BYTES", conflicts_with = "id")]
    size: Option<u64>,
    /// The client's address. It is truncated before anything else happens.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "id")]
    ip: Option<std::net::IpAddr>,
    /// The country, instead of the one that the address belongs to.
    #[arg(long, value_name = "CODE", conflicts_with = "id")]
    country: Option<String>,
    /// The network, instead of the one that the address belongs to.
    #[arg(long, value_name = "NUMBER", conflicts_with = "id")]
    asn: Option<u32>,
    /// Requests/s of the client.
    #[arg(long, value_name = "RATE", conflicts_with = "id")]
    client_rate: Option<f64>,
    /// Requests/s of the country.
    #[arg(long, value_name = "RATE", conflicts_with = "id")]
    country_rate: Option<f64>,
    /// The country's usual requests/s.
    #[arg(long, value_name = "RATE", conflicts_with = "id")]
    country_usual: Option<f64>,
    /// How many times its usual rate the country's rate is.
    #[arg(long, value_name = "TIMES", conflicts_with = "id")]
    country_surge: Option<f64>,
    /// How improbable the country's requests are: at most 1 in 10 to the power of this.
    #[arg(long, value_name = "POWER", conflicts_with = "id")]
    country_anomaly: Option<f64>,
    /// Requests/s of the route.
    #[arg(long, value_name = "RATE", conflicts_with = "id")]
    route_rate: Option<f64>,
    /// The route's usual requests/s.
    #[arg(long, value_name = "RATE", conflicts_with = "id")]
    route_usual: Option<f64>,
    /// How many times its usual rate the route's rate is.
    #[arg(long, value_name = "TIMES", conflicts_with = "id")]
    route_surge: Option<f64>,
    /// How improbable the route's requests are: at most 1 in 10 to the power of this.
    #[arg(long, value_name = "POWER", conflicts_with = "id")]
    route_anomaly: Option<f64>,
    /// Events of a counter, such as `login_failed=6`; may be given again.
    #[arg(long = "count", value_name = "COUNTER=EVENTS", value_parser = event_count, conflicts_with = "id")]
    counts: Vec<(String, i64)>,
    /// A list that the client is on; may be given again.
    #[arg(long = "listed", value_name = "LIST", conflicts_with = "id")]
    listed: Vec<String>,
    /// The moment, such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "MOMENT", conflicts_with = "id")]
    time: Option<String>,
}

/// Why there is nothing to explain.
enum Failure {
    /// What would be loaded is wrong.
    Refused(Vec<Problem>),
    /// The description is wrong.
    Misdescribed(String),
    /// The record is not there, or is broken.
    Unfound(String),
}

type Record = Map<String, Value>;

/// An explanation, and the record that it is about.
#[derive(Serialize)]
struct Explained {
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<Record>,
    #[serde(flatten)]
    explanation: Explanation,
}

pub(super) fn explain(config: &Path, args: &Args) -> ExitCode {
    let (message, code) = match explained(config, args) {
        Ok(explained) => {
            let text = if args.json { explained.json() } else { explained.text(Ink::of(&stdout())) };
            let _ = stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(Failure::Refused(problems)) => return not_good(config, &problems),
        Err(Failure::Misdescribed(message)) => (message, MISUSED),
        Err(Failure::Unfound(message)) => (message, WRONG),
    };
    let _ = writeln!(stderr(), "{} {}", Ink::of(&stderr()).bad("error:"), one_line(&message));
    ExitCode::from(code)
}

/// Policy cases are not run: explaining is how one finds out why they fail.
fn explained(config: &Path, args: &Args) -> Result<Explained, Failure> {
    let mut loaded = app::load(config, Vocabulary::standard()).map_err(Failure::Refused)?;
    let sources = check::read(&mut loaded).map_err(Failure::Refused)?;
    let snapshot = loaded.builder.assemble(&sources).map_err(Failure::Refused)?;
    let Some(id) = args.id else {
        let context = args.description.described().context(&snapshot, &loaded.setting);
        let context = context.map_err(Failure::Misdescribed)?;
        let explanation = Explanation::new(&snapshot, &context, &judge(&snapshot, &context));
        return Ok(Explained { recorded: None, explanation });
    };
    recorded(&loaded, &snapshot, id).map_err(Failure::Unfound)
}

fn recorded(loaded: &Loaded, snapshot: &Snapshot, id: Uuid) -> Result<Explained, String> {
    let path = &loaded.config.decisions.path;
    let shown = path.display();
    let line = find_in_files(path, id).map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
    let line =
        line.ok_or_else(|| format!("no decision `{id}` is kept in `{shown}` or the older files beside it"))?;
    let record: Record =
        serde_json::from_slice(&line).map_err(|error| format!("the record is broken: {error}"))?;
    let signals = record.get("signals").and_then(Value::as_object).ok_or("the record has no `signals`")?;
    let (context, unrecorded) = snapshot.policy().needs().read_recorded(signals);
    let explanation = Explanation::new(snapshot, &context, &judge(snapshot, &context)).without(unrecorded);
    Ok(Explained { recorded: Some(record), explanation })
}

impl Description {
    fn described(&self) -> Described {
        Described {
            method: self.method.clone(),
            path: self.path.clone(),
            host: self.host.clone(),
            scheme: self.scheme.clone(),
            headers: self.headers.iter().cloned().collect(),
            order: self.order.clone(),
            body: self.body.clone(),
            size: self.size,
            ip: self.ip,
            country: self.country.clone(),
            asn: self.asn,
            client_rate: self.client_rate.unwrap_or_default(),
            country_rate: self.country_rate.unwrap_or_default(),
            country_surge: self.country_surge,
            country_usual: self.country_usual.unwrap_or_default(),
            country_anomaly: self.country_anomaly.unwrap_or_default(),
            route_rate: self.route_rate.unwrap_or_default(),
            route_usual: self.route_usual.unwrap_or_default(),
            route_surge: self.route_surge,
            route_anomaly: self.route_anomaly.unwrap_or_default(),
            counts: self.counts.iter().cloned().collect(),
            listed: self.listed.clone(),
            time: self.time.clone(),
            ..Described::default()
        }
    }
}

fn header(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once(':').ok_or("write `name: value`")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

fn event_count(text: &str) -> Result<(String, i64), &'static str> {
    let parsed = text.split_once('=').and_then(|(name, count)| Some((name.to_owned(), count.parse().ok()?)));
    parsed.ok_or("write a counter and a number, such as `login_failed=6`")
}

impl Explained {
    fn json(&self) -> String {
        serde_json::to_string_pretty(self).map(|json| json + "\n").unwrap_or_default()
    }

    fn text(&self, ink: Ink) -> String {
        let Explanation { scripts, unrecorded, changes, .. } = &self.explanation;
        let mut text = match &self.recorded {
            Some(record) => format!("{}\nnow   {}\n", then(record), verdict(&self.explanation, ink)),
            None => format!("{}\n", verdict(&self.explanation, ink)),
        };
        if !unrecorded.is_empty() {
            let names = list(unrecorded.iter().cloned(), 2);
            text.push_str(&format!("\nnot in the record, so judged as empty\n  {names}\n"));
        }
        text.push_str(&format!("\n{}\n", ink.heading("what the scripts said, and what they read")));
        scripts.iter().for_each(|script| text.push_str(&said(script, ink)));
        text.push_str(&format!("\n{}\n", ink.heading("what would change it")));
        changes.iter().for_each(|change| text.push_str(&format!("  {}\n", one_line(change))));
        text
    }
}

/// What was decided when it was recorded.
fn then(record: &Record) -> String {
    let field = |name: &str| match record.get(name) {
        Some(Value::String(text)) => one_line(text),
        Some(other) => other.to_string(),
        None => "?".to_owned(),
    };
    let limit =
        if record.contains_key("limit") { format!(" by `{}`", field("limit")) } else { String::new() };
    let fault = if record.contains_key("fault") { format!(", {}", field("fault")) } else { String::new() };
    let request = format!("{} {}{} from {}", field("method"), field("host"), field("path"), field("country"));
    let waited = record.get("waited_ms").and_then(Value::as_u64);
    let waited = waited.map_or_else(String::new, |ms| format!(" after a wait of {ms} ms"));
    let judged =
        format!("score {}, level {}: {}{limit}{waited}", field("score"), field("level"), field("action"));
    let (time, generation, status) = (field("time"), field("generation"), field("status"));
    format!("{request}\n{time}, generation {generation}, status {status}{fault}\n\nthen  {judged}")
}

fn verdict(explanation: &Explanation, ink: Ink) -> String {
    let action = explanation.action.as_str();
    let action = match explanation.action {
        Action::Allow | Action::Tag => ink.good(action),
        Action::Throttle | Action::Challenge => ink.warn(action),
        Action::Block => ink.bad(action),
    };
    let limits = explanation.limits.iter();
    let limits = limits.map(|limit| format!(", {}/s per {} (`{}`)", limit.rate, limit.per, limit.name));
    let places = explanation.concurrency.iter();
    let places =
        places.map(|place| format!(", {} at once per {} (`{}`)", place.most.get(), place.per, place.name));
    let sent = explanation.upstream.iter().map(|name| format!(", sent to `{name}`"));
    let (score, level) = (explanation.score, explanation.level.as_str());
    format!("score {score}, level {level}: {action}{}", limits.chain(places).chain(sent).collect::<String>())
}

/// The width of the longest verb, so that names stand below each other.
const VERB: usize = "throttle".len();

fn said(script: &ScriptSay, ink: Ink) -> String {
    let note = match (script.skipped, script.mode) {
        (true, _) => " was not asked, since an earlier script trusts the request",
        (false, Mode::Observe) => " is observed only, and does not count",
        (false, Mode::Enforce) => "",
    };
    let mut said = Columns::default();
    for say in &script.said {
        let [verb, name, rest] = words(say);
        said.row([&format!("{verb:<VERB$}"), &name, &rest]);
    }
    match &script.error {
        Some(error) => said.row([&format!("{:<VERB$}", "failed"), &format!("at {error}")]),
        None if script.said.is_empty() && !script.skipped => said.row(["said nothing"]),
        None => {}
    }
    let mut read = Columns::default();
    for (at, (name, value)) in script.reads.iter().enumerate() {
        let value = serde_json::to_string(value).unwrap_or_default();
        let verb = if at == 0 { "read" } else { "" };
        read.row([&format!("{verb:<VERB$}"), name, &value]);
    }
    let read: String = read.lines(4).lines().map(|line| ink.faint(line) + "\n").collect();
    format!(
        "  {}{note}\n{}{}",
        ink.heading(&script.name),
        said.lines(4),
        if script.skipped { "" } else { &read }
    )
}

/// A verb, what it names, and how much.
fn words(say: &Say) -> [String; 3] {
    let (name, rest) = match say {
        Say::Add { reason, points } => (reason, format!("{points:+}")),
        Say::Allow { reason } | Say::Block { reason } => (reason, String::new()),
        Say::Throttle { reason, per, rate } => {
            (reason, format!("{}/s per {}", rate.per_second(), per.as_str()))
        }
        Say::Concurrency { limit: name } | Say::Route { upstream: name } => (name, String::new()),
        Say::Tag { name, value } => (name, format!("\"{value}\"")),
        Say::Count { counter, item } => {
            (counter, item.as_ref().map_or_else(String::new, |item| format!("\"{item}\"")))
        }
    };
    [say.verb().to_owned(), name.to_string(), rest]
}
