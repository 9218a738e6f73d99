//! A gate of its own for each test: files in a folder that goes with it, free ports, and a stop that waits.
//!
//! [`Setup`] describes the files, [`Setup::start`] runs the gate within this process, [`Setup::write`] only writes the
//! files, for tests of the command. Waiting is always for something that is looked at, and never without an end.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use riskgate::app::{self, Manner};
use riskgate::facts::problem::Problem;
use riskgate::proxy::drain::{Drain, Signals};
use riskgate::proxy::server::Scheduling;
use riskgate::reload::Live;
use riskgate::signals::Vocabulary;
use tempfile::TempDir;

use crate::mmdb::country_mmdb;
use crate::net::{Client, PATIENCE, Request, Response};

/// The countries of test addresses, unless a test says otherwise.
pub(crate) const COUNTRIES: &[(&str, &str)] = &[
    ("8.0.0.0/8", "US"),
    ("175.45.176.0/22", "KP"),
    ("192.0.2.0/24", "JP"),
    ("198.51.100.0/24", "FR"),
    ("203.0.113.0/24", "DE"),
    ("2001:db8::/32", "SE"),
];

/// What a gate is to be started with. Unless a test says otherwise: a built-in origin for every path, this machine
/// is trusted to say who a client is, no scripts, the levels of the defaults, and files are not watched. In all that
/// goes into the configuration `@` is the folder of the files.
pub(crate) struct Setup {
    sections: BTreeMap<String, String>,
    lists: String,
    routes: String,
    upstreams: String,
    listener: String,
    files: Vec<(String, Vec<u8>)>,
}

/// The files of a gate, in a folder that is deleted with this value.
pub(crate) struct Files {
    folder: TempDir,
}

/// A gate that serves. Dropping it stops it.
pub(crate) struct Running {
    /// Where clients connect.
    pub(crate) addr: SocketAddr,
    /// Where operators connect.
    pub(crate) admin: SocketAddr,
    /// The snapshot in use.
    pub(crate) live: Arc<Live>,
    /// What the start had to remark.
    pub(crate) notes: Vec<Problem>,
    files: Files,
    drain: Drain,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Setup {
    /// The smallest gate that answers.
    pub(crate) fn new() -> Self {
        let defaults = [
            ("server", "threads = 2\ngrace_period = \"10s\""),
            ("admin", "address = \"127.0.0.1:0\""),
            ("client", "trusted_proxies = [\"127.0.0.0/8\"]"),
            ("reload", "watch = false\ndebounce = \"20ms\""),
            ("traffic", "slots = 1024\ncounter_slots = 1024"),
        ];
        let sections = defaults.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        let setup = Self {
            sections,
            lists: String::new(),
            routes: String::new(),
            upstreams: String::new(),
            listener: String::new(),
            files: Vec::new(),
        };
        setup.countries(COUNTRIES)
    }

    /// Sets what stands below `[name]`, all of it; `geoip`, `lists`, `decisions`, `policy` and `traffic` know their paths already.
    pub(crate) fn section(mut self, name: &str, text: &str) -> Self {
        self.sections.insert(name.to_owned(), text.to_owned());
        self
    }

    /// Adds `scripts/<name>.rhai`.
    pub(crate) fn script(self, name: &str, text: &str) -> Self {
        self.file(&format!("scripts/{name}.rhai"), text)
    }

    /// Adds a script with this `assess` and nothing else.
    pub(crate) fn rule(self, name: &str, body: &str) -> Self {
        self.script(name, &format!("fn assess(req, risk) {{\n    {body}\n}}\n"))
    }

    /// Adds `scripts/cases/<name>.toml`.
    pub(crate) fn cases(self, name: &str, text: &str) -> Self {
        self.file(&format!("scripts/cases/{name}.toml"), text)
    }

    /// Adds an address list, in `lists/<name>.txt`.
    pub(crate) fn list(mut self, name: &str, text: &str) -> Self {
        self.lists.push_str(&format!("{name} = \"@/lists/{name}.txt\"\n"));
        self.file(&format!("lists/{name}.txt"), text)
    }

    /// Adds an address list that is refused whatever scripts say.
    pub(crate) fn hard_list(mut self, name: &str, text: &str) -> Self {
        self.lists.push_str(&format!("{name} = {{ path = \"@/lists/{name}.txt\", block = true }}\n"));
        self.file(&format!("lists/{name}.txt"), text)
    }

    /// Replaces the database of countries, `country.mmdb`.
    pub(crate) fn countries(self, entries: &[(&str, &str)]) -> Self {
        self.file("country.mmdb", country_mmdb(entries))
    }

    /// Serves every path by these servers.
    pub(crate) fn origin(self, servers: &[SocketAddr]) -> Self {
        self.upstream("origin", &format!("servers = {}", quoted(servers)))
    }

    /// Adds `[upstream.<name>]`.
    pub(crate) fn upstream(mut self, name: &str, text: &str) -> Self {
        self.upstreams.push_str(&format!("\n[upstream.{name}]\n{text}\n"));
        self
    }

    /// Adds a route. Without any, every path goes to the upstream `origin`.
    pub(crate) fn route(mut self, host: &str, path: &str, upstream: &str) -> Self {
        let route = format!("\n[[route]]\nhost = \"{host}\"\npath = \"{path}\"\nupstream = \"{upstream}\"\n");
        self.routes.push_str(&route);
        self
    }

    /// Adds to what stands below `[[listener]]`.
    pub(crate) fn listener(mut self, text: &str) -> Self {
        self.listener.push_str(&format!("{text}\n"));
        self
    }

    /// Adds lines to the route that was added last.
    pub(crate) fn route_with(mut self, text: &str) -> Self {
        self.routes.push_str(&format!("{text}\n"));
        self
    }

    /// Adds a file, below the gate's folder.
    pub(crate) fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.retain(|(known, _)| known != path);
        self.files.push((path.to_owned(), content.into()));
        self
    }

    /// Writes the files, and starts nothing.
    pub(crate) fn write(&self) -> Files {
        let files = Files { folder: TempDir::new().expect("a folder for the test") };
        if !self.files.iter().any(|(path, _)| path.ends_with(".rhai")) {
            // A gate without a policy does not start.
            files.write("scripts/00-nothing.rhai", "fn assess(req, risk) {}\n");
        }
        for (path, content) in &self.files {
            files.write(path, content);
        }
        files.write("riskgate.toml", self.config(files.folder.path()));
        files
    }

    /// Runs the gate. Fails the test if it is refused.
    pub(crate) fn start(&self) -> Running {
        self.try_start().unwrap_or_else(|problems| panic!("the gate does not start: {}", shown(&problems)))
    }

    /// Runs the gate, or says why it does not start.
    pub(crate) fn try_start(&self) -> Result<Running, Vec<Problem>> {
        Running::start(self.write())
    }

    fn config(&self, folder: &Path) -> String {
        let mut text = format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{}", self.listener);
        let mut sections = self.sections.clone();
        let mut begin_with = |name: &str, line: &str| {
            let section = sections.entry(name.to_owned()).or_default();
            *section = format!("{line}\n{section}");
        };
        begin_with("policy", "scripts = \"@/scripts\"");
        begin_with("decisions", "path = \"@/decisions.jsonl\"");
        begin_with("traffic", "state = \"@/traffic.state\"");
        begin_with("lists", &self.lists);
        if self.files.iter().any(|(path, _)| path == "country.mmdb") {
            begin_with("geoip", "country = \"@/country.mmdb\"");
        }
        for (name, section) in sections {
            text.push_str(&format!("\n[{name}]\n{section}\n"));
        }
        let route = "\n[[route]]\nupstream = \"origin\"\n";
        text.push_str(if self.routes.is_empty() { route } else { &self.routes });
        let upstream = "\n[upstream.origin]\nbuiltin = true\n";
        text.push_str(if self.upstreams.is_empty() { upstream } else { &self.upstreams });
        text.replace('@', folder.to_str().expect("a path of text"))
    }
}

impl Files {
    /// The configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.path("riskgate.toml")
    }

    /// The folder that holds everything.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path below the folder.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file below the folder, in place.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a file is in a folder"))
            .expect("a folder that can be written");
        fs::write(path, content).expect("a file that can be written");
    }

    /// The decision log as it is now: whole lines only.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(self.path("decisions.jsonl")).unwrap_or_default();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        text[..whole].to_owned()
    }

    /// The records of the decision log, once there are `count` of them.
    pub(crate) fn records(&self, count: usize) -> Vec<serde_json::Value> {
        let enough = || {
            let log = self.log();
            (log.lines().count() >= count).then_some(log)
        };
        let log = eventually(&format!("{count} records"), enough);
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        log.lines().map(parse).collect()
    }
}

impl Running {
    /// Runs a gate from files.
    pub(crate) fn start(files: Files) -> Result<Self, Vec<Problem>> {
        Self::start_with(files, Vocabulary::standard())
    }

    /// Runs a gate whose scripts may read other signals.
    pub(crate) fn start_with(files: Files, vocabulary: Vocabulary) -> Result<Self, Vec<Problem>> {
        let loaded = app::load(&files.config(), vocabulary)?;
        // One process, several servers: Pingora pins the threads of one only.
        let manner =
            Manner { signals: Signals::Ignored, scheduling: Scheduling::Stealing, ..Manner::default() };
        let mut ready = app::prepare(loaded, manner)?;
        let addr = *ready.listeners.first().expect("a listener");
        let admin = ready.admin.unwrap_or(addr);
        let (drain, live) = (ready.drain.clone(), Arc::clone(&ready.live));
        let notes = std::mem::take(&mut ready.notes);
        let thread = Some(thread::spawn(move || ready.run()));
        Ok(Self { addr, admin, live, notes, files, drain, thread })
    }

    /// A connection to the gate.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.addr).expect("a gate that listens")
    }

    /// One request on a connection of its own.
    pub(crate) fn send(&self, request: &Request) -> Response {
        self.connect().send(request).expect("an answer")
    }

    /// One request to the admin API, which wants to be called by its own name.
    pub(crate) fn ask(&self, request: &Request) -> Response {
        let mut client = Client::connect(self.admin).expect("an admin API that listens");
        client.send(&request.clone().header("host", "localhost")).expect("an answer")
    }

    /// All metrics as text.
    pub(crate) fn metrics(&self) -> String {
        self.ask(&Request::get("/metrics")).text().to_owned()
    }

    /// The files that it runs on.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// The records of the decision log, once there are `count` of them. Requests of one connection are in their order.
    pub(crate) fn records(&self, count: usize) -> Vec<serde_json::Value> {
        self.files.records(count)
    }

    /// The record of the decision that a response names, once it is written.
    pub(crate) fn record_of(&self, response: &Response) -> serde_json::Value {
        let id = response.headers.first("riskgate-decision").expect("a response of the gate");
        let named = |record: &serde_json::Value| record["id"] == id;
        eventually("a record", || self.files.records(0).into_iter().find(named))
    }

    /// Begins to stop, without waiting for it.
    pub(crate) fn begin_stop(&self) {
        self.drain.begin();
    }

    /// Begins to leave: it is not ready any more, but serves on.
    pub(crate) fn leave(&self) {
        self.drain.leave();
    }

    /// Stops, and hands back the files that are left. Fails the test if records were lost.
    pub(crate) fn stop(mut self) -> Files {
        self.join().expect("a gate that ends well");
        let nothing = Files { folder: TempDir::new().expect("a folder for the test") };
        std::mem::replace(&mut self.files, nothing)
    }

    fn join(&mut self) -> Result<(), String> {
        self.drain.begin();
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err("the gate panicked".to_owned()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let ended = self.join();
        if !thread::panicking() {
            ended.expect("a gate that ends well");
        }
    }
}

/// A GET request of a client at this address, as a trusted proxy passes it on.
pub(crate) fn from(address: &str, target: &str) -> Request {
    Request::get(target).header("x-forwarded-for", address)
}

/// Looks again and again until there is something to see; fails the test after a long while.
pub(crate) fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begin.elapsed() < PATIENCE, "still waiting for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// An origin that does with each connection what it likes. It stays for as long as the test process.
pub(crate) fn raw_origin(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
    let addr = listener.local_addr().expect("a bound listener has an address");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    addr
}

/// Reads to the end of a request's head.
pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.extend_from_slice(&byte);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A JSON body.
pub(crate) fn json(response: &Response) -> serde_json::Value {
    serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("{error}: {}", response.text()))
}

/// Problems as text, one a line.
pub(crate) fn shown(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// Servers as configuration writes them.
pub(crate) fn quoted(servers: &[SocketAddr]) -> String {
    let servers: Vec<_> = servers.iter().map(|server| format!("\"{server}\"")).collect();
    format!("[{}]", servers.join(", "))
}
