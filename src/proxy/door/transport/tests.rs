//! Deadlines and rates of one connection, with bytes from both ends.

use super::*;
use crate::clock::Clock;
use std::num::NonZeroUsize;
use tokio::io::AsyncWriteExt;

fn pair(deadlines: Deadlines) -> (Transport, UnixStream, Arc<Pulse>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let pulse = Arc::new(Pulse::default());
    let lines = Arc::new(Lines::new(NonZeroUsize::MIN, Clock::start()));
    (Transport::new(Socket::Unix(ours), Arc::clone(&pulse), deadlines, lines), theirs, pulse)
}

const PATIENT: Deadlines = Deadlines {
    head: Duration::from_secs(10),
    stall: Duration::from_secs(60),
    idle: Duration::from_secs(60),
};

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_in_is_waited_for_only_so_long() {
    let (mut transport, mut client, _) = pair(PATIENT);
    let dripping = tokio::spawn(async move {
        while client.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let (mut head, mut buffer) = (0, [0; 16]);
    let error = loop {
        match transport.read(&mut buffer).await {
            Ok(read) => head += read,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!((9..=11).contains(&head), "a byte each second, for ten seconds: {head}");
    drop(transport);
    dripping.await.unwrap();
}

/// Dawdles until the client has to stand in line.
async fn dawdled(deadlines: Deadlines) -> (Transport, UnixStream, Arc<Pulse>) {
    let (mut transport, mut client, pulse) = pair(deadlines);
    for _ in 0..5 {
        let write = async {
            tokio::task::yield_now().await;
            client.write_all(b"x").await
        };
        let (read, written) = tokio::join!(transport.read_u8(), write);
        assert_eq!((read.unwrap(), written.unwrap()), (b'x', ()));
    }
    (transport, client, pulse)
}

#[tokio::test]
async fn what_a_dawdler_sends_is_read_and_its_end_is_noticed() {
    let (mut transport, mut client, pulse) = dawdled(PATIENT).await;
    pulse.began(None);
    let mut buffer = [0; 16];
    let write = async {
        tokio::task::yield_now().await;
        client.write_all(b"ab").await
    };
    let (read, _) = tokio::join!(transport.read(&mut buffer), write);
    assert_eq!(buffer.get(..read.unwrap()), Some(&b"ab"[..]));
    let (read, ()) = tokio::join!(transport.read(&mut buffer), async {
        tokio::task::yield_now().await;
        drop(client);
    });
    assert_eq!(read.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_does_not_wait_for_a_turn() {
    let (mut transport, client, _) = dawdled(PATIENT).await;
    // Nothing comes, so it is never its turn.
    let begin = tokio::time::Instant::now();
    let error = transport.read_u8().await.unwrap_err();
    assert_eq!((error.kind(), begin.elapsed() <= PATIENT.head), (ErrorKind::TimedOut, true));
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_body_and_a_rest_take_as_long_as_they_take() {
    let (mut transport, mut client, pulse) = pair(PATIENT);
    for phase in [|pulse: &Pulse| pulse.began(None), Pulse::rested] {
        phase(&pulse);
        let (read, _) = tokio::join!(transport.read_u8(), async {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            client.write_all(b"x").await
        });
        assert_eq!(read.unwrap(), b'x');
    }
    assert_eq!(pulse.phase(), Phase::Head, "what came after the rest began a request");
    let error = transport.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_given_up() {
    let (mut transport, client, _) = pair(PATIENT);
    let error = transport.write_all(&vec![0; 16 << 20]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    drop(client);
}

#[tokio::test]
async fn a_beginning_is_looked_at_and_read_again() {
    for (sent, agrees) in [("PRI * more", true), ("PRI", false), ("POST /", false), ("G", false), ("", false)]
    {
        let (mut transport, mut client, _) = pair(PATIENT);
        client.write_all(sent.as_bytes()).await.unwrap();
        drop(client);
        assert_eq!(transport.begins_with(b"PRI *").await.unwrap(), agrees, "{sent}");
        let mut all = String::new();
        transport.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, sent);
    }
}

#[tokio::test]
async fn the_tap_keeps_what_came_and_no_more_than_it_may() {
    let (mut transport, mut client, _) = pair(PATIENT);
    transport.open_tap();
    client.write_all(b"hello").await.unwrap();
    let mut buffer = [0; 8];
    let read = transport.read(&mut buffer).await.unwrap();
    assert_eq!(buffer.get(..read), Some(&b"hello"[..]));
    assert_eq!(transport.close_tap(), b"hello");
    assert_eq!(transport.close_tap(), b"");

    let mut tap = Tap::default();
    tap.keep(&vec![1; 2 * MAX_TAP]);
    tap.keep(&[2]);
    assert_eq!(tap.0.len(), MAX_TAP);
}
