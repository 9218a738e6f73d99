//! What the objects offer: signals of `req` and `res`, verbs of `risk`, and the messages for what they do not.

use rhai::{Dynamic, Expr, Position};

use super::{Checker, Kind, Type, literal};
use crate::actions::{Given, Parameter, Phase, Say, VERBS, Verb};
use crate::facts::problem::nearest;
use crate::rules::Terms;
use crate::rules::bindings::given;
use crate::rules::counters::wrong_kind;
use crate::rules::functions;
use crate::signals::{Argument, Key, Root, Signal};

impl Checker<'_> {
    /// `base.name`
    pub(super) fn property(&mut self, base: Type, name: &str, position: Position) -> Type {
        match base {
            Type::Object(root, group) => self.signal_property(root, group, name, position),
            Type::Risk(_) => {
                match VERBS.iter().find(|verb| verb.name == name) {
                    Some(verb) => {
                        let message = format!("`risk.{name}` needs arguments");
                        self.report(position, name.len(), message, Some(format!("write `{}`", usage(verb))));
                    }
                    None => self.unknown_verb(name, position),
                }
                Type::Any
            }
            Type::Of(_) | Type::Array => match functions::find(name) {
                Some(function) => function.returns.map_or(Type::Any, Type::Of),
                None => {
                    let meant = nearest(name, functions::all().map(|function| function.name));
                    let message = format!("{} has no property `{name}`", base.name());
                    self.report(
                        position,
                        name.len(),
                        message,
                        meant.map(|meant| format!("did you mean `{meant}`?")),
                    );
                    Type::Any
                }
            },
            Type::Map | Type::Unit | Type::Any => Type::Any,
        }
    }

    /// `base.name(args)`
    pub(super) fn method(&mut self, base: Type, name: &str, args: &[Expr], position: Position) -> Type {
        let parsed = self.parsed;
        match base {
            Type::Object(root, group) => return self.signal_method(root, group, name, args, position),
            Type::Risk(phase) => {
                self.verb(phase, name, args, position);
                return Type::Unit;
            }
            Type::Of(_) | Type::Array | Type::Map | Type::Unit | Type::Any => {}
        }
        let types: Vec<Type> = args.iter().map(|arg| self.value(arg)).collect();
        // In a function that nothing calls, a parameter may be meant as `req`, whatever its name.
        let of_an_object = || {
            let mut leaves = self.terms.vocabulary.signals().iter().map(Signal::leaf);
            leaves.any(|leaf| leaf == name) || VERBS.iter().any(|verb| verb.name == name)
        };
        if parsed.function(name, args.len()).is_some() || (base == Type::Any && of_an_object()) {
            return Type::Any;
        }
        let found = self.native(base, name, (args, &types), position);
        found.unwrap_or_else(|| self.known_function(name, args.len(), position))
    }

    fn signal_property(&mut self, root: Root, group: &'static str, name: &str, position: Position) -> Type {
        let path = join(group, name);
        match self.terms.vocabulary.find(root, &path) {
            Some((index, signal)) if signal.argument.is_none() => {
                let kind = signal.kind;
                self.checked.keys.insert(Key::new(index, ""));
                Type::Of(kind)
            }
            Some((_, signal)) => {
                let written = format!("{}.{}", root.as_str(), signal.name);
                let hint = format!("write `{written}(\"...\")`");
                self.report(position, name.len(), format!("`{written}` needs an argument"), Some(hint));
                Type::Of(signal.kind)
            }
            None => {
                let mut groups = self.terms.vocabulary.signals().iter().map(Signal::group);
                if let Some(found) =
                    groups.find(|found| group.is_empty() && !found.is_empty() && *found == name)
                    && self.terms.vocabulary.has_group(root, found)
                {
                    return Type::Object(root, found);
                }
                self.unknown_signal(root, group, name, position);
                Type::Any
            }
        }
    }

    fn signal_method(
        &mut self,
        root: Root,
        group: &'static str,
        name: &str,
        args: &[Expr],
        position: Position,
    ) -> Type {
        let path = join(group, name);
        let Some((index, signal)) = self.terms.vocabulary.find(root, &path) else {
            self.values(args);
            self.unknown_signal(root, group, name, position);
            return Type::Any;
        };
        let (kind, written) = (signal.kind, format!("{}.{}", root.as_str(), signal.name));
        match (signal.argument, args) {
            (None, _) => {
                let message = format!("`{written}` is not a function");
                self.report(
                    position,
                    name.len(),
                    message,
                    Some(format!("write `{written}` without parentheses")),
                );
            }
            (Some(argument), [arg]) => self.argument(index, argument, &written, arg),
            (Some(_), _) => {
                let message = format!("`{written}` takes 1 argument, not {}", args.len());
                self.report(position, name.len(), message, None);
            }
        }
        Type::Of(kind)
    }

    /// The argument of a signal: a name that must exist, or a computed one, for which all there are get read.
    fn argument(&mut self, signal: usize, argument: Argument, written: &str, arg: &Expr) {
        let found = self.expression(arg);
        let name = match (literal(arg), found) {
            (Some(value), _) if value.is_string() => value.into_string().unwrap_or_default(),
            (None, Type::Of(Kind::Text) | Type::Any) => {
                let declared = match argument {
                    Argument::List => self.terms.lists.to_vec(),
                    Argument::Counter => counters(self.terms).into_iter().map(str::to_owned).collect(),
                    Argument::Header | Argument::Cookie | Argument::Parameter | Argument::Pointer => {
                        vec!["*".to_owned()]
                    }
                };
                self.checked.keys.extend(declared.into_iter().map(|name| Key::new(signal, name)));
                return;
            }
            (Some(_), _) | (None, _) => {
                let message = format!("`{written}` needs a string, not {}", found.name());
                return self.report(arg.start_position(), 1, message, None);
            }
        };
        let terms = self.terms;
        let (known, what, section): (Vec<&str>, _, _) = match argument {
            Argument::List => (terms.lists.iter().map(String::as_str).collect(), "list", "[lists]"),
            Argument::Counter => (counters(terms), "counter", "[counters]"),
            Argument::Header => return self.header(signal, &name, arg),
            Argument::Pointer => return self.pointer(signal, &name, arg),
            Argument::Cookie | Argument::Parameter => {
                self.checked.keys.insert(Key::new(signal, name));
                return;
            }
        };
        self.checked.keys.insert(Key::new(signal, name.clone()));
        self.declared(&known, what, section, &name, arg.start_position());
    }

    fn header(&mut self, signal: usize, name: &str, arg: &Expr) {
        let lower = name.to_ascii_lowercase();
        if http::HeaderName::from_bytes(lower.as_bytes()).is_err() {
            let message = format!("`{name}` cannot be a header's name");
            return self.report(arg.start_position(), name.len() + 2, message, None);
        }
        self.checked.keys.insert(Key::new(signal, lower));
    }

    fn pointer(&mut self, signal: usize, name: &str, arg: &Expr) {
        if !(name.is_empty() || name.starts_with('/')) {
            let message = format!("`{name}` is no pointer into a body");
            let hint = format!("write `\"/{name}\"`");
            return self.report(arg.start_position(), name.len() + 2, message, Some(hint));
        }
        self.checked.keys.insert(Key::new(signal, name));
    }

    fn declared(&mut self, known: &[&str], what: &str, section: &str, name: &str, position: Position) {
        if known.contains(&name) {
            return;
        }
        let hint = match nearest(name, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("declare it in `{section}`"),
        };
        self.report(position, name.len() + 2, format!("unknown {what} `{name}`"), Some(hint));
    }

    fn unknown_signal(&mut self, root: Root, group: &str, name: &str, position: Position) {
        let path = join(group, name);
        let signals = self.terms.vocabulary.signals().iter().filter(|signal| signal.root == root);
        let siblings = signals.clone().filter(|signal| signal.group() == group).map(Signal::leaf);
        let objects =
            signals.clone().map(Signal::group).filter(|found| group.is_empty() && !found.is_empty());
        let elsewhere = signals.clone().find(|signal| signal.leaf() == name).map(|signal| signal.name);
        let whole = |found: &str| format!("did you mean `{}.{found}`?", root.as_str());
        let sibling =
            || nearest(name, siblings.chain(objects)).map(|meant| format!("did you mean `{meant}`?"));
        let anywhere = || nearest(&path, signals.clone().map(|signal| signal.name)).map(whole);
        let hint = elsewhere.map(whole).or_else(sibling).or_else(anywhere);
        let message = format!("unknown signal `{}.{path}`", root.as_str());
        self.report(position, name.len(), message, hint);
    }

    fn unknown_verb(&mut self, name: &str, position: Position) {
        let hint = match nearest(name, VERBS.iter().map(|verb| verb.name)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("the verbs are {}", VERBS.map_names()),
        };
        self.report(position, name.len(), format!("unknown verb `risk.{name}`"), Some(hint));
    }

    fn verb(&mut self, phase: Phase, name: &str, args: &[Expr], position: Position) {
        let Some(verb) = VERBS.iter().find(|verb| verb.name == name) else {
            self.values(args);
            return self.unknown_verb(name, position);
        };
        if phase == Phase::Both && verb.phase == Phase::Assess {
            let message = format!("`risk.{name}` has no effect in `observe`");
            let hint =
                "the response is on its way: count what happened with `risk.count`, and judge it in `assess`";
            self.report(position, name.len(), message, Some(hint.into()));
        }
        if !verb.arity().contains(&args.len()) {
            let (least, most) = verb.arity().into_inner();
            let fewer = if least < most { format!("{least} or ") } else { String::new() };
            let taken = super::expression::arguments(most);
            let message = format!("`risk.{name}` takes {fewer}{taken}, not {}", args.len());
            self.report(position, name.len(), message, Some(format!("write `{}`", usage(verb))));
            return self.values(args);
        }
        let values: Vec<Option<Given>> = verb
            .parameters
            .iter()
            .zip(args)
            .map(|(parameter, arg)| self.parameter(*parameter, arg))
            .collect();
        if let (Some(Some(Given::Text(counter))), Some(at)) = (values.first(), args.first())
            && verb.parameters.first() == Some(&Parameter::Counter)
            && let Some(wrong) = wrong_kind(self.terms.counters, counter, args.len() > 1)
        {
            self.report(at.start_position(), counter.len() + 2, wrong.message, Some(wrong.hint));
        }
        self.remember(verb, &values);
    }

    /// One argument of a verb; its value if it is a good literal.
    fn parameter(&mut self, parameter: Parameter, arg: &Expr) -> Option<Given> {
        let found = self.expression(arg);
        let position = arg.start_position();
        let value = literal(arg).or_else(|| self.constant_of(arg)).map(|value| given(&value));
        let Some(value) = value else {
            let name = parameter.name();
            if parameter.is_literal() {
                let message = format!("`{name}` must be a literal or a top-level `const`");
                let hint = "it names a metric or a limit, and those are known when the script is loaded";
                self.report(position, 1, message, Some(hint.into()));
            } else if let Type::Of(kind) = found
                && !parameter.takes(kind)
            {
                self.report(position, 1, format!("`{name}` cannot be {}", kind.as_str()), None);
            } else if !matches!(found, Type::Of(_) | Type::Any) {
                self.report(position, 1, format!("`{name}` cannot be {}", found.name()), None);
            }
            return None;
        };
        if let Err(message) = parameter.check(&value) {
            self.report(position, width(&value), message, None);
            return None;
        }
        if let (Parameter::Counter, Given::Text(name)) = (parameter, &value) {
            self.declared(&counters(self.terms), "counter", "[counters]", name, position);
        }
        if let (Parameter::Cap, Given::Text(name)) = (parameter, &value) {
            let known: Vec<&str> = self.terms.caps.iter().map(String::as_str).collect();
            self.declared(&known, "concurrency limit", "[concurrency]", name, position);
        }
        if let (Parameter::Upstream, Given::Text(name)) = (parameter, &value) {
            let known: Vec<&str> = self.terms.upstreams.iter().map(String::as_str).collect();
            self.declared(&known, "upstream", "[upstream.NAME]", name, position);
        }
        Some(value)
    }

    /// The value of a variable that is a constant of the script.
    pub(super) fn constant_of(&self, arg: &Expr) -> Option<Dynamic> {
        let Expr::Variable(variable, ..) = arg else { return None };
        let name = variable.1.as_str();
        if self.variables.iter().any(|(other, _)| other == name) {
            return None;
        }
        self.parsed.constants.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    }

    /// Notes reasons and limits, so that metrics and windows exist before the first request.
    fn remember(&mut self, verb: &Verb, values: &[Option<Given>]) {
        let stand_in = |parameter: &Parameter| match parameter {
            Parameter::Points | Parameter::Rate => Given::Int(1),
            Parameter::TagValue | Parameter::Counter | Parameter::Item => Given::Text("x".into()),
            // Literals always have their value here, or were reported.
            Parameter::Reason
            | Parameter::Per
            | Parameter::TagName
            | Parameter::Cap
            | Parameter::Upstream => Given::Other("unknown"),
        };
        let given: Vec<Given> = verb
            .parameters
            .iter()
            .zip(values)
            .map(|(parameter, value)| value.clone().unwrap_or_else(|| stand_in(parameter)))
            .collect();
        match (verb.say)(&given) {
            Ok(Say::Throttle { reason, per, .. }) => {
                self.checked.throttles.insert((reason.to_string(), per));
                self.checked.reasons.insert(reason.to_string());
            }
            Ok(Say::Add { reason, .. } | Say::Allow { reason } | Say::Block { reason }) => {
                self.checked.reasons.insert(reason.to_string());
            }
            Ok(Say::Concurrency { limit }) => {
                self.checked.reasons.insert(crate::actions::concurrency_reason(&limit));
            }
            Ok(Say::Route { upstream }) => {
                self.checked.reasons.insert(crate::actions::route_reason(&upstream));
            }
            Ok(Say::Tag { .. } | Say::Count { .. }) | Err(_) => {}
        }
    }
}

fn counters<'t>(terms: &'t Terms<'_>) -> Vec<&'t str> {
    terms.counters.iter().map(|counter| counter.name.as_str()).collect()
}

/// As a script would write it: `risk.add(reason, points)`.
fn usage(verb: &Verb) -> String {
    crate::rules::reference::usage(verb)
}

trait VerbNames {
    fn map_names(&self) -> String;
}

impl VerbNames for [Verb] {
    fn map_names(&self) -> String {
        self.iter().map(|verb| format!("`{}`", verb.name)).collect::<Vec<_>>().join(", ")
    }
}

fn join(group: &str, name: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{group}.{name}") }
}

fn width(value: &Given) -> usize {
    match value {
        Given::Text(text) => text.chars().count() + 2,
        Given::Int(_) | Given::Float(_) | Given::Bool(_) | Given::Other(_) => 1,
    }
}
