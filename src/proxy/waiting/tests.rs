//! The waiting room under a paused clock: who comes first, who is woken, and that nothing is left behind.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use super::*;
use crate::facts::client::Prefix;
use crate::facts::place::{Asn, CountryCode};
use crate::traffic::{
    Admission, Check, Interval, Limit, LimitSpec, Per, Rate, RouteKey, Settings, Sharing, Subject, Traffic,
    Weight,
};

const LIMIT: &str = "a.slow";
const CLIENT: &str = "192.0.2.0/24";
const PATIENT: Duration = Duration::from_secs(30);

fn at(seconds: f64) -> Tick {
    Tick::from_elapsed(Duration::from_secs_f64(seconds))
}

fn from(client: &str) -> Subject {
    Subject {
        client: Prefix::parse(client).unwrap(),
        country: CountryCode::parse("KP").unwrap(),
        asn: Asn::UNKNOWN,
        route: RouteKey::named("*/"),
        weight: Weight::default(),
        token: None,
    }
}

fn limit(traffic: &Traffic, per: Per) -> Arc<Limit> {
    let (name, window, sharing) = (LIMIT.to_owned(), Interval::TEN_SECONDS, Sharing::Fair);
    let specs = [LimitSpec { name, per, window, sharing }];
    traffic.limits(&specs, at(0.0)).unwrap().remove(0)
}

/// The lanes of two clients.
fn lanes() -> [Lane; 2] {
    let limit = limit(&Traffic::new(Settings::default(), at(0.0)), Per::Client);
    ["192.0.2.0/24", "198.51.100.0/24"].map(|client| limit.lane(&from(client)))
}

/// A limit of 1 request/s that will have room in so many seconds.
fn told(seconds: u64) -> Rejection {
    let retry_after = Duration::from_secs(seconds);
    Rejection { check: 0, retry_after, quota: 10, window: Interval::TEN_SECONDS, kept: Duration::ZERO }
}

fn join(room: &WaitingRoom, lane: Lane) -> Option<Place<'_>> {
    room.join(lane, LIMIT, 3, told(3), at(0.0))
}

fn is_left_as_it_was(room: &WaitingRoom) -> bool {
    let lines = room.lines();
    lines.lines.is_empty() && lines.limits.is_empty() && room.waiting() == 0
}

#[tokio::test(start_paused = true)]
async fn the_first_asks_when_it_was_told_to_and_the_next_when_the_first_has_left() {
    let (room, [lane, _]) = (WaitingRoom::default(), lanes());
    let begun = tokio::time::Instant::now();
    let [first, second, third] = [0; 3].map(|_| join(&room, lane).unwrap());
    assert!(first.wait(told(3), at(0.0), PATIENT).await);
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
    assert!(!second.wait(told(3), at(3.0), Duration::from_secs(2)).await, "the first has not left");
    drop(first);
    assert!(!third.wait(told(3), at(5.0), Duration::from_secs(2)).await, "it is the turn of the second");
    assert!(second.wait(told(3), at(5.0), PATIENT).await);
    let waited = begun.elapsed();
    let (woken, ()) = tokio::join!(third.wait(told(3), at(7.0), PATIENT), async { drop(second) });
    assert!(woken && begun.elapsed() == waited, "at once");
    drop(third);
    assert!(is_left_as_it_was(&room));
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_from_the_middle_wakes_nobody_and_is_not_waited_for() {
    let (room, [lane, _]) = (WaitingRoom::default(), lanes());
    let [first, second, third] = [0; 3].map(|_| join(&room, lane).unwrap());
    assert_eq!(third.forecast(at(0.0)).unwrap().retry_after, Duration::from_secs(5));
    drop(second);
    assert_eq!(third.forecast(at(0.0)).unwrap().retry_after, Duration::from_secs(4));
    assert!(!third.wait(told(4), at(0.0), Duration::from_secs(1)).await);
    drop(first);
    assert!(third.wait(told(4), at(1.0), PATIENT).await);
}

#[test]
fn who_comes_later_is_told_to_wait_for_all_before_it() {
    let (room, [lane, other]) = (WaitingRoom::default(), lanes());
    assert_eq!(room.behind(lane, at(0.0)), None);
    let places = [0; 2].map(|_| join(&room, lane).unwrap());
    let behind = |now| room.behind(lane, now).map(|rejection| rejection.retry_after);
    assert_eq!(behind(at(0.0)), Some(Duration::from_secs(5)), "3 s until the first, and 1 s for each");
    assert_eq!(behind(at(1.0)), Some(Duration::from_secs(4)));
    assert_eq!(behind(at(60.0)), Some(Duration::from_secs(2)));
    assert_eq!(room.behind(other, at(0.0)), None, "another client");
    drop(places);
    assert_eq!(behind(at(0.0)), None);
}

#[test]
fn there_is_room_for_so_many_at_each_limit() {
    let (room, [lane, other]) = (WaitingRoom::default(), lanes());
    let places = [lane, other, lane].map(|lane| join(&room, lane).unwrap());
    assert!(join(&room, lane).is_none() && join(&room, other).is_none());
    assert!(room.join(other, "another", 3, told(3), at(0.0)).is_some(), "another limit has its own room");
    let [first, second, third] = places;
    drop(first);
    assert!(join(&room, other).is_some() && room.waiting() == 2);
    drop((second, third));
    assert!(is_left_as_it_was(&room));
}

#[test]
fn a_place_is_free_again_after_a_panic() {
    let (room, [lane, _]) = (WaitingRoom::default(), lanes());
    let waits = || {
        let _place = join(&room, lane);
        panic!("a request breaks off");
    };
    assert!(catch_unwind(AssertUnwindSafe(waits)).is_err());
    assert!(is_left_as_it_was(&room));
}

/// A limit of 10 requests/s, under the paused clock.
struct Gate {
    room: WaitingRoom,
    traffic: Traffic,
    limit: Arc<Limit>,
    begun: tokio::time::Instant,
}

impl Gate {
    fn new(per: Per) -> Self {
        let traffic = Traffic::new(Settings::default(), at(0.0));
        let (room, limit) = (WaitingRoom::default(), limit(&traffic, per));
        Self { room, traffic, limit, begun: tokio::time::Instant::now() }
    }

    fn now(&self) -> Tick {
        Tick::from_elapsed(self.begun.elapsed())
    }

    /// Asks the limit as the gate does. Answers how long the request waited, if it was let through.
    async fn request(&self, client: &str, longest: Duration) -> Option<Duration> {
        let (subject, came) = (from(client), self.now());
        let checks = [Check { limit: &self.limit, rate: Rate::new(10.0).unwrap() }];
        let lane = self.limit.lane(&subject);
        let (mut refused, mut place) = (self.room.behind(lane, came), None);
        loop {
            if refused.is_none() {
                match self.traffic.admit(&subject, &checks, self.now()) {
                    Admission::Admit => return Some(since(came, self.now())),
                    Admission::Reject(rejection) => refused = Some(rejection),
                }
            }
            let told = refused.take()?;
            let left = longest.checked_sub(since(came, self.now()))?;
            let left = Some(left).filter(|left| told.retry_after <= *left)?;
            if place.is_none() {
                place = Some(self.room.join(lane, LIMIT, 1_000, told, self.now())?);
            }
            if !place.as_ref()?.wait(told, self.now(), left).await {
                return None;
            }
        }
    }

    /// Sends requests at these moments, in milliseconds. Answers how long each waited.
    async fn send(
        &self,
        client: &str,
        moments: impl Iterator<Item = u64>,
        longest: Duration,
    ) -> Vec<Option<Duration>> {
        let request = |moment| async move {
            tokio::time::sleep_until(self.begun + Duration::from_millis(moment)).await;
            self.request(client, longest).await
        };
        let requests: Vec<_> = moments.map(request).collect();
        futures_in_order(requests).await
    }
}

/// Runs them all at once.
async fn futures_in_order<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().filter(|(_, done)| done.is_none()) {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                *done = Some(value);
            }
        }
        if futures.iter().all(|(_, done)| done.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    futures.into_iter().filter_map(|(_, done)| done).collect()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_paces_itself_badly_by_a_little_gets_all_it_asks_for() {
    // 10 requests/s on average, which is the limit; but 120 in the first six seconds of every twelve, where a window of
    // ten has room for 100.
    let moments = || (0..600).map(|n| n / 120 * 12_000 + n % 120 * 50);
    let refused = Gate::new(Per::Client).send(CLIENT, moments(), Duration::ZERO).await;
    let refused = refused.iter().filter(|waited| waited.is_none()).count();
    assert!(refused > 20, "{refused} are refused without a delay");
    let patient = Gate::new(Per::Client);
    let waited = patient.send(CLIENT, moments(), Duration::from_secs(8)).await;
    let longest = waited.iter().flatten().max().unwrap();
    println!("{refused} of 600 refused without a delay, none with one, the longest wait is {longest:?}");
    assert!(waited.iter().all(Option::is_some));
    assert!(is_left_as_it_was(&patient.room));
}

#[tokio::test(start_paused = true)]
async fn waiting_never_lets_more_through_than_the_limit_and_never_lasts_longer_than_it_may() {
    let (gate, longest) = (Gate::new(Per::Client), Duration::from_secs(2));
    // 30 requests/s for 40 s.
    let waited = gate.send(CLIENT, (0..1_200).map(|n| n * 1_000 / 30), longest).await;
    let admitted = waited.iter().flatten().count();
    assert!(
        (400..=440).contains(&admitted),
        "{admitted} for 40 s at 10/s, and the 2 s after them in which the last still wait"
    );
    assert!(waited.iter().flatten().all(|waited| *waited <= longest), "{:?}", waited.iter().flatten().max());
    let order: Vec<_> = waited
        .iter()
        .zip((0..1_200).map(|n| n * 1_000 / 30))
        .filter_map(|(waited, came)| Some(Duration::from_millis(came) + (*waited)?))
        .collect();
    assert!(order.is_sorted(), "first come, first served");
    assert!(is_left_as_it_was(&gate.room));
}

/// Eight clients that send 1 request/s each, and one that sends 40/s, for 50 s: how many of the 400 requests pass and
/// how many of them after a wait, and how many of the 2,000.
async fn a_heavy_client_among_others(longest: Duration) -> [usize; 3] {
    let gate = Gate::new(Per::Country);
    let names: Vec<String> = (0..8).map(|n| format!("10.{n}.0.0/24")).collect();
    let ordinary = names.iter().enumerate().map(|(n, name)| {
        gate.send(name, (0..50).map(move |second| second * 1_000 + 111 * n as u64), longest)
    });
    let ordinary = futures_in_order(ordinary.collect());
    let (ordinary, heavy) = tokio::join!(ordinary, gate.send(CLIENT, (0..2_000).map(|n| n * 25), longest));
    assert!(is_left_as_it_was(&gate.room));
    let ordinary: Vec<Duration> = ordinary.into_iter().flatten().flatten().collect();
    let waited = ordinary.iter().filter(|waited| !waited.is_zero()).count();
    [ordinary.len(), waited, heavy.iter().flatten().count()]
}

#[tokio::test(start_paused = true)]
async fn at_a_fair_limit_nobody_waits_for_whoever_asks_for_more() {
    let [before, _, _] = a_heavy_client_among_others(Duration::ZERO).await;
    let [passed, waited, heavy] = a_heavy_client_among_others(Duration::from_secs(2)).await;
    println!("{passed} of 400 pass, {waited} after a wait, {before} without a delay; {heavy} of 2,000");
    assert!(passed >= before && waited <= 40 && passed + heavy <= 550);
}
