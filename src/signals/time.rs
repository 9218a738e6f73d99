//! Signals of the calendar, in UTC.

use super::{Domain, Kind, Root, Signal, Value};

pub(super) const SIGNALS: &[Signal] = &[
    Signal::property(Root::Request, "time.hour", Kind::Int, "hour of the day, 0 to 23, UTC", |facts, _| {
        Value::Int(i64::from(facts.wall.hour()))
    })
    .within(Domain::Numbers(0.0, 23.0)),
    Signal::property(
        Root::Request,
        "time.weekday",
        Kind::Int,
        "day of the week, 1 is Monday, 7 is Sunday, UTC",
        |facts, _| Value::Int(i64::from(facts.wall.weekday())),
    )
    .within(Domain::Numbers(1.0, 7.0)),
];
