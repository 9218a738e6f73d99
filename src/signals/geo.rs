//! Signals of the place: country, network, and how busy the country is.

use super::{Domain, Kind, Root, Signal, Value};
use crate::traffic::Pulse;

pub(super) const SIGNALS: &[Signal] = &[
    Signal::property(
        Root::Request,
        "geo.country",
        Kind::Text,
        "two letters, ISO 3166-1; `ZZ` is unknown",
        |facts, _| Value::text(facts.place.country.as_str()),
    )
    .within(Domain::Country),
    Signal::property(
        Root::Request,
        "geo.continent",
        Kind::Text,
        "`AF AN AS EU NA OC SA`; `ZZ` is unknown",
        |facts, _| Value::text(facts.place.country.continent().as_str()),
    )
    .within(Domain::OneOf(&["AF", "AN", "AS", "EU", "NA", "OC", "SA", "ZZ"])),
    Signal::property(
        Root::Request,
        "geo.asn",
        Kind::Int,
        "the number of the network (autonomous system); 0 is unknown",
        |facts, _| Value::Int(i64::from(facts.place.asn.number())),
    )
    .within(Domain::COUNT),
    Signal::property(
        Root::Request,
        "geo.weight",
        Kind::Int,
        "points that `[countries]` gives this country; 0 if it says nothing",
        |facts, _| Value::Int(facts.readings.country_weight()),
    )
    .within(Domain::Numbers(0.0, 100.0)),
    Signal::property(
        Root::Request,
        "geo.rate",
        Kind::Float,
        "requests/s of this country, just before this request",
        |facts, _| Value::float(facts.readings.country().rate),
    )
    .within(Domain::COUNT),
    Signal::property(
        Root::Request,
        "geo.usual",
        Kind::Float,
        "the usual requests/s of this country at this hour of the week; the rate of now until there is half an hour of evidence",
        |facts, _| Value::float(facts.readings.country().usual),
    )
    .within(Domain::COUNT),
    Signal::property(
        Root::Request,
        "geo.surge",
        Kind::Float,
        "`geo.rate` over `geo.usual`, with 1 added to both; 1 until there is evidence",
        |facts, _| Value::float(facts.readings.country().surge),
    )
    .within(Domain::COUNT),
    Signal::property(
        Root::Request,
        "geo.anomaly",
        Kind::Float,
        "how improbable the last 10 s or the last minute of this country are: `a` is at most 1 in 10^a; 0 to 20, from 8 it is a surge",
        |facts, _| Value::float(facts.readings.country().anomaly),
    )
    .within(Domain::Numbers(0.0, Pulse::MOST)),
];
