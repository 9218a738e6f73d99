//! The types of expressions, and what is wrong with them.

use rhai::{ASTFlags, Dynamic, Expr, FnCallExpr, FnPtr, Position};

use super::{Checker, Kind, Type};
use crate::facts::problem::nearest;
use crate::rules::functions;

impl Checker<'_> {
    pub(super) fn expression(&mut self, expression: &Expr) -> Type {
        match expression {
            Expr::BoolConstant(..) => Type::Of(Kind::Bool),
            Expr::IntegerConstant(..) => Type::Of(Kind::Int),
            Expr::FloatConstant(..) => Type::Of(Kind::Float),
            Expr::StringConstant(..) => Type::Of(Kind::Text),
            Expr::Unit(_) => Type::Unit,
            Expr::DynamicConstant(value, _) => self.constant(value),
            Expr::InterpolatedString(parts, _) => {
                self.values(parts);
                Type::Of(Kind::Text)
            }
            Expr::Array(items, _) => {
                self.values(items);
                Type::Array
            }
            Expr::Map(map, _) => {
                self.values(map.0.iter().map(|(_, value)| value));
                Type::Map
            }
            Expr::Variable(variable, ..) => self.variable(&variable.1),
            Expr::Stmt(block) => self.block(block.statements()),
            Expr::FnCall(call, position) => self.call(call, *position),
            Expr::Dot(sides, ..) => {
                let base = self.expression(&sides.lhs);
                self.chain(base, &sides.rhs)
            }
            Expr::Index(sides, flags, _) => {
                let base = self.expression(&sides.lhs);
                self.not_live(base, sides.lhs.position());
                self.index(&sides.rhs, *flags)
            }
            Expr::And(sides, _) | Expr::Or(sides, _) => {
                sides.iter().for_each(|side| self.condition(side));
                Type::Of(Kind::Bool)
            }
            Expr::Coalesce(sides, _) => {
                self.values(sides.iter());
                Type::Any
            }
            // `CharConstant`, `ThisPtr`, and what other features of the engine would add.
            _ => Type::Any,
        }
    }

    fn variable(&self, name: &str) -> Type {
        if let Some((_, known)) = self.variables.iter().rev().find(|(other, _)| other == name) {
            return *known;
        }
        let constant = self.parsed.constants.iter().find(|(other, _)| other == name);
        constant.map_or(Type::Any, |(_, value)| kind_of(value))
    }

    fn constant(&mut self, value: &Dynamic) -> Type {
        match value.read_lock::<FnPtr>() {
            Some(closure) => {
                self.closure(closure.fn_name(), &[]);
                Type::Any
            }
            None => kind_of(value),
        }
    }

    /// A closure is checked with what it captures; what it will be called with is unknown.
    fn closure(&mut self, name: &str, captured: &[Type]) {
        let parsed = self.parsed;
        if let Some(function) = parsed.functions.iter().find(|function| function.name == name) {
            let mut types = captured.to_vec();
            types.resize(function.parameters.len(), Type::Any);
            self.function(function, &types);
        }
    }

    pub(super) fn values<'e>(&mut self, expressions: impl IntoIterator<Item = &'e Expr>) {
        for expression in expressions {
            self.value(expression);
        }
    }

    pub(super) fn value(&mut self, expression: &Expr) -> Type {
        let found = self.expression(expression);
        self.not_live(found, expression.start_position());
        found
    }

    /// What follows a dot, on a value of type `base`.
    fn chain(&mut self, base: Type, link: &Expr) -> Type {
        match link {
            Expr::Property(names, position) => self.property(base, &names.2, *position),
            Expr::MethodCall(call, position) => self.method(base, &call.name, &call.args, *position),
            Expr::Dot(sides, ..) => {
                let base = self.chain(base, &sides.lhs);
                self.chain(base, &sides.rhs)
            }
            Expr::Index(sides, flags, _) => {
                let base = self.chain(base, &sides.lhs);
                self.not_live(base, sides.lhs.position());
                self.index(&sides.rhs, *flags)
            }
            other => self.expression(other),
        }
    }

    /// What follows an opening bracket: an index, and unless the chain ends there, what follows the closing one.
    fn index(&mut self, link: &Expr, flags: ASTFlags) -> Type {
        let ends = flags.intersects(ASTFlags::BREAK);
        match link {
            Expr::Dot(sides, ..) if !ends => {
                self.value(&sides.lhs);
                self.chain(Type::Any, &sides.rhs)
            }
            Expr::Index(sides, flags, _) if !ends => {
                self.value(&sides.lhs);
                self.index(&sides.rhs, *flags)
            }
            _ => {
                self.value(link);
                Type::Any
            }
        }
    }

    pub(super) fn call(&mut self, call: &FnCallExpr, position: Position) -> Type {
        let (name, args) = (call.name.as_str(), call.args.as_slice());
        if name == "curry"
            && let [Expr::DynamicConstant(pointer, _), captured @ ..] = args
            && let Some(closure) = pointer.read_lock::<FnPtr>()
        {
            let types: Vec<Type> = captured.iter().map(|capture| self.expression(capture)).collect();
            self.closure(closure.fn_name(), &types);
            return Type::Any;
        }
        if call.is_operator_call() {
            return self.operator(name, args, position);
        }
        let parsed = self.parsed;
        if let Some(function) = parsed.function(name, args.len()) {
            let types: Vec<Type> = args.iter().map(|arg| self.expression(arg)).collect();
            return self.function(function, &types);
        }
        if let [first, rest @ ..] = args {
            let base = self.expression(first);
            if base.is_live() {
                return self.method(base, name, rest, position);
            }
            let types: Vec<Type> = rest.iter().map(|arg| self.value(arg)).collect();
            if let Some(found) = self.native(base, name, (rest, &types), position) {
                return found;
            }
        }
        self.known_function(name, args.len(), position)
    }

    /// A function of the language, or of this script, called with as many arguments.
    pub(super) fn known_function(&mut self, name: &str, arity: usize, position: Position) -> Type {
        if let Some(function) = functions::find(name) {
            let varies = if functions::IN_PLACE.contains(&name) { Type::Unit } else { Type::Any };
            return function.returns.map_or(varies, Type::Of);
        }
        if let Some((_, why)) = functions::REFUSED.iter().find(|(refused, _)| *refused == name) {
            let message = format!("`{name}` is not available in policies");
            self.report(position, name.len(), message, Some((*why).to_owned()));
            return Type::Any;
        }
        let own = self.parsed.functions.iter().filter(|function| !function.is_closure());
        let wrong_arity = own.clone().find(|function| function.name == name);
        let (message, hint) = match wrong_arity {
            Some(function) => {
                let wanted = function.parameters.len();
                (format!("`{name}` takes {}, not {arity}", arguments(wanted)), None)
            }
            None => {
                let names = own.map(|function| function.name.as_str());
                let meant = nearest(name, names.chain(functions::all().map(|function| function.name)));
                (format!("unknown function `{name}`"), meant.map(|meant| format!("did you mean `{meant}`?")))
            }
        };
        self.report(position, name.len(), message, hint);
        Type::Any
    }

    fn operator(&mut self, name: &str, args: &[Expr], position: Position) -> Type {
        let types: Vec<Type> = args.iter().map(|arg| self.expression(arg)).collect();
        for (found, arg) in types.iter().zip(args) {
            self.not_live(*found, arg.start_position());
        }
        match (name, types.as_slice()) {
            ("==" | "!=" | "<" | "<=" | ">" | ">=", [left, right]) => {
                if incomparable(*left, *right) {
                    let message = format!("`{name}` compares {} with {}", left.name(), right.name());
                    let hint = match (left, right) {
                        (Type::Unit, _) | (_, Type::Unit) => {
                            "nothing a script reads is `()`: what is absent is `\"\"`, 0 or false"
                        }
                        _ => "both sides must be of one type",
                    };
                    self.report(position, name.len(), message, Some(hint.into()));
                }
                Type::Of(Kind::Bool)
            }
            ("!", [_]) => {
                args.iter().for_each(|arg| self.condition(arg));
                Type::Of(Kind::Bool)
            }
            ("-" | "+", [Type::Of(kind @ (Kind::Int | Kind::Float))]) => Type::Of(*kind),
            ("+" | "-" | "*" | "/" | "%" | "**", [left, right]) => {
                self.arithmetic(name, *left, *right, position)
            }
            _ => Type::Any,
        }
    }

    fn arithmetic(&mut self, name: &str, left: Type, right: Type, position: Position) -> Type {
        use Kind::{Bool, Float, Int, Text};
        match (left, right) {
            (Type::Of(Int), Type::Of(Int)) => Type::Of(Int),
            (Type::Of(Int | Float), Type::Of(Int | Float)) => Type::Of(Float),
            (Type::Of(Text), _) | (_, Type::Of(Text)) if name == "+" => Type::Of(Text),
            (Type::Of(Text), Type::Of(Text)) => Type::Any,
            (Type::Of(Bool | Text), Type::Of(_)) | (Type::Of(_), Type::Of(Bool | Text)) => {
                let message = format!("`{name}` does not work on {} and {}", left.name(), right.name());
                self.report(position, name.len(), message, None);
                Type::Any
            }
            _ => Type::Any,
        }
    }
}

/// `1 argument`, `2 arguments`
pub(super) fn arguments(count: usize) -> String {
    format!("{count} argument{}", if count == 1 { "" } else { "s" })
}

fn incomparable(left: Type, right: Type) -> bool {
    use Kind::{Bool, Float, Int, Text};
    match (left, right) {
        (Type::Of(Text), Type::Of(Text)) | (Type::Of(Bool), Type::Of(Bool)) => false,
        (Type::Of(Int | Float), Type::Of(Int | Float)) => false,
        (Type::Of(_), Type::Of(_)) => true,
        (Type::Of(_), Type::Unit | Type::Array | Type::Map) => true,
        (Type::Unit | Type::Array | Type::Map, Type::Of(_)) => true,
        _ => false,
    }
}

pub(super) fn kind_of(value: &Dynamic) -> Type {
    if value.is_bool() {
        Type::Of(Kind::Bool)
    } else if value.is_int() {
        Type::Of(Kind::Int)
    } else if value.is_float() {
        Type::Of(Kind::Float)
    } else if value.is_string() {
        Type::Of(Kind::Text)
    } else if value.is_array() {
        Type::Array
    } else if value.is_map() {
        Type::Map
    } else {
        Type::Any
    }
}
