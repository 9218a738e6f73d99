//! `riskgate explain`: reason by reason, why a request is judged as it is, and what would change it.

use std::fmt::Write as _;
use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{WRONG, check, diagnostics};
use crate::app::Loaded;
use crate::cases::Described;
use crate::decision::Mode;
use crate::explain::Explanation;
use crate::facts::problem::Problem;
use crate::pipeline::judge;
use crate::record::find_in_files;
use crate::signals::RequestContext;
use crate::snapshot::Snapshot;

/// What to explain: a decision's id, or a description.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A recorded decision's id, as in `riskgate-decision` or the log.
    id: Option<Uuid>,
    /// The method of a described request.
    #[arg(short = 'X', long, value_name = "METHOD", conflicts_with = "id")]
    method: Option<String>,
    /// Its path and query.
    #[arg(short, long, conflicts_with = "id")]
    path: Option<String>,
    /// Its host.
    #[arg(long, conflicts_with = "id")]
    host: Option<String>,
    /// One of its headers; may be given again.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", conflicts_with = "id")]
    headers: Vec<String>,
    /// The client's address. It is truncated before anything else happens.
    #[arg(long, conflicts_with = "id")]
    ip: Option<std::net::IpAddr>,
    /// The country, instead of the one that the address belongs to.
    #[arg(long, conflicts_with = "id")]
    country: Option<String>,
    /// Requests/s of the client.
    #[arg(long, value_name = "RATE", default_value_t = 0.0, conflicts_with = "id")]
    client_rate: f64,
    /// Events by counter: `login_failed=6`; may be given again.
    #[arg(long = "count", value_name = "COUNTER=EVENTS", conflicts_with = "id")]
    counts: Vec<String>,
    /// A list that the client is on; may be given again.
    #[arg(long = "listed", value_name = "LIST", conflicts_with = "id")]
    listed: Vec<String>,
    /// Prints JSON instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) fn explain(config: &Path, args: &Args) -> ExitCode {
    let shown = check::load(config).and_then(|(loaded, snapshot, _)| {
        let (context, recorded) = context(&loaded, &snapshot, args).map_err(|message| vec![Problem::error(config, message)])?;
        let explanation = Explanation::new(&snapshot, &context, &judge(&snapshot, &context));
        Ok((explanation, recorded))
    });
    let result = match shown {
        Ok((explanation, _)) if args.json => {
            serde_json::to_string_pretty(&explanation).map(|json| json + "\n").unwrap_or_default()
        }
        Ok((explanation, recorded)) => text(&explanation, recorded.as_ref()),
        Err(problems) => {
            let _ = diagnostics::show(&problems, &mut stderr());
            return ExitCode::from(WRONG);
        }
    };
    let _ = stdout().write_all(result.as_bytes());
    ExitCode::SUCCESS
}

type Record = Map<String, Value>;

fn context(loaded: &Loaded, snapshot: &Snapshot, args: &Args) -> Result<(RequestContext, Option<Record>), String> {
    let Some(id) = args.id else {
        return Ok((described(args)?.context(snapshot, &loaded.setting)?, None));
    };
    let path = &loaded.config.decisions.path;
    let line = find_in_files(path, id).map_err(|error| format!("`{}` cannot be read: {error}", path.display()))?;
    let line = line.ok_or_else(|| format!("no decision `{id}` is kept in `{}`", path.display()))?;
    let record: Record = serde_json::from_slice(&line).map_err(|error| format!("the record is broken: {error}"))?;
    let signals = record.get("signals").and_then(Value::as_object).ok_or("the record has no `signals`")?;
    Ok((snapshot.policy().needs().read_recorded(signals).0, Some(record)))
}

fn described(args: &Args) -> Result<Described, String> {
    let header = |text: &String| {
        let (name, value) = text.split_once(':').ok_or_else(|| format!("`{text}` is no header: write `name: value`"))?;
        Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    let count = |text: &String| {
        let parsed = text.split_once('=').and_then(|(name, count)| Some((name.to_owned(), count.parse().ok()?)));
        parsed.ok_or_else(|| format!("`{text}` is no count: write `login_failed=6`"))
    };
    Ok(Described {
        method: args.method.clone(),
        path: args.path.clone(),
        host: args.host.clone(),
        headers: args.headers.iter().map(header).collect::<Result<_, String>>()?,
        ip: args.ip,
        country: args.country.clone(),
        client_rate: args.client_rate,
        counts: args.counts.iter().map(count).collect::<Result<_, String>>()?,
        listed: args.listed.clone(),
        ..Described::default()
    })
}

fn text(explanation: &Explanation, recorded: Option<&Record>) -> String {
    let mut text = String::new();
    if let Some(record) = recorded {
        let _ = then(&mut text, record);
    }
    let _ = now(&mut text, explanation);
    text
}

/// What was decided when it was recorded.
fn then(text: &mut String, record: &Record) -> std::fmt::Result {
    let field = |name: &str| match record.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "-".to_owned(),
    };
    writeln!(text, "recorded {} by generation {}", field("time"), field("generation"))?;
    writeln!(text, "  {} {}{} from {}", field("method"), field("host"), field("path"), field("country"))?;
    writeln!(text, "  score {}, level {}: {}, status {}", field("score"), field("level"), field("action"), field("status"))?;
    for name in ["limit", "fault"] {
        if record.contains_key(name) {
            writeln!(text, "  {name}: {}", field(name))?;
        }
    }
    writeln!(text, "\njudged again by the policy of now")
}

fn now(text: &mut String, explanation: &Explanation) -> std::fmt::Result {
    writeln!(text, "score {}, level {}: {}", explanation.score, explanation.level.as_str(), explanation.action.as_str())?;
    for limit in &explanation.limits {
        writeln!(text, "  must pass `{}`: {}/s per {}", limit.name, limit.rate, limit.per)?;
    }
    writeln!(text, "\nwhat the scripts said")?;
    for script in &explanation.scripts {
        let note = match (script.skipped, script.mode) {
            (true, _) => " (not asked: an earlier script trusts the request)",
            (false, Mode::Observe) => " (observed only)",
            (false, Mode::Enforce) => "",
        };
        writeln!(text, "  {}{note}", script.name)?;
        match (&script.error, script.said.as_slice()) {
            (Some(error), _) => writeln!(text, "    failed at {error}")?,
            (None, []) if !script.skipped => writeln!(text, "    nothing")?,
            (None, said) => said.iter().try_for_each(|said| writeln!(text, "    {said}"))?,
        }
    }
    writeln!(text, "\nwhat they could read")?;
    for (name, value) in explanation.signals.iter() {
        writeln!(text, "  {name:<28} {}", serde_json::to_string(value).unwrap_or_default())?;
    }
    writeln!(text, "\nwhat would change it")?;
    explanation.changes.iter().try_for_each(|change| writeln!(text, "  {change}"))
}
