//! What an operator calls clients with a certain fingerprint: `t13d1516h2_8daaf6152771_e5627efa2ab1 chromium`.
//!
//! One JA4 and its class a line, comments after `#`. A class is a word that an operator chose, and all of a fingerprint
//! that records keep. Nothing here does IO.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::facts::ja4::Ja4;
use crate::facts::problem::Problem;

/// Classes by fingerprint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fingerprints {
    classes: HashMap<Ja4, Arc<str>, foldhash::fast::FixedState>,
}

/// How many problems of one file are told one by one.
const PROBLEMS_MAX: usize = 20;
/// How many characters of a word are repeated in its problem.
const SHOWN_MAX: usize = 60;
/// The longest class.
const CLASS_MAX: usize = 40;

impl Fingerprints {
    /// Reads a file; `name` is only for messages. All problems are told at once: up to 20, then how many more.
    pub fn parse(name: &Path, text: &[u8]) -> Result<Self, Vec<Problem>> {
        let Ok(text) = std::str::from_utf8(text) else {
            return Err(vec![Problem::error(name, "the file is no text in UTF-8").hint("save it as UTF-8")]);
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (mut found, mut problems) = (Self::default(), Vec::new());
        for (index, line) in text.lines().enumerate() {
            if let Err(problem) = found.line(line) {
                problems.push(problem.place(name, index + 1, line));
            }
        }
        let untold = problems.len().saturating_sub(PROBLEMS_MAX);
        if untold > 0 {
            problems.truncate(PROBLEMS_MAX);
            problems.push(Problem::error(name, format!("... and {untold} more")));
        }
        if problems.is_empty() { Ok(found) } else { Err(problems) }
    }

    /// The class of a fingerprint; empty if it has none.
    pub fn class(&self, ja4: &Ja4) -> &str {
        self.classes.get(ja4).map_or("", |class| class)
    }

    /// How many fingerprints have a class.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// How many different classes there are.
    pub fn classes(&self) -> usize {
        self.classes.values().collect::<HashSet<_>>().len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    fn line<'a>(&mut self, line: &'a str) -> Result<(), Fault<'a>> {
        let entry = line.split('#').next().unwrap_or_default();
        let mut words = entry.split_ascii_whitespace();
        let Some(fingerprint) = words.next() else { return Ok(()) };
        let ja4 = Ja4::parse(fingerprint).ok_or(Fault::NoFingerprint(fingerprint))?;
        let class = words.next().ok_or(Fault::NoClass(fingerprint))?;
        if !is_class(class) {
            return Err(Fault::Class(class));
        }
        if let Some(more) = words.next() {
            return Err(Fault::More(more));
        }
        match self.classes.insert(ja4, class.into()) {
            Some(other) if *other != *class => Err(Fault::Twice(fingerprint, other)),
            Some(_) | None => Ok(()),
        }
    }
}

/// What is wrong with a line, and which word of it.
enum Fault<'a> {
    NoFingerprint(&'a str),
    NoClass(&'a str),
    Class(&'a str),
    More(&'a str),
    Twice(&'a str, Arc<str>),
}

impl Fault<'_> {
    fn place(&self, name: &Path, line: usize, text: &str) -> Problem {
        let shown = |word: &str| {
            let cut = if word.chars().count() > SHOWN_MAX { "..." } else { "" };
            word.chars().take(SHOWN_MAX).collect::<String>() + cut
        };
        let (word, message, hint) = match self {
            Self::NoFingerprint(word) => (
                word,
                format!("`{}` is no JA4 fingerprint", shown(word)),
                "write one like `t13d1516h2_8daaf6152771_e5627efa2ab1`, and a comment after `#`",
            ),
            Self::NoClass(word) => {
                (word, format!("`{}` has no class", shown(word)), "write a word behind it, like `chromium`")
            }
            Self::Class(word) => (
                word,
                format!("`{}` cannot name a class", shown(word)),
                "classes start with a letter, have up to 40 lower-case letters, digits, `-` and `_`",
            ),
            Self::More(word) => {
                (word, format!("`{}` is one word too many", shown(word)), "write a comment after `#`")
            }
            Self::Twice(word, other) => (
                word,
                format!("`{}` has the class `{other}` already", shown(word)),
                "remove one of the two lines",
            ),
        };
        let start = text.find(word).unwrap_or(0);
        let column = text.get(..start).unwrap_or_default().chars().count() + 1;
        Problem::error(name, message).hint(hint).at(line, column).spanning(word.chars().count())
    }
}

fn is_class(text: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    text.len() <= CLASS_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHROMIUM: &str = "t13d1516h2_8daaf6152771_e5627efa2ab1";
    const CURL: &str = "t13d3112h2_e8f1e7e78f70_b26ce05bbdd6";

    fn parse(text: &str) -> Result<Fingerprints, Vec<Problem>> {
        Fingerprints::parse(Path::new("f.txt"), text.as_bytes())
    }

    fn class(found: &Fingerprints, ja4: &str) -> String {
        found.class(&Ja4::parse(ja4).unwrap()).to_owned()
    }

    #[test]
    fn a_class_is_found_by_the_whole_fingerprint() {
        let text = format!("\u{feff}# ours\r\n\r\n {CHROMIUM}\tchromium # 156\r\n{CURL} curl\n{CURL} curl#");
        let found = parse(&text).unwrap();
        assert_eq!(
            (found.len(), class(&found, CHROMIUM), class(&found, CURL)),
            (2, "chromium".into(), "curl".into())
        );
        assert_eq!(class(&found, "t13d1516h2_8daaf6152771_000000000000"), "");
        assert_eq!((found.classes(), parse("").unwrap().is_empty()), (2, true));
    }

    #[test]
    fn problems_say_where_and_what_to_do() {
        let text = format!(
            "8daaf6152771 chromium\n  {CURL}\n{CURL} Curl\n{CURL} curl 7.88\n{CURL} curl\n{CURL} wget\n\u{e9} x"
        );
        let told: Vec<String> = parse(&text).unwrap_err().iter().map(Problem::to_string).collect();
        let form = "write one like `t13d1516h2_8daaf6152771_e5627efa2ab1`, and a comment after `#`";
        assert_eq!(
            told,
            [
                format!("f.txt:1:1: `8daaf6152771` is no JA4 fingerprint; {form}"),
                format!("f.txt:2:3: `{CURL}` has no class; write a word behind it, like `chromium`"),
                "f.txt:3:38: `Curl` cannot name a class; classes start with a letter, have up to 40 lower-case \
                 letters, digits, `-` and `_`"
                    .to_owned(),
                "f.txt:4:43: `7.88` is one word too many; write a comment after `#`".to_owned(),
                format!("f.txt:6:1: `{CURL}` has the class `curl` already; remove one of the two lines"),
                format!("f.txt:7:1: `\u{e9}` is no JA4 fingerprint; {form}"),
            ]
        );
        let many = parse(&"x\n".repeat(23)).unwrap_err();
        assert_eq!((many.len(), many[20].to_string()), (21, "f.txt: ... and 3 more".to_owned()));
        assert!(parse(&"x".repeat(10_000)).unwrap_err()[0].to_string().len() < 300);
        assert!(Fingerprints::parse(Path::new("f"), b"\xff\xfe1\0").is_err());
    }

    #[test]
    fn the_shipped_file_names_clients_of_the_test_data() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let shipped = std::fs::read(root.join("conf/fingerprints.txt")).unwrap();
        let shipped = Fingerprints::parse(Path::new("f"), &shipped).unwrap();
        let measured = std::fs::read_to_string(root.join("tests/data/hellos/expected.tsv")).unwrap();
        let measured: HashMap<&str, &str> =
            measured.lines().filter_map(|line| line.split_once('\t')).collect();
        let named = ["chromium", "curl", "python", "openssl", "wget", "node", "java"];
        assert!(named.iter().all(|name| class(&shipped, measured[name]) == *name));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in any::<Vec<u8>>()) {
            let _either = Fingerprints::parse(Path::new("f"), &text);
        }
    }
}
