//! The order of rows, and what a reader finds in a view.

use super::*;

fn reason(name: &str, offered: f64, blocked: f64) -> Reason {
    Reason { reason: name.into(), rates: Rates { offered, blocked, ..Rates::default() } }
}

#[test]
fn rows_are_in_the_order_that_was_asked_for() {
    let reasons =
        vec![reason("b", 1.0, 1.0), reason("c", 5.0, 0.0), reason("a", 1.0, 1.0), reason("d", 2.0, 1.0)];
    let sorted = |sort| {
        let mut view = View { reasons: reasons.clone(), ..View::default() };
        view.sort(sort);
        view.reasons.iter().map(|reason| reason.reason.clone()).collect::<String>()
    };
    assert_eq!((sorted(Sort::Offered), sorted(Sort::Blocked)), ("cdab".into(), "dabc".into()));
    assert_eq!((sorted(Sort::Name), sorted(Sort::Throttled)), ("abcd".into(), "cdab".into()));
}

#[test]
fn every_order_comes_around() {
    let mut sort = Sort::default();
    for expected in Sort::ALL {
        assert_eq!((sort, Sort::parse(sort.as_str())), (expected, Some(expected)));
        sort = sort.next();
    }
    assert_eq!(sort, Sort::Offered);
}

#[test]
fn what_a_gate_does_not_say_is_absent() {
    let view: View =
        serde_json::from_str(r#"{"countries":[{"country":"KP","offered":2.5,"new":1}]}"#).unwrap();
    let rates = Rates { offered: 2.5, ..Rates::default() };
    let kp = Country { country: "KP".into(), rates, ..Country::default() };
    assert_eq!(view, View { countries: vec![kp], ..View::default() });
}

#[test]
fn what_is_written_is_read_back() {
    let view =
        View { reasons: vec![reason("a", 1.0, 0.5)], routes: vec![Route::default()], ..View::default() };
    let text = serde_json::to_string(&view).unwrap();
    assert_eq!(serde_json::from_str::<View>(&text).unwrap(), view);
    assert!(text.contains(r#"{"reason":"a","offered":1.0,"#), "{text}");
}
