//! `risk.add(reason, points)`: points for or against the request.

use super::{Given, Parameter, Phase, Say, Verb, exactly, points, reason};

pub(super) const VERB: Verb = Verb {
    name: "add",
    parameters: &[Parameter::Reason, Parameter::Points],
    phase: Phase::Assess,
    doc: "adds points to the score, which stays within 0 and 100; negative points speak for the request; \
          -100 to 100 at a time, fractions are rounded",
    say,
};

fn say(given: &[Given]) -> Result<Say, String> {
    let [why, many] = exactly("add", given)?;
    Ok(Say::Add { reason: reason(why)?, points: points(many)? })
}
