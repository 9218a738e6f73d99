//! The signal of the counters that `[counters]` declares.

use super::{Argument, Domain, Kind, Root, Signal, Value};

pub(super) const SIGNALS: &[Signal] = &[Signal::method(
    Root::Request,
    "count",
    Argument::Counter,
    Kind::Int,
    "events, or distinct items, of that counter within its window, for this request's key, before this request; 0 without the credential that it is per",
    |facts, counter| Value::Int(facts.readings.count(counter.as_str())),
)
.within(Domain::COUNT)];
