//! The manual says what is true: its reference is the language, its examples load, its mistakes are refused with the
//! messages that it shows. And every rule of the shipped policy has a case.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::markdown;
use crate::facts::problem::Problem;
use crate::rules::{Declared, Policy, Script, Terms};
use crate::signals::Vocabulary;

const MANUAL: &str = "docs/policies.md";
const BEGIN: &str = "<!-- reference:begin -->\n";
const END: &str = "<!-- reference:end -->";

/// A file of the project, below its root.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files of a folder with that ending, in order of their names.
fn files(folder: &str, ending: &str) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(file(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|is| is == ending)).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// What lists and counters a configuration declares.
fn declared(toml: &str) -> (Vec<String>, Vec<Declared>) {
    let table: toml::Table = toml.parse().unwrap_or_else(|error| panic!("{error}\n{toml}"));
    let names = |section: &str| -> Vec<String> {
        match table.get(section).and_then(toml::Value::as_table) {
            Some(entries) => entries.keys().cloned().collect(),
            None => Vec::new(),
        }
    };
    let entry = |name: &String| table.get("counters")?.get(name)?.get("kind")?.as_str();
    let counter = |name: String| match entry(&name) {
        Some("distinct") => Declared::distinct(&name),
        _ => name.as_str().into(),
    };
    (names("lists"), names("counters").into_iter().map(counter).collect())
}

fn load(scripts: &[Script], lists: &[String], counters: &[Declared]) -> Result<Policy, Vec<Problem>> {
    Policy::load(
        scripts,
        &Terms {
            lists,
            counters,
            caps: &["exports".to_owned()],
            upstreams: &["honeypot".to_owned()],
            ..Terms::of(&Vocabulary::standard())
        },
    )
}

/// The code blocks of a document: what follows the opening fence, and the text.
fn blocks(document: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let body: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            blocks.push((kind.to_owned(), body.join("\n") + "\n"));
        }
    }
    blocks
}

/// A block without `assess` shows what would stand in it.
fn whole(block: &str) -> Script {
    let text = if block.contains("fn assess(") {
        block.to_owned()
    } else {
        format!("fn assess(req, risk) {{\n{block}}}\n")
    };
    Script { path: "example.rhai".into(), text }
}

#[test]
fn the_reference_in_the_manual_is_the_language() {
    let (manual, reference) = (read(MANUAL), markdown(&Vocabulary::standard()));
    let (before, rest) = manual.split_once(BEGIN).expect("the manual has a mark where the reference begins");
    let (found, after) = rest.split_once(END).expect("the manual has a mark where the reference ends");
    if std::env::var_os("RISKGATE_BLESS").is_some() {
        fs::write(file(MANUAL), format!("{before}{BEGIN}{reference}{END}{after}")).unwrap();
    } else {
        assert!(
            found == reference,
            "{MANUAL} is not what the language is any more: `RISKGATE_BLESS=1 cargo test --lib rules::reference` rewrites it"
        );
    }
}

#[test]
fn every_example_of_the_documents_loads() {
    let (mut lists, mut counters) = declared(&read("conf/riskgate.toml"));
    for document in [MANUAL, "README.md"].into_iter().filter(|path| file(path).exists()) {
        let blocks = blocks(&read(document));
        for (_, toml) in blocks.iter().filter(|(kind, _)| kind == "toml") {
            let (more_lists, more_counters) = declared(toml);
            lists.extend(more_lists);
            counters.extend(more_counters);
        }
        for (_, block) in blocks.iter().filter(|(kind, _)| kind == "rhai") {
            let loaded = load(&[whole(block)], &lists, &counters);
            let policy = loaded.unwrap_or_else(|problems| panic!("{document}:\n{block}\n{problems:#?}"));
            assert!(policy.warnings().is_empty(), "{document}:\n{block}\n{:#?}", policy.warnings());
        }
    }
}

#[test]
fn every_mistake_of_the_manual_is_refused_as_shown() {
    let (lists, counters) = declared(&read("conf/riskgate.toml"));
    let blocks = blocks(&read(MANUAL));
    let mistakes: Vec<_> = blocks.windows(2).filter(|pair| pair[0].0 == "rhai refused").collect();
    assert!(mistakes.len() >= 2);
    for pair in mistakes {
        let problems = load(
            &[Script { path: "scripts/15-mine.rhai".into(), text: pair[0].1.clone() }],
            &lists,
            &counters,
        );
        for problem in problems.err().unwrap() {
            let position = problem.position().unwrap();
            let shown = &pair[1].1;
            assert!(shown.contains(problem.message()), "{}\nis not in\n{shown}", problem.message());
            assert!(shown.contains(problem.advice().unwrap()), "{:?}\nis not in\n{shown}", problem.advice());
            assert!(
                shown.contains(&format!("15-mine.rhai:{}:{}", position.line, position.column)),
                "{shown}"
            );
        }
    }
}

#[test]
fn the_cases_that_the_manual_shows_are_shipped() {
    let shipped: Vec<String> = files("scripts/cases", "toml").into_iter().map(|(_, text)| text).collect();
    let shown =
        blocks(&read(MANUAL)).into_iter().filter(|(kind, text)| kind == "toml" && text.contains("[[case]]"));
    for (_, block) in shown {
        assert!(
            shipped.iter().any(|text| text.contains(&block)),
            "no file in scripts/cases contains\n{block}"
        );
    }
}

#[test]
fn every_reason_of_the_shipped_policy_is_expected_by_a_case() {
    let (lists, counters) = declared(&read("conf/riskgate.toml"));
    let scripts = files("scripts", "rhai").into_iter().map(|(path, text)| Script { path, text });
    let policy =
        load(&scripts.collect::<Vec<_>>(), &lists, &counters).unwrap_or_else(|found| panic!("{found:#?}"));
    assert!(policy.warnings().is_empty(), "{:#?}", policy.warnings());
    let mut expected = BTreeSet::new();
    for (path, text) in files("scripts/cases", "toml") {
        let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for case in table["case"].as_array().unwrap() {
            let reasons = case["expect"].get("reasons").and_then(toml::Value::as_array);
            expected.extend(reasons.into_iter().flatten().map(|reason| reason.as_str().unwrap().to_owned()));
        }
    }
    for rule_set in policy.rule_sets() {
        for reason in rule_set.reasons() {
            assert!(
                expected.contains(reason),
                "no case in scripts/cases expects `{reason}` of `{}`",
                rule_set.name()
            );
        }
    }
    let given: BTreeSet<&str> = policy.rule_sets().iter().flat_map(|rule_set| rule_set.reasons()).collect();
    for reason in &expected {
        assert!(given.contains(reason.as_str()), "cases expect `{reason}`, which no shipped script gives");
    }
}
