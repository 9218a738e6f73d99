//! How cases are read and compared.

use super::*;

#[test]
fn defaults_fill_what_a_case_leaves_out() {
    let text = "[defaults]\nheaders = { accept = \"*/*\", user-agent = \"x\" }\ncountry = \"DE\"\n\n[[case]]\n\
                name = \"one\"\nrequest = { path = \"/a\", headers = { user-agent = \"\" } }\nexpect = { score = 5 }\n";
    let cases = Case::parse(Path::new("c.toml"), text).unwrap();
    assert_eq!((cases[0].name(), cases[0].line()), ("one", 5));
    assert_eq!(cases[0].request().country.as_deref(), Some("DE"));
    assert_eq!(cases[0].request().headers.keys().collect::<Vec<_>>(), ["accept"]);
}

#[test]
fn a_misspelt_key_or_word_is_an_error_with_its_place() {
    let wrong = |text: &str| Case::parse(Path::new("c.toml"), text).unwrap_err()[0].to_string();
    let key = wrong("[[case]]\nname = \"one\"\nexpect = { scroe = 5 }\n");
    assert!(key.starts_with("c.toml:3:12: unknown field `scroe`"), "{key}");
    let word = wrong("[[case]]\nname = \"one\"\nexpect = { action = \"blok\" }\n");
    assert_eq!(word, "c.toml:1:1: case `one` expects unknown action `blok`; did you mean `block`?");
}
