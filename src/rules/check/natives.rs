//! What the functions of the language take, where the check knows the types: one table.
//!
//! It holds those that policies use on single values. What is not in it, or what is called on a value of unknown type, is
//! left to the interpreter, which says it when it happens. A test asks the interpreter about each entry.

use rhai::{Expr, Position};

use super::expression::arguments;
use super::{Checker, Kind, Type};

const INT: &[Kind] = &[Kind::Int];
const FLOAT: &[Kind] = &[Kind::Float];
const NUMBER: &[Kind] = &[Kind::Int, Kind::Float];
const TEXT: &[Kind] = &[Kind::Text];

/// A function, what it is called on, and each list of arguments that it takes.
type Native = (&'static str, &'static [Kind], &'static [&'static [&'static [Kind]]]);

const NATIVES: &[Native] = &[
    ("abs", NUMBER, &[&[]]),
    ("bytes", TEXT, &[&[]]),
    ("ceiling", FLOAT, &[&[]]),
    ("contains", TEXT, &[&[TEXT]]),
    ("crop", TEXT, &[&[INT], &[INT, INT]]),
    ("ends_with", TEXT, &[&[TEXT]]),
    ("floor", FLOAT, &[&[]]),
    ("index_of", TEXT, &[&[TEXT], &[TEXT, INT]]),
    ("is_empty", TEXT, &[&[]]),
    ("len", TEXT, &[&[]]),
    ("make_lower", TEXT, &[&[]]),
    ("make_upper", TEXT, &[&[]]),
    ("max", NUMBER, &[&[NUMBER]]),
    ("max", TEXT, &[&[TEXT]]),
    ("min", NUMBER, &[&[NUMBER]]),
    ("min", TEXT, &[&[TEXT]]),
    ("pad", TEXT, &[&[INT, TEXT]]),
    ("parse_float", TEXT, &[&[]]),
    ("parse_int", TEXT, &[&[], &[INT]]),
    ("replace", TEXT, &[&[TEXT, TEXT]]),
    ("round", FLOAT, &[&[]]),
    ("split", TEXT, &[&[], &[TEXT], &[INT], &[TEXT, INT]]),
    ("split_rev", TEXT, &[&[TEXT], &[TEXT, INT]]),
    ("sqrt", FLOAT, &[&[]]),
    ("starts_with", TEXT, &[&[TEXT]]),
    ("sub_string", TEXT, &[&[INT], &[INT, INT]]),
    ("to_float", NUMBER, &[&[]]),
    ("to_int", NUMBER, &[&[]]),
    ("to_lower", TEXT, &[&[]]),
    ("to_upper", TEXT, &[&[]]),
    ("trim", TEXT, &[&[]]),
    ("truncate", TEXT, &[&[INT]]),
];

/// What is wrong with a call.
#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    /// There is no such function for a value of this type.
    Base(&'static str),
    /// It takes another number of arguments.
    Count(String),
    /// The argument at this place should be of this type.
    Argument(usize, String),
}

impl Checker<'_> {
    /// Checks a call of a function of the language on `base`. The type of its value, if that depends on the arguments.
    pub(super) fn native(
        &mut self,
        base: Type,
        name: &str,
        args: (&[Expr], &[Type]),
        position: Position,
    ) -> Option<Type> {
        let (args, types) = args;
        let on = match base {
            Type::Of(kind) => Some(kind),
            Type::Unit => None,
            Type::Object(..) | Type::Risk(_) | Type::Array | Type::Map | Type::Any => return None,
        };
        match wrong(on, name, types) {
            None => {}
            Some(Wrong::Base(works)) => {
                let hint = (base == Type::Unit).then(|| {
                    "functions such as `trim` change a variable and have no value: use the variable"
                        .to_owned()
                });
                let message = format!("`{name}` works on {works}, not {}", base.name());
                self.report(position, name.len(), message, hint);
            }
            Some(Wrong::Count(takes)) => {
                let message = format!("`{name}` takes {takes}, not {}", args.len());
                self.report(position, name.len(), message, None);
            }
            Some(Wrong::Argument(at, takes)) => {
                let found = types.get(at).map_or("", |found| found.name());
                let position = args.get(at).map_or(position, Expr::start_position);
                self.report(position, 1, format!("`{name}` needs {takes} here, not {found}"), None);
            }
        }
        match (name, base, types) {
            ("abs", Type::Of(_), []) => Some(base),
            ("min" | "max", Type::Of(left), [Type::Of(right)]) => {
                Some(Type::Of(if left == *right { left } else { Kind::Float }))
            }
            _ => None,
        }
    }
}

fn wrong(on: Option<Kind>, name: &str, types: &[Type]) -> Option<Wrong> {
    let mut rows = NATIVES.iter().filter(|(known, ..)| *known == name);
    let (_, first, _) = rows.clone().next()?;
    let Some((_, _, forms)) = rows.find(|(_, bases, _)| on.is_some_and(|on| bases.contains(&on))) else {
        return Some(Wrong::Base(if *first == NUMBER {
            "numbers"
        } else {
            first.first().map_or("", |kind| kind.as_str())
        }));
    };
    let mut fitting = forms.iter().filter(|form| form.len() == types.len());
    let Some(form) = fitting.clone().next() else {
        let counts: Vec<usize> = forms.iter().map(|form| form.len()).collect();
        let last = counts.last().copied().unwrap_or(0);
        let takes = match counts.first() {
            Some(least) if *least < last => format!("{least} to {}", arguments(last)),
            _ => arguments(last),
        };
        return Some(Wrong::Count(takes));
    };
    if fitting.any(|form| form.iter().zip(types).all(|(takes, found)| fits(takes, *found))) {
        return None;
    }
    let mut each = form.iter().zip(types).enumerate();
    each.find(|(_, (takes, found))| !fits(takes, **found))
        .map(|(at, (takes, _))| Wrong::Argument(at, a(takes).to_owned()))
}

fn fits(takes: &[Kind], found: Type) -> bool {
    match found {
        Type::Of(kind) => takes.contains(&kind),
        // Characters and ranges are among what the check does not know.
        Type::Any => true,
        Type::Object(..) | Type::Risk(_) | Type::Array | Type::Map | Type::Unit => false,
    }
}

fn a(kinds: &[Kind]) -> &'static str {
    match kinds {
        [Kind::Bool] => "a bool",
        [Kind::Int] => "an int",
        [Kind::Float] => "a float",
        [Kind::Text] => "a string",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::bindings::Bindings;
    use crate::rules::sandbox::{self, Bounds, Library};
    use crate::signals::Vocabulary;

    const VALUES: [(Kind, &str); 4] =
        [(Kind::Bool, "true"), (Kind::Int, "1"), (Kind::Float, "1.5"), (Kind::Text, "\"a\"")];

    #[test]
    fn the_table_says_what_the_interpreter_does() {
        let bindings = Bindings::new(&Vocabulary::standard(), &[]).into();
        let engine = sandbox::engine(&Library::new(), &Bounds::default(), &bindings);
        let exists = |call: &str| {
            let result = engine.eval::<rhai::Dynamic>(call);
            !matches!(result, Err(error) if matches!(*error, rhai::EvalAltResult::ErrorFunctionNotFound(..)))
        };
        for (name, ..) in NATIVES {
            for (base, value) in VALUES {
                let call = |args: &[(Kind, &str)]| {
                    let args: Vec<String> = args.iter().map(|(_, value)| (*value).to_owned()).collect();
                    format!("let x = {value}; x.{name}({})", args.join(", "))
                };
                let ones = VALUES.iter().map(|one| vec![*one]);
                let twos = VALUES.iter().flat_map(|one| VALUES.iter().map(|two| vec![*one, *two]));
                for args in [vec![]].into_iter().chain(ones).chain(twos) {
                    let types: Vec<Type> = args.iter().map(|(kind, _)| Type::Of(*kind)).collect();
                    let found = wrong(Some(base), name, &types);
                    assert_eq!(found.is_none(), exists(&call(&args)), "{} {found:?}", call(&args));
                }
            }
        }
    }
}
