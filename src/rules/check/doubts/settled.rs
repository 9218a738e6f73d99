//! Conditions that are always the same, whatever the request.

use rhai::{Dynamic, Expr, Position, SwitchCasesCollection};

use super::Search;
use crate::signals::Domain;

const COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

impl Search<'_> {
    pub(super) fn comparison(&mut self, how: &str, left: &Expr, right: &Expr, position: Position) {
        // `x in list` is a call of `contains`.
        if how == "contains" {
            return self.membership(left, right);
        }
        if !COMPARISONS.contains(&how) {
            return;
        }
        let (one, other) = (self.scope.constant(left), self.scope.constant(right));
        match (one, other) {
            (Some(_), Some(_)) => {
                let hint = "compare with something of the request; a switch of your own is a `const` of true or false";
                self.say(position, format!("`{how}` compares two constants: it is always the same"), hint);
            }
            (None, None) if self.scope.same(left, right) => {
                let hint = "one side was meant to be something else";
                self.say(position, format!("both sides of `{how}` are the same"), hint);
            }
            (None, Some(value)) => self.impossible(how, left, &value, right.start_position()),
            (Some(value), None) => self.impossible(mirrored(how), right, &value, left.start_position()),
            (None, None) => {}
        }
    }

    /// A signal compared with a constant.
    fn impossible(&mut self, how: &str, signal: &Expr, value: &Dynamic, position: Position) {
        let Some((domain, name)) = self.scope.domain(signal) else { return };
        if let Domain::Numbers(from, to) = domain {
            let number = value.as_float().or_else(|_| value.as_int().map(|number| number as f64));
            if let Some(always) = number.ok().and_then(|number| settled(how, from, to, number)) {
                let range =
                    if to.is_finite() { format!("from {from} to {to}") } else { format!("{from} or more") };
                let message = format!("this is always {always}: `{name}` is {range}");
                self.say(position, message, "compare it with another number, or leave the condition out");
            }
        } else if matches!(how, "==" | "!=")
            && let Ok(text) = value.clone().into_string()
            && let Some(why) = domain.excludes(&text)
        {
            self.say(position, format!("`{name}` is never `{text}`"), why);
        }
    }

    fn membership(&mut self, list: &Expr, item: &Expr) {
        let Some((domain, name)) = self.scope.domain(item) else { return };
        let Some(list_value) = self.scope.constant(list) else { return };
        let Some(values) = list_value.read_lock::<rhai::Array>() else { return };
        let texts = values.iter().filter_map(|value| value.clone().into_string().ok());
        for (text, why) in texts.filter_map(|text| domain.excludes(&text).map(|why| (text, why))) {
            self.say(item.start_position(), format!("`{name}` is never `{text}`, which is in the list"), why);
        }
    }

    /// `req.path.starts_with("login")`
    pub(super) fn never_begins(&mut self, expression: &Expr) {
        let Some((base, call)) = self.scope.last_call(expression) else { return };
        let ([arg], "starts_with") = (call.args.as_slice(), call.name.as_str()) else { return };
        let text = self.scope.constant(arg).and_then(|value| value.into_string().ok());
        let Some(text) = text.filter(|text| !text.is_empty()) else { return };
        if let Some((Domain::Path, name)) = self.scope.domain_of(&base)
            && let Some(why) = Domain::Path.excludes(&text)
        {
            self.say(arg.start_position(), format!("`{name}` never starts with `{text}`"), why);
        }
    }

    /// Sides of `&&` (all) or `||` that are literals, say the same twice, or exclude each other.
    pub(super) fn settled_chain(&mut self, sides: &[Expr], all: bool) {
        let operator = if all { "&&" } else { "||" };
        for side in sides {
            let Expr::BoolConstant(value, position) = side else { continue };
            let effect = if *value == all { "changes nothing" } else { "settles the whole condition" };
            self.say(*position, format!("`{operator} {value}` {effect}"), "leave it out");
        }
        for (at, right) in sides.iter().enumerate() {
            for left in sides.iter().take(at) {
                let (Some(one), Some(other)) = (self.test(left), self.test(right)) else { continue };
                if one.0 != other.0 || !self.scope.same(one.1, other.1) {
                    continue;
                }
                let position = other.1.start_position();
                match (one.0, one.2 == other.2) {
                    ("==", false) if all => {
                        let message = "this is always false: it cannot be both";
                        self.say(position, message, "write `||` for one or the other");
                    }
                    ("!=", false) if !all => {
                        let message = "this is always true: it always differs from one of them";
                        self.say(position, message, "write `&&` for neither");
                    }
                    (_, true) => {
                        self.say(
                            position,
                            "this is asked twice",
                            "one of them was meant to be something else",
                        );
                    }
                    (_, false) => {}
                }
            }
        }
    }

    /// The parts of `something == constant` and the like.
    fn test<'e>(&self, expression: &'e Expr) -> Option<(&'e str, &'e Expr, String)> {
        let Expr::FnCall(call, _) = expression else { return None };
        let [left, right] = call.args.as_slice() else { return None };
        if !COMPARISONS.contains(&call.name.as_str()) || self.scope.constant(left).is_some() {
            return None;
        }
        let value = self.scope.constant(right)?;
        Some((call.name.as_str(), left, format!("{} {value}", value.type_name())))
    }

    /// Cases that never are, and cases that an earlier one takes away.
    pub(super) fn settled_cases(&mut self, subject: &Expr, cases: &SwitchCasesCollection) {
        let domain = self.scope.domain(subject);
        let mut found = Vec::new();
        for list in cases.cases.values() {
            let case = |at: &usize| cases.expressions.get(*at);
            let mut blocks = list.blocks.iter().filter_map(case);
            let first = blocks.clone().next();
            let text = list.value.clone().into_string().ok();
            if let (Some((domain, name)), Some(text), Some(first)) = (&domain, text, first)
                && let Some(why) = domain.excludes(&text)
            {
                found.push((
                    first.rhs.start_position(),
                    format!("`{name}` is never `{text}`, so this never runs"),
                    why,
                ));
            }
            let mut is_taken = false;
            for block in blocks.by_ref() {
                if is_taken {
                    let message = format!("this never runs: an earlier case takes every `{}`", list.value);
                    found.push((
                        block.rhs.start_position(),
                        message,
                        "one of them was meant to be another value".to_owned(),
                    ));
                }
                is_taken |= matches!(block.lhs, Expr::BoolConstant(true, _));
            }
        }
        for (position, message, hint) in found {
            self.say(position, message, hint);
        }
    }
}

/// Whether a number of a range compares always the same way with a constant.
fn settled(how: &str, from: f64, to: f64, with: f64) -> Option<bool> {
    let (always, never) = match how {
        "<" => (to < with, from >= with),
        "<=" => (to <= with, from > with),
        ">" => (from > with, to <= with),
        ">=" => (from >= with, to < with),
        "==" => (false, with < from || with > to),
        "!=" => (with < from || with > to, false),
        _ => (false, false),
    };
    if always { Some(true) } else { never.then_some(false) }
}

fn mirrored(how: &str) -> &str {
    match how {
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        other => other,
    }
}
