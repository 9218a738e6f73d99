//! Answers over HTTP/2 that nobody takes: little of each is read ahead, and none holds up others on its connection.

use std::future::poll_fn;

use bytes::Bytes;
use tokio::net::TcpStream;

use super::*;
use crate::net::Client;

/// A server of HTTP/2 that answers `/endless` without end, and all else at once; how much of the endless answers was taken.
fn server() -> (SocketAddr, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    (serving(move |stream| serve(stream, Arc::clone(&counted))), taken)
}

async fn serve(stream: TcpStream, taken: Arc<AtomicUsize>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let endless = request.uri().path() == "/endless";
        let mut body = respond.send_response(http::Response::new(()), false).unwrap();
        if !endless {
            body.send_data(Bytes::from_static(b"quick"), true).unwrap();
            continue;
        }
        let taken = Arc::clone(&taken);
        tokio::spawn(async move {
            loop {
                body.reserve_capacity(16 << 10);
                let Some(Ok(room)) = poll_fn(|context| body.poll_capacity(context)).await else { return };
                if body.send_data(Bytes::from(vec![b'x'; room]), false).is_err() {
                    return;
                }
                taken.fetch_add(room, Ordering::SeqCst);
            }
        });
    }
}

fn gate(server: SocketAddr) -> Running {
    let buffers = "send_ahead = \"16KiB\"\nsend_buffer = \"128KiB\"";
    servers(&[server], "protocol = \"http2\"").section("server", &format!("threads = 1\n{buffers}")).start()
}

/// A client that asks for an endless answer and takes nothing of it.
fn stuck(gate: &Running) -> Client {
    let mut client = gate.connect();
    client.write(&Request::get("/endless").to_bytes()).unwrap();
    client
}

#[test]
fn answers_that_nobody_takes_hold_up_no_other_of_the_same_connection() {
    let (server, taken) = server();
    let gate = gate(server);
    let clients: Vec<Client> = (0..32).map(|_| stuck(&gate)).collect();
    // More than a connection has room for by Pingora's own choice.
    eventually("answers to be stuck", || (taken.load(Ordering::SeqCst) >= 10 << 20).then_some(()));
    for _ in 0..100 {
        assert_eq!(gate.send(&Request::get("/")).text(), "quick");
    }
    let held = taken.load(Ordering::SeqCst) / clients.len();
    assert!(held <= 1 << 20, "{held} bytes were taken of each");
}
