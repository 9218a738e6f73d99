//! `riskgate run`: serves, and says what it loaded and what to type next.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use super::{WRONG, diagnostics};
use crate::app::{self, Manner, Ready};
use crate::config::{Log, LogFormat};
use crate::signals::Vocabulary;

pub(super) fn run(config: &Path) -> ExitCode {
    let loaded = app::load(config, Vocabulary::standard());
    let ready = loaded.and_then(|loaded| {
        log_as(&loaded.config.log);
        app::prepare(loaded, Manner::default())
    });
    let ready = match ready {
        Ok(ready) => ready,
        Err(problems) => {
            let _ = diagnostics::show(&problems, &mut stderr());
            let _ = writeln!(stderr(), "\nnot started: mend the above, `riskgate check` says when all is well");
            return ExitCode::from(WRONG);
        }
    };
    let _ = diagnostics::show(&ready.notes, &mut stderr());
    let _ = stdout().write_all(banner(&ready).as_bytes());
    match ready.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(WRONG)
        }
    }
}

/// The process's own log goes to standard error. `RUST_LOG` overrides the configured level.
fn log_as(log: &Log) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(log.level.as_str()));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    // It fails only if somebody who embeds the gate has a log already, which is then the one to use.
    let _ = match log.format {
        LogFormat::Text => builder.with_ansi(stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

fn banner(ready: &Ready) -> String {
    let snapshot = ready.live.pin();
    let mut text = format!("riskgate {} is ready\n\n", env!("CARGO_PKG_VERSION"));
    let mut line = |what: &str, value: String| {
        let _ = writeln!(text, "  {what:<9} {value}");
    };
    let names: Vec<&str> = snapshot.policy().rule_sets().iter().map(crate::rules::RuleSet::name).collect();
    line("policy", format!("{} scripts: {}", names.len(), names.join(" ")));
    line("places", super::check::places(&snapshot));
    let lists: Vec<String> =
        snapshot.lists().iter().map(|list| format!("{} ({})", list.name, list.addresses.len())).collect();
    line("lists", if lists.is_empty() { "none".to_owned() } else { lists.join(" ") });
    for address in &ready.listeners {
        line("clients", format!("http://{address}"));
    }
    if let Some(address) = ready.admin {
        line("operators", format!("http://{address}"));
    }
    if let Some(address) = ready.listeners.first() {
        let _ = writeln!(text, "\nTry it in another terminal:\n");
        let _ = writeln!(text, "  curl -i http://{address}/hello");
        if let Some(admin) = ready.admin {
            let _ = writeln!(text, "  curl http://{admin}/api/decisions");
        }
        let _ = writeln!(text, "\nThen edit a script in scripts/ and send the next request. Stop with Ctrl-C.");
    }
    text
}
