//! `risk.tag(name, value)`: tell the origin something.

use super::{Given, MAX_NAME, Parameter, Phase, Say, Verb, exactly, text};
use crate::signals::Text;

pub(super) const VERB: Verb = Verb {
    name: "tag",
    parameters: &[Parameter::TagName, Parameter::TagValue],
    phase: Phase::Assess,
    doc: "sends the origin a header `riskgate-<name>: <value>`; the value is cut to 256 visible ASCII characters",
    say,
};

/// Names that the gate itself sends to the origin.
const RESERVED: &[&str] = &["score", "level", "reasons", "decision"];
/// Longest tag value in bytes.
const MAX_VALUE: usize = 256;

fn say(given: &[Given]) -> Result<Say, String> {
    let [what, content] = exactly("tag", given)?;
    Ok(Say::Tag { name: name(what)?, value: value(content)? })
}

pub(super) fn name(given: &Given) -> Result<Text, String> {
    let name = text(Parameter::TagName, given)?;
    if RESERVED.contains(&name.as_str()) {
        return Err(format!("`{name}` is a header of the gate itself: choose another tag name"));
    }
    let edge = name.starts_with('-') || name.ends_with('-');
    let spelled = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if name.is_empty() || name.len() > MAX_NAME || edge || !spelled {
        return Err(format!(
            "`{name}` is no tag name: write lower-case letters, digits and `-`, such as `bot-class`"
        ));
    }
    Ok(name)
}

pub(super) fn value(given: &Given) -> Result<Text, String> {
    let text = match given {
        Given::Text(text) => text.to_string(),
        Given::Int(number) => number.to_string(),
        Given::Float(number) => number.to_string(),
        Given::Bool(answer) => answer.to_string(),
        Given::Other(kind) => {
            return Err(format!("`value` must be a string, a number or a boolean, not {kind}"));
        }
    };
    let visible = text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' });
    Ok(visible.take(MAX_VALUE).collect::<String>().trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_name_is_a_plain_header_word_of_its_own() {
        assert!(name(&Given::Text("bot-class".into())).is_ok());
        for bad in ["", "Bot", "a b", "-a", "a-", "score", "x\r\ny"] {
            assert!(name(&Given::Text(bad.into())).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_tag_value_cannot_break_out_of_its_header() {
        assert_eq!(value(&Given::Text("a\r\nset-cookie: x\u{e9}".into())).unwrap(), "a??set-cookie: x?");
        assert_eq!(value(&Given::Int(-3)).unwrap(), "-3");
        assert_eq!(value(&Given::Text("x".repeat(999).into())).unwrap().len(), MAX_VALUE);
    }
}
