//! The canary: addresses that nobody else has go through every path of a real process, and then every place where
//! something comes out is searched for them, byte by byte and in every spelling.

mod introduced;
mod spellings;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};

use riskgate::facts::client::Client as Caller;
use riskgate::signals::{Facts, Kind, Name, Root, Signal, Value, Vocabulary};
use tokio::net::TcpSocket;

use crate::net::origin::{Answer, Gate, Origin};
use crate::net::{Body, Client, Request, Response, free_addr};
use crate::support::{Files, Running, Setup, eventually, from, quoted};
use spellings::Canary;

/// Clients behind a trusted proxy. Their prefixes are known to the database, their hosts are in no other test.
const CLIENTS: [&str; 2] = ["203.0.113.77", "2001:db8:77:1234:5678:9abc:def0:4242"];
/// Clients on a hard list.
const LISTED: [&str; 2] = ["198.51.100.187", "2001:db8:88:4321:8765:cba9:0fed:2424"];
/// A client that connects by itself.
const PEER: &str = "127.77.88.99";

/// What a panic says, to be found again.
const PROBE: &str = "the canary's signal panics:";

/// Headers that could name a client, besides the believed one; some in the spelling of CGI-like applications.
const ADDRESS_HEADERS: &[&str] = &[
    "x-real-ip",
    "X_Real_IP",
    "x_forwarded_for",
    "client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "remote-addr",
    "x-arr-clientip",
    "x-vercel-ip",
    "x-forwarded",
    "x-forwarded-by",
    "x-original-forwarded-for",
    "cloudfront-viewer-address",
];

/// A policy that is as curious as the language lets it be, and repeats what it read wherever it can.
const CURIOUS: &str = r#"
fn assess(req, risk) {
    let name = if req.method == "GET" { "x-real-ip" } else { "client-ip" };
    risk.tag("computed", req.header(name));
    risk.tag("named", req.header("x-forwarded-for") + " " + req.header("client-ip") + " " + req.header("forwarded"));
    risk.tag("caller", req.client.id + " " + req.client.prefix);
    risk.tag("query", req.query + req.path + req.host);
    if req.client.listed("abusers") { risk.add("test.listed", 5); }
    if req.path == "/blocked" { risk.block("test.block"); }
    if req.path == "/slow" { risk.throttle("test.slow", "client", 0.1); }
    if req.path == "/fail" { throw "no " + req.header(name) + req.header("client-ip") + req.client.prefix; }
    if req.path == "/parse" { risk.add("test.number", req.header("x-real-ip").parse_int()); }
}
fn observe(req, res, risk) {
    let name = if res.status == 200 { "x-seen" } else { "server" };
    if req.path == "/fail" { throw res.header(name) + req.header("x-real-ip"); }
}
"#;

/// Everything that came out, by where.
#[derive(Default)]
struct Sinks(Vec<(String, Vec<u8>)>);

impl Sinks {
    fn take(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.into(), bytes.into()));
    }

    fn response(&mut self, place: &str, response: &Response) {
        let head = format!("{} {:?}\n", response.status, response.headers);
        self.take(place, [head.as_bytes(), &response.body].concat());
    }

    fn assert_clean(&self) {
        for canary in CLIENTS.iter().chain(&LISTED).chain([&PEER]).map(|address| Canary::new(address)) {
            for (place, bytes) in &self.0 {
                if let Some(found) = canary.found_in(bytes) {
                    panic!("{place} holds `{found}`:\n{}", String::from_utf8_lossy(bytes));
                }
            }
        }
    }
}

/// The real program.
struct Process {
    child: Child,
    files: Files,
    addr: SocketAddr,
    admin: SocketAddr,
}

impl Process {
    fn start(setup: &Setup) -> Self {
        let files = setup.write();
        let output = |name: &str| Stdio::from(File::create(files.path(name)).unwrap());
        let child = command(&files).stdout(output("stdout")).stderr(output("stderr")).spawn().unwrap();
        let told = |what: &str| {
            eventually(what, || {
                let text = fs::read_to_string(files.path("stdout")).ok()?;
                let line = text.lines().find(|line| line.trim_start().starts_with(what))?;
                line.rsplit_once("http://")?.1.parse().ok()
            })
        };
        let (addr, admin) = (told("clients"), told("operators"));
        Self { child, files, addr, admin }
    }

    fn connect(&self) -> Client {
        Client::connect(self.addr).unwrap()
    }

    fn stop(mut self) -> (ExitStatus, Files) {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        let status = self.child.wait().unwrap();
        (status, self.files)
    }
}

/// The program, as talkative as can be.
fn command(files: &Files) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_riskgate"));
    command.arg("--config").arg(files.config()).env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
    command
}

fn setup(origin: &Origin, silent: &Origin) -> Setup {
    let servers = |addr| format!("servers = {}", quoted(&[addr]));
    let impatient = format!("{}\nread_timeout = \"200ms\"", servers(silent.addr()));
    Setup::new()
        .section("client", "trusted_proxies = [\"127.0.0.1/32\"]\nforward = \"truncated\"")
        .section("log", "level = \"trace\"")
        .script("10-curious", CURIOUS)
        .list("abusers", &CLIENTS.map(|address| format!("{address}\n")).concat())
        .hard_list("sanctions", &LISTED.map(|address| format!("{address}\n")).concat())
        .route("api.example", "/", "good")
        .route("api.example", "/dead", "dead")
        .route("api.example", "/silent", "silent")
        .upstream("good", &servers(origin.addr()))
        .upstream("dead", &servers(free_addr()))
        .upstream("silent", &impatient)
}

/// Every kind of request that is answered, by one client.
fn requests(address: &str) -> Vec<(String, Request)> {
    let mut all = Vec::new();
    let mut add = |what: &str, request: Request| all.push((format!("{what} for a client"), request));
    for path in ["/", "/slow", "/slow", "/slow", "/blocked", "/fail", "/parse", "/dead", "/silent"] {
        add(path, from(address, path));
        add(path, from(address, path).header("x-real-ip", address).header("client-ip", address));
    }
    add("no route", from(address, "/").header("host", "other.example"));
    add("a page", from(address, "/blocked").header("sec-fetch-mode", "navigate"));
    add(
        "a body",
        Request::new("POST", "/").header("x-forwarded-for", address).body(Body::Full(b"x".to_vec())),
    );
    add("no method", Request::new("BREW", "/fail").header("x-forwarded-for", address));
    for name in ADDRESS_HEADERS {
        add(name, from(address, "/").header(name, address));
        add(name, Request::new("POST", "/").header("x-forwarded-for", address).header(name, address));
    }
    let quoted =
        if address.contains(':') { format!("\"[{address}]:4711\"") } else { format!("\"{address}:4711\"") };
    for garbage in
        [format!("for={quoted};;=,"), format!("for={address}, for=\"{address}"), format!("{address}\u{e9}")]
    {
        add("Forwarded garbage", from(address, "/").header("forwarded", &garbage));
        add("believed garbage", Request::get("/").header("x-forwarded-for", &garbage));
    }
    let several = Request::get("/").header("x-forwarded-for", address).header("X-Forwarded-For", "nonsense");
    add("a garbled hop", several);
    if !address.contains(':') {
        let number = u32::from(address.parse::<std::net::Ipv4Addr>().unwrap());
        add("mapped", from(&format!("::ffff:{address}"), "/"));
        add("NAT64", from(&format!("64:ff9b::{:x}:{:x}", number >> 16, number & 0xffff), "/"));
        add("with a port", from(&format!("{address}:4711"), "/"));
    }
    all
}

/// Requests that are no HTTP, or not quite.
fn malformed(address: &str) -> Vec<String> {
    let claims = format!("x-forwarded-for: {address}\r\nx-real-ip: {address}\r\n");
    vec![
        format!("GET / HTTP/1.1\r\n{claims}\r\n"),
        format!("GET / HTTP/1.1\r\nhost: api.example\r\n{claims}no colon {address}\r\n\r\n"),
        format!("GET / HTTP/9.9\r\nhost: api.example\r\n{claims}\r\n"),
        format!("{address}\r\n\r\n"),
        format!("CONNECT x:1 HTTP/1.1\r\nhost: x:1\r\n{claims}\r\n"),
        format!("POST / HTTP/1.1\r\nhost: api.example\r\ncontent-length: x\r\n{claims}\r\n"),
        format!("POST / HTTP/1.1\r\nhost: api.example\r\ntransfer-encoding: chunked\r\n{claims}\r\nzz\r\n"),
        format!("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n{claims}\r\n"),
        format!("GET / HTTP/1.1\r\nhost: api.example\r\n{claims}x: {}\r\n\r\n", "x".repeat(100_000)),
    ]
}

/// A connection from an address of this machine's own network.
fn connect_from(address: &str, to: SocketAddr) -> Client {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream: TcpStream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    Client::over(stream).unwrap()
}

fn ask_everything(process: &Process, sinks: &mut Sinks, ids: &[String]) {
    let mut ask = |request: Request| {
        let response = Client::connect(process.admin)
            .unwrap()
            .send(&request.clone().header("host", "localhost"))
            .unwrap();
        sinks.response(&format!("the answer to {request:?}"), &response);
        response
    };
    for path in ["/healthz", "/readyz", "/metrics", "/api/decisions?limit=1000", "/api/policy", "/nothing"] {
        ask(Request::get(path));
    }
    for id in ids {
        ask(Request::get(&format!("/api/decisions/{id}")));
        let body = format!("{{\"id\": \"{id}\"}}").into_bytes();
        assert_eq!(ask(Request::new("POST", "/api/explain").body(Body::Full(body))).status, 200);
    }
    ask(Request::new("POST", "/api/reload"));
}

/// Sends everything, and returns the decisions and the statuses that came back.
fn send_everything(process: &Process, sinks: &mut Sinks) -> (Vec<String>, BTreeSet<u16>) {
    let (mut ids, mut statuses) = (Vec::new(), BTreeSet::new());
    let mut keep = |what: &str, response: Response| {
        ids.extend(response.headers.first("riskgate-decision").map(str::to_owned));
        statuses.insert(response.status);
        sinks.response(what, &response);
    };
    for address in CLIENTS.iter().chain(&LISTED) {
        for (what, request) in requests(address) {
            keep(&what, process.connect().send(&request).unwrap());
        }
        for bytes in malformed(address) {
            let answer = answer_to(process.connect(), &bytes);
            answer.into_iter().for_each(|answer| keep("the answer to a malformed request", answer));
        }
        let upgrade = from(address, "/").header("connection", "upgrade").header("upgrade", "websocket");
        keep("an upgrade", process.connect().send(&upgrade).unwrap());
        // This one leaves before it is answered.
        process.connect().write(&from(address, "/silent").to_bytes()).unwrap();
    }
    for path in ["/", "/slow", "/slow", "/blocked", "/fail", "/dead"] {
        keep(path, connect_from(PEER, process.addr).send(&Request::get(path)).unwrap());
    }
    for bytes in malformed("8.8.8.8") {
        let answer = answer_to(connect_from(PEER, process.addr), &bytes);
        answer.into_iter().for_each(|answer| keep("the answer to a peer's malformed request", answer));
    }
    (ids, statuses)
}

/// What comes back for bytes that are hardly a request, if anything does.
fn answer_to(mut client: Client, bytes: &str) -> Option<Response> {
    client.write(bytes.as_bytes()).unwrap();
    client.response_to("GET").ok()
}

fn run_every_command(process: &Process, sinks: &mut Sinks, id: &str) {
    let described = ["explain", "--json", "--ip", CLIENTS[1], "--path", "/fail", "--header"];
    let header = format!("client-ip: {}", CLIENTS[0]);
    for arguments in [
        vec!["check"],
        vec!["explain", id],
        vec!["explain", "--ip", CLIENTS[0]],
        [described.as_slice(), &[&header]].concat(),
    ] {
        let output = command(&process.files).args(&arguments).output().unwrap();
        assert!(!output.stdout.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        sinks.take(format!("{arguments:?}"), [output.stdout, output.stderr].concat());
    }
}

#[test]
fn no_sink_holds_a_full_address() {
    let opening = Gate::default();
    let held = opening.clone();
    let origin = Origin::start(|received| match received.headers.first("upgrade") {
        Some(protocol) => Answer::echo(protocol),
        None => {
            Answer::new(200, "fine").header("x-seen", received.headers.first("x-forwarded-for").unwrap_or(""))
        }
    });
    let silent = Origin::start(move |_| Answer::new(200, "late").behind(&held));
    let process = Process::start(&setup(&origin, &silent));
    let mut sinks = Sinks::default();

    let (ids, statuses) = send_everything(&process, &mut sinks);
    for status in [101, 200, 400, 403, 404, 405, 429, 502, 504] {
        assert!(statuses.contains(&status), "no request ended with {status}: {statuses:?}");
    }
    process.files.records(ids.len());
    ask_everything(&process, &mut sinks, &ids[..20]);
    run_every_command(&process, &mut sinks, &ids[0]);
    opening.open();
    let (status, files) = process.stop();
    assert!(status.success(), "{status}");

    for received in origin.received().iter().chain(&silent.received()) {
        sinks.take("what the origin received", format!("{received:?}"));
    }
    for name in ["decisions.jsonl", "stdout", "stderr"] {
        let bytes = fs::read(files.path(name)).unwrap();
        assert!(!bytes.is_empty(), "{name}");
        sinks.take(name, bytes);
    }
    // The prefixes are there, so the addresses went through.
    let log = files.log();
    assert!(
        ["203.0.113.0/24", "2001:db8:77::/48", "127.77.88.0/24"].iter().all(|prefix| log.contains(prefix))
    );
    sinks.assert_clean();
}

/// A signal of somebody who embeds the gate, and who made a mistake.
fn broken_vocabulary() -> Vocabulary {
    fn read<'a>(facts: &Facts<'a>, _: &Name) -> Value<'a> {
        let caller: &Caller = facts.client;
        if facts.head.path() == "/panic" {
            panic!("{PROBE} {caller:?}");
        }
        Value::text("fine")
    }
    Vocabulary::standard().with(Signal::property(
        Root::Request,
        "broken",
        Kind::Text,
        "panics for some",
        read,
    ))
}

#[test]
#[ignore = "started by another test, whose business is what this process prints"]
fn a_gate_that_panics() {
    let files = Setup::new()
        .section("client", "trusted_proxies = [\"127.0.0.1/32\"]")
        .rule("10-broken", "if req.broken != \"fine\" { risk.block(\"test.never\"); }")
        .write();
    let gate = Running::start_with(files, broken_vocabulary()).ok().unwrap();
    for address in CLIENTS {
        let mut client = gate.connect();
        let answer = client.send(&from(address, "/panic")).unwrap();
        assert_eq!(answer.status, 500, "nothing passes unjudged");
        assert!(client.is_closed());
        println!("{:?} {}", answer.headers, answer.text());
        assert_eq!(gate.send(&from(address, "/fine")).status, 200, "all others are served");
    }
    let files = gate.stop();
    assert_eq!(files.records(2).len(), 2);
    println!("{}", files.log());
}

#[test]
fn a_panic_shows_no_address_and_hurts_nobody_else() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "canary::a_gate_that_panics", "--ignored", "--nocapture", "--test-threads=1"])
        .env("RUST_BACKTRACE", "full")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stderr.matches(PROBE).count(), CLIENTS.len(), "{stderr}");
    let mut sinks = Sinks::default();
    sinks.take("stdout", output.stdout);
    sinks.take("stderr", output.stderr);
    sinks.assert_clean();
}
