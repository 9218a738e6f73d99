//! What limits may delay: from `[limits]` to the limits that there are.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use foldhash::fast::FixedState;

use crate::config::Config;
use crate::facts::problem::{Problem, nearest};
use crate::signals::Text;
use crate::traffic::{Delay, LimitSpec};

/// What each limit may delay. Problems are names that no limit has.
pub(super) fn delays(
    config: &Config,
    path: &Path,
    specs: &[LimitSpec],
) -> Result<HashMap<Text, Delay, FixedState>, Vec<Problem>> {
    let known: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let unknown = config.limits.iter().filter(|(name, _)| !known.contains(name.as_str()));
    let problems: Vec<Problem> = unknown
        .map(|(name, delay)| {
            let (line, column) = (delay.position.line, delay.position.column);
            let message = format!("`[limits]` names `{}`, but there is no such limit", name.escape_debug());
            Problem::error(path, message)
                .at(line, column)
                .spanning(delay.position.width)
                .hint(hint(name, &known))
        })
        .collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(config.limits.iter().map(|(name, delay)| (name.as_str().into(), delay.value)).collect())
}

fn hint(name: &str, known: &BTreeSet<&str>) -> String {
    match nearest(name, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if known.is_empty() => "nothing is limited".to_owned(),
        None => format!("there are `{}`", known.iter().copied().collect::<Vec<_>>().join("`, `")),
    }
}
