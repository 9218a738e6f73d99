//! The reference of the policy language, made from the tables that the checker and the engine use.
//!
//! `docs/policies.md` contains what [`markdown`] gives, and a test compares them, so that the manual cannot drift from
//! the language. Nothing here knows a signal, a verb or a function by name.

use std::fmt::Write as _;

use super::functions::{self, FAMILIES};
use super::sandbox::Bounds;
use crate::actions::{Parameter, Phase, VERBS, Verb};
use crate::signals::{Argument, Root, Signal, Vocabulary};

/// Every signal, verb and function of the language and the bounds of a script, as Markdown.
pub fn markdown(vocabulary: &Vocabulary) -> String {
    let mut text = String::new();
    signals(&mut text, vocabulary);
    verbs(&mut text);
    language(&mut text);
    bounds(&mut text);
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn signals(text: &mut String, vocabulary: &Vocabulary) {
    text.push_str("### Signals: what a script reads\n\n");
    let mut families: Vec<(Root, &str)> = Vec::new();
    for signal in vocabulary.signals() {
        let family = (signal.root, signal.group());
        if !families.contains(&family) {
            families.push(family);
        }
    }
    for (root, group) in families {
        let dot = if group.is_empty() { "" } else { "." };
        let phase = match root {
            Root::Request => "",
            Root::Response => ", in `observe` only",
        };
        let heading = format!("#### `{}{dot}{group}`{phase}\n\n", root.as_str());
        text.push_str(&heading);
        let family =
            vocabulary.signals().iter().filter(|signal| signal.root == root && signal.group() == group);
        let rows =
            family.map(|signal| [code(&written(signal)), signal.kind.as_str().to_owned(), cell(signal.doc)]);
        table(text, ["read", "type", "meaning"], rows);
    }
}

fn verbs(text: &mut String) {
    text.push_str("### Verbs: what a script says\n\n");
    let rows = VERBS.iter().map(|verb| {
        let phase = match verb.phase {
            Phase::Assess => "`assess`",
            Phase::Both => "`assess`, `observe`",
        };
        [code(&usage(verb)), phase.to_owned(), cell(verb.doc)]
    });
    table(text, ["say", "in", "meaning"], rows);

    let mut parameters: Vec<Parameter> = Vec::new();
    for parameter in VERBS.iter().flat_map(|verb| verb.parameters) {
        if !parameters.contains(parameter) {
            parameters.push(*parameter);
        }
    }
    let rows = parameters.into_iter().map(|parameter| {
        let known = if parameter.is_literal() { "a literal or a top-level `const`" } else { "any value" };
        [code(parameter.name()), known.to_owned(), cell(wanted(parameter))]
    });
    table(text, ["parameter", "written as", "is"], rows);
}

fn language(text: &mut String) {
    text.push_str("### Functions: what a script computes with\n\n");
    text.push_str("Each is called as `name(a, b)` or as `a.name(b)`. What changes a string or an array in place gives nothing back.\n\n");
    let rows = FAMILIES.iter().filter_map(|family| {
        let names: Vec<_> = family.iter().map(|function| code(function.name)).collect();
        Some([family.first()?.family.to_owned(), names.join(" ")])
    });
    table(text, ["on", "functions"], rows);
    text.push_str("What other scripting languages have and policies have not:\n\n");
    let rows = functions::REFUSED.iter().map(|(name, why)| [code(name), cell(why)]);
    table(text, ["not", "because"], rows);
}

fn bounds(text: &mut String) {
    let Bounds { operations, call_depth, string, array } = Bounds::default();
    text.push_str("### Bounds: how much a script may do\n\n");
    text.push_str("For each call of `assess` or `observe`, unless `[policy]` says otherwise:\n\n");
    let rows = [
        (
            "max_operations",
            operations.to_string(),
            "operations, roughly one for each evaluated name, call and operator",
        ),
        ("max_call_depth", call_depth.to_string(), "functions that call each other"),
        ("max_string", format!("{string} bytes"), "the longest string"),
        ("max_array", array.to_string(), "elements of the longest array or map"),
    ];
    table(
        text,
        ["key", "default", "bounds"],
        rows.map(|(key, most, what)| [code(key), most, what.to_owned()]),
    );
}

/// As a script writes it: `req.geo.country`, `req.header(name)`.
fn written(signal: &Signal) -> String {
    let argument = match signal.argument {
        None => "",
        Some(Argument::Header | Argument::Cookie | Argument::Parameter) => "(name)",
        Some(Argument::List) => "(list)",
        Some(Argument::Counter) => "(counter)",
        Some(Argument::Pointer) => "(pointer)",
    };
    format!("{}.{}{argument}", signal.root.as_str(), signal.name)
}

/// As a script would write it: `risk.add(reason, points)`, with what may be left out in brackets.
pub(super) fn usage(verb: &Verb) -> String {
    let parameter = |(at, parameter): (usize, &Parameter)| {
        let comma = if at == 0 { "" } else { ", " };
        let name = parameter.name();
        if parameter.is_optional() { format!("[{comma}{name}]") } else { format!("{comma}{name}") }
    };
    let parameters: String = verb.parameters.iter().enumerate().map(parameter).collect();
    format!("risk.{}({parameters})", verb.name)
}

/// What a parameter must be.
const fn wanted(parameter: Parameter) -> &'static str {
    match parameter {
        Parameter::Reason => {
            "a stable id, `area.rule`, of lower-case letters, digits, `_` and `-`; names the reason in records, metrics \
             and cases"
        }
        Parameter::Points => "a number from -100 to 100; fractions are rounded",
        Parameter::Per => {
            "whose requests share the rate: `\"client\"`, `\"country\"`, `\"asn\"` or `\"route\"`"
        }
        Parameter::Rate => {
            "requests/s, above 0; over the limit's window that is a whole number of requests, at least 1"
        }
        Parameter::TagName => "the end of the header's name, of lower-case letters, digits and `-`",
        Parameter::TagValue => "a string, a number or a boolean",
        Parameter::Cap => "the name of a limit that `[concurrency]` declares",
        Parameter::Upstream => "the name of an upstream, as `[upstream.NAME]` declares it",
        Parameter::Counter => "the name of a counter that `[counters]` declares",
        Parameter::Item => {
            "a string, a number or a boolean, for a counter of distinct values and only for one; `\"\"` is not counted"
        }
    }
}

fn table<const N: usize>(text: &mut String, head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    let _ = writeln!(text, "| {} |\n|{}", head.join(" | "), "---|".repeat(N));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text.push('\n');
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// A bar would begin the next column.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests;
