//! `risk.throttle(reason, per, rate)`: let this kind of request through only at a certain rate.

use super::{Given, Parameter, Phase, Say, Verb, exactly, reason, text, wrong};
use crate::facts::problem::nearest;
pub use crate::traffic::{Per, Rate};

pub(super) const VERB: Verb = Verb {
    name: "throttle",
    parameters: &[Parameter::Reason, Parameter::Per, Parameter::Rate],
    phase: Phase::Assess,
    doc: "lets requests with this reason through at `rate` requests/s per `\"client\"`, `\"country\"`, `\"asn\"` or \
          `\"route\"`, and answers the rest with 429; each reason counts for itself",
    say,
};

fn say(given: &[Given]) -> Result<Say, String> {
    let [why, whose, fast] = exactly("throttle", given)?;
    Ok(Say::Throttle { reason: reason(why)?, per: per(whose)?, rate: rate(fast)? })
}

pub(super) fn per(given: &Given) -> Result<Per, String> {
    let name = text(Parameter::Per, given)?;
    Per::parse(&name).ok_or_else(|| {
        let meant = nearest(&name, Per::ALL.iter().map(|per| per.as_str()));
        let hint = meant.map_or_else(String::new, |meant| format!(", did you mean `{meant}`?"));
        format!("unknown key `{name}`: one of `client`, `country`, `asn`, `route`{hint}")
    })
}

pub(super) fn rate(given: &Given) -> Result<Rate, String> {
    let rate = match given {
        Given::Int(rate) => *rate as f64,
        Given::Float(rate) => *rate,
        Given::Text(_) | Given::Bool(_) | Given::Other(_) => {
            return Err(wrong(Parameter::Rate, given, "a number"));
        }
    };
    Rate::new(rate).map_err(|_| {
        format!("a rate of {rate} requests/s is no limit: write a number above 0, or use `risk.block`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_positive_rate_is_a_limit() {
        assert_eq!(rate(&Given::Int(5)).unwrap().per_second(), 5.0);
        for bad in [Given::Int(0), Given::Float(-1.0), Given::Float(f64::NAN), Given::Float(f64::INFINITY)] {
            assert!(rate(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_misspelt_key_is_named_with_the_nearest() {
        let error = per(&Given::Text("clinet".into())).unwrap_err();
        assert!(error.contains("did you mean `client`?"), "{error}");
    }
}
