//! `docs/configuration.md` is true: its reference is the one that the code makes, its list of live sections is the one
//! that reloads go by, and every example in it is a configuration.
//!
//! After a change of a key, `RISKGATE_BLESS=1 cargo test --lib config::docs` writes the reference anew; the text
//! around it is written by hand.

use std::fs;
use std::path::{Path, PathBuf};

use super::reference::LIVE;
use super::*;

const BEGIN: &str = "<!-- reference: made from the code -->\n";
const END: &str = "<!-- end of reference -->\n";

/// What an example leaves out.
const REST: &str = "[[listener]]\naddress = \"127.0.0.1:8080\"\n";
const ROUTE: &str = "[[route]]\nupstream = \"origin\"\n[upstream.origin]\nbuiltin = true\n";

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")
}

/// The text by hand, the reference, and what follows it.
fn manual() -> (String, String, String) {
    let text = fs::read_to_string(path()).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the manual has a mark where its reference begins");
    let (reference, after) = rest.split_once(END).expect("the manual has a mark where its reference ends");
    (before.to_owned(), reference.to_owned(), after.to_owned())
}

/// A world in which every file and every variable holds a token.
fn parse(text: &str) -> Result<Config, Problems> {
    let around = Surroundings {
        file: &|_| Ok("0123456789abcdef".to_owned()),
        variable: &|_| Some("0123456789abcdef".to_owned()),
        cores: 3,
    };
    Config::parse_in(&around, Path::new("example.toml"), text)
}

#[test]
fn the_reference_is_the_one_that_the_code_makes() {
    let (before, reference, after) = manual();
    let made = format!("\n{}\n", reference_markdown());
    if std::env::var_os("RISKGATE_BLESS").is_some() {
        return fs::write(path(), [&before, BEGIN, &made, END, &after].concat()).unwrap();
    }
    assert!(
        reference == made,
        "docs/configuration.md is not what the code says; write it anew with \
         `RISKGATE_BLESS=1 cargo test --lib config::docs` and read the difference"
    );
}

#[test]
fn the_list_of_live_sections_is_the_one_that_reloads_go_by() {
    let (before, _, _) = manual();
    let live: Vec<String> = LIVE.iter().map(|table| format!("`[{table}]`")).collect();
    assert!(before.contains(&live.join(", ")), "name these, in this order: {}", live.join(", "));
}

#[test]
fn every_example_is_a_configuration() {
    let (before, _, after) = manual();
    let text = [before, after].concat();
    let examples: Vec<&str> =
        text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let rest = if example.contains("[[listener]]") { "" } else { REST };
        let route = if example.contains("[[route]]") { "" } else { ROUTE };
        let config = parse(&format!("{example}{rest}{route}"));
        let config = config.unwrap_or_else(|problems| panic!("{problems}\nin\n{example}"));
        assert_eq!(config.warnings, [], "{example}");
    }
}
