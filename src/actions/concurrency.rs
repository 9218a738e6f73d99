//! `risk.concurrency(limit)`: let only so many requests of this kind be in flight at once.

use super::{Given, Parameter, Phase, Say, Verb, exactly, text};
use crate::signals::Text;

pub(super) const VERB: Verb = Verb {
    name: "concurrency",
    parameters: &[Parameter::Cap],
    phase: Phase::Assess,
    doc: "lets only as many requests be in flight at once as `[concurrency]` declares under this name, from here to the \
          end of the response, and answers the rest with 429; its reason is `concurrency.` and the name",
    say,
};

fn say(given: &[Given]) -> Result<Say, String> {
    let [which] = exactly("concurrency", given)?;
    Ok(Say::Concurrency { limit: limit(which)? })
}

pub(super) fn limit(given: &Given) -> Result<Text, String> {
    text(Parameter::Cap, given)
}

/// The reason that saying it gives, and the name of the limit in records.
pub fn reason_of(limit: &str) -> String {
    format!("concurrency.{limit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_a_limit_and_no_number() {
        let said = say(&[Given::Text("exports".into())]).unwrap();
        assert_eq!(said.to_string(), "concurrency(\"exports\")");
        assert_eq!(say(&[Given::Int(8)]).unwrap_err(), "`limit` must be a string, not int");
    }
}
