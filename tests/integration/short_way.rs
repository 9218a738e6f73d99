//! A plain request without a body, and any over HTTP/2, is proxied in one line of code, any other by Pingora's own proxy:
//! nobody can tell which of the two it was.
//!
//! Every test asks both ways. `Keep-Alive` is between neighbours and not passed on; over HTTP/1.1 a request that has it
//! takes the long way, and is otherwise the same.

mod connections;
mod http2;
mod stuck;
mod uploads;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use crate::net::{Client, PATIENCE, Request};
use crate::support::{Running, Setup, eventually, raw_origin, read_head};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Short,
    Long,
}

const WAYS: [Way; 2] = [Way::Short, Way::Long];

impl Way {
    fn request(self, method: &str, target: &str) -> Request {
        let request = Request::new(method, target);
        match self {
            Self::Short => request,
            Self::Long => request.header("keep-alive", "timeout=5"),
        }
    }
}

/// What an origin writes in answer to one request, and whether it then closes the connection.
struct Answer {
    method: &'static str,
    bytes: Vec<u8>,
    closes: bool,
}

fn open(bytes: impl AsRef<[u8]>) -> Answer {
    Answer { method: "GET", bytes: bytes.as_ref().to_vec(), closes: false }
}

fn closed(bytes: impl AsRef<[u8]>) -> Answer {
    Answer { closes: true, ..open(bytes) }
}

fn head(bytes: impl AsRef<[u8]>) -> Answer {
    Answer { method: "HEAD", ..open(bytes) }
}

fn answers() -> Vec<Answer> {
    let ok = "HTTP/1.1 200 OK\r\n";
    let long = "x".repeat(300_000);
    vec![
        open(format!("{ok}content-length: 5\r\n\r\nhello")),
        open(format!("{ok}content-length: 0\r\n\r\n")),
        open(format!("{ok}Content-Type: a/b\r\nX-Own: 1\r\nx-own: 2\r\ncontent-length: 1\r\n\r\nx")),
        open(format!("{ok}content-length: {}\r\n\r\n{long}", long.len())),
        open(format!("{ok}transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\n\r\n")),
        open(format!("{ok}transfer-encoding: chunked\r\n\r\n0\r\n\r\n")),
        open(format!("{ok}transfer-encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n", long.len())),
        open(format!("{ok}transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx-sum: 1\r\n\r\n")),
        open(format!("{ok}transfer-encoding: chunked\r\ncontent-length: 9\r\n\r\n1\r\nx\r\n0\r\n\r\n")),
        open(format!("{ok}transfer-encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")),
        closed(format!("{ok}\r\nuntil the end")),
        closed(format!("{ok}content-length: 5\r\n\r\nhello")),
        open(format!("{ok}connection: close\r\ncontent-length: 5\r\n\r\nhello")),
        open(format!("{ok}connection: keep-alive\r\nkeep-alive: timeout=5\r\ncontent-length: 1\r\n\r\nx")),
        open(format!("{ok}connection: x-own\r\nx-own: 1\r\ncontent-length: 1\r\n\r\nx")),
        open(format!("{ok}content-length: 5\r\ncontent-length: 5\r\n\r\nhello")),
        open(format!("{ok}content-length: 5\r\ncontent-length: 6\r\n\r\nhello")),
        open(format!("{ok}content-length: five\r\n\r\nhello")),
        open(format!("{ok}content-length: 5\r\n\r\nhello and more")),
        open(format!(
            "{ok}riskgate-decision: forged\r\ndate: then\r\nserver: own\r\ncontent-length: 0\r\n\r\n"
        )),
        open(b"HTTP/1.1 200 OK\r\nx-own: \xff\xfe\r\nx-empty:\r\ncontent-length: 0\r\n\r\n"),
        open("HTTP/1.1 299 As You Like It\r\ncontent-length: 0\r\n\r\n"),
        open("HTTP/1.1 500 \r\ncontent-length: 2\r\n\r\nno"),
        open("HTTP/1.1 204 No Content\r\netag: \"x\"\r\n\r\n"),
        open("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n"),
        open("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
        open("HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-0/5\r\ncontent-length: 1\r\n\r\nh"),
        open("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"),
        open("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
        open("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"),
        closed("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello"),
        closed("HTTP/1.0 200 OK\r\n\r\nuntil the end"),
        open("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello"),
        head(format!("{ok}content-length: 5\r\n\r\n")),
        head(format!("{ok}transfer-encoding: chunked\r\n\r\n")),
        head(ok.to_owned() + "\r\n"),
        closed(""),
        closed("HTTP/1.1 200 OK\r\ncontent-le"),
        closed("not HTTP at all\r\n\r\n"),
        closed(format!("{ok}no colon\r\n\r\n")),
        closed(format!("{ok}content-length: 10\r\n\r\nhalf")),
        closed(format!("{ok}transfer-encoding: chunked\r\n\r\n5\r\nhel")),
        open(format!("{ok}transfer-encoding: chunked\r\n\r\nZZ\r\n")),
    ]
}

/// Serves one answer to every request, and counts the connections of each way.
fn serving(answer: &Answer) -> (SocketAddr, [Arc<AtomicUsize>; 2]) {
    let connections = [Arc::default(), Arc::default()];
    let ([short, long], bytes, closes) = (connections.clone(), answer.bytes.clone(), answer.closes);
    let origin = raw_origin(move |mut stream| {
        let mut first = true;
        loop {
            let head = read_head(&mut stream);
            if head.is_empty() {
                return;
            }
            if head.contains("chunked") {
                // A body of one chunk ends like a head.
                read_head(&mut stream);
            }
            if std::mem::take(&mut first) {
                let of: &AtomicUsize = if head.contains("?Long") { &long } else { &short };
                of.fetch_add(1, Ordering::SeqCst);
            }
            if stream.write_all(&bytes).is_err() || closes {
                return;
            }
        }
    });
    (origin, connections)
}

/// What a client notices of one request, and whether its connection serves another.
fn notice(gate: &Running, way: Way, method: &str, path: &str) -> String {
    let mut client = gate.connect();
    let answer = match client.send(&way.request(method, &format!("{path}?{way:?}"))) {
        Ok(answer) => {
            let lines = answer.headers.0.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("date"));
            let lines: Vec<_> = lines.map(|(name, value)| format!("{name}: {}", masked(value))).collect();
            let body = String::from_utf8_lossy(&answer.body);
            format!("{}\n{}\n\n{} bytes {body:.40}", answer.status, lines.join("\n"), answer.body.len())
        }
        Err(error) => error.kind().to_string(),
    };
    let next = client.send(&Request::get("/next")).map_or(0, |next| next.status);
    format!("{answer}\nnext: {next}")
}

/// Hides what is different every time.
fn masked(text: &str) -> String {
    let is_id = |word: &str| word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    let hide = |word| if is_id(word) { "(id)" } else { word };
    text.split(' ').map(hide).collect::<Vec<_>>().join(" ")
}

/// Routes `/0`, `/1` and so on to these servers, each of an upstream with `more`, and `/next` to the built-in one.
fn rows(setup: Setup, servers: &[SocketAddr], more: &str) -> Running {
    // Each thread has idle connections of its own.
    let mut setup =
        setup.section("server", "threads = 1").route("*", "/next", "next").upstream("next", "builtin = true");
    for (row, server) in servers.iter().enumerate() {
        let upstream = format!("row{row}");
        setup = setup
            .route("*", &format!("/{row}"), &upstream)
            .upstream(&upstream, &format!("servers = [\"{server}\"]\n{more}"));
    }
    setup.start()
}

/// Asks for every answer of an origin by both ways, twice, and compares what `notice` tells and what is recorded. `start`
/// makes a gate for both ways, or one for each.
fn every_answer_is_alike(
    start: impl Fn(&[SocketAddr]) -> Vec<Running>,
    notice: impl Fn(&Running, Way, &str, &str) -> String,
) {
    let answers = answers();
    let origins: Vec<_> = answers.iter().map(serving).collect();
    let gates = start(&origins.iter().map(|(origin, _)| *origin).collect::<Vec<_>>());
    let gate = |way| match way {
        Way::Short => gates.first().unwrap(),
        Way::Long => gates.last().unwrap(),
    };
    for (row, (answer, (_, connections))) in answers.iter().zip(&origins).enumerate() {
        let ask = |way| notice(gate(way), way, answer.method, &format!("/{row}"));
        let what = String::from_utf8_lossy(&answer.bytes).chars().take(200).collect::<String>();
        let [short, long] = WAYS.map(|way| [ask(way), ask(way)]);
        assert_eq!(short, long, "{} {what}", answer.method);
        // Each way has idle connections of its own, so this also tells that there were two ways.
        let [short, long] = connections.each_ref().map(|connections| connections.load(Ordering::SeqCst));
        assert_eq!(short, long, "connections used for {} {what}", answer.method);
    }
    for (row, answer) in answers.iter().enumerate() {
        are_recorded_alike(&gates, &format!("/{row}"), 4, answer);
    }
}

/// Checks that so many requests of a path are recorded alike.
fn are_recorded_alike(gates: &[Running], path: &str, count: usize, answer: &Answer) {
    let kept = eventually(&format!("the records of {path}"), || {
        let records = gates.iter().flat_map(|gate| gate.records(0));
        let kept: Vec<_> = records.filter(|record| record["path"] == path).collect();
        (kept.len() == count).then_some(kept)
    });
    let fields = ["status", "fault", "outcome", "route", "reasons"];
    let kept: Vec<_> = kept.iter().map(|record| fields.map(|field| record[field].to_string())).collect();
    let what = String::from_utf8_lossy(&answer.bytes).chars().take(200).collect::<String>();
    assert!(kept.iter().all(|record| *record == kept[0]), "{kept:?} {what}");
}

/// An origin that answers everything alike, and the heads that it was sent.
fn remembering() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let origin = raw_origin(move |mut stream| {
        let head = read_head(&mut stream);
        seen.lock().unwrap().push(head);
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
    });
    (origin, heads)
}

#[test]
fn every_answer_of_an_origin_reaches_the_client_alike_and_is_recorded_alike() {
    every_answer_is_alike(|origins| vec![rows(Setup::new(), origins, "")], notice);
}

#[test]
fn the_origin_is_asked_alike() {
    let (origin, heads) = remembering();
    let gate = Setup::new().origin(&[origin]).start();
    let headers: [&[(&str, &str)]; 5] = [
        &[],
        &[("Accept", "*/*"), ("X-Own", "1"), ("x-own", "2"), ("COOKIE", "a=b")],
        &[("X-Forwarded-For", "203.0.113.7"), ("Forwarded", "for=203.0.113.7"), ("X-Real-IP", "1.2.3.4")],
        &[("Riskgate-Decision", "forged"), ("Riskgate-Level", "low"), ("X-Forwarded-Proto", "https")],
        &[("host", "API.example:8080"), ("via", "1.1 a"), ("range", "bytes=0-1"), ("x-\u{7f}", "1")],
    ];
    for (headers, target) in headers.iter().zip(["/", "/a/../b?x=%20&y", "/%ff//c", "/;a=b", "/?"]) {
        for method in ["GET", "HEAD"] {
            for way in WAYS {
                let request = way.request(method, target);
                let request = headers.iter().fold(request, |it, (name, value)| it.header(name, value));
                let _ = gate.connect().send(&request);
            }
        }
    }
    let heads = heads.lock().unwrap();
    assert!(heads.len() >= 16, "{heads:#?}");
    for pair in heads.chunks(2) {
        assert_eq!(lines(&pair[0]), lines(&pair[1]));
    }
}

/// The lines of a head, to be compared: taking a header out moves another into its place; values of one name stay in
/// their order.
fn lines(head: &str) -> Vec<String> {
    let mut lines: Vec<_> = head.lines().map(masked).collect();
    lines.sort_by_key(|line| line.split(':').next().map(str::to_ascii_lowercase));
    lines
}

#[test]
fn an_interim_answer_is_passed_on_before_the_final_one_is_there() {
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let origin = raw_origin(move |mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n").unwrap();
        wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").unwrap();
        read_head(&mut stream);
    });
    let gate = Setup::new().origin(&[origin]).start();
    for way in WAYS {
        let mut client = gate.connect();
        client.write(&way.request("GET", "/").to_bytes()).unwrap();
        assert!(until_empty_line(&mut client).starts_with("HTTP/1.1 103 Early Hints\r\n"), "{way:?}");
        go.send(()).unwrap();
        assert_eq!(client.response_to("GET").unwrap().text(), "hi", "{way:?}");
    }
}

fn until_empty_line(client: &mut Client) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        seen.extend(client.read(1).unwrap());
    }
    String::from_utf8(seen).unwrap()
}

#[test]
fn a_client_that_leaves_is_noticed_while_the_origin_thinks() {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = raw_origin(move |mut stream| {
        read_head(&mut stream);
        tell.lock().unwrap().send("asked").unwrap();
        let rest = stream.read(&mut [0]);
        assert!(matches!(rest, Ok(0) | Err(_)), "{rest:?}");
        tell.lock().unwrap().send("left").unwrap();
    });
    let gate = Setup::new().origin(&[origin]).start();
    for way in WAYS {
        let mut client = gate.connect();
        client.write(&way.request("GET", "/gone").to_bytes()).unwrap();
        assert_eq!(told.recv_timeout(PATIENCE), Ok("asked"), "{way:?}");
        drop(client);
        assert_eq!(told.recv_timeout(PATIENCE), Ok("left"), "{way:?}");
    }
    let records = gate.records(2);
    let kept = |record: &serde_json::Value| ["status", "fault", "outcome"].map(|it| record[it].clone());
    assert_eq!(kept(&records[0]), kept(&records[1]));
    assert!(records[0]["fault"].is_string(), "{}", records[0]);
}

#[test]
fn a_connection_that_the_origin_gave_up_meanwhile_costs_nobody_an_answer() {
    let origin = raw_origin(|mut stream: TcpStream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").unwrap();
        // The second request on it is read and not answered.
        read_head(&mut stream);
    });
    let gate = Setup::new().section("server", "threads = 1").origin(&[origin]).start();
    for way in WAYS {
        let mut client = gate.connect();
        for _ in 0..5 {
            assert_eq!(client.send(&way.request("GET", "/")).unwrap().status, 200, "{way:?}");
        }
    }
}

#[test]
fn requests_that_come_all_at_once_are_answered_in_their_order() {
    let origin = raw_origin(|mut stream: TcpStream| {
        loop {
            let head = read_head(&mut stream);
            let Some(target) = head.split(' ').nth(1) else { return };
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{target}", target.len());
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let gate = Setup::new().origin(&[origin]).start();
    let mut client = gate.connect();
    let target = |number: usize| format!("/{number}");
    let way = |number: usize| if number % 3 == 1 { Way::Long } else { Way::Short };
    let all: Vec<u8> =
        (0..20).flat_map(|number| way(number).request("GET", &target(number)).to_bytes()).collect();
    client.write(&all).unwrap();
    for number in 0..20 {
        assert_eq!(client.response_to("GET").unwrap().text(), target(number));
    }
}
