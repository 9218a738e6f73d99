//! Places are never more than there are, and come back however they are lost.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::traffic::simulation::{at, subject};

fn spec(name: &str, per: Per) -> CapSpec {
    CapSpec { name: name.to_owned(), per }
}

fn one(name: &str, per: Per) -> Arc<Cap> {
    Caps::default().caps(&[spec(name, per)]).remove(0)
}

fn take(cap: &Arc<Cap>, subject: &Subject, most: u32) -> Result<Held, Full> {
    Held::take(subject, &[Claim { cap, most: Most::new(most).unwrap() }], at(0.0))
}

#[test]
fn a_number_of_places_is_at_least_one() {
    assert_eq!(Most::new(0), Err(TrafficError::Most(0)));
    assert_eq!(Most::new(Most::MAX + 1), Err(TrafficError::Most(Most::MAX + 1)));
    assert_eq!(Most::new(1).map(Most::get), Ok(1));
}

#[test]
fn a_key_has_so_many_places_and_gets_back_what_is_dropped() {
    for per in Per::ALL {
        let cap = one("a", per);
        let us = subject("DE", 1);
        let held = [take(&cap, &us, 2).unwrap(), take(&cap, &us, 2).unwrap()];
        assert_eq!(take(&cap, &us, 2).unwrap_err().claim, 0);
        drop(held);
        assert!(take(&cap, &us, 1).is_ok(), "{per:?}");
    }
}

#[test]
fn a_panic_gives_the_places_back() {
    let (cap, us) = (one("a", Per::Client), subject("DE", 1));
    let work = std::panic::AssertUnwindSafe(|| {
        let _held = take(&cap, &us, 1).unwrap();
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(std::panic::catch_unwind(work).is_err());
    assert!(take(&cap, &us, 1).is_ok());
}

#[test]
fn a_country_takes_no_place_of_another() {
    let cap = one("a", Per::Country);
    let held: Vec<_> = CountryCode::all()
        .map(|country| take(&cap, &Subject { country, ..subject("DE", 1) }, 1))
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(held.len(), CountryCode::COUNT);
}

#[test]
fn a_request_takes_a_place_under_each_cap_or_under_none() {
    let caps = Caps::default().caps(&[spec("wide", Per::Client), spec("full", Per::Client)]);
    let us = subject("DE", 1);
    let _held = take(&caps[1], &us, 1).unwrap();
    let most = Most::new(1).unwrap();
    let both = [Claim { cap: &caps[0], most }, Claim { cap: &caps[1], most }];
    assert_eq!(Held::take(&us, &both, at(0.0)).unwrap_err().claim, 1);
    assert!(take(&caps[0], &us, 1).is_ok(), "what was taken before the refusal is given back");
}

#[test]
fn threads_that_race_never_hold_more_places_than_there_are() {
    let (cap, inside) = (one("a", Per::Client), AtomicUsize::new(0));
    let work = || {
        for _ in 0..2_000 {
            let Ok(held) = take(&cap, &subject("DE", 1), 3) else { continue };
            assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
            inside.fetch_sub(1, Ordering::SeqCst);
            drop(held);
        }
    };
    std::thread::scope(|scope| (0..6).for_each(|_| drop(scope.spawn(work))));
    let held: Vec<_> = (0..3).map(|_| take(&cap, &subject("DE", 1), 3)).collect();
    assert!(held.iter().all(Result::is_ok), "nothing leaks");
}

#[test]
fn a_cap_keeps_its_places_over_a_reload_and_is_forgotten_after_the_last_holder() {
    let caps = Caps::default();
    let before = caps.caps(&[spec("a", Per::Client), spec("b", Per::Country)]);
    assert_eq!(caps.memory().iter().map(|part| part.bytes).sum::<usize>(), (SHARED + 1) * SKETCH_BYTES);
    let held = take(&before[0], &subject("DE", 1), 1).unwrap();
    let after = caps.caps(&[spec("a", Per::Client)]);
    drop(before);
    assert!(take(&after[0], &subject("DE", 1), 1).is_err());
    drop((held, after));
    assert_eq!(caps.memory(), []);
}

#[test]
fn a_place_is_likely_free_when_the_first_of_those_in_flight_ends() {
    let (cap, us) = (one("a", Per::Client), subject("DE", 1));
    let most = |places| Most::new(places).unwrap();
    assert_eq!(cap.likely_free(most(1)), SOON);
    take(&cap, &us, 1).unwrap().end(at(20.0));
    assert_eq!(cap.likely_free(most(4)), Duration::from_secs(5));
    assert_eq!(take(&cap, &us, 1).map(|held| held.is_nothing()), Ok(false));
    for _ in 0..100 {
        take(&cap, &us, 1).unwrap().end(at(4_000.0));
    }
    assert_eq!(cap.likely_free(most(1)), LATE);
}
