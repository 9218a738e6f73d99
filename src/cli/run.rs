//! `riskgate run`: serves, and says what it loaded and what to type next.

use std::fmt::Write as _;
use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use super::diagnostics::{self, Style};
use super::layout::{Ink, count, grouped, list};
use super::{WRONG, check, open_files, refuse};
use crate::app::{self, Manner, Ready, Sockets};
use crate::config::{Log, LogFormat};
use crate::signals::Vocabulary;

/// How it starts.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Args {
    /// Takes over from the gate that runs, without dropping a request: its listeners, found by `[server] upgrade_socket`.
    /// It is told to end once this one serves. If none runs, this is a start like any other.
    #[arg(long)]
    upgrade: bool,
}

pub(super) fn run(config: &Path, args: &Args) -> ExitCode {
    let sockets = if args.upgrade { Sockets::TakenOver } else { Sockets::Activated };
    let loaded = app::load(config, Vocabulary::standard());
    let ready = loaded.and_then(|loaded| {
        log_as(&loaded.config.log);
        log_panics();
        open_files::raise();
        let doubt = open_files::doubt(config, loaded.config.server.max_connections);
        let _ = diagnostics::show(doubt.as_slice(), &mut stderr());
        app::prepare(loaded, Manner { sockets, ..Manner::default() })
    });
    let ready = match ready {
        Ok(ready) => ready,
        Err(problems) => return refuse(&problems, "not started"),
    };
    let _ = diagnostics::show(&ready.notes, &mut stderr());
    let _ = stdout().write_all(banner(&ready, Ink::of(&stdout())).as_bytes());
    match ready.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(WRONG)
        }
    }
}

/// A panic is told in the log, by its place and nothing else: what it says may quote what a client sent.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let said = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or_default();
        tracing::error!(
            place,
            said,
            "a panic: a mistake in riskgate, which is worth a report; the gate goes on"
        );
    }));
}

/// The process's own log goes to standard error. `RUST_LOG` overrides the configured level.
fn log_as(log: &Log) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(log.level.as_str()));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    // It fails only if somebody who embeds the gate has a log already, which is then the one to use.
    let _ = match log.format {
        LogFormat::Text => builder.with_ansi(Style::of(&stderr()) == Style::Colours).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

fn banner(ready: &Ready, ink: Ink) -> String {
    let snapshot = ready.live.pin();
    let rule_sets = snapshot.policy().rule_sets();
    let mut text = format!("riskgate {} {}\n\n", env!("CARGO_PKG_VERSION"), ink.good("is ready"));
    let mut line = |what: &str, value: String| {
        let _ = writeln!(text, "  {what:<9}  {value}");
    };
    let names = list(rule_sets.iter().map(|rule_set| rule_set.name().to_owned()), 13);
    line("policy", format!("{}: {names}", count(rule_sets.len(), "script")));
    let countries = snapshot.geo().country.as_ref().map(|db| check::database(db.summary(), "countries"));
    line("places", countries.unwrap_or_else(|| "no database: every request is from `ZZ`".to_owned()));
    let lists = snapshot.lists().iter();
    let lists = lists.map(|list| format!("{} ({})", list.name, grouped(list.addresses.len() as u64)));
    line("lists", if snapshot.lists().is_empty() { "none".to_owned() } else { list(lists, 13) });
    for door in &ready.doors {
        line("clients", door.clone());
    }
    if let Some(address) = ready.admin {
        line("operators", format!("http://{address}"));
    }
    if let Some(door) = ready.doors.iter().find(|door| door.starts_with("http")) {
        // The certificate is seldom one for an address.
        let flags = if door.starts_with("https") { "-ik" } else { "-i" };
        let _ = writeln!(text, "\nTry it in another terminal:\n\n  curl {flags} {door}/hello");
        if let Some(admin) = ready.admin {
            let _ = writeln!(text, "  curl http://{admin}/api/decisions");
        }
    }
    if let Some(folder) = rule_sets.first().and_then(|rule_set| rule_set.path().parent()) {
        let _ = writeln!(text, "\nThen edit a script in {} and send the next request.", folder.display());
    }
    text + "Stop with Ctrl-C.\n"
}
