//! The program: a tree of nodes that already know where everything is.
//!
//! Names are resolved to slots, constant sets to hash sets, constant substrings to one automaton. What remains is
//! what has to happen for each request.

use std::collections::{HashMap, HashSet};

use aho_corasick::AhoCorasick;

use crate::actions::{Say, Verb};

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

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
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

/// One node. Its value is that of the expression or statement it was made from.
#[derive(Debug)]
#[expect(clippy::box_collection, reason = "nodes stay small, so that more of them fit into the cache")]
pub(super) enum Node {
    Constant(Constant),
    Local(usize),
    /// The value of the need in this slot.
    Signal(usize),
    /// The same for a signal of the response.
    Response(usize),
    /// A signal with an argument that is known at run time only.
    Named {
        signal: usize,
        lower: bool,
        name: Box<Node>,
    },
    Not(Box<Node>),
    And(Box<[Node]>),
    Or(Box<[Node]>),
    Compare {
        how: Comparison,
        sides: Box<(Node, Node)>,
    },
    /// A text equals a constant.
    TextIs {
        text: Box<Node>,
        is: Box<str>,
        negated: bool,
    },
    /// An integer or float compares with a constant integer.
    IntCompares {
        how: Comparison,
        number: Box<Node>,
        with: i64,
    },
    InTexts {
        item: Box<Node>,
        set: Box<HashSet<Box<str>, foldhash::fast::FixedState>>,
    },
    InInts {
        item: Box<Node>,
        set: Box<HashSet<i64, foldhash::fast::FixedState>>,
    },
    InRange {
        item: Box<Node>,
        from: i64,
        to: i64,
        inclusive: bool,
    },
    InText {
        test: TextTest,
        sides: Box<(Node, Node)>,
        place: Place,
    },
    /// A text contains any of many constants, found in one pass.
    ContainsAny {
        text: Box<Node>,
        any: Box<AhoCorasick>,
        place: Place,
    },
    Arithmetic {
        how: Arithmetic,
        sides: Box<(Node, Node)>,
        place: Place,
    },
    Unary {
        how: Unary,
        of: Box<Node>,
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
        map: Box<HashMap<Box<str>, Constant, foldhash::fast::FixedState>>,
        key: Box<Node>,
        place: Place,
    },
    Coalesce(Box<[Node]>),
    /// For a constant list and a closure of one parameter: whether it holds for some, or for all.
    Holds {
        items: Box<[Constant]>,
        local: usize,
        body: Box<Node>,
        for_all: bool,
    },
    Block(Box<[Node]>),
    Set(usize, Box<Node>),
    If {
        condition: Box<Node>,
        then: Box<Node>,
        otherwise: Box<Node>,
    },
    Switch(Box<Switch>),
    While {
        condition: Option<Box<Node>>,
        body: Box<Node>,
        place: Place,
    },
    For {
        item: usize,
        counter: Option<usize>,
        items: Items,
        body: Box<Node>,
        place: Place,
    },
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
        args: Box<[(usize, Node)]>,
        place: Place,
    },
    /// A function of the script that the interpreter runs; arguments and result are plain values.
    Interpreted {
        function: Box<str>,
        args: Box<[Node]>,
    },
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

impl Node {
    pub(super) const UNIT: Self = Self::Constant(Constant::Unit);

    pub(super) fn constant(&self) -> Option<&Constant> {
        match self {
            Self::Constant(constant) => Some(constant),
            _ => None,
        }
    }
}
