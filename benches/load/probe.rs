//! Proof that a contestant does the work: a few requests, and what the reference policy has to say to each.
//!
//! Before anything is measured, a contestant serves in front of a [`Witness`] in the place of the origin. The score
//! that arrives there, or that nothing arrives because the answer is 403, is what the policy demands, or the bench
//! ends: the cost of other work is no figure.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::arena::Arena;
use crate::contestant::{Contestant, Work};
use crate::error::LoadError;
use crate::origin;
use crate::witness::{self, Witness};

/// A request and what has to become of it.
#[derive(Debug)]
struct Probe {
    method: &'static str,
    target: String,
    country: &'static str,
    headers: BTreeMap<&'static str, &'static str>,
    body: usize,
    wanted: Wanted,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// It reaches the origin with a score.
    Score(u32),
    /// It is answered with 403 and does not reach the origin.
    Refused,
}

/// A country without a weight.
const PLAIN: &str = "DE";
const PATIENCE: Duration = Duration::from_secs(10);

/// Probes a contestant, if it claims to do the reference policy's work.
pub(crate) fn verify(
    arena: &Arena,
    contestant: &dyn Contestant,
    addresses: &BTreeMap<String, Ipv4Addr>,
) -> Result<(), LoadError> {
    let Work::Reference { score } = contestant.work() else {
        return Ok(());
    };
    let mut witness = Witness::start().map_err(LoadError::io("start a witness"))?;
    let standing = arena.start(contestant, witness.address())?;
    let probes = probes();
    for probe in &probes {
        let address = addresses.get(probe.country).copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
        let got = probe.send(standing.process.address(), address, score, &mut witness);
        let got = got.map_err(LoadError::io(format!("probe `{}`", contestant.name())))?;
        let wanted = probe.wanted.to_string();
        if got != wanted {
            let (name, probe) = (contestant.name().to_owned(), probe.to_string());
            return Err(LoadError::OtherWork { name, probe, wanted, got });
        }
    }
    let folder = standing.stop()?;
    let recorded = contestant.recorded(folder.path()).unwrap_or(0);
    if recorded < probes.len() as u64 {
        let (name, probe) = (contestant.name().to_owned(), "its log".to_owned());
        let (wanted, got) = (format!("a line for each of {} requests", probes.len()), recorded.to_string());
        return Err(LoadError::OtherWork { name, probe, wanted, got });
    }
    Ok(())
}

/// Every row of the policy's table, its boundaries, and the boundary of the refusal.
fn probes() -> Vec<Probe> {
    let get = |target: &str| Probe::new("GET", target);
    let with_query = |length: usize| format!("/long?{}", "q".repeat(length - "/long?".len()));
    let weights = [("KP", 60), ("RU", 25), ("IR", 30), ("CN", 10), ("NG", 15), ("VN", 12)];
    let tools = ["curl/8.5", "Python-urllib/3.12", "SQLMAP/1.8", "a nikto scan", "Go-http-client/2.0"];
    let mut probes = vec![
        get("/").scores(0),
        get("/").without("user-agent").scores(15),
        get("/admin").scores(25),
        get("/admin/users?page=2").scores(25),
        get("/a/admin").scores(0),
        get("/login").scores(0),
        Probe::new("POST", "/login").scores(10),
        Probe::new("POST", "/logins/1").scores(10),
        get("/").without("authorization").scores(5),
        get("/").without("accept-language").scores(5),
        get("/").with("x-forwarded-host", "elsewhere").scores(5),
        get(&with_query(2_048)).scores(0),
        get(&with_query(2_049)).scores(10),
        Probe::new("POST", "/upload").carrying(1_048_576).scores(0),
        Probe::new("POST", "/upload").carrying(1_048_577).scores(20),
        get("/admin").from("KP").scores(85),
        get("/admin").from("KP").without("authorization").refused(),
        get("/admin").from("KP").with("user-agent", "curl/8.5").refused(),
        get("/admin").from("IR").without("authorization").without("accept-language").scores(65),
    ];
    probes.extend(weights.map(|(country, weight)| get("/").from(country).scores(weight)));
    probes.extend(tools.map(|tool| get("/").with("user-agent", tool).scores(20)));
    probes
}

impl Probe {
    fn new(method: &'static str, target: &str) -> Self {
        let headers = BTreeMap::from([
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
            ("accept-language", "en"),
            ("authorization", "Bearer probe"),
        ]);
        let wanted = Wanted::Score(0);
        Self { method, target: target.to_owned(), country: PLAIN, headers, body: 0, wanted }
    }

    fn from(self, country: &'static str) -> Self {
        Self { country, ..self }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(name, value);
        self
    }

    fn without(mut self, name: &'static str) -> Self {
        self.headers.remove(name);
        self
    }

    fn carrying(self, body: usize) -> Self {
        Self { body, ..self }
    }

    fn scores(self, score: u32) -> Self {
        Self { wanted: Wanted::Score(score), ..self }
    }

    fn refused(self) -> Self {
        Self { wanted: Wanted::Refused, ..self }
    }

    /// Sends it from an address and looks at both ends; what became of it, in words.
    fn send(
        &self,
        to: SocketAddr,
        from: Ipv4Addr,
        score: &str,
        witness: &mut Witness,
    ) -> std::io::Result<String> {
        let _ = witness.seen();
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let Self { method, target, body, .. } = self;
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {to}\r\nX-Forwarded-For: {from}\r\n");
        for (name, value) in &self.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if *method == "POST" {
            request.push_str(&format!("Content-Length: {body}\r\n"));
        }
        request.push_str("Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        stream.write_all(&vec![b'x'; *body])?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;

        let answer = String::from_utf8_lossy(&answer);
        let status = answer.split_ascii_whitespace().nth(1).unwrap_or("no answer");
        let whole = answer.ends_with(origin::BODY);
        Ok(match (status, witness.seen().as_slice()) {
            ("200", [head]) if whole => match witness::header(head, score) {
                Some(value) => format!("score {value}"),
                None => format!("no `{score}`"),
            },
            ("403", []) => Wanted::Refused.to_string(),
            (status, seen) => format!("status {status}, and {} requests at the origin", seen.len()),
        })
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Score(score) => write!(to, "score {score}"),
            Self::Refused => to.write_str("refused with 403"),
        }
    }
}

impl std::fmt::Display for Probe {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { method, target, country, headers, body, .. } = self;
        let target = target.get(..40).unwrap_or(target);
        write!(to, "{method} {target} from {country} with {body} bytes and {headers:?}")
    }
}
