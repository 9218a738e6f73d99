//! `risk.count(counter)` and `risk.count(counter, item)`: count something, once the judgement is final.

use super::{Given, Parameter, Phase, Say, Verb, counter, wrong};
use crate::signals::Text;

pub(super) const VERB: Verb = Verb {
    name: "count",
    parameters: &[Parameter::Counter, Parameter::Item],
    phase: Phase::Both,
    doc: "counts one event of a counter that `[counters]` declares, for this request's key; or `item`, once however \
          often it comes, if the counter's kind is `distinct`; read it with `req.count(counter)`",
    say,
};

fn say(given: &[Given]) -> Result<Say, String> {
    match given {
        [name] => Ok(Say::Count { counter: counter(name)?, item: None }),
        [name, what] => Ok(Say::Count { counter: counter(name)?, item: Some(item(what)?) }),
        _ => Err(format!("`risk.count` takes 1 or 2 arguments, not {}", given.len())),
    }
}

pub(super) fn item(given: &Given) -> Result<Text, String> {
    match given {
        Given::Text(text) => Ok(text.clone()),
        Given::Int(number) => Ok(number.to_string().into()),
        Given::Float(number) => Ok(number.to_string().into()),
        Given::Bool(answer) => Ok(answer.to_string().into()),
        Given::Other(_) => Err(wrong(Parameter::Item, given, "a string, a number or a boolean")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_any_single_value() {
        let said = say(&[Given::Text("codes".into()), Given::Int(7)]).unwrap();
        assert_eq!(said.to_string(), "count(\"codes\", \"7\")");
        assert_eq!(said, Say::Count { counter: "codes".into(), item: Some("7".into()) });
        let refused = say(&[Given::Text("codes".into()), Given::Other("array")]).unwrap_err();
        assert_eq!(refused, "`item` must be a string, a number or a boolean, not array");
    }
}
