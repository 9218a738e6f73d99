//! Leases by themselves, and what limits admit and count with them.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::traffic::simulation::{at, limit, rate, subject};
use crate::traffic::{Admission, Check, Interval, Limit, Per, Settings, Shape, Subject, Traffic};

const THREADS: usize = 4;

fn moment(seconds: f64) -> Moment {
    Moment::at(Interval::TEN_SECONDS, at(seconds))
}

fn lessee(number: u64) -> Lessee {
    Lessee::new(Of::Client, Key::numbered(number), 100_000, Asn::UNKNOWN)
}

/// Another key in the same slot.
fn neighbour(of: &Lessee) -> Lessee {
    let taken = of.home();
    (1..).map(|n| lessee(of.key.number() + n)).find(|other| other.home() == taken).unwrap()
}

/// Comes with nothing left, asks for all there is, and says how many it got.
fn renew(leases: &Leases, who: &Lessee, seconds: f64) -> u64 {
    let Draw::Renewal(renewal) = leases.draw(who, at(seconds)) else { panic!("nothing to renew") };
    let (wish, unused) = renewal.settle(Interval::TEN_SECONDS);
    assert_eq!(unused, None);
    renewal.sign(wish, wish, moment(seconds));
    wish
}

/// Uses up what there is.
fn use_up(leases: &Leases, who: &Lessee, seconds: f64) -> u64 {
    (0..).take_while(|_| matches!(leases.draw(who, at(seconds)), Draw::Spare(_))).count() as u64
}

/// A lease of 16 places, of which one is used, at 1 s.
fn sixteen(leases: &Leases, who: &Lessee) {
    for places in [1, 2, 4, 8] {
        assert_eq!(renew(leases, who, 1.0), places);
        assert_eq!(use_up_no_more(leases, who, places - 1), places - 1);
    }
    assert_eq!(renew(leases, who, 1.0), 16);
}

fn use_up_no_more(leases: &Leases, who: &Lessee, most: u64) -> u64 {
    (0..most).filter(|_| matches!(leases.draw(who, at(1.0)), Draw::Spare(_))).count() as u64
}

#[test]
fn who_comes_back_soon_takes_twice_as_many_and_who_comes_late_or_left_some_takes_fewer() {
    let (leases, who) = (Leases::new(1), lessee(1));
    sixteen(&leases, &who);
    assert_eq!(use_up(&leases, &who, 1.1), 15);
    assert_eq!(renew(&leases, &who, 1.1), 32);
    assert_eq!(use_up(&leases, &who, 1.1), 31);
    assert_eq!(renew(&leases, &who, 2.0), 1);

    let leases = Leases::new(1);
    sixteen(&leases, &who);
    let Draw::Renewal(renewal) = leases.draw(&who, at(1.2)) else { panic!("it has run out") };
    assert_eq!(renewal.settle(Interval::TEN_SECONDS), (8, Some(Unused { epoch: 0, numbers: 1..16 })));
    assert_eq!(renewal.settle(Interval::TEN_SECONDS).1, None);
}

#[test]
fn a_lease_runs_for_a_part_of_its_interval_and_not_beyond() {
    for (begin, last, over) in [(1.0, 1.156, 1.157), (9.95, 9.999, 10.0), (1.0, 1.0, 0.999)] {
        let (leases, who) = (Leases::new(1), lessee(1));
        let Draw::Renewal(renewal) = leases.draw(&who, at(begin)) else { panic!("nothing to renew") };
        renewal.sign(9, 9, moment(begin));
        assert!(matches!(leases.draw(&who, at(last)), Draw::Spare(_)), "{last}");
        assert!(matches!(leases.draw(&who, at(over)), Draw::Renewal(_)), "{over}");
    }
}

#[test]
fn nobody_gets_what_another_has_left_until_its_interval_is_over() {
    let (leases, who) = (Leases::new(1), lessee(1));
    let other = neighbour(&who);
    sixteen(&leases, &who);
    for seconds in [1.0, 2.0, 10.9] {
        assert!(matches!(leases.draw(&other, at(seconds)), Draw::Nothing), "{seconds}");
    }
    for same_but in [
        Lessee::new(Of::Pool, who.key, who.quota, Asn::UNKNOWN),
        Lessee { quota: 99_999, ..who },
        Lessee::new(Of::Client, who.key, who.quota, Asn::new(7)),
    ] {
        assert!(!matches!(leases.draw(&same_but, at(1.0)), Draw::Spare(_)));
    }
    let Draw::Spare(spare) = leases.draw(&who, at(1.1)) else { panic!("there are fifteen") };
    assert_eq!(renew(&leases, &other, 11.2), 1);
    // Its place has gone to another key meanwhile.
    spare.put_back();
    assert!(matches!(leases.draw(&other, at(11.2)), Draw::Renewal(_)));
}

#[test]
fn the_fewest_are_taken_that_quota_count_and_room_allow() {
    let leases = Leases::new(4);
    assert_eq!(leases.most(1 << 20, 1 << 20, 1 << 20), MOST);
    assert_eq!(leases.most(32 * 4_096, 1 << 20, 1 << 20), 32);
    assert_eq!(leases.most(1 << 20, 32 * 4 * 5, 1 << 20), 5);
    assert_eq!(leases.most(1 << 20, 1 << 20, 16 * 4 * 3), 3);
    assert!(leases.suit(8_192) && !leases.suit(8_191));
}

fn traffic() -> Traffic {
    let workers = NonZeroUsize::new(THREADS).unwrap();
    let keys = Shape::new(16_384).unwrap();
    Traffic::new(Settings { keys, counter_slots: 1_024, workers, ..Settings::default() }, at(0.0))
}

/// A limit of each kind: of a client, of a country that does not share, and of one that does.
fn limits(traffic: &Traffic) -> [Arc<Limit>; 3] {
    [
        limit(traffic, "client", Per::Client, 10),
        limit(traffic, "route", Per::Route, 10),
        limit(traffic, "fair", Per::Country, 10),
    ]
}

fn admits(traffic: &Traffic, limit: &Limit, per_second: f64, who: &Subject, seconds: f64) -> bool {
    traffic.admit(who, &[Check { limit, rate: rate(per_second) }], at(seconds)) == Admission::Admit
}

/// How many requests pass of `tries` by each of some threads, evenly from `from` to `to` seconds.
fn pass(traffic: &Traffic, limit: &Limit, per_second: f64, tries: u32, from: f64, to: f64) -> u64 {
    let passed = AtomicU64::new(0);
    let own = |thread: u32| {
        for n in 0..tries {
            let seconds = from + (to - from) * f64::from(n) / f64::from(tries);
            let who = subject("DE", if n % 4 == 0 { thread } else { 9 });
            passed.fetch_add(admits(traffic, limit, per_second, &who, seconds).into(), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| (0..THREADS as u32).for_each(|thread| drop(scope.spawn(move || own(thread)))));
    passed.into_inner()
}

#[test]
fn many_threads_get_no_more_than_the_quota_and_hardly_less() {
    for kind in 0..3 {
        let traffic = traffic();
        let limit = &limits(&traffic)[kind];
        // A client's requests are three quarters of all.
        let (per_second, quota) = (4_000.0, 40_000);
        // Of threads that were stopped between counting and noting the time, each may overlook the others.
        let overlooked = THREADS as u64 + quota / OF_QUOTA;
        let most = if limit.fair().is_some() { quota + quota / 20 } else { quota + overlooked };
        let passed = pass(&traffic, limit, per_second, 30_000, 1.0, 9.0);
        let passed = if kind == 0 { passed - 4 * 30_000 / 4 } else { passed };
        assert!(passed <= most && passed >= quota - quota / 20, "{kind}: {passed}");
    }
}

#[test]
fn a_count_is_too_high_by_no_more_than_is_said_and_never_too_low() {
    let traffic = traffic();
    for limit in limits(&traffic) {
        let (quota, who) = (1_000_000u64, subject("DE", 9));
        let mut passed = 0;
        for part in 0..9 {
            let from = 1.0 + f64::from(part);
            let new = pass(&traffic, &limit, 100_000.0, 4_000, from, from + 0.9);
            assert_eq!(new, 16_000);
            // A client's own limit counts this client alone.
            passed += if limit.spec().per == Per::Client { new / 4 * 3 } else { new };
            let counted = limit.reading(&who, at(from + 0.9)).current;
            let bound = (quota / OF_QUOTA).min(counted / OF_COUNTED);
            assert!((passed..=passed + bound).contains(&counted), "{counted} for {passed}");
        }
    }
}

#[test]
fn what_was_taken_and_not_used_does_not_add_up() {
    let traffic = traffic();
    for limit in limits(&traffic) {
        let who = subject("DE", 9);
        let mut passed = 0;
        let mut ahead = 0;
        // Bursts of other lengths, each just long enough ago that its lease is over.
        for burst in 0..40 {
            let seconds = 0.2 * f64::from(burst) + 0.1;
            for _ in 0..500 + 7 * burst {
                passed += u64::from(admits(&traffic, &limit, 100_000.0, &who, seconds));
            }
            let counted = limit.reading(&who, at(seconds)).current;
            assert!((passed..passed + MOST).contains(&counted), "{counted} for {passed}");
            ahead += counted - passed;
        }
        assert!(ahead > 0, "nothing was ever counted in advance");
    }
}

#[test]
fn a_new_interval_begins_with_what_is_counted_in_it() {
    let traffic = traffic();
    for limit in limits(&traffic) {
        let who = subject("DE", 9);
        (0..5_000).for_each(|_| assert!(admits(&traffic, &limit, 100_000.0, &who, 9.95)));
        assert!(limit.reading(&who, at(9.95)).current > 5_000, "some are left");
        assert!(admits(&traffic, &limit, 100_000.0, &who, 10.0));
        let reading = limit.reading(&who, at(10.0));
        assert!(reading.current >= 1 && reading.previous == 5_000, "{reading:?}");
    }
}

#[test]
fn a_limit_that_is_gone_leaves_nothing_to_the_one_that_comes_after_it() {
    let traffic = traffic();
    let who = subject("DE", 9);
    for kind in 0..3 {
        let limit = Arc::clone(&limits(&traffic)[kind]);
        (0..5_000).for_each(|_| assert!(admits(&traffic, &limit, 100_000.0, &who, 1.0)));
        assert!(limit.reading(&who, at(1.0)).current > 5_000, "some are left");
        drop(limit);
        let limit = Arc::clone(&limits(&traffic)[kind]);
        assert!(admits(&traffic, &limit, 100_000.0, &who, 1.0));
        assert_eq!(limit.reading(&who, at(1.0)).current, 1);
    }
}

#[test]
fn near_a_limit_and_under_a_small_one_each_request_is_counted_by_itself() {
    for (per_second, already) in [(4_000.0, 39_880), (800.0, 0)] {
        let traffic = traffic();
        for limit in limits(&traffic) {
            let who = subject("DE", 9);
            (0..already).for_each(|_| assert!(admits(&traffic, &limit, per_second, &who, 1.0)));
            let counted = || limit.reading(&who, at(1.0)).current;
            // What was taken when there was room is used up first.
            let ahead = counted() - already;
            (0..ahead).for_each(|_| assert!(admits(&traffic, &limit, per_second, &who, 1.0)));
            for n in already + ahead..already + ahead + 100 {
                assert_eq!(counted(), n);
                assert!(admits(&traffic, &limit, per_second, &who, 1.0));
            }
        }
    }
}

#[test]
fn what_another_limit_refuses_is_left_to_the_next_request() {
    let traffic = traffic();
    let strict = limit(&traffic, "strict", Per::Route, 10);
    for limit in limits(&traffic) {
        let who = subject("DE", 9);
        (0..5_000).for_each(|_| assert!(admits(&traffic, &limit, 100_000.0, &who, 1.0)));
        let counted = limit.reading(&who, at(1.0)).current;
        let checks =
            [Check { limit: &limit, rate: rate(100_000.0) }, Check { limit: &strict, rate: rate(0.1) }];
        for _ in 0..200 {
            let _ = traffic.admit(&who, &checks, at(1.0));
        }
        let one = u64::from(limit.spec().per == Per::Client);
        assert_eq!(limit.reading(&who, at(1.0)).current, counted);
        let left = counted - 5_000 - one;
        (0..left).for_each(|_| assert!(admits(&traffic, &limit, 100_000.0, &who, 1.0)));
        assert_eq!(limit.reading(&who, at(1.0)).current, counted);
    }
}

#[test]
fn who_is_alone_in_a_pool_is_known_to_be_with_leases_too() {
    let traffic = traffic();
    let limit = limit(&traffic, "fair", Per::Country, 10);
    let who = subject("DE", 9);
    let passed = (0..50_000).filter(|_| admits(&traffic, &limit, 4_000.0, &who, 1.0)).count();
    assert_eq!(passed, 40_000);
}

#[test]
fn clients_of_a_pool_draw_on_it_together_and_are_counted_one_by_one() {
    let traffic = traffic();
    let limit = limit(&traffic, "fair", Per::Country, 10);
    let mut ahead = 0;
    for n in 0..20_000u32 {
        assert!(admits(&traffic, &limit, 100_000.0, &subject("DE", n % 2_000), 1.0 + f64::from(n) * 1e-4));
        ahead = ahead.max(limit.reading(&subject("DE", 0), at(2.9)).current - u64::from(n) - 1);
    }
    assert!((8..MOST).contains(&ahead), "{ahead}");
    let fair = limit.fair().unwrap();
    assert_eq!(fair.clients(Key::of_country(subject("DE", 0).country, 0), at(2.9)), 2_000);
}

/// A client of a pool that has more places than it used, at 1 s.
fn with_some_left(traffic: &Traffic, limit: &Limit, who: &Subject) {
    let mut count = 0;
    while limit.reading(who, at(1.0)).current <= count || count < 5_000 {
        assert!(admits(traffic, limit, 100_000.0, who, 1.0));
        count += 1;
    }
}

#[test]
fn a_client_takes_nothing_along_to_another_country() {
    let traffic = traffic();
    let limit = limit(&traffic, "fair", Per::Country, 10);
    with_some_left(&traffic, &limit, &subject("US", 9));
    let moved = subject("DE", 9);
    assert!(admits(&traffic, &limit, 100_000.0, &moved, 1.0));
    assert_eq!(limit.reading(&moved, at(1.0)).current, 1);
}

#[test]
fn a_client_is_counted_like_the_pool_it_has_for_itself_though_another_has_its_place_for_leases() {
    let traffic = traffic();
    let (limit, who) = (limit(&traffic, "fair", Per::Country, 10), subject("DE", 9));
    let home = |who: &Subject| {
        let member = who.member(Per::Country, limit.key(who));
        Lessee::new(Of::Client, member, 1_000_000, who.asn).home()
    };
    let rival = (10..).map(|n| subject("US", n)).find(|rival| home(rival) == home(&who)).unwrap();
    with_some_left(&traffic, &limit, &rival);
    for count in 1..=5_000 {
        assert!(admits(&traffic, &limit, 100_000.0, &who, 1.0));
        assert_eq!(limit.reading(&who, at(1.0)).current, count);
    }
}
