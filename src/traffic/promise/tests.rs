//! Promises by themselves: one for each client, kept once, for a while.

use super::*;
use crate::facts::time::Tick;
use crate::traffic::settings::Interval;

const FULL: Duration = Duration::from_secs(3);

fn moment(seconds: f64) -> Moment {
    Moment::at(Interval::TEN_SECONDS, Tick::from_elapsed(Duration::from_secs_f64(seconds)))
}

fn visit(promises: &Promises, client: u64, seconds: f64) -> Visit<'_> {
    promises.visit(7, promises.hash(Key::numbered(client)), moment(seconds))
}

/// A promise for a client at a full limit of 20 per window, in seconds.
fn make(promises: &Promises, client: u64, seconds: f64) -> Option<f64> {
    Some(visit(promises, client, seconds).make(Duration::ZERO, FULL, Some(20))?.as_secs_f64())
}

#[test]
fn a_place_is_kept_for_who_was_told_a_time_from_then_on_for_a_while_and_once() {
    let promises = Promises::new();
    let wait = make(&promises, 1, 100.0).unwrap();
    assert!((wait - 3.0).abs() < 0.1, "{wait}");
    let promise = |client, seconds| visit(&promises, client, seconds).promise();
    assert!(promise(2, 103.0).is_none());
    let early = promise(1, 101.0).unwrap();
    assert!(!early.is_due(moment(101.0)));
    assert!((early.wait(moment(101.0)).as_secs_f64() - 2.0).abs() < 0.2);
    // Up to a second of rounding, an eighth of the window, and the way.
    assert!([103.0, 104.2, 105.6].iter().all(|at| promise(1, *at).unwrap().is_due(moment(*at))));
    assert!(promise(1, 106.5).is_none());
    visit(&promises, 1, 103.5).redeem(&promise(1, 103.5).unwrap());
    assert!(promise(1, 103.5).is_none());
    // Of two requests of one client at the same moment, one gets the place.
    make(&promises, 3, 103.5).unwrap();
    let twice = [promise(3, 107.0), promise(3, 107.0)].map(Option::unwrap);
    assert_eq!(twice.map(|promise| visit(&promises, 3, 107.0).take_back(&promise)), [true, false]);
}

#[test]
fn turns_come_one_after_the_other_and_no_more_than_a_limit_lets_through() {
    let promises = Promises::new();
    let turns: Vec<f64> = (0..40).map(|client| make(&promises, client, 50.0).unwrap()).collect();
    assert!(turns.is_sorted());
    let in_a_window = turns.iter().filter(|turn| **turn < turns[0] + 10.0).count();
    assert!((14..=18).contains(&in_a_window), "{turns:?}");
    // Nobody is told to wait for ever: the last have a guess instead.
    assert!((40..2_000).any(|client| make(&promises, client, 50.0).is_none()));
}

#[test]
fn nobody_is_expected_after_all_have_come_or_are_too_late() {
    let promises = Promises::new();
    assert!(promises.is_quiet(7, moment(20.0)));
    make(&promises, 1, 20.0).unwrap();
    assert!(!promises.is_quiet(7, moment(20.0)) && promises.is_quiet(8, moment(20.0)));
    assert_ne!(visit(&promises, 2, 20.0).outlook(None), Outlook::EMPTY);
    // Nobody has to leave room for itself.
    let own = visit(&promises, 1, 20.0).promise();
    assert_eq!(visit(&promises, 1, 20.0).outlook(own.as_ref()), Outlook::EMPTY);
    assert!(promises.is_quiet(7, moment(26.5)));
    assert_eq!(visit(&promises, 2, 26.5).outlook(None), Outlook::EMPTY);
}

#[test]
fn keys_take_over_calendars_that_are_not_used_and_go_without_if_there_is_none() {
    let promises = Promises::new();
    let told = |from: u64, seconds: f64| {
        let visit = |key| promises.visit(key, promises.hash(Key::numbered(key)), moment(seconds));
        (from..from + 1_000).filter(|key| visit(*key).make(Duration::ZERO, FULL, None).is_some()).count()
    };
    assert_eq!((told(0, 10.0), told(5_000, 11.0), told(5_000, 60.0)), (64, 0, 64));
}

#[test]
fn who_mostly_does_not_come_is_reckoned_with_less() {
    let fits = |comes: bool| {
        let promises = Promises::new();
        let tell =
            |client, seconds| visit(&promises, client, seconds).make(Duration::ZERO, FULL, None).unwrap();
        for (client, seconds) in (10..110).zip((0..).map(|n| 50.0 + f64::from(n))) {
            tell(client, seconds);
            if comes {
                let there = visit(&promises, client, seconds + 3.0);
                there.redeem(&there.promise().unwrap());
            }
            visit(&promises, client, seconds).outlook(None);
        }
        // Of ten that are told to come and four places, one more fits if few come.
        assert!((0..10).all(|client| tell(client, 200.0) >= FULL));
        visit(&promises, 0, 200.0).outlook(None).free(FULL, |_| 4.0) == Some(Duration::ZERO)
    };
    assert_eq!((fits(true), fits(false)), (false, true));
}

#[test]
fn a_clock_that_jumps_forgets_promises_and_nothing_worse() {
    for jump in [0.0, 1_000.0, 90_000.0] {
        let promises = Promises::new();
        make(&promises, 1, 5_000.0).unwrap();
        assert!(visit(&promises, 1, jump).promise().is_none(), "{jump}");
        let wait = make(&promises, 2, jump).unwrap();
        assert!((wait - 3.0).abs() < 0.2, "{jump}: {wait}");
        assert!(visit(&promises, 2, jump + 3.1).promise().unwrap().is_due(moment(jump + 3.1)));
    }
}
