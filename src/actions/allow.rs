//! `risk.allow(reason)`: trust this request and ask no further.

use super::{Given, Parameter, Phase, Say, Verb, exactly, reason};

pub(super) const VERB: Verb = Verb {
    name: "allow",
    parameters: &[Parameter::Reason],
    phase: Phase::Assess,
    doc: "trusts the request: this script ends, later ones are not asked, the score is 0 and neither level nor \
          country limit applies; hard lists and what earlier scripts said explicitly still do",
    say,
};

fn say(given: &[Given]) -> Result<Say, String> {
    let [why] = exactly("allow", given)?;
    Ok(Say::Allow { reason: reason(why)? })
}
