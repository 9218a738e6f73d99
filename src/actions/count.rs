//! `risk.count(counter)`: count one event, once the judgement is final.

use super::{Given, Parameter, Phase, Say, Verb, counter, exactly};

pub(super) const VERB: Verb = Verb {
    name: "count",
    parameters: &[Parameter::Counter],
    phase: Phase::Both,
    doc: "counts one event of a counter that `[counters]` declares, for this request's key; read it with \
          `req.count(counter)`",
    say,
};

fn say(given: &[Given]) -> Result<Say, String> {
    let [name] = exactly("count", given)?;
    Ok(Say::Count { counter: counter(name)? })
}
