//! The gate: the real program with a real policy, a real country database and its decision log.
//!
//! A configuration is taken as it is in the repository; only what a turn decides is changed: addresses, one
//! thread, whose forwarding header is believed, and where the log goes.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use memchr::memchr_iter;
use toml::{Table, Value};

use crate::certificate;
use crate::contestant::{Contestant, Seat, Work};
use crate::error::LoadError;
use crate::process;

/// The gate with one configuration.
pub(crate) struct Gate {
    name: &'static str,
    configuration: &'static str,
    /// What its policy may answer to the mix.
    statuses: &'static [u16],
    work: Work,
    /// Threads for requests; 0 is one for each core.
    threads: i64,
    /// Whether it serves by TLS, too.
    tls: bool,
    /// Its own scripts, if it does not have those of its configuration.
    scripts: fn(&Seat<'_>) -> Result<Option<PathBuf>, LoadError>,
    /// How much it says: a level and a format.
    says: [&'static str; 2],
}

/// Where the configuration with the reference policy is.
pub(crate) const REFERENCE: &str = "benches/load/reference/riskgate.toml";
/// Begins the names of the files of its decision log.
const LOG: &str = "decisions";

impl Gate {
    /// The work that is the same for every program, from `benches/load/reference`. It lets all of the mix through.
    pub(crate) fn reference() -> Self {
        Self {
            name: "riskgate, reference policy",
            configuration: REFERENCE,
            statuses: &[200],
            work: Work::Reference { score: "riskgate-score" },
            ..Self::shipped()
        }
    }

    /// What users start with, from `conf` and `scripts`. It throttles some of the mix.
    pub(crate) fn shipped() -> Self {
        Self {
            name: "riskgate, shipped policy",
            configuration: "conf/riskgate.toml",
            statuses: &[200, 403, 429],
            work: Work::Any,
            threads: 1,
            tls: false,
            scripts: |_| Ok(None),
            says: ["warn", "text"],
        }
    }

    /// The reference one, by TLS as well.
    pub(crate) fn by_tls() -> Self {
        Self { name: "riskgate", tls: true, ..Self::reference() }
    }

    /// The shipped one with as many threads as it takes by itself.
    pub(crate) fn unbound() -> Self {
        Self { name: "riskgate, shipped configuration", threads: 0, ..Self::shipped() }
    }

    /// The reference configuration with scripts that this bench makes, and a log that a program can read.
    pub(crate) fn with_scripts(
        name: &'static str,
        scripts: fn(&Seat<'_>) -> Result<Option<PathBuf>, LoadError>,
    ) -> Self {
        Self { name, work: Work::Any, scripts, says: ["info", "json"], ..Self::reference() }
    }

    /// Where its configuration is, in a seat's folder.
    pub(crate) fn file(folder: &Path) -> PathBuf {
        folder.join("riskgate.toml")
    }

    /// The gate, asked to do something with a configuration. The paths in it are relative to the repository.
    pub(crate) fn asked_to(what: &str, file: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_riskgate"));
        command.current_dir(repository()).args([what, "--config"]).arg(file);
        command
    }

    /// Its configuration, changed for this seat.
    fn configuration(&self, seat: &Seat<'_>) -> Result<String, LoadError> {
        let mut listeners = vec![listener(seat.listen, [])];
        if self.tls {
            listeners.push(listener(seat.secure, [("tls", certificate::write(seat.folder)?.into())]));
        }
        let [level, format] = self.says;
        let mut changes: Vec<(&[&str], Value)> = vec![
            (&["server", "threads"], self.threads.into()),
            (&["client", "trusted_proxies"], vec!["127.0.0.0/8"].into()),
            (&["log", "level"], level.into()),
            (&["log", "format"], format.into()),
        ];
        if let Some(scripts) = (self.scripts)(seat)? {
            changes.push((&["policy", "scripts"], text_value(scripts.display())));
        }
        adapt(seat, self.configuration, listeners, changes)
    }
}

/// A configuration of the repository with these listeners and changes. Where it has to send requests, what operators ask and
/// where its log goes are as the seat demands.
pub(crate) fn adapt(
    seat: &Seat<'_>,
    configuration: &str,
    listeners: Vec<Value>,
    changes: Vec<(&[&str], Value)>,
) -> Result<String, LoadError> {
    let path = repository().join(configuration);
    let wrong = |why: String| LoadError::Configuration { path: path.display().to_string(), why };
    let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    let mut all: Table = text.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
    // Held for a moment, or the same port might be chosen twice.
    let taken = [seat.listen, seat.secure].map(TcpListener::bind);
    let admin = process::free_address()?.to_string();
    drop(taken);
    let log = seat.folder.join(LOG).with_extension("jsonl").display().to_string();
    all.insert("listener".into(), Value::Array(listeners));
    let own: [(&[&str], Value); 4] = [
        (&["server", "grace_period"], "1s".into()),
        (&["admin", "address"], admin.into()),
        (&["decisions", "path"], log.into()),
        (&["upstream", "origin"], servers(seat.origin).into()),
    ];
    for (keys, value) in own.into_iter().chain(changes) {
        set(&mut all, keys, value).ok_or_else(|| wrong(format!("`{}` is no table", keys.join("."))))?;
    }
    toml::to_string(&all).map_err(|error| wrong(error.to_string()))
}

/// A listener with more than an address.
pub(crate) fn listener<const N: usize>(address: SocketAddr, more: [(&str, Value); N]) -> Value {
    let more = more.map(|(key, value)| (key.to_owned(), value));
    Table::from_iter([("address".to_owned(), text_value(address))].into_iter().chain(more)).into()
}

/// An upstream with one server.
pub(crate) fn servers(address: SocketAddr) -> Table {
    Table::from_iter([("servers".into(), Value::Array(vec![text_value(address)]))])
}

impl Contestant for Gate {
    fn name(&self) -> &str {
        self.name
    }

    fn command(&self, seat: &Seat<'_>) -> Result<Command, LoadError> {
        let file = Self::file(seat.folder);
        fs::write(&file, self.configuration(seat)?).map_err(LoadError::io("write a configuration"))?;
        Ok(Self::asked_to("run", &file))
    }

    fn work(&self) -> Work {
        self.work
    }

    fn may_answer(&self, status: u16) -> bool {
        self.statuses.contains(&status)
    }

    /// A record is a line.
    fn recorded(&self, folder: &Path) -> Option<u64> {
        let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
        let logs = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(LOG));
        let lines =
            logs.map(|entry| fs::read(entry.path()).map(|log| memchr_iter(b'\n', &log).count() as u64));
        lines.sum::<std::io::Result<u64>>().ok()
    }
}

/// Where the repository is.
pub(crate) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text_value(text: impl ToString) -> Value {
    Value::String(text.to_string())
}

/// Sets a key in a table within tables, which are made if they are missing.
fn set(table: &mut Table, keys: &[&str], value: Value) -> Option<()> {
    match keys {
        [] => None,
        [key] => {
            table.insert((*key).to_owned(), value);
            Some(())
        }
        [key, rest @ ..] => {
            let inner = table.entry((*key).to_owned()).or_insert_with(|| Table::new().into());
            set(inner.as_table_mut()?, rest, value)
        }
    }
}
