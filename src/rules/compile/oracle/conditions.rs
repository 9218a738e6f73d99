//! Random conditions: what the compiler knows most ways to ask.

use super::random::{ASKED, FLOATS, INTS, NEEDLES, TEXTS};
use super::writer::Writer;

impl Writer {
    pub(super) fn bool(&mut self, depth: u32) -> String {
        if depth == 0 {
            if !self.bools.is_empty() && self.random.below(2) == 0 {
                let at = self.random.below(self.bools.len() as u64) as usize;
                return self.bools[at].clone();
            }
            let mut signals = vec!["req.client.listed(\"blocklist\")", "req.has_header(\"accept\")"];
            signals.extend(if self.in_observe { ["res.from_origin"].as_slice() } else { &[] });
            return self.random.pick(&signals).to_owned();
        }
        let how = self.random.pick(&["==", "!=", "<", "<=", ">", ">="]);
        match self.random.below(24) {
            22 => format!("({} in [{}, {}])", self.int(depth - 1), self.int(0), self.int(0)),
            23 => format!("({} in [req.path, {}])", self.text(depth - 1), self.text(0)),
            0 => format!("({} {how} {})", self.int(depth - 1), self.int(depth - 1)),
            1 => format!("({} {how} {})", self.float(depth - 1), self.int(depth - 1)),
            2 => format!("({} {how} {})", self.text(depth - 1), self.text(depth - 1)),
            3 => format!("({} && {})", self.bool(depth - 1), self.bool(depth - 1)),
            4 => format!("({} || {})", self.bool(depth - 1), self.bool(depth - 1)),
            5 => format!("!{}", self.bool(depth - 1)),
            6 => format!("{}.contains({})", self.text(depth - 1), self.text(0)),
            7 => format!("{}.starts_with({})", self.text(depth - 1), self.text(0)),
            8 => format!("({} in [\"GET\", \"KP\", \"x\"])", self.text(depth - 1)),
            9 => format!("({} in [1, 7, 40])", self.int(depth - 1)),
            10 => format!("({} in 1..40)", self.int(depth - 1)),
            11 => {
                let text = self.text(0);
                format!("({text}.contains(\"cu\") || {text}.contains(\"log\") || {text}.contains(\"5.0\"))")
            }
            12 => {
                let (name, text) = (self.name(), self.text(1));
                format!("TOOLS.some(|{name}| {text}.contains({name}))")
            }
            13..=16 => self.search(),
            17 => self.constant_test(how),
            18 => self.membership(depth),
            19 => format!("({} && {})", self.search(), self.search()),
            20 => format!("({} {how} {})", self.float(depth - 1), self.float(depth - 1)),
            _ => format!("{}.is_empty()", self.text(depth - 1)),
        }
    }

    /// A signal that other tests ask about too, or a variable.
    fn asked(&mut self) -> String {
        match self.random.below(3) {
            0 if !self.texts.is_empty() => {
                let at = self.random.below(self.texts.len() as u64) as usize;
                self.texts[at].clone()
            }
            _ => self.random.pick(&ASKED).to_owned(),
        }
    }

    /// A search for constants in something that other statements search too.
    fn search(&mut self) -> String {
        let (text, needle, other) = (self.asked(), self.random.pick(&NEEDLES), self.random.pick(&NEEDLES));
        match self.random.below(6) {
            0 => format!("({text}.contains(\"{needle}\") || {text}.contains(\"{other}\"))"),
            1 => format!("!{text}.contains(\"{needle}\")"),
            2 => {
                let name = self.name();
                format!("[\"{needle}\", \"{other}\", \"bot\"].some(|{name}| {text}.contains({name}))")
            }
            _ => format!("{text}.contains(\"{needle}\")"),
        }
    }

    /// A test with a constant, on either side.
    fn constant_test(&mut self, how: &str) -> String {
        let (text, constant) = (self.asked(), self.random.pick(&TEXTS));
        match self.random.below(7) {
            0 => format!("{text}.starts_with(\"{constant}\")"),
            1 => format!("{text}.ends_with(\"{constant}\")"),
            2 => format!("({text} {how} \"{constant}\")"),
            3 => format!("(\"{constant}\" {how} {text})"),
            4 => format!("({} {how} req.client.rate)", self.random.pick(&FLOATS)),
            5 => format!("(req.client.rate {how} {})", self.random.pick(&FLOATS)),
            _ => format!("({} {how} req.geo.rate)", self.random.pick(&INTS)),
        }
    }

    /// Whether something is in a list: of few, of long, of many; of integers.
    fn membership(&mut self, depth: u32) -> String {
        match self.random.below(4) {
            0 => format!("({} in [\"/login\", \"/admin/login?next=/admin/xX\"])", self.asked()),
            1 => format!(
                "({} in [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"i\", \"x\", \"curl/8\"])",
                self.text(depth - 1)
            ),
            2 => format!("({} in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 40])", self.int(depth - 1)),
            _ => format!("({} in [0, 1, 3])", self.float(depth - 1)),
        }
    }
}
