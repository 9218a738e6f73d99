//! What the system holds for connections is bounded, however much they carried before they got stuck: seen by whoever
//! sends, who is held up soon.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};

use crate::net::PATIENCE;
use crate::support::{Running, Setup, quoted, raw_origin, read_head};

/// So much is taken before nothing more is: enough for the system to see that it could be worthwhile to hold much.
const TAKEN: usize = 16 << 20;
/// So much would be sent.
const ALL: usize = 64 << 20;
/// Who sends nothing for so long is held up.
const HELD_UP: Duration = Duration::from_secs(1);
/// What both ends of a test ask the system for.
const SMALL: usize = 64 << 10;

/// A gate that lets the system hold so much for each connection in each direction.
fn gate(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Running {
    let server = quoted(&[raw_origin(serve)]);
    let buffers = "send_ahead = \"128KiB\"\nreceive_buffer = \"256KiB\"\n";
    let setup = Setup::new().section("server", buffers);
    setup.upstream("far", &format!("servers = {server}\n{buffers}")).route("*", "/", "far").start()
}

/// Sends until nobody takes anything; how many bytes were sent.
fn press(stream: &mut TcpStream) -> usize {
    set_socket_send_buffer_size(&stream, SMALL).unwrap();
    stream.set_write_timeout(Some(HELD_UP)).unwrap();
    let (part, mut sent) = ([b'x'; 16 << 10], 0);
    while sent < ALL {
        match stream.write(&part) {
            Ok(count) => sent += count,
            Err(_) => break,
        }
    }
    sent
}

/// Takes as much as is taken, and nothing more.
fn take(stream: &mut TcpStream) {
    set_socket_recv_buffer_size(&stream, SMALL).unwrap();
    let (mut part, mut left) = (vec![0; 64 << 10], TAKEN);
    while left > 0 {
        let most = left.min(part.len());
        let count = stream.read(&mut part[..most]).unwrap();
        assert_ne!(count, 0, "it ended early");
        left -= count;
    }
}

/// Sends a request with a body of this length to a gate whose server takes so much of it, and then nothing; how much more
/// could be sent.
fn held_of_a_body(length: usize) -> usize {
    let (taken, has_taken) = channel();
    let taken = Mutex::new(taken);
    let gate = gate(move |mut stream| {
        read_head(&mut stream);
        take(&mut stream);
        // Whoever gets it keeps it open.
        let _ = taken.lock().unwrap().send(stream);
    });
    let mut client = TcpStream::connect(gate.addr).unwrap();
    client
        .write_all(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n").as_bytes())
        .unwrap();
    let sent = press(&mut client);
    let _server = has_taken.recv_timeout(PATIENCE).expect("as much as it takes");
    sent - TAKEN
}

#[test]
fn little_is_held_of_an_answer_that_its_client_stopped_to_take() {
    let (sent, seen) = channel();
    let sent = Mutex::new(sent);
    let gate = gate(move |mut stream| {
        read_head(&mut stream);
        stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {ALL}\r\n\r\n").as_bytes()).unwrap();
        let _ = sent.lock().unwrap().send(press(&mut stream));
    });
    let mut client = TcpStream::connect(gate.addr).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    take(&mut client);
    let held = seen.recv_timeout(PATIENCE).expect("the origin is held up") - TAKEN;
    assert!(held < 1 << 20, "{held}");
}

#[test]
fn little_is_held_of_a_body_that_its_server_stopped_to_take() {
    let held = held_of_a_body(ALL);
    assert!(held < 2 << 20, "{held}");
}

#[test]
fn little_is_held_of_what_comes_behind_a_body_before_its_answer() {
    let held = held_of_a_body(TAKEN);
    assert!(held < 1 << 20, "{held}");
}
