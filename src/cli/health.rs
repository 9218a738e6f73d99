//! `riskgate health`: whether a running gate wants requests, as an exit code, for containers that have no other program.

use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;
use std::time::Duration;

use ureq::Agent;

use super::WRONG;
use super::layout::one_line;

/// Whom to ask, and what.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where operators reach the gate.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090", env = "RISKGATE_ADMIN")]
    admin: String,
    /// Asks only whether the process answers, also while it starts or stops.
    #[arg(long)]
    live: bool,
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn health(args: &Args) -> ExitCode {
    let config = Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false);
    let agent = config.max_redirects(0).proxy(None).build().new_agent();
    let url =
        format!("{}{}", args.admin.trim_end_matches('/'), if args.live { "/healthz" } else { "/readyz" });
    let why = match agent.get(&url).call() {
        Ok(answer) if answer.status().is_success() => {
            let _ = writeln!(stdout(), "{}", if args.live { "alive" } else { "ready" });
            return ExitCode::SUCCESS;
        }
        Ok(answer) => format!("`{url}` answers {}", answer.status()),
        Err(error) => format!("no answer from `{url}`: {error}"),
    };
    let _ = writeln!(stderr(), "{}", one_line(&why));
    ExitCode::from(WRONG)
}
