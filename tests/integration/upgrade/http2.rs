//! Another binary takes over while clients speak HTTP/2: each is told to come anew before its connection closes, and no
//! request that was sent is lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::net::TcpStream;
use tokio::task::yield_now;

use super::{GENERATIONS, number, setup, upgrading, who};
use crate::certificates::{Authority, connect};
use crate::http2::{block_on, clear, client, get, send};
use crate::net::origin::{Answer, Gate, Origin};
use crate::net::{Client, free_addr};
use crate::process::Process;
use crate::support::{Files, eventually};

/// Clients by TLS, and in the clear.
const CLIENTS: usize = 2;
/// Requests of one client at once.
const STREAMS: usize = 8;

/// Where clients ask, and what became of it.
struct Load {
    clear: SocketAddr,
    tls: SocketAddr,
    authority: Authority,
    stop: AtomicBool,
    asked: AtomicU64,
    /// Connections that the gate asked to leave.
    parted: AtomicU64,
}

/// Whether this says that the gate wants no more requests on this connection, and has lost none.
fn is_goodbye(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
}

impl Load {
    async fn connect(&self, number: usize) -> SendRequest<Bytes> {
        if number < CLIENTS {
            return client(TcpStream::connect(self.clear).await.expect("nobody is refused")).await;
        }
        let config = self.authority.believer(&["h2"], None);
        client(connect(&config, self.tls, "api.example").await.expect("nobody is refused")).await
    }

    /// Asks again and again, on a new connection whenever the gate wants that. Fails the test if one request does.
    async fn ask(self: Arc<Self>, number: usize) {
        while !self.stop.load(Ordering::SeqCst) {
            let connection = self.connect(number).await;
            let streams = (0..STREAMS).map(|_| tokio::spawn(Arc::clone(&self).stream(connection.clone())));
            for stream in streams.collect::<Vec<_>>() {
                stream.await.expect("no request fails");
            }
        }
    }

    /// One request after the other, until the gate says goodbye.
    async fn stream(self: Arc<Self>, mut connection: SendRequest<Bytes>) {
        while !self.stop.load(Ordering::SeqCst) {
            match connection.ready().await {
                Ok(ready) => connection = ready,
                Err(error) => return self.part(&error),
            }
            // Of what is not even sent nothing is lost.
            let (answer, _) = match connection.send_request(get("/").body(()).unwrap(), true) {
                Ok(sent) => sent,
                Err(error) => return self.part(&error),
            };
            assert_eq!(answer.await.expect("what was sent is answered").status(), 200);
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn part(&self, error: &h2::Error) {
        assert!(is_goodbye(error), "{error:?}");
        self.parted.fetch_add(1, Ordering::SeqCst);
    }
}

/// A gate that speaks HTTP/2 in the clear at a free port, and by TLS at `tls`.
fn files(authority: &Authority, tls: SocketAddr) -> Files {
    let issued = authority.server(&["api.example"]);
    let keys = "tls = { cert = \"@/cert.pem\", key = \"@/key.pem\" }";
    setup()
        .listener("http2 = true")
        .listener(&format!("\n[[listener]]\naddress = \"{tls}\"\n{keys}"))
        .file("cert.pem", issued.cert.as_str())
        .file("key.pem", issued.key.as_str())
        .write()
}

#[test]
fn no_request_over_http2_fails_while_one_gate_after_the_other_takes_over() {
    let (authority, tls) = (Authority::new("test authority"), free_addr());
    let files = files(&authority, tls);
    number(&files, 0);
    let mut gate = Process::start(&files);
    let clear = gate.clients;
    let (stop, asked, parted) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let load = Arc::new(Load { clear, tls, authority, stop, asked, parted });
    thread::scope(|scope| {
        let asking = Arc::clone(&load);
        let clients = scope.spawn(move || {
            block_on(async {
                let all = (0..2 * CLIENTS).map(|number| tokio::spawn(Arc::clone(&asking).ask(number)));
                for client in all.collect::<Vec<_>>() {
                    client.await.expect("no request fails");
                }
            });
        });
        for generation in 1..GENERATIONS {
            let before = load.asked.load(Ordering::SeqCst);
            let more = || load.asked.load(Ordering::SeqCst) > before + 200 || clients.is_finished();
            eventually("some requests", || more().then_some(()));
            number(&files, generation);
            let next = Process::run(&files, &mut upgrading(&files));
            assert_eq!(gate.wait(), Some(0), "the one that ran has ended by itself");
            gate = next;
            assert_eq!(who(&mut Client::connect(clear).unwrap()), generation.to_string());
        }
        load.stop.store(true, Ordering::SeqCst);
    });
    let least = (GENERATIONS - 1) * 2 * CLIENTS as u64;
    assert!(load.parted.load(Ordering::SeqCst) >= least, "each client was asked to leave each gate");
    drop(gate);
}

#[test]
fn streams_in_flight_end_on_the_old_gate_while_new_connections_go_to_the_next() {
    let opening = Gate::default();
    let held = opening.clone();
    let origin = Origin::start(move |received| match received.target.as_str() {
        "/slow" => Answer::new(200, "slow").behind(&held),
        _ => Answer::new(200, "quick"),
    });
    let files = setup().listener("http2 = true").origin(&[origin.addr()]).write();
    let mut old = Process::start(&files);
    block_on(async {
        let mut connection = clear(old.clients).await;
        let slow = (0..STREAMS).map(|_| connection.send_request(get("/slow").body(()).unwrap(), true));
        let slow: Vec<_> = slow.map(|sent| sent.unwrap().0).collect();
        // Streams are written when this thread has nothing else to do.
        while origin.received().len() < STREAMS {
            yield_now().await;
        }
        let _new = Process::run(&files, &mut upgrading(&files));
        let told = loop {
            match connection.clone().ready().await {
                Ok(_) => yield_now().await,
                Err(error) => break error,
            }
        };
        assert!(is_goodbye(&told), "{told:?}");
        let answer = send(&mut clear(old.clients).await, get("/"), &[]).await.unwrap();
        assert_eq!(answer.body(), "quick");
        opening.open();
        for answer in slow {
            let mut answer = answer.await.unwrap();
            assert_eq!(answer.body_mut().data().await.unwrap().unwrap(), "slow");
        }
        assert_eq!(old.wait(), Some(0));
    });
}
