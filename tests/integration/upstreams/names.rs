//! Names of servers, looked up again while the gate runs. The system's resolver does that, so that the gate runs in a mount
//! namespace of its own, where `/etc/resolv.conf` names a name server of this test. Only root can make one.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::net::origin::{Answer, Origin};
use crate::net::{Client, Request};
use crate::privileges::is_root;
use crate::process::Process;
use crate::support::{Files, Setup, eventually};

/// Answers every question for an address; it stays for as long as the test process.
struct NameServer {
    address: IpAddr,
    /// What it says; `None`: that it cannot.
    says: Arc<Mutex<Option<Vec<Ipv4Addr>>>>,
}

impl NameServer {
    /// At port 53, since resolvers know no other.
    fn open(first: &[Ipv4Addr]) -> Self {
        let addresses = (1..=254).map(|last| SocketAddr::from(([127, 0, 53, last], 53)));
        let socket =
            addresses.into_iter().find_map(|address| UdpSocket::bind(address).ok()).expect("port 53");
        let address = socket.local_addr().unwrap().ip();
        let says = Arc::new(Mutex::new(Some(first.to_vec())));
        let said = Arc::clone(&says);
        thread::spawn(move || {
            let mut bytes = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut bytes) {
                let answer = answer(&bytes[..length], said.lock().unwrap().as_deref());
                let _ = socket.send_to(&answer, client);
            }
        });
        Self { address, says }
    }

    fn says(&self, addresses: &[Ipv4Addr]) {
        *self.says.lock().unwrap() = Some(addresses.to_vec());
    }

    fn fails(&self) {
        *self.says.lock().unwrap() = None;
    }
}

/// An answer (RFC 1035, section 4.1) to the one question of a message: these addresses, or a failure.
fn answer(asked: &[u8], addresses: Option<&[Ipv4Addr]>) -> Vec<u8> {
    let name = asked[12..].iter().position(|byte| *byte == 0).expect("the end of a name");
    let question = &asked[12..12 + name + 5];
    let is_for_ipv4 = question[name + 1..name + 3] == [0, 1];
    let found = addresses.unwrap_or_default().iter().filter(|_| is_for_ipv4);
    let count = u8::try_from(found.clone().count()).unwrap();
    let code = if addresses.is_some() { 0x80 } else { 0x82 };
    let mut answer = [&asked[..2], &[0x81, code, 0, 1, 0, count, 0, 0, 0, 0], question].concat();
    for address in found {
        // The same name, an address of the Internet, for no time at all.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}

/// Runs a gate for which this is the name server.
fn start(files: &Files, names: &NameServer) -> Process {
    files.write("resolv.conf", format!("nameserver {}\noptions timeout:1 attempts:1\n", names.address));
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script]).arg(files.path("resolv.conf"));
    command.args([env!("CARGO_BIN_EXE_riskgate"), "run"]).current_dir(files.folder());
    Process::run(files, command.env("RISKGATE_CONFIG", files.config()).env_remove("RUST_LOG"))
}

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const TWO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[test]
fn servers_come_and_go_with_the_addresses_of_their_name() {
    if !is_root("servers_come_and_go_with_the_addresses_of_their_name") {
        return;
    }
    let names = NameServer::open(&[ONE]);
    let one = Origin::start(|_| Answer::new(200, "one"));
    let two = Origin::at((TWO, one.addr().port()).into(), |_| Answer::new(200, "two"));
    let pool = format!("servers = [\"pool.example:{}\"]\nresolve = \"1s\"", two.addr().port());
    let files = Setup::new().upstream("origin", &pool).write();
    let gate = start(&files, &names);
    let asked = || {
        let mut client = Client::connect(gate.clients).unwrap();
        let mut ask = || client.send(&Request::get("/")).unwrap().text().to_owned();
        let mut answers: Vec<_> = (0..20).map(|_| ask()).collect();
        answers.sort();
        answers.dedup();
        answers
    };
    let eventually_asks = |servers: &[&str]| {
        eventually(&format!("{servers:?}"), || (asked() == servers).then_some(()));
    };
    let log = || fs::read_to_string(files.path("log")).unwrap();
    assert_eq!(asked(), ["one"]);
    names.says(&[ONE, TWO]);
    eventually_asks(&["one", "two"]);
    names.says(&[TWO]);
    eventually_asks(&["two"]);

    names.fails();
    eventually("a word about it", || log().contains("the last good addresses stay in use").then_some(()));
    assert_eq!(asked(), ["two"]);
    names.says(&[ONE]);
    eventually_asks(&["one"]);
    assert!(log().contains("names can be looked up again"), "{}", log());
}
