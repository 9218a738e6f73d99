//! `risk.block(reason)`: refuse the request.

use super::{Given, Parameter, Phase, Say, Verb, exactly, reason};

pub(super) const VERB: Verb = Verb {
    name: "block",
    parameters: &[Parameter::Reason],
    phase: Phase::Assess,
    doc: "refuses the request with 403, whatever its score",
    say,
};

fn say(given: &[Given]) -> Result<Say, String> {
    let [why] = exactly("block", given)?;
    Ok(Say::Block { reason: reason(why)? })
}
