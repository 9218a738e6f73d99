//! What the scoreboard promises to those who look on.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::actions::Say;
use crate::decision::{Evaluation, Levels, Mode, OnError, RuleOutcome, Rulebook, Spoken};
use crate::ip_list::IpList;
use crate::rules::{Policy, Script, Terms};
use crate::signals::Vocabulary;
use crate::snapshot::{Contents, NamedList};
use crate::traffic::{Interval, LimitSpec, Per, Rate, Settings, Sharing, Traffic};

fn at(seconds: f64) -> Tick {
    Tick::from_elapsed(Duration::from_secs_f64(seconds))
}

/// A snapshot whose scripts give this reason, and that has a limit `country` and one of the reason.
fn snapshot(generation: u64, reason: &str) -> Snapshot {
    let text = format!("fn assess(req, risk) {{ risk.throttle(\"{reason}\", \"client\", 1); }}");
    let vocabulary = Vocabulary::standard();
    let terms = Terms::of(&vocabulary);
    let traffic = Traffic::new(Settings::default(), at(0.0));
    let spec = |name: &str, per| LimitSpec {
        name: name.to_owned(),
        per,
        window: Interval::TEN_SECONDS,
        sharing: Sharing::Fair,
    };
    let specs = [spec("country", Per::Country), spec(reason, Per::Client)];
    let limits = traffic.limits(&specs, at(0.0)).unwrap().into_iter();
    let limits = limits.map(|limit| ((limit.spec().name.as_str().into(), limit.spec().per), limit));
    let addresses = Arc::new(IpList::parse(Path::new("block"), b"").unwrap());
    let policy = Policy::load(&[Script { path: "10-a.rhai".into(), text }], &terms).unwrap();
    let contents = Contents {
        lists: vec![NamedList { name: "blocked".into(), addresses, hard: true }],
        rulebook: rulebook(),
        limits: limits.collect(),
        ..Contents::of(policy)
    };
    Snapshot::new(contents).numbered(Generation(generation))
}

fn rulebook() -> Rulebook {
    let limits = vec![(kp(), "country".into(), Rate::new(5.0).unwrap())];
    Rulebook { levels: Levels::default(), on_error: OnError::Skip, country_limits: limits }
}

fn kp() -> CountryCode {
    CountryCode::parse("KP").unwrap()
}

fn client(number: u64) -> Pseudonym {
    Pseudonym::from_bits(number)
}

/// What follows from scripts that demand a limit for this reason.
fn decision(reason: &str, list: Option<&str>) -> Decision {
    let mut evaluation = Evaluation::default();
    let throttle = Say::Throttle { reason: reason.into(), per: Per::Client, rate: Rate::new(1.0).unwrap() };
    let said = |mode, say| RuleOutcome {
        rule: "10-a".into(),
        mode,
        spoken: Spoken::Whole([say].into_iter().collect()),
    };
    evaluation.push(said(Mode::Enforce, throttle));
    evaluation.push(said(Mode::Observe, Say::Block { reason: reason.into() }));
    rulebook().decide(&evaluation, kp(), list)
}

fn count(board: &Scoreboard, decision: &Decision, outcome: Outcome, refused_by: Option<&str>, times: usize) {
    let event = Event { country: kp(), route: Some(0), client: client(7), decision, outcome, refused_by };
    (0..times).for_each(|_| board.count(&event));
}

fn board(snapshot: &Snapshot) -> Scoreboard {
    Scoreboard::new(NonZeroUsize::MIN.saturating_add(1), 2, snapshot, at(0.0))
}

fn of(outcomes: &Outcomes) -> [u32; 4] {
    Outcome::ALL.map(|outcome| outcomes.of(outcome))
}

#[test]
fn every_request_is_counted_under_all_that_it_is_about() {
    let snapshot = snapshot(1, "a.slow");
    let (board, slow) = (board(&snapshot), decision("a.slow", None));
    count(&board, &slow, Outcome::Allowed, None, 3);
    count(&board, &slow, Outcome::Throttled, Some("a.slow"), 5);
    count(&board, &decision("a.slow", Some("blocked")), Outcome::Blocked, None, 2);
    let nowhere = Event { country: CountryCode::UNKNOWN, route: None, ..event(&slow) };
    board.count(&nowhere);
    board.turn(&snapshot, at(1.0));
    let standings = board.standings();
    assert_eq!((standings.took, of(&standings.total())), (Duration::from_secs(1), [4, 5, 0, 2]));
    assert_eq!(of(&standings.countries[&kp()]), [3, 5, 0, 2]);
    assert_eq!((of(&standings.routes[&Some(0)]), of(&standings.routes[&None])), ([3, 5, 0, 2], [1, 0, 0, 0]));
    // What was only observed did not count.
    assert_eq!(of(&standings.reasons["a.slow"]), [4, 5, 0, 2]);
    assert_eq!(of(&standings.reasons["list.blocked"]), [0, 0, 0, 2]);
    assert_eq!(of(&standings.limits[&("a.slow".into(), Per::Client)]), [4, 5, 0, 0]);
    // The country's limit turned nobody away.
    assert_eq!(of(&standings.limits[&("country".into(), Per::Country)]), [4, 0, 0, 0]);
    assert_eq!(of(&standings.clients[&client(7)].outcomes), [4, 5, 0, 2]);
    assert_eq!(standings.since_start, [4, 5, 0, 2]);
}

fn event(decision: &Decision) -> Event<'_> {
    let (outcome, refused_by) = (Outcome::Allowed, None);
    Event { country: kp(), route: Some(0), client: client(7), decision, outcome, refused_by }
}

#[test]
fn what_is_older_than_ten_slices_is_forgotten_but_for_the_sum() {
    let snapshot = snapshot(1, "a.slow");
    let (board, slow) = (board(&snapshot), decision("a.slow", None));
    for second in 1..=25 {
        count(&board, &slow, Outcome::Allowed, None, second);
        board.turn(&snapshot, at(second as f64));
    }
    let standings = board.standings();
    assert_eq!(standings.took, Duration::from_secs(10));
    assert_eq!(standings.total().offered(), (16..=25).sum::<u64>());
    assert_eq!(standings.since_start[0], (1..=25).sum::<u64>());
    (26..=35).for_each(|second| board.turn(&snapshot, at(f64::from(second))));
    let standings = board.standings();
    assert!(standings.countries.is_empty() && standings.clients.is_empty() && standings.limits.is_empty());
}

#[test]
fn a_turn_that_comes_late_is_a_longer_slice() {
    let snapshot = snapshot(1, "a.slow");
    let (board, slow) = (board(&snapshot), decision("a.slow", None));
    assert_eq!(board.standings().took, Duration::ZERO);
    count(&board, &slow, Outcome::Allowed, None, 30);
    board.turn(&snapshot, at(3.0));
    let standings = board.standings();
    assert_eq!((standings.took, standings.total().offered()), (Duration::from_secs(3), 30));
}

#[test]
fn a_new_policy_is_counted_by_its_names_and_the_old_one_keeps_its_own() {
    let (old, new) = (snapshot(1, "a.old"), snapshot(2, "a.new"));
    let board = board(&old);
    count(&board, &decision("a.old", None), Outcome::Throttled, Some("a.old"), 1);
    board.turn(&new, at(1.0));
    count(&board, &decision("a.new", None), Outcome::Throttled, Some("a.new"), 2);
    // A request that began before the reload.
    count(&board, &decision("a.old", None), Outcome::Throttled, Some("a.old"), 4);
    board.turn(&new, at(2.0));
    let standings = board.standings();
    assert_eq!(of(&standings.reasons["a.old"]), [0, 1, 0, 0]);
    assert_eq!(of(&standings.reasons["a.new"]), [0, 2, 0, 0]);
    assert_eq!(of(&standings.limits[&("a.new".into(), Per::Client)]), [0, 2, 0, 0]);
    assert_eq!(of(&standings.total()), [0, 7, 0, 0]);
}

#[test]
fn threads_that_count_while_slices_turn_lose_nothing() {
    let snapshot = snapshot(1, "a.slow");
    let (board, slow) = (board(&snapshot), decision("a.slow", None));
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..4).map(|_| scope.spawn(|| count(&board, &slow, Outcome::Allowed, None, 20_000))).collect();
        let mut second = 0.0;
        while !workers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            second += 1.0;
            board.turn(&snapshot, at(second));
        }
        board.turn(&snapshot, at(second + 1.0));
    });
    assert_eq!(board.standings().since_start, [80_000, 0, 0, 0]);
}

#[test]
fn of_a_second_with_many_clients_the_busiest_are_kept() {
    let snapshot = snapshot(1, "a.slow");
    let (board, slow) = (board(&snapshot), decision("a.slow", None));
    for number in 0..400_u64 {
        let event = Event { client: client(number), ..event(&slow) };
        (0..=number).for_each(|_| board.count(&event));
    }
    board.turn(&snapshot, at(1.0));
    let standings = board.standings();
    assert_eq!(standings.clients.len(), CLIENTS_KEPT);
    assert!((272..400).all(|number| standings.clients[&client(number)].outcomes.offered() == number + 1));
}
