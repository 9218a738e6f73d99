//! The gate inside a program of your own, with a signal of your own: `req.tenant`, the first label of the host.
//!
//! A signal is a constant: its name, its type, a line of documentation and how it is read. Once it is in the
//! vocabulary, scripts may use it, a misspelling of it is refused at load, records keep it and `explain` shows it.
//! Run it with `cargo run --example embed`: it writes a policy, asks the gate twice, and stops.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use riskgate::app::{self, Manner};
use riskgate::facts::problem::Problem;
use riskgate::proxy::drain::Signals;
use riskgate::signals::{Facts, Kind, Name, Root, Signal, Value, Vocabulary};

const TENANT: Signal =
    Signal::property(Root::Request, "tenant", Kind::Text, "the first label of the host", tenant);

const SCRIPT: &str = r#"
fn assess(req, risk) {
    if req.tenant == "free" && req.path.starts_with("/export") { risk.block("tenant.export"); }
}
"#;

const CONFIG: &str = r#"
[[listener]]
address = "127.0.0.1:0"

[admin]
enabled = false

[policy]
scripts = "@/scripts"

[decisions]
path = "@/decisions.jsonl"

[[route]]
upstream = "origin"

[upstream.origin]
builtin = true
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("riskgate.toml");
    fs::create_dir(folder.path().join("scripts"))?;
    fs::write(folder.path().join("scripts/10-tenant.rhai"), SCRIPT)?;
    fs::write(&config, CONFIG.replace('@', &folder.path().display().to_string()))?;

    // `load`, `prepare` and `run` are all that embedding takes. `Manner::default()` also hears the process's signals.
    let manner = Manner { signals: Signals::Ignored, ..Manner::default() };
    let loaded = app::load(&config, Vocabulary::standard().with(TENANT)).map_err(told)?;
    let ready = app::prepare(loaded, manner).map_err(told)?;
    let (address, drain) = (*ready.listeners.first().ok_or("no listener")?, ready.drain.clone());
    let gate = thread::spawn(move || ready.run());

    let free = status(address, "free.example.com", "/export/orders")?;
    let paid = status(address, "acme.example.com", "/export/orders")?;
    writeln!(std::io::stdout(), "free.example.com: {free}\nacme.example.com: {paid}")?;
    assert_eq!((free.as_str(), paid.as_str()), ("HTTP/1.1 403 Forbidden", "HTTP/1.1 200 OK"));

    drain.begin();
    gate.join().map_err(|_| "the gate broke off")??;
    Ok(())
}

/// Reads the signal. It gets the parsed request and no full address, so it cannot leak one.
fn tenant<'a>(facts: &Facts<'a>, _: &Name) -> Value<'a> {
    Value::text(facts.head.host().split('.').next().unwrap_or(""))
}

/// The first line of the answer.
fn status(gate: SocketAddr, host: &str, path: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(gate)?;
    write!(connection, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or("").to_owned())
}

fn told(problems: Vec<Problem>) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
