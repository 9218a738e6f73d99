//! The functions of the language that policies may call, besides signals, verbs and their own.
//!
//! It is an allow-list: a name that is not here is refused at load. All of them are pure and bounded.

use crate::signals::Kind;

/// One function or property of the language.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The type of its result, if it has just one.
    pub returns: Option<Kind>,
    /// What it works on, for the language reference.
    pub family: &'static str,
}

const fn family<const N: usize>(
    family: &'static str,
    names: [(&'static str, Option<Kind>); N],
) -> [Function; N] {
    let mut functions = [Function { name: "", returns: None, family }; N];
    let mut at = 0;
    while at < N {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler; `at` is below N")]
        {
            functions[at] = Function { name: names[at].0, returns: names[at].1, family };
        }
        at += 1;
    }
    functions
}

const BOOL: Option<Kind> = Some(Kind::Bool);
const INT: Option<Kind> = Some(Kind::Int);
const FLOAT: Option<Kind> = Some(Kind::Float);
const TEXT: Option<Kind> = Some(Kind::Text);

const STRINGS: [Function; 23] = family(
    "strings",
    [
        ("bytes", INT),
        ("chars", None),
        ("crop", None),
        ("ends_with", BOOL),
        ("get", None),
        ("make_lower", None),
        ("make_upper", None),
        ("pad", None),
        ("parse_float", FLOAT),
        ("parse_int", INT),
        ("replace", None),
        ("set", None),
        ("split", None),
        ("split_rev", None),
        ("starts_with", BOOL),
        ("sub_string", TEXT),
        ("to_chars", None),
        ("to_lower", TEXT),
        ("to_string", TEXT),
        ("to_upper", TEXT),
        ("trim", None),
        ("truncate", None),
        ("to_debug", TEXT),
    ],
);

const COLLECTIONS: [Function; 37] = family(
    "strings, arrays and maps",
    [
        ("all", BOOL),
        ("append", None),
        ("chop", None),
        ("clear", None),
        ("contains", BOOL),
        ("dedup", None),
        ("drain", None),
        ("extract", None),
        ("filter", None),
        ("find", None),
        ("find_map", None),
        ("for_each", None),
        ("index_of", INT),
        ("insert", None),
        ("is_empty", BOOL),
        ("keys", None),
        ("len", INT),
        ("map", None),
        ("mixin", None),
        ("fill_with", None),
        ("pop", None),
        ("push", None),
        ("range", None),
        ("reduce", None),
        ("reduce_rev", None),
        ("remove", None),
        ("retain", None),
        ("reverse", None),
        ("shift", None),
        ("some", BOOL),
        ("sort", None),
        ("order", None),
        ("order_by", None),
        ("splice", None),
        ("values", None),
        ("zip", None),
        ("is_exclusive", BOOL),
    ],
);

const NUMBERS: [Function; 26] = family(
    "numbers",
    [
        ("abs", None),
        ("ceiling", FLOAT),
        ("exp", FLOAT),
        ("floor", FLOAT),
        ("fraction", FLOAT),
        ("hypot", FLOAT),
        ("int", FLOAT),
        ("is_even", BOOL),
        ("is_finite", BOOL),
        ("is_infinite", BOOL),
        ("is_nan", BOOL),
        ("is_odd", BOOL),
        ("is_zero", BOOL),
        ("ln", FLOAT),
        ("log", FLOAT),
        ("max", None),
        ("min", None),
        ("round", FLOAT),
        ("sign", INT),
        ("sqrt", FLOAT),
        ("to_float", FLOAT),
        ("to_int", INT),
        ("to_hex", TEXT),
        ("to_binary", TEXT),
        ("to_octal", TEXT),
        ("type_of", TEXT),
    ],
);

/// Every function, by family.
pub const FAMILIES: [&[Function]; 3] = [&STRINGS, &COLLECTIONS, &NUMBERS];

/// Functions that change what they are called on, and have no value of their own.
pub const IN_PLACE: [&str; 10] =
    ["append", "clear", "crop", "make_lower", "make_upper", "push", "replace", "reverse", "trim", "truncate"];

/// Names that other scripting languages have and policies must not; why not.
pub const REFUSED: [(&str, &str); 7] = [
    ("print", "a script has no output: give a reason with `risk.add` or a header with `risk.tag`"),
    ("debug", "a script has no output: give a reason with `risk.add` or a header with `risk.tag`"),
    ("eval", "a script cannot make code"),
    ("sleep", "a script cannot wait: use `risk.throttle`"),
    ("exit", "use `return`, or `risk.allow` to end all evaluation"),
    ("timestamp", "a script has no clock: use `req.time`"),
    ("call", "call the function by its name"),
];

/// The function of that name.
pub fn find(name: &str) -> Option<&'static Function> {
    all().find(|function| function.name == name)
}

/// Every function.
pub fn all() -> impl Iterator<Item = &'static Function> {
    FAMILIES.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_function_is_listed_once_and_never_both_allowed_and_refused() {
        let names: HashSet<_> = all().map(|function| function.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(IN_PLACE.iter().all(|name| find(name).is_some_and(|function| function.returns.is_none())));
        assert!(REFUSED.iter().all(|(name, _)| !names.contains(name)));
    }
}
