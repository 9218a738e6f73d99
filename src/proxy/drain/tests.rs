//! Stages in their order, and what is waited for in each of them.

use super::*;

const LONG: Duration = Duration::from_secs(3600);

fn stop(drain: &Drain, delay: Duration, grace: Duration) -> Stop {
    Stop::new(drain.clone(), delay, grace, Signals::Ignored)
}

/// Whether it still waits, after everything that could happen has happened.
async fn waits(future: &mut (impl Future<Output = ShutdownSignal> + Unpin)) -> bool {
    tokio::time::timeout(Duration::from_millis(1), future).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn an_idle_server_stops_at_once() {
    let drain = Drain::new();
    drop(drain.enter());
    drain.begin();
    let begun = tokio::time::Instant::now();
    assert!(matches!(stop(&drain, LONG, LONG).recv().await, ShutdownSignal::GracefulTerminate));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_waits_for_its_last_request() {
    let drain = Drain::new();
    let stop = stop(&drain, Duration::ZERO, LONG);
    let requests = [drain.enter(), drain.enter()];
    drain.begin();
    assert!(drain.has_begun() && *drain.parting().borrow() && *drain.shut().borrow());
    let mut stopped = stop.recv();
    assert!(waits(&mut stopped).await, "two requests are served");
    drop(requests);
    stopped.await;
    assert_eq!(drain.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_grace_period_ends_the_wait() {
    let drain = Drain::new();
    let _stuck = drain.enter();
    drain.begin();
    let begun = tokio::time::Instant::now();
    stop(&drain, LONG, Duration::from_secs(7)).recv().await;
    assert_eq!((drain.in_flight(), begun.elapsed().as_secs()), (1, 7));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_leaves_serves_for_the_delay() {
    let drain = Drain::new();
    drain.open();
    let stop = stop(&drain, Duration::from_secs(30), LONG);
    let mut stopped = stop.recv();
    assert!(waits(&mut stopped).await);
    assert!(!drain.parts());
    drain.leave();
    let begun = tokio::time::Instant::now();
    assert!(waits(&mut stopped).await);
    assert!(drain.parts() && *drain.parting().borrow() && !*drain.shut().borrow());
    stopped.await;
    assert_eq!((drain.stage(), begun.elapsed().as_secs()), (Stage::Draining, 30));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_connected_when_sockets_are_handed_over_is_given_time() {
    let drain = Drain::new();
    drain.open();
    let (client, idle) = (drain.connect(), drain.connect());
    let stop = stop(&drain, LONG, LONG);
    let mut stopped = stop.recv();
    drain.hand_over();
    assert!(waits(&mut stopped).await);
    assert_eq!((drain.stage(), *drain.shut().borrow()), (Stage::HandedOver, true));
    drop(client);
    assert!(waits(&mut stopped).await);
    let begun = tokio::time::Instant::now();
    stopped.await;
    assert!(begun.elapsed() >= PARTING - Duration::from_millis(10));
    drop(idle);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_handed_over_and_that_everybody_left_ends() {
    let drain = Drain::new();
    let client = drain.connect();
    let stop = stop(&drain, LONG, LONG);
    let mut stopped = stop.recv();
    drain.hand_over();
    assert!(waits(&mut stopped).await);
    drop(client);
    let begun = tokio::time::Instant::now();
    stopped.await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[test]
fn there_is_no_way_back() {
    let drain = Drain::new();
    drain.begin();
    drain.open();
    drain.leave();
    assert_eq!(drain.stage(), Stage::Draining);
}
