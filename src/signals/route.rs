//! Signals of the route: how busy it is, and whether that is usual.

use super::{Domain, Kind, Root, Signal, Value};
use crate::traffic::Pulse;

pub(super) const SIGNALS: &[Signal] = &[
    Signal::property(
        Root::Request,
        "route.rate",
        Kind::Float,
        "requests/s of this route, just before this request",
        |facts, _| Value::float(facts.readings.route().rate),
    )
    .within(Domain::COUNT),
    Signal::property(
        Root::Request,
        "route.usual",
        Kind::Float,
        "the usual requests/s of this route at this hour of the week; the rate of now until there is half an hour of evidence",
        |facts, _| Value::float(facts.readings.route().usual),
    )
    .within(Domain::COUNT),
    Signal::property(
        Root::Request,
        "route.surge",
        Kind::Float,
        "`route.rate` over `route.usual`, with 1 added to both; 1 until there is evidence",
        |facts, _| Value::float(facts.readings.route().surge),
    )
    .within(Domain::COUNT),
    Signal::property(
        Root::Request,
        "route.anomaly",
        Kind::Float,
        "how improbable the last 10 s or the last minute of this route are, as `geo.anomaly`",
        |facts, _| Value::float(facts.readings.route().anomaly),
    )
    .within(Domain::Numbers(0.0, Pulse::MOST)),
];
