//! What scripts say: the verbs.
//!
//! A verb is a method of `risk` (`risk.add("area.rule", 20)`). Calling it performs nothing: it checks its
//! arguments and yields a [`Say`], which the decision weighs later. Each verb has a file of its own;
//! [`VERBS`] is the one table, used to register, to check and to document the language.

mod add;
mod allow;
mod block;
mod concurrency;
mod count;
mod route;
mod tag;
mod throttle;

use std::fmt;
use std::ops::RangeInclusive;

use serde::Serialize;

use crate::signals::Text;
pub use concurrency::reason_of as concurrency_reason;
pub use route::reason_of as route_reason;
pub use throttle::{Per, Rate};

/// One thing that a script said.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
pub enum Say {
    /// Points for or against the request.
    Add {
        /// Why.
        reason: Text,
        /// How many; negative ones speak for the request.
        points: i64,
    },
    /// Trust this request and ask no further.
    Allow {
        /// Why.
        reason: Text,
    },
    /// Let this kind of request through only at a certain rate.
    Throttle {
        /// Why; also the identity of the limit.
        reason: Text,
        /// Whose requests share the rate.
        per: Per,
        /// How many.
        rate: Rate,
    },
    /// Let only so many requests of this kind be in flight at once.
    Concurrency {
        /// A limit that `[concurrency]` declares.
        limit: Text,
    },
    /// Send the request to another upstream.
    Route {
        /// An upstream that `[upstream.NAME]` declares.
        upstream: Text,
    },
    /// Refuse the request.
    Block {
        /// Why.
        reason: Text,
    },
    /// Tell the origin something, as a header `riskgate-<name>`.
    Tag {
        /// The header's name after `riskgate-`.
        name: Text,
        /// The header's value.
        value: Text,
    },
    /// Count one event, or one of the distinct values of something.
    Count {
        /// A counter that `[counters]` declares.
        counter: Text,
        /// What is told apart, if the counter counts distinct values.
        #[serde(skip_serializing_if = "Option::is_none")]
        item: Option<Text>,
    },
}

/// A value that a script passed to a verb.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// A string.
    Text(Text),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// Something else; its type's name.
    Other(&'static str),
}

/// What a verb wants as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// A stable id, `area.rule`; a literal or constant, so that metrics stay bounded.
    Reason,
    /// Points, an integer or a float.
    Points,
    /// `"client" "country" "asn" "route"`; a literal or constant.
    Per,
    /// Requests/s, above 0.
    Rate,
    /// The end of a header's name; a literal or constant.
    TagName,
    /// Any string, number or boolean.
    TagValue,
    /// The name of a declared limit of requests in flight; a literal or constant.
    Cap,
    /// The name of an upstream; a literal or constant.
    Upstream,
    /// The name of a declared counter.
    Counter,
    /// What a counter of distinct values tells apart: any string, number or boolean. May be left out.
    Item,
}

/// Where a verb may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// In `assess`, before the request is answered.
    Assess,
    /// In `assess` and in `observe`, after the response.
    Both,
}

/// One verb: its name, parameters and meaning, and how it turns arguments into a [`Say`].
#[derive(Clone, Copy, Debug)]
pub struct Verb {
    /// The method's name.
    pub name: &'static str,
    /// What it takes, in order.
    pub parameters: &'static [Parameter],
    /// Where it may be used.
    pub phase: Phase,
    /// What it means. One line for the language reference.
    pub doc: &'static str,
    /// Checks arguments and says it. The error says what is wrong with them.
    pub say: fn(&[Given]) -> Result<Say, String>,
}

/// Every verb.
pub const VERBS: &[Verb] = &[
    add::VERB,
    allow::VERB,
    throttle::VERB,
    concurrency::VERB,
    route::VERB,
    block::VERB,
    tag::VERB,
    count::VERB,
];

/// Longest reason id or tag name in bytes.
const MAX_NAME: usize = 64;

impl Verb {
    /// How many arguments it takes.
    pub fn arity(&self) -> RangeInclusive<usize> {
        let optional = self.parameters.iter().filter(|parameter| parameter.is_optional()).count();
        self.parameters.len() - optional..=self.parameters.len()
    }
}

impl Say {
    /// The points it adds, if it is about points.
    pub const fn points(&self) -> Option<i64> {
        match self {
            Self::Add { points, .. } => Some(*points),
            Self::Allow { .. }
            | Self::Throttle { .. }
            | Self::Concurrency { .. }
            | Self::Route { .. }
            | Self::Block { .. }
            | Self::Tag { .. }
            | Self::Count { .. } => None,
        }
    }

    /// The verb's name.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Add { .. } => add::VERB.name,
            Self::Allow { .. } => allow::VERB.name,
            Self::Throttle { .. } => throttle::VERB.name,
            Self::Concurrency { .. } => concurrency::VERB.name,
            Self::Route { .. } => route::VERB.name,
            Self::Block { .. } => block::VERB.name,
            Self::Tag { .. } => tag::VERB.name,
            Self::Count { .. } => count::VERB.name,
        }
    }
}

/// As a script would write it.
impl fmt::Display for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = self.verb();
        match self {
            Self::Add { reason, points } => write!(f, "{verb}(\"{reason}\", {points})"),
            Self::Allow { reason } | Self::Block { reason } => write!(f, "{verb}(\"{reason}\")"),
            Self::Throttle { reason, per, rate } => {
                write!(f, "{verb}(\"{reason}\", \"{}\", {})", per.as_str(), rate.per_second())
            }
            Self::Concurrency { limit: name } | Self::Route { upstream: name } => {
                write!(f, "{verb}(\"{name}\")")
            }
            Self::Tag { name, value } => write!(f, "{verb}(\"{name}\", \"{value}\")"),
            Self::Count { counter, item: None } => write!(f, "{verb}(\"{counter}\")"),
            Self::Count { counter, item: Some(item) } => write!(f, "{verb}(\"{counter}\", \"{item}\")"),
        }
    }
}

impl Given {
    /// What script authors call its type.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Bool(_) => "bool",
            Self::Other(name) => name,
        }
    }
}

impl Parameter {
    /// What the language reference calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reason => "reason",
            Self::Points => "points",
            Self::Per => "per",
            Self::Rate => "rate",
            Self::TagName => "name",
            Self::TagValue => "value",
            Self::Cap => "limit",
            Self::Upstream => "upstream",
            Self::Counter => "counter",
            Self::Item => "item",
        }
    }

    /// Whether it must be known when the script is loaded.
    pub const fn is_literal(self) -> bool {
        match self {
            Self::Reason | Self::Per | Self::TagName | Self::Cap | Self::Upstream => true,
            Self::Points | Self::Rate | Self::TagValue | Self::Counter | Self::Item => false,
        }
    }

    /// Whether it may be left out; such parameters come last.
    pub const fn is_optional(self) -> bool {
        match self {
            Self::Item => true,
            Self::Reason
            | Self::Points
            | Self::Per
            | Self::Rate
            | Self::TagName
            | Self::TagValue
            | Self::Cap
            | Self::Upstream
            | Self::Counter => false,
        }
    }

    /// Whether a value of this type can be right.
    pub const fn takes(self, kind: crate::signals::Kind) -> bool {
        use crate::signals::Kind;
        match self {
            Self::Reason | Self::Per | Self::TagName | Self::Cap | Self::Upstream | Self::Counter => {
                matches!(kind, Kind::Text)
            }
            Self::Points | Self::Rate => matches!(kind, Kind::Int | Kind::Float),
            Self::TagValue | Self::Item => true,
        }
    }

    /// Checks one given value; the error says what is wrong and what to write instead.
    pub fn check(self, given: &Given) -> Result<(), String> {
        match self {
            Self::Reason => reason(given).map(drop),
            Self::Points => points(given).map(drop),
            Self::Per => throttle::per(given).map(drop),
            Self::Rate => throttle::rate(given).map(drop),
            Self::TagName => tag::name(given).map(drop),
            Self::TagValue => tag::value(given).map(drop),
            Self::Cap => concurrency::limit(given).map(drop),
            Self::Upstream => route::upstream(given).map(drop),
            Self::Counter => counter(given).map(drop),
            Self::Item => count::item(given).map(drop),
        }
    }
}

/// A reason id: `area.rule`, lower-case letters, digits, `_`, `-`, with dots between.
fn reason(given: &Given) -> Result<Text, String> {
    let text = text(Parameter::Reason, given)?;
    let word = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
    };
    if text.len() <= MAX_NAME && text.contains('.') && text.split('.').all(word) {
        return Ok(text);
    }
    Err(format!(
        "`{text}` is no reason id: write `area.rule` in lower case, at most {MAX_NAME} bytes, such as `login.stuffing`"
    ))
}

fn points(given: &Given) -> Result<i64, String> {
    let points = match given {
        Given::Int(points) => *points,
        Given::Float(points) if points.is_finite() => points.round() as i64,
        Given::Float(_) => return Err("points are not a finite number".into()),
        Given::Text(_) | Given::Bool(_) | Given::Other(_) => {
            return Err(wrong(Parameter::Points, given, "a number"));
        }
    };
    Ok(points.clamp(-100, 100))
}

fn counter(given: &Given) -> Result<Text, String> {
    text(Parameter::Counter, given)
}

fn text(parameter: Parameter, given: &Given) -> Result<Text, String> {
    match given {
        Given::Text(text) => Ok(text.clone()),
        Given::Int(_) | Given::Float(_) | Given::Bool(_) | Given::Other(_) => {
            Err(wrong(parameter, given, "a string"))
        }
    }
}

fn wrong(parameter: Parameter, given: &Given, wanted: &str) -> String {
    format!("`{}` must be {wanted}, not {}", parameter.name(), given.kind())
}

/// The arguments of a verb with exactly `N` parameters.
fn exactly<'g, const N: usize>(verb: &str, given: &'g [Given]) -> Result<&'g [Given; N], String> {
    given.try_into().map_err(|_| format!("`risk.{verb}` takes {N} arguments, not {}", given.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_refuses_every_wrong_number_of_arguments() {
        for verb in VERBS {
            for count in (0..5).filter(|count| !verb.arity().contains(count)) {
                let given = vec![Given::Text("a.b".into()); count];
                assert!((verb.say)(&given).unwrap_err().contains("arguments"), "{}", verb.name);
            }
            assert!(!verb.doc.is_empty());
        }
    }

    #[test]
    fn a_reason_is_area_dot_rule() {
        for good in ["geo.weight", "a.b.c", "login.stuffing-2", "x_1.y"] {
            assert!(reason(&Given::Text(good.into())).is_ok(), "{good}");
        }
        for bad in ["", "geo", "Geo.weight", "geo.", ".geo", "geo..x", "geo weight.x", "g\u{e9}o.x"] {
            assert!(reason(&Given::Text(bad.into())).is_err(), "{bad}");
        }
        assert!(reason(&Given::Text(format!("a.{}", "b".repeat(63)).into())).is_err());
    }

    #[test]
    fn points_are_whole_and_bounded() {
        assert_eq!(points(&Given::Int(1_000)), Ok(100));
        assert_eq!(points(&Given::Float(12.5)), Ok(13));
        assert_eq!(points(&Given::Float(-1e300)), Ok(-100));
        assert!(points(&Given::Float(f64::NAN)).is_err());
        assert_eq!(points(&Given::Bool(true)).unwrap_err(), "`points` must be a number, not bool");
    }
}
