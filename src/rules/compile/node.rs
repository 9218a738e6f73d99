//! The program: a tree of nodes that already know where everything is.
//!
//! Names are resolved to slots, constant sets to lookups, constant substrings to searches that tests share. What
//! remains is what has to happen for each request. Nodes are small, so that many of them fit into the cache.

use std::collections::HashMap;

use super::ask::Ask;
use super::known::{Endings, KnownFloat, KnownInts, KnownText, KnownTexts, Prefix};
use crate::actions::{Say, Verb};
use crate::signals::Kind;

/// Where in the script something stands, for errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u16,
    pub(super) column: u16,
}

/// A value known at load.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constant {
    Unit,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<str>),
}

/// How two values are compared: a bit each for less, equal and greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Comparison {
    Less = 0b001,
    Equal = 0b010,
    LessOrEqual = 0b011,
    Greater = 0b100,
    NotEqual = 0b101,
    GreaterOrEqual = 0b110,
}

/// How two numbers become one; `Add` also joins texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
}

/// A yes-or-no question about two texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextTest {
    Contains,
    StartsWith,
    EndsWith,
}

/// A function of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unary {
    Lower,
    Upper,
    Trim,
    /// Characters of a text.
    Length,
    /// Bytes of a text.
    Bytes,
    IsEmpty,
    Text,
    Float,
    Int,
    Negate,
    Absolute,
    Floor,
    Ceiling,
    Round,
}

/// A function of more than one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// `text.sub_string(start, length)`
    SubString,
    /// `text.index_of(part)`
    IndexOf,
    Min,
    Max,
}

/// A constant map.
pub(super) type Map = HashMap<Box<str>, Constant, foldhash::fast::FixedState>;

/// What a `for` goes through.
#[derive(Debug)]
pub(super) enum Items {
    Constants(Box<[Constant]>),
    /// From, to, and whether `to` is one of them.
    Range(Box<(Node, Node)>, bool),
}

/// One way through a `switch`: an optional condition, and what then happens.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) condition: Option<Node>,
    pub(super) then: Node,
}

/// A `switch` on texts, integers or booleans.
#[derive(Debug)]
pub(super) struct Switch {
    pub(super) subject: Node,
    pub(super) cases: Box<[Case]>,
    pub(super) texts: HashMap<Box<str>, Box<[usize]>, foldhash::fast::FixedState>,
    pub(super) ints: HashMap<i64, Box<[usize]>, foldhash::fast::FixedState>,
    pub(super) bools: [Box<[usize]>; 2],
    /// From, to, whether `to` is one of them, and the case.
    pub(super) ranges: Box<[(i64, i64, bool, usize)]>,
    pub(super) default: Option<usize>,
}

/// What is read from a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// The value of the need in this slot, of this type.
    Need(u32, Kind),
    /// A text in small letters, one of those that the program makes, at most once per call.
    Lower(u32),
}

/// A value that is asked about. What is read most often is read on the spot.
#[derive(Debug)]
pub(super) enum Operand {
    Signal(Source),
    Local(usize),
    Node(Box<Node>),
}

/// An `if` without `else` that begins with a question about a signal. Most of a policy is a row of these.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) ask: Ask,
    /// What happens if so; it may ask further.
    pub(super) then: Node,
}

/// A condition and what follows.
#[derive(Debug)]
pub(super) struct If {
    pub(super) condition: Node,
    pub(super) then: Node,
    pub(super) otherwise: Node,
}

/// `text.contains` of any of these constants of a search.
#[derive(Debug)]
pub(super) struct FindAny {
    pub(super) text: Operand,
    pub(super) search: usize,
    pub(super) needles: Box<[usize]>,
    pub(super) place: Place,
}

/// For a constant list and a closure of one parameter: whether it holds for some, or for all.
#[derive(Debug)]
pub(super) struct Holds {
    pub(super) items: Box<[Constant]>,
    pub(super) local: usize,
    pub(super) body: Node,
    pub(super) for_all: bool,
}

/// `for`.
#[derive(Debug)]
pub(super) struct For {
    pub(super) item: usize,
    pub(super) counter: Option<usize>,
    pub(super) items: Items,
    pub(super) body: Node,
    pub(super) place: Place,
}

/// A call of a function of the script that the interpreter runs; arguments and result are plain values.
#[derive(Debug)]
pub(super) struct Interpreted {
    pub(super) function: Box<str>,
    pub(super) args: Box<[Node]>,
}

/// One node. Its value is that of the expression or statement it was made from.
#[derive(Debug)]
pub(super) enum Node {
    Constant(Constant),
    Local(usize),
    /// The value of a source.
    Signal(Source),
    /// The same for a signal of the response.
    Response(usize),
    /// A signal with an argument that is known at run time only.
    Named {
        signal: usize,
        lower: bool,
        name: Box<Node>,
    },
    /// A question about a signal.
    Ask(Ask),
    Not(Box<Node>),
    And(Box<[Node]>),
    Or(Box<[Node]>),
    Compare {
        how: Comparison,
        sides: Box<(Node, Node)>,
    },
    /// A text equals a constant.
    TextIs {
        text: Operand,
        is: Box<KnownText>,
        negated: bool,
    },
    /// An integer or float compares with a constant integer.
    IntCompares {
        how: Comparison,
        number: Operand,
        with: i64,
    },
    /// A float or integer compares with a constant float.
    FloatCompares {
        number: Operand,
        with: Box<KnownFloat>,
    },
    InTexts {
        item: Operand,
        set: Box<KnownTexts>,
    },
    InInts {
        item: Operand,
        set: Box<KnownInts>,
    },
    InRange {
        item: Operand,
        range: Box<(i64, i64)>,
        inclusive: bool,
    },
    InText {
        test: TextTest,
        sides: Box<(Node, Node)>,
        place: Place,
    },
    /// A text starts with a constant.
    Starts {
        text: Operand,
        with: Box<Prefix>,
        place: Place,
    },
    /// A text ends with one of constants.
    Ends {
        text: Operand,
        with: Box<Endings>,
        place: Place,
    },
    /// A text contains a constant, one of those that a search is for.
    Find {
        text: Operand,
        search: u32,
        needle: u32,
        place: Place,
    },
    FindAny(Box<FindAny>),
    Arithmetic {
        how: Arithmetic,
        sides: Box<(Node, Node)>,
        place: Place,
    },
    Unary {
        how: Unary,
        of: Operand,
        place: Place,
    },
    Function {
        how: Function,
        of: Box<[Node]>,
        place: Place,
    },
    /// Texts of all parts, joined.
    Interpolate(Box<[Node]>),
    MapGet {
        map: Box<Map>,
        key: Box<Node>,
        place: Place,
    },
    Coalesce(Box<[Node]>),
    Holds(Box<Holds>),
    Block(Box<[Node]>),
    Set(usize, Box<Node>),
    If(Box<If>),
    Rules(Box<[Rule]>),
    Switch(Box<Switch>),
    While {
        condition: Option<Box<Node>>,
        body: Box<Node>,
        place: Place,
    },
    For(Box<For>),
    /// The body, then the condition; `until` turns it around.
    Do {
        parts: Box<(Node, Node)>,
        until: bool,
        place: Place,
    },
    Throw(Box<Node>, Place),
    Return(Option<Box<Node>>),
    Break,
    Continue,
    Call {
        function: usize,
        /// Their values are its first variables.
        args: Box<[Node]>,
        place: Place,
    },
    Interpreted(Box<Interpreted>),
    /// A verb whose arguments are all known at load.
    SayConstant {
        say: Box<Say>,
        place: Place,
    },
    Say {
        verb: &'static Verb,
        args: Box<[Node]>,
        place: Place,
    },
}

/// A function, ready to run.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) locals: usize,
    pub(super) node: Node,
}

impl From<Node> for Operand {
    fn from(node: Node) -> Self {
        match node {
            Node::Signal(source) => Self::Signal(source),
            Node::Local(slot) => Self::Local(slot),
            other => Self::Node(Box::new(other)),
        }
    }
}

impl Node {
    pub(super) const UNIT: Self = Self::Constant(Constant::Unit);

    pub(super) fn constant(&self) -> Option<&Constant> {
        match self {
            Self::Constant(constant) => Some(constant),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_fit_into_a_line_of_the_cache() {
        assert!(size_of::<Node>() <= 32, "{}", size_of::<Node>());
    }
}
