//! Calls: signals, verbs, operators, functions of the language, functions of the script.

use rhai::{Dynamic, Expr, FnCallExpr, Position};

use super::lists::is_computed;
use super::lower::{Binding, Lowered, Lowering, Passed, Thing, arithmetic, kept, place, unary};
use super::merge;
use super::node::{Comparison, Constant, Function, Interpreted, Node, Source, TextTest, Unary};
use crate::actions::{Given, Phase, VERBS};
use crate::signals::{Argument, Kind, Root, Text};

impl Lowering<'_> {
    pub(super) fn call_node(&mut self, call: &FnCallExpr, at: Position) -> Lowered<Node> {
        match self.call(call, at)? {
            Thing::Node(node) => Ok(node),
            Thing::Object(..) | Thing::Risk(_) | Thing::List(_) | Thing::Map(_) | Thing::Range(..) => {
                Err(kept("this call", at))
            }
        }
    }

    pub(super) fn call(&mut self, call: &FnCallExpr, at: Position) -> Lowered<Thing> {
        let (name, args) = (call.name.as_str(), call.args.as_slice());
        if call.is_operator_call() {
            return self.operator(name, args, at);
        }
        if let Some(function) = self.parsed.function(name, args.len()) {
            return self.own(function, args, at).map(Thing::Node);
        }
        match args {
            [Expr::Array(items, _), item] if name == "contains" && is_computed(items) => {
                self.any_of(items, item, at).map(Thing::Node)
            }
            [first, rest @ ..] => {
                let base = self.thing(first)?;
                self.method(base, Some(first), name, rest, at)
            }
            [] => Err(kept(format!("`{name}`"), at)),
        }
    }

    fn own(
        &mut self,
        function: &crate::rules::parse::Function,
        args: &[Expr],
        at: Position,
    ) -> Lowered<Node> {
        let (mut passed, mut values) = (Vec::new(), Vec::new());
        for (arg, parameter) in args.iter().zip(&function.parameters) {
            match self.thing(arg)? {
                Thing::Node(Node::Signal(source)) if !self.is_changed(parameter) => {
                    passed.push(Passed::Signal(source));
                }
                Thing::Node(node) => {
                    passed.push(Passed::Value);
                    values.push(node);
                }
                Thing::Object(root, group) => passed.push(Passed::Object(root, group)),
                Thing::Risk(phase) => passed.push(Passed::Risk(phase)),
                Thing::List(_) | Thing::Map(_) | Thing::Range(..) => {
                    return Err(kept("a collection as an argument", arg.start_position()));
                }
            }
        }
        match self.function(function, &passed) {
            Ok(function) => Ok(Node::Call { function, args: values.into(), place: place(at) }),
            Err(_) => {
                let plain = (self.plain)(&function.name, passed.len());
                let args = if plain { plain_args(&passed, values) } else { None };
                let args = args.ok_or_else(|| kept(format!("the call of `{}`", function.name), at))?;
                Ok(Node::Interpreted(Box::new(Interpreted { function: function.name.as_str().into(), args })))
            }
        }
    }

    /// What follows a dot.
    pub(super) fn dot(&mut self, base: &Expr, link: &Expr) -> Lowered<Thing> {
        let thing = self.thing(base)?;
        self.link(thing, Some(base), link)
    }

    fn link(&mut self, base: Thing, written: Option<&Expr>, link: &Expr) -> Lowered<Thing> {
        match link {
            Expr::Property(names, at) => self.property(base, &names.2, *at),
            Expr::MethodCall(call, at) => self.method(base, written, &call.name, &call.args, *at),
            Expr::Dot(sides, ..) => {
                let base = self.link(base, written, &sides.lhs)?;
                self.link(base, None, &sides.rhs)
            }
            other => Err(kept("this chain", other.start_position())),
        }
    }

    fn property(&mut self, base: Thing, name: &str, at: Position) -> Lowered<Thing> {
        match base {
            Thing::Object(root, group) => {
                let path = if group.is_empty() { name.to_owned() } else { format!("{group}.{name}") };
                if let Some((index, _)) = self.vocabulary.find(root, &path) {
                    return self.signal(root, index, "", at).map(Thing::Node);
                }
                let mut groups = self.vocabulary.signals().iter().map(crate::signals::Signal::group);
                let found = groups.find(|found| group.is_empty() && *found == name);
                found.map(|group| Thing::Object(root, group)).ok_or_else(|| kept(format!("`{name}`"), at))
            }
            Thing::Node(node) => match name {
                "len" => Ok(Thing::Node(unary(node, Unary::Length, at))),
                "is_empty" => Ok(Thing::Node(unary(node, Unary::IsEmpty, at))),
                "bytes" => Ok(Thing::Node(unary(node, Unary::Bytes, at))),
                _ => Err(kept(format!("property `{name}`"), at)),
            },
            Thing::Risk(_) | Thing::List(_) | Thing::Map(_) | Thing::Range(..) => {
                Err(kept(format!("property `{name}`"), at))
            }
        }
    }

    fn signal(&mut self, root: Root, index: usize, argument: &str, at: Position) -> Lowered<Node> {
        if argument == "*" {
            // All values of a signal are no value.
            return Err(kept("a signal named `*`", at));
        }
        let [request, response] = self.needs;
        let kind = self.vocabulary.signals().get(index).map(|signal| signal.kind);
        let node = match root {
            Root::Request => {
                let slot = request.slot(index, argument).and_then(|slot| u32::try_from(slot).ok());
                slot.zip(kind).map(|(slot, kind)| Node::Signal(Source::Need(slot, kind)))
            }
            Root::Response => response.slot(index, argument).map(Node::Response),
        };
        node.ok_or_else(|| kept("a signal that nobody reads", at))
    }

    fn method(
        &mut self,
        base: Thing,
        written: Option<&Expr>,
        name: &str,
        args: &[Expr],
        at: Position,
    ) -> Lowered<Thing> {
        if self.parsed.function(name, args.len()).is_some() {
            return Err(kept(format!("`{name}` as a method of the script's own"), at));
        }
        match base {
            Thing::Object(root, group) => self.reading(root, group, name, args, at).map(Thing::Node),
            Thing::Risk(phase) => self.verb(phase, name, args, at).map(Thing::Node),
            Thing::List(list) => self.of_list(&list, name, args, at).map(Thing::Node),
            Thing::Map(map) if name == "contains" => {
                let keys: Vec<Dynamic> =
                    map.keys().map(|key| Dynamic::from(Text::from(key.as_str()))).collect();
                self.member(&keys, args, at).map(Thing::Node)
            }
            Thing::Range(ends, inclusive) if name == "contains" => {
                let item = self.one(args, at)?.into();
                match (ends.0.constant(), ends.1.constant()) {
                    (Some(Constant::Int(from)), Some(Constant::Int(to))) => {
                        let range = Box::new((*from, *to));
                        Ok(Thing::Node(Node::InRange { item, range, inclusive }))
                    }
                    _ => Err(kept("a computed range", at)),
                }
            }
            Thing::Node(node) => self.of_value(node, written, name, args, at).map(Thing::Node),
            Thing::Map(_) | Thing::Range(..) => Err(kept(format!("`{name}`"), at)),
        }
    }

    fn reading(&mut self, root: Root, group: &str, name: &str, args: &[Expr], at: Position) -> Lowered<Node> {
        let path = if group.is_empty() { name.to_owned() } else { format!("{group}.{name}") };
        let found = self.vocabulary.find(root, &path).map(|(index, signal)| (index, signal.argument));
        let Some((index, Some(argument))) = found else { return Err(kept(format!("`{name}`"), at)) };
        let lower = argument == Argument::Header;
        match self.one(args, at)? {
            Node::Constant(Constant::Text(text)) if lower => {
                self.signal(root, index, &text.to_ascii_lowercase(), at)
            }
            Node::Constant(Constant::Text(text)) => self.signal(root, index, &text, at),
            computed => Ok(Node::Named { signal: index, lower, name: Box::new(computed) }),
        }
    }

    fn verb(&mut self, phase: Phase, name: &str, args: &[Expr], at: Position) -> Lowered<Node> {
        let verb = VERBS.iter().find(|verb| verb.name == name);
        let verb = verb.filter(|verb| phase == Phase::Assess || verb.phase == Phase::Both);
        let Some(verb) = verb else { return Err(kept(format!("`risk.{name}`"), at)) };
        let args: Lowered<Vec<Node>> = args.iter().map(|arg| self.node(arg)).collect();
        let args = args?;
        let given: Option<Vec<Given>> = args.iter().map(|arg| arg.constant().map(given)).collect();
        match given.map(|given| (verb.say)(&given)) {
            Some(Ok(say)) => Ok(Node::SayConstant { say: Box::new(say), place: place(at) }),
            Some(Err(_)) | None => Ok(Node::Say { verb, args: args.into(), place: place(at) }),
        }
    }

    fn of_value(
        &mut self,
        node: Node,
        written: Option<&Expr>,
        name: &str,
        args: &[Expr],
        at: Position,
    ) -> Lowered<Node> {
        if let Some(how) = one_value(name).filter(|_| args.is_empty()) {
            return Ok(self.unary(node, how, at));
        }
        // These change the variable that they are called on.
        let in_place = match (name, args) {
            ("trim", []) => Some(Unary::Trim),
            ("make_lower", []) => Some(Unary::Lower),
            ("make_upper", []) => Some(Unary::Upper),
            _ => None,
        };
        if let (Some(how), Some(Expr::Variable(variable, ..))) = (in_place, written)
            && let Some(binding) = self.binding(&variable.1)
        {
            return match binding {
                Binding::Local(slot) => Ok(Node::Set(slot, Box::new(unary(node, how, at)))),
                Binding::Signal(_) | Binding::Object(..) | Binding::Risk(_) => Err(kept("this variable", at)),
            };
        }
        let test = match name {
            "contains" => Some(TextTest::Contains),
            "starts_with" => Some(TextTest::StartsWith),
            "ends_with" => Some(TextTest::EndsWith),
            _ => None,
        };
        if let Some(test) = test {
            let part = self.one(args, at)?;
            return Ok(self.in_text(test, node, part, place(at)));
        }
        let how = match (name, args.len()) {
            ("sub_string", 1 | 2) => Function::SubString,
            ("index_of", 1) => Function::IndexOf,
            ("min", 1) => Function::Min,
            ("max", 1) => Function::Max,
            _ => return Err(kept(format!("`{name}`"), at)),
        };
        let mut of = vec![node];
        for arg in args {
            of.push(self.node(arg)?);
        }
        Ok(Node::Function { how, of: of.into(), place: place(at) })
    }

    /// A function of one value. The small letters of a signal are a signal too: they are made once. Theirs are the
    /// same again, so that a function which calls itself with them is lowered for few signals.
    fn unary(&mut self, of: Node, how: Unary, at: Position) -> Node {
        match of {
            Node::Signal(Source::Lower(nth)) if how == Unary::Lower => Node::Signal(Source::Lower(nth)),
            Node::Signal(Source::Need(slot, Kind::Text)) if how == Unary::Lower => {
                Node::Signal(self.lowered(slot))
            }
            of => unary(of, how, at),
        }
    }

    fn operator(&mut self, name: &str, args: &[Expr], at: Position) -> Lowered<Thing> {
        match (name, args) {
            ("!", [of]) => Ok(Thing::Node(merge::not(self.node(of)?))),
            ("-", [of]) => Ok(Thing::Node(unary(self.node(of)?, Unary::Negate, at))),
            ("+", [of]) => self.thing(of),
            (".." | "..=", [from, to]) => {
                Ok(Thing::Range(Box::new((self.node(from)?, self.node(to)?)), name == "..="))
            }
            (_, [left, right]) => {
                let (left, right) = (self.node(left)?, self.node(right)?);
                if let Some(how) = arithmetic(name) {
                    return Ok(Thing::Node(merge::arithmetic(how, left, right, place(at))));
                }
                let how = match name {
                    "==" => Comparison::Equal,
                    "!=" => Comparison::NotEqual,
                    "<" => Comparison::Less,
                    "<=" => Comparison::LessOrEqual,
                    ">" => Comparison::Greater,
                    ">=" => Comparison::GreaterOrEqual,
                    _ => return Err(kept(format!("operator `{name}`"), at)),
                };
                Ok(Thing::Node(merge::compare(how, left, right)))
            }
            _ => Err(kept(format!("operator `{name}`"), at)),
        }
    }

    pub(super) fn one(&mut self, args: &[Expr], at: Position) -> Lowered<Node> {
        match args {
            [arg] => self.node(arg),
            _ => Err(kept("this number of arguments", at)),
        }
    }
}

/// The arguments of a call as values; `None` if one is an object.
fn plain_args(passed: &[Passed], values: Vec<Node>) -> Option<Box<[Node]>> {
    let mut values = values.into_iter();
    let value = |passed: &Passed| match passed {
        Passed::Value => values.next(),
        Passed::Signal(source) => Some(Node::Signal(*source)),
        Passed::Object(..) | Passed::Risk(_) => None,
    };
    passed.iter().map(value).collect()
}

fn one_value(name: &str) -> Option<Unary> {
    Some(match name {
        "to_lower" => Unary::Lower,
        "to_upper" => Unary::Upper,
        "len" => Unary::Length,
        "bytes" => Unary::Bytes,
        "is_empty" => Unary::IsEmpty,
        "to_string" => Unary::Text,
        "to_float" => Unary::Float,
        "to_int" => Unary::Int,
        "abs" => Unary::Absolute,
        "floor" => Unary::Floor,
        "ceiling" => Unary::Ceiling,
        "round" => Unary::Round,
        _ => return None,
    })
}

fn given(constant: &Constant) -> Given {
    match constant {
        Constant::Unit => Given::Other("()"),
        Constant::Bool(value) => Given::Bool(*value),
        Constant::Int(number) => Given::Int(*number),
        Constant::Float(number) => Given::Float(*number),
        Constant::Text(text) => Given::Text((&**text).into()),
    }
}
