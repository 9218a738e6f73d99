//! A directory of RFC 8555 that issues certificates, in this process: it checks every signature and nonce, keeps orders,
//! authorizations and challenges in the states of section 7.1.6, and validates challenges by connecting to the gate.
//!
//! What it does not do is what no client can tell: it keeps nothing, has one process for all, and believes one gate.

mod jws;
mod validation;

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::certificates::Authority;
use crate::net::PATIENCE;
use jws::{Jws, Signer};

/// The directory; it stays for as long as the test process.
pub(crate) struct Directory {
    shared: Arc<Shared>,
}

struct Shared {
    base: String,
    authority: Authority,
    state: Mutex<State>,
    /// Rung when it becomes known where the gate is.
    known: Condvar,
}

#[derive(Default)]
struct State {
    /// Where hosts are looked for; validation waits until it is known.
    gate: Option<SocketAddr>,
    nonces: HashSet<String>,
    /// How many nonces were made.
    count: usize,
    accounts: Vec<Account>,
    orders: Vec<Order>,
    hosts: Vec<Host>,
    /// How many requests had a nonce that is none.
    bad_nonces: usize,
}

struct Account {
    key: Signer,
    contact: Value,
}

struct Order {
    account: usize,
    hosts: Vec<usize>,
    status: &'static str,
    certificate: String,
}

/// An authorization with its challenges, which have one token.
struct Host {
    name: String,
    token: String,
    status: &'static str,
    /// Which kind was tried, and what came of it.
    tried: Option<(String, &'static str)>,
    why: Option<String>,
}

/// Status, headers and body of an answer.
struct Answer(u16, Vec<(&'static str, String)>, String);

const KINDS: [&str; 2] = ["http-01", "tls-alpn-01"];

impl Directory {
    /// Opens it. Challenges are validated once it is said where the gate is.
    pub(crate) fn open() -> Self {
        let authority = Authority::new("test authority");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("https://{}", listener.local_addr().unwrap());
        let config = Arc::new(authority.server(&["127.0.0.1"]).server_config(&["http/1.1"]));
        let (state, known) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { base, authority, state, known });
        let directory = Self { shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, config) = (Arc::clone(&shared), Arc::clone(&config));
                thread::spawn(move || shared.serve(stream, config));
            }
        });
        directory
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/directory", self.shared.base)
    }

    /// Whoever vouches for it, and for all that it issues.
    pub(crate) fn authority(&self) -> &Authority {
        &self.shared.authority
    }

    /// Looks for every host there.
    pub(crate) fn validate_at(&self, gate: SocketAddr) {
        self.shared.state().gate = Some(gate);
        self.shared.known.notify_all();
    }

    /// How many accounts, orders and certificates there are, and how many nonces were none.
    pub(crate) fn counts(&self) -> [usize; 4] {
        let state = self.shared.state();
        let issued = state.orders.iter().filter(|order| !order.certificate.is_empty()).count();
        [state.accounts.len(), state.orders.len(), issued, state.bad_nonces]
    }

    /// How the first account's owner is reached.
    pub(crate) fn contact(&self) -> Value {
        self.shared.state().accounts[0].contact.clone()
    }

    /// Whether somebody is waited for: a challenge is to be validated, and it is not known where.
    pub(crate) fn waits(&self) -> bool {
        let state = self.shared.state();
        state.gate.is_none() && state.hosts.iter().any(|host| host.tried.is_some())
    }

    /// The tokens of all challenges so far.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.shared.state().hosts.iter().map(|host| host.token.clone()).collect()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Serves one connection, to its end.
    fn serve(self: Arc<Self>, stream: TcpStream, config: Arc<ServerConfig>) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let Ok(connection) = ServerConnection::new(config) else { return };
        let mut stream = BufReader::new(StreamOwned::new(connection, stream));
        loop {
            let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
            if stream.read_line(&mut first).unwrap_or(0) == 0 {
                return;
            }
            while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                let header = line.to_ascii_lowercase();
                if let Some(number) = header.strip_prefix("content-length:") {
                    length = number.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let mut words = first.split(' ');
            let (method, path) = (words.next().unwrap(), words.next().unwrap());
            let Answer(status, headers, text) = self.answer(method, path, &body);
            let nonce = self.state().nonce();
            let mut head = format!(
                "HTTP/1.1 {status} Said\r\nreplay-nonce: {nonce}\r\ncontent-length: {}\r\n",
                text.len()
            );
            headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
            let text = if method == "HEAD" { "" } else { text.as_str() };
            let written = stream.get_mut().write_all(format!("{head}\r\n{text}").as_bytes());
            if written.and_then(|()| stream.get_mut().flush()).is_err() {
                return;
            }
        }
    }

    fn answer(self: &Arc<Self>, method: &str, path: &str, body: &[u8]) -> Answer {
        let base = &self.base;
        match (method, path) {
            ("GET", "/directory") => Answer::json(
                200,
                &json!({
                    "newNonce": format!("{base}/new-nonce"),
                    "newAccount": format!("{base}/new-account"),
                    "newOrder": format!("{base}/new-order"),
                    "meta": { "termsOfService": format!("{base}/terms") },
                }),
            ),
            ("HEAD", "/new-nonce") => Answer(200, Vec::new(), String::new()),
            ("POST", path) => self.posted(path, body).unwrap_or_else(|refused| refused),
            _ => Answer::problem(404, "malformed", "there is no such resource"),
        }
    }

    /// Checks who asks, and hands over to what is asked.
    fn posted(self: &Arc<Self>, path: &str, body: &[u8]) -> Result<Answer, Answer> {
        let malformed = |why: &str| Answer::problem(400, "malformed", why);
        let jws = Jws::parse(body).ok_or_else(|| malformed("no JWS"))?;
        let mut state = self.state();
        if jws.header["url"] != format!("{}{path}", self.base) {
            return Err(malformed("signed for another URL"));
        }
        // The first order meets a nonce that has just run out, as happens.
        let stale = path == "/new-order" && state.bad_nonces == 0;
        if !state.nonces.remove(jws.header["nonce"].as_str().unwrap_or_default()) || stale {
            state.bad_nonces += 1;
            return Err(Answer::problem(400, "badNonce", "the nonce is none"));
        }
        let (account, key) = state.signer(path, &jws)?;
        let (what, number) = path.trim_start_matches('/').split_once('/').unwrap_or((&path[1..], ""));
        let number = number.parse::<usize>().unwrap_or(usize::MAX);
        let owned = match what {
            "account" => account == Some(number),
            "order" | "finalize" | "certificate" => {
                state.orders.get(number).is_some_and(|order| Some(order.account) == account)
            }
            "new-account" | "new-order" => true,
            _ => state.hosts.get(number).is_some(),
        };
        if !owned {
            return Err(malformed("nothing of yours"));
        }
        match (what, account) {
            ("new-account", _) => self.new_account(&mut state, key, &jws.payload),
            ("account", Some(account)) => {
                state.accounts[account].contact = jws.payload["contact"].clone();
                Ok(Answer::json(200, &json!({ "status": "valid" })))
            }
            ("new-order", Some(account)) => self.new_order(&mut state, account, &jws.payload),
            ("order", _) => Ok(self.order(&mut state, number)),
            ("finalize", _) => self.finalize(&mut state, number, &jws.payload),
            ("certificate", _) => Ok(Answer(200, Vec::new(), state.orders[number].certificate.clone())),
            ("host", _) => Ok(Answer::json(200, &self.host(&state.hosts[number], number))),
            (kind, _) => self.begin(&mut state, kind, number, &key),
        }
    }

    fn new_account(&self, state: &mut State, key: Signer, payload: &Value) -> Result<Answer, Answer> {
        if payload["termsOfServiceAgreed"] != true {
            return Err(Answer::problem(403, "userActionRequired", "agree to the terms"));
        }
        state.accounts.push(Account { key, contact: payload["contact"].clone() });
        let location = format!("{}/account/{}", self.base, state.accounts.len() - 1);
        let Answer(status, mut headers, text) = Answer::json(201, &json!({ "status": "valid" }));
        headers.push(("location", location));
        Ok(Answer(status, headers, text))
    }

    fn new_order(&self, state: &mut State, account: usize, payload: &Value) -> Result<Answer, Answer> {
        let mut hosts = Vec::new();
        for identifier in payload["identifiers"].as_array().into_iter().flatten() {
            if identifier["type"] != "dns" {
                return Err(Answer::problem(400, "unsupportedIdentifier", "names only"));
            }
            let (name, token) = (identifier["value"].as_str().unwrap().to_owned(), state.nonce());
            hosts.push(state.hosts.len());
            state.hosts.push(Host { name, token, status: "pending", tried: None, why: None });
        }
        state.orders.push(Order { account, hosts, status: "pending", certificate: String::new() });
        let number = state.orders.len() - 1;
        let Answer(_, mut headers, text) = self.order(state, number);
        headers.push(("location", format!("{}/order/{number}", self.base)));
        Ok(Answer(201, headers, text))
    }

    /// An order as it is now; one that is processed is done the next time that somebody looks.
    fn order(&self, state: &mut State, number: usize) -> Answer {
        let all = |status| state.orders[number].hosts.iter().all(|host| state.hosts[*host].status == status);
        let any = state.orders[number].hosts.iter().any(|host| state.hosts[*host].status == "invalid");
        let next = match state.orders[number].status {
            "pending" if any => "invalid",
            "pending" if all("valid") => "ready",
            "processing" if !state.orders[number].certificate.is_empty() => "valid",
            status => status,
        };
        let shown = state.orders[number].status;
        state.orders[number].status = next;
        let (order, base) = (&state.orders[number], &self.base);
        let shown = if shown == "processing" { shown } else { next };
        let mut text = json!({
            "status": shown,
            "authorizations": order.hosts.iter().map(|host| format!("{base}/host/{host}")).collect::<Vec<_>>(),
            "finalize": format!("{base}/finalize/{number}"),
        });
        if shown == "invalid" {
            // As Pebble does: why, but not for which host.
            text["error"] =
                json!({ "type": "urn:ietf:params:acme:error:connection", "detail": "nobody is there" });
        }
        if shown == "valid" {
            text["certificate"] = format!("{base}/certificate/{number}").into();
        }
        Answer::json(200, &text)
    }

    fn host(&self, host: &Host, number: usize) -> Value {
        let challenge = |kind: &&str| {
            let tried = host.tried.as_ref().filter(|(tried, _)| tried == *kind);
            let url = format!("{}/{kind}/{number}", self.base);
            let mut text = json!({ "type": kind, "url": url, "token": host.token, "status": tried.map_or("pending", |(_, status)| status) });
            if let Some(why) = host.why.as_ref().filter(|_| tried.is_some()) {
                text["error"] = json!({ "type": "urn:ietf:params:acme:error:connection", "detail": why });
            }
            text
        };
        let challenges: Vec<Value> = KINDS.iter().map(challenge).collect();
        let identifier = json!({ "type": "dns", "value": host.name });
        json!({ "identifier": identifier, "status": host.status, "challenges": challenges })
    }

    /// Begins to validate a challenge, on a thread of its own.
    fn begin(
        self: &Arc<Self>,
        state: &mut State,
        kind: &str,
        number: usize,
        key: &Signer,
    ) -> Result<Answer, Answer> {
        let host = &mut state.hosts[number];
        if !KINDS.contains(&kind) || host.tried.is_some() {
            return Err(Answer::problem(400, "malformed", "nothing to be tried"));
        }
        host.tried = Some((kind.to_owned(), "processing"));
        let (shared, name, token) = (Arc::clone(self), host.name.clone(), host.token.clone());
        let (kind, proof) = (kind.to_owned(), format!("{token}.{}", key.thumbprint()));
        let challenge = json!({ "type": kind, "url": format!("{}/{kind}/{number}", self.base), "token": token, "status": "processing" });
        thread::spawn(move || {
            let found =
                shared.known.wait_while(shared.state(), |state| state.gate.is_none()).unwrap().gate.unwrap();
            let came = match kind.as_str() {
                "http-01" => validation::by_request(found, &name, &token, &proof),
                _ => validation::by_handshake(found, &name, &proof),
            };
            let status = if came.is_ok() { "valid" } else { "invalid" };
            let host = &mut shared.state().hosts[number];
            (host.status, host.tried, host.why) = (status, Some((kind, status)), came.err());
        });
        Ok(Answer::json(200, &challenge))
    }

    fn finalize(&self, state: &mut State, number: usize, payload: &Value) -> Result<Answer, Answer> {
        if state.orders[number].status != "ready" {
            return Err(Answer::problem(403, "orderNotReady", "prove the hosts first"));
        }
        let request = BASE64.decode(payload["csr"].as_str().unwrap_or_default()).unwrap();
        let (mut hosts, key) =
            jws::request(&request).ok_or_else(|| Answer::problem(400, "badCSR", "no request"))?;
        let mut wanted: Vec<_> =
            state.orders[number].hosts.iter().map(|host| state.hosts[*host].name.clone()).collect();
        hosts.sort();
        wanted.sort();
        if hosts != wanted {
            return Err(Answer::problem(400, "badCSR", "for other hosts"));
        }
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let chain = self.authority.vouch(&hosts, &key) + self.authority.pem().as_str();
        (state.orders[number].certificate, state.orders[number].status) = (chain, "processing");
        Ok(self.order(state, number))
    }
}

impl State {
    /// Who has signed a request, and with which key: an account, or whoever wants to have one.
    fn signer(&self, path: &str, jws: &Jws) -> Result<(Option<usize>, Signer), Answer> {
        let refused = |kind: &str| Answer::problem(400, kind, "it is not signed as it should be");
        let account = match (jws.header["kid"].as_str(), path) {
            (None, "/new-account") => None,
            (None, _) | (Some(_), "/new-account") => return Err(refused("malformed")),
            (Some(kid), _) => kid.rsplit_once('/').and_then(|(_, number)| number.parse().ok()),
        };
        let key = match account {
            None => Signer::of(&jws.header["jwk"]),
            Some(number) => self.accounts.get::<usize>(number).map(|account| account.key.clone()),
        };
        let key = key.ok_or_else(|| refused("accountDoesNotExist"))?;
        if jws.is_signed_by(&key) { Ok((account, key)) } else { Err(refused("malformed")) }
    }

    /// A nonce, or a token, that never was before.
    fn nonce(&mut self) -> String {
        self.count += 1;
        let nonce = BASE64.encode(format!("nonce number {}", self.count));
        self.nonces.insert(nonce.clone());
        nonce
    }
}

impl Answer {
    fn json(status: u16, body: &Value) -> Self {
        Self(status, vec![("content-type", "application/json".to_owned())], body.to_string())
    }

    fn problem(status: u16, kind: &str, detail: &str) -> Self {
        Self::json(status, &json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail }))
    }
}
