//! Random programs of the covered language, in which every type fits.

use super::random::{FLOATS, INTS, Random, TEXTS};

/// Writes random programs of the covered language, in which every type fits.
pub(super) struct Writer {
    pub(super) random: Random,
    pub(super) ints: Vec<String>,
    pub(super) floats: Vec<String>,
    pub(super) texts: Vec<String>,
    pub(super) bools: Vec<String>,
    names: usize,
    in_loop: bool,
    in_helper: bool,
    pub(super) in_observe: bool,
}

impl Writer {
    pub(super) fn new(random: Random) -> Self {
        let (ints, floats, texts, bools) = (vec![], vec![], vec![], vec![]);
        let (in_loop, in_helper, in_observe) = (false, false, false);
        Self { random, ints, floats, texts, bools, names: 0, in_loop, in_helper, in_observe }
    }

    pub(super) fn program(&mut self) -> String {
        let mut text = String::from(
            "const LIMIT = 5;\nconst TOOLS = [\"curl\", \"wget\", \"log\"];\nconst WEIGHTS = #{ \"KP\": 60, \"DE\": 1 };\n",
        );
        self.in_helper = true;
        (self.ints, self.texts) = (vec!["n".into()], vec!["t".into()]);
        let (body, result) = (self.statements(2, 2), self.int(2));
        text.push_str(&format!("fn helper(r, n, t) {{\n{body}    {result}\n}}\n").replace("req.", "r."));
        // What it does with an array keeps it interpreted, whoever calls it.
        text.push_str("fn slow(n, t) {\n    let all = [n, 2];\n    all.push(LIMIT);\n");
        text.push_str(
            "    if t == \"x\" { return n / (n - n); }\n    all.len() + n / 7 + t.split(\"/\").len()\n}\n",
        );
        text.push_str("fn answer(s, n) { if s.from_origin { s.status + n } else { s.size - n } }\n");
        self.in_helper = false;
        self.forget();
        text.push_str(&format!("fn assess(req, risk) {{\n{}}}\n", self.statements(5, 3)));
        self.forget();
        self.in_observe = true;
        text.push_str(&format!("fn observe(req, res, risk) {{\n{}}}\n", self.statements(4, 3)));
        text
    }

    fn forget(&mut self) {
        for names in [&mut self.ints, &mut self.floats, &mut self.texts, &mut self.bools] {
            names.clear();
        }
    }

    pub(super) fn name(&mut self) -> String {
        self.names += 1;
        format!("v{}", self.names)
    }

    fn statements(&mut self, most: u64, depth: u32) -> String {
        let known = (self.ints.len(), self.floats.len(), self.texts.len(), self.bools.len());
        let count = 1 + self.random.below(most);
        let text = (0..count).map(|_| self.statement(depth)).collect();
        self.ints.truncate(known.0);
        self.floats.truncate(known.1);
        self.texts.truncate(known.2);
        self.bools.truncate(known.3);
        text
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each kind of statement")]
    fn statement(&mut self, depth: u32) -> String {
        match self.random.below(if depth == 0 { 9 } else { 15 }) {
            0 => {
                let (name, value) = (self.name(), self.int(2));
                self.ints.push(name.clone());
                format!("let {name} = {value};\n")
            }
            1 => {
                let (name, value) = (self.name(), self.text(2));
                self.texts.push(name.clone());
                format!("let {name} = {value};\n")
            }
            2 => {
                let (name, value) = (self.name(), self.bool(2));
                self.bools.push(name.clone());
                format!("let {name} = {value};\n")
            }
            3 => {
                let (name, value) = (self.name(), self.float(2));
                self.floats.push(name.clone());
                format!("let {name} = {value};\n")
            }
            4 if !self.ints.is_empty() => {
                let at = self.random.below(self.ints.len() as u64) as usize;
                let (name, how, value) =
                    (self.ints[at].clone(), self.random.pick(&["=", "+=", "-=", "*="]), self.int(1));
                format!("{name} {how} {value};\n")
            }
            5 if !self.texts.is_empty() => {
                let at = self.random.below(self.texts.len() as u64) as usize;
                let name = self.texts[at].clone();
                match self.random.below(4) {
                    0 => format!("{name}.trim();\n"),
                    1 => format!("{name}.make_lower();\n"),
                    _ => format!("{name} = {};\n", self.text(1)),
                }
            }
            6..=8 => self.verb(),
            9 | 10 => {
                let (condition, then) = (self.bool(2), self.statements(2, depth - 1));
                let otherwise = self.statements(2, depth - 1);
                format!("if {condition} {{\n{then}}} else {{\n{otherwise}}}\n")
            }
            11 => self.switch(depth),
            12 => self.each(depth),
            13 => {
                let name = self.name();
                let body = self.looped(depth, &name);
                // After `continue` a `do` does not ask its condition, and would not end.
                let once = body.replace("continue;", "break;");
                match self.random.below(4) {
                    0 => format!("let {name} = 0;\ndo {{\n{name} += 1;\n{once}}} while {name} < 4;\n"),
                    1 => format!("let {name} = 0;\ndo {{\n{name} += 1;\n{once}}} until {name} > 2;\n"),
                    _ => format!("let {name} = 0;\nwhile {name} < 4 {{\n{name} += 1;\n{body}}}\n"),
                }
            }
            _ if self.in_loop => self.random.pick(&["break;\n", "continue;\n"]).to_owned(),
            _ if self.in_helper => format!("return {};\n", self.int(1)),
            _ => {
                let condition = self.bool(1);
                match self.random.below(4) {
                    0 => format!("if {condition} {{ throw {}; }}\n", self.text(1)),
                    1 => format!("if {condition} {{ throw {}; }}\n", self.float(1)),
                    _ => format!("if {condition} {{ return; }}\n"),
                }
            }
        }
    }

    fn looped(&mut self, depth: u32, name: &str) -> String {
        let outer = std::mem::replace(&mut self.in_loop, true);
        // A loop's own counter can be read, and is not written, so that it ends.
        let _ = name;
        let body = self.statements(2, depth - 1);
        self.in_loop = outer;
        // `break` and `continue` would make what follows unreachable; a condition keeps it open.
        body.replace("break;", "if req.size > 1 { break; }")
            .replace("continue;", "if req.size > 7 { continue; }")
    }

    fn switch(&mut self, depth: u32) -> String {
        let (a, b, c) =
            (self.statements(1, depth - 1), self.statements(1, depth - 1), self.statements(1, depth - 1));
        if self.random.below(2) == 0 {
            let (subject, condition) = (self.text(1), self.bool(1));
            format!(
                "switch {subject} {{ \"GET\" => {{\n{a}}}, \"KP\" | \"DE\" if {condition} => {{\n{b}}}, _ => {{\n{c}}} }}\n"
            )
        } else {
            let subject = self.int(1);
            format!("switch {subject} {{ 0 => {{\n{a}}}, 1..8 => {{\n{b}}}, 40..=100 => {{\n{c}}} }}\n")
        }
    }

    fn each(&mut self, depth: u32) -> String {
        let name = self.name();
        let (items, is_int) = match self.random.below(3) {
            0 => ("TOOLS".to_owned(), false),
            1 => ("[3, 1, 2]".to_owned(), true),
            _ => (format!("0..{}", 1 + self.random.below(4)), true),
        };
        let names = if is_int { &mut self.ints } else { &mut self.texts };
        names.push(name.clone());
        let body = self.looped(depth, &name);
        let names = if is_int { &mut self.ints } else { &mut self.texts };
        names.pop();
        format!("for {name} in {items} {{\n{body}}}\n")
    }

    fn verb(&mut self) -> String {
        if self.in_helper {
            let (name, value) = (self.name(), self.int(1));
            return format!("let {name} = {value};\n");
        }
        if self.in_observe {
            return match self.random.below(8) {
                0..=3 => "risk.count(\"hits\");\n".to_owned(),
                4 => format!("risk.count({}.to_lower());\n", self.text(1)),
                5 => format!("risk.count(\"paths\", {});\n", self.text(2)),
                6 => format!("risk.count({}.to_lower(), {});\n", self.text(1), self.int(1)),
                _ => format!("if {} {{ risk.count(\"login\"); }}\n", self.bool(2)),
            };
        }
        let reason = self.random.pick(&["a.a", "b.b", "c.c"]);
        match self.random.below(10) {
            9 => "risk.concurrency(\"slots\");\n".to_owned(),
            0 => format!("risk.throttle(\"{reason}\", \"client\", {});\n", self.float(1)),
            1 => format!("risk.tag(\"x\", {});\n", self.text(1)),
            2 => format!("risk.tag(\"y\", {});\n", self.float(1)),
            3 => "risk.count(\"hits\");\n".to_owned(),
            4 if self.random.below(4) == 0 => {
                format!("if {} {{ risk.allow(\"{reason}\"); }}\n", self.bool(1))
            }
            5 => format!("if {} {{ risk.block(\"{reason}\"); }}\n", self.bool(1)),
            6 => format!("risk.add(\"{reason}\", {});\n", self.float(1)),
            _ => format!("risk.add(\"{reason}\", {});\n", self.int(2)),
        }
    }

    pub(super) fn int(&mut self, depth: u32) -> String {
        if depth == 0 || self.random.below(3) == 0 {
            if !self.ints.is_empty() && self.random.below(2) == 0 {
                let at = self.random.below(self.ints.len() as u64) as usize;
                return self.ints[at].clone();
            }
            let mut signals =
                vec!["req.size", "req.geo.weight", "req.count(\"hits\")", "req.time.hour", "LIMIT"];
            signals.extend(if self.in_observe { ["res.status", "res.size"].as_slice() } else { &[] });
            return if self.random.below(2) == 0 {
                self.random.pick(&signals).to_owned()
            } else {
                format!("({})", self.random.pick(&INTS))
            };
        }
        let (left, right) = (self.int(depth - 1), self.int(depth - 1));
        match self.random.below(18) {
            16 => format!("({left} + ({right}).to_int())"),
            17 => format!("({left} + ({}).to_int())", self.float(depth - 1)),
            0 => format!("({left} + {right})"),
            14 => format!("max({left}, {right})"),
            15 => format!("{}.bytes", self.text(0)),
            12 if !self.in_helper => format!("slow({left}, {})", self.text(depth - 1)),
            13 if self.in_observe => format!("answer(res, {left})"),
            1 => format!("({left} - {right})"),
            2 => format!("({left} * {right})"),
            3 => format!("({left} / {right})"),
            4 => format!("({left} % {right})"),
            5 => format!("(-{left})"),
            6 => format!("{}.len()", self.text(depth - 1)),
            7 => format!("{}.index_of({})", self.text(depth - 1), self.text(0)),
            8 => format!("{left}.abs()"),
            9 if !self.in_helper => format!("helper(req, {left}, {})", self.text(depth - 1)),
            10 => format!("(if {} {{ {left} }} else {{ {right} }})", self.bool(depth - 1)),
            _ => format!("(WEIGHTS[{}] ?? {left})", self.text(depth - 1)),
        }
    }

    pub(super) fn float(&mut self, depth: u32) -> String {
        if depth == 0 || self.random.below(3) == 0 {
            if !self.floats.is_empty() && self.random.below(2) == 0 {
                let at = self.random.below(self.floats.len() as u64) as usize;
                return self.floats[at].clone();
            }
            return match self.random.below(3) {
                0 if self.in_observe => "res.duration".to_owned(),
                0 => "req.client.rate".to_owned(),
                1 => "req.geo.rate".to_owned(),
                _ => format!("({})", self.random.pick(&FLOATS)),
            };
        }
        let (left, right) = (self.float(depth - 1), self.float(depth - 1));
        match self.random.below(12) {
            0 => format!("({left} + {right})"),
            11 => format!("({left} + ({right}).to_float())"),
            7 => format!("min({left}, {right})"),
            8 => format!("max({}, {right})", self.int(depth - 1)),
            9 => format!("({left}).{}()", self.random.pick(&["abs", "floor", "ceiling", "round"])),
            10 => format!("min(({left}) / {right}, {})", self.int(depth - 1)),
            1 => format!("({left} - {right})"),
            2 => format!("({left} * {right})"),
            3 => format!("({left} / {right})"),
            4 => format!("({left} + {})", self.int(depth - 1)),
            5 => format!("({} * {right})", self.int(depth - 1)),
            _ => format!("{}.to_float()", self.int(depth - 1)),
        }
    }

    pub(super) fn text(&mut self, depth: u32) -> String {
        if depth == 0 || self.random.below(3) == 0 {
            if !self.texts.is_empty() && self.random.below(2) == 0 {
                let at = self.random.below(self.texts.len() as u64) as usize;
                return self.texts[at].clone();
            }
            let mut signals = vec![
                "req.method",
                "req.path",
                "req.header(\"user-agent\")",
                "req.header(\"accept\")",
                "req.geo.country",
            ];
            signals.extend(if self.in_observe { ["res.header(\"Server\")"].as_slice() } else { &[] });
            return if self.random.below(3) > 0 {
                self.random.pick(&signals).to_owned()
            } else {
                format!("\"{}\"", self.random.pick(&TEXTS))
            };
        }
        let inner = self.text(depth - 1);
        match self.random.below(10) {
            0 => format!("{inner}.to_lower()"),
            9 => format!("max({inner}, {})", self.text(0)),
            7 => format!("req.header({inner}.to_lower())"),
            8 if self.in_observe => format!("res.header({inner}.to_lower())"),
            1 => format!("{inner}.to_upper()"),
            2 => format!(
                "{inner}.sub_string({}, {})",
                self.random.below(9) as i64 - 4,
                self.random.below(5) as i64 - 1
            ),
            3 => format!("({inner} + {})", self.text(depth - 1)),
            4 => format!("({inner} + {})", self.int(depth - 1)),
            5 => format!("`<${{{}}}|${{{}}}>`", inner, self.float(depth - 1)),
            _ => format!("`${{{}}}`", self.bool(depth - 1)),
        }
    }
}
