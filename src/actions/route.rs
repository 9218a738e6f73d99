//! `risk.route(upstream)`: send this request to another upstream than its route's.

use super::{Given, Parameter, Phase, Say, Verb, exactly, text};
use crate::signals::Text;

pub(super) const VERB: Verb = Verb {
    name: "route",
    parameters: &[Parameter::Upstream],
    phase: Phase::Assess,
    doc: "sends the request to that `[upstream.NAME]` instead of its route's, or where no route serves it, if nothing \
          refuses it; the last one that is said counts; its reason is `route.` and the name",
    say,
};

fn say(given: &[Given]) -> Result<Say, String> {
    let [which] = exactly("route", given)?;
    Ok(Say::Route { upstream: upstream(which)? })
}

pub(super) fn upstream(given: &Given) -> Result<Text, String> {
    text(Parameter::Upstream, given)
}

/// The reason that saying it gives.
pub fn reason_of(upstream: &str) -> String {
    format!("route.{upstream}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_an_upstream() {
        let said = say(&[Given::Text("honeypot".into())]).unwrap();
        assert_eq!(said.to_string(), "route(\"honeypot\")");
        assert_eq!(say(&[Given::Bool(true)]).unwrap_err(), "`upstream` must be a string, not bool");
    }
}
