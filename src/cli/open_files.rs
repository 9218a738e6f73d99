//! How many files and connections this process may have open. The system sets a limit that a process may raise by itself,
//! up to a harder one: what few programs need, and one that holds the connections of thousands of clients does.

use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{info, warn};

use super::layout::grouped;
use crate::facts::problem::Problem;

/// Raises the limit as far as this process may, and says what it is.
pub(super) fn raise() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        // No need to ask for what there is, which a sandbox may forbid.
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    match raised {
        Ok(limit) => info!(limit, "files and connections may be open"),
        Err(error) => warn!("the limit of open files stays as it is: {error}"),
    }
}

/// The doubt whether so many connections can be open, as this process is started.
pub(super) fn doubt(config: &Path, max_connections: usize) -> Option<Problem> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    doubt_about(config, max_connections, most)
}

fn doubt_about(config: &Path, max_connections: usize, most: u64) -> Option<Problem> {
    if max_connections as u64 <= most {
        return None;
    }
    let (wanted, most) = (grouped(max_connections as u64), grouped(most));
    let message =
        format!("`max_connections` is {wanted}, but the system lets this process open {most} files");
    let hint = "raise the limit (`ulimit -Hn`, `LimitNOFILE=`), to two for each connection, or lower `max_connections`";
    Some(Problem::warning(config, message).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_than_files_are_worth_a_warning() {
        let file = Path::new("riskgate.toml");
        assert_eq!(doubt_about(file, 1024, 1024), None);
        let doubt = doubt_about(file, 20_000, 1024).unwrap();
        assert!(!doubt.is_error());
        let said = doubt.to_string();
        assert!(said.contains("20,000") && said.contains("1,024"), "{said}");
    }
}
