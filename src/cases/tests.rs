//! How cases are read and compared.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::*;
use crate::facts::client::{Keyring, Truncation};
use crate::fingerprints::Fingerprints;
use crate::rules::{Policy, Script, Terms};
use crate::signals::{Secrets, Vocabulary};
use crate::snapshot::Contents;

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

#[test]
fn a_script_reads_the_fingerprint_and_nothing_else_does() {
    let text = "[[case]]\nname = \"one\"\nrequest.tls = { version = \"1.3\", ja4 = \"t13d1516h2_8daaf6152771_e5627efa2ab1\" }\n\
                expect = { score = 30 }\n";
    let script = Script {
        path: "10-tls.rhai".into(),
        text: "fn assess(req, risk) {\n\
               if req.tls.ja4 == \"t13d1516h2_8daaf6152771_e5627efa2ab1\" { risk.add(\"tls.exact\", 10); }\n\
               if req.tls.class == \"chromium\" { risk.add(\"tls.class\", 20); }\n}\n"
            .to_owned(),
    };
    let policy = Policy::load(&[script], &Terms::of(&Vocabulary::standard())).unwrap();
    let fingerprints = b"t13d1516h2_8daaf6152771_e5627efa2ab1 chromium";
    let fingerprints = Arc::new(Fingerprints::parse(Path::new("f"), fingerprints).unwrap());
    let snapshot = Snapshot::new(Contents { fingerprints, ..Contents::of(policy) });
    let secrets = Secrets::new(Arc::default(), Arc::new(Keyring::new(&Zeroizing::new([1; 32]))));
    let setting = Setting { truncation: Truncation::default(), secrets };

    let case = Case::parse(Path::new("c.toml"), text).unwrap().remove(0);
    let (_, differences) = case.run(&snapshot, &setting).unwrap();
    assert!(differences.is_empty(), "{differences:?}");

    let context = case.request().context(&snapshot, &setting).unwrap();
    let mut kept = Vec::new();
    context.write_json(&mut kept);
    let shown = format!(
        "{} {} {context:?}",
        String::from_utf8(kept).unwrap(),
        serde_json::to_string(&context).unwrap()
    );
    assert!(!shown.contains("8daaf6152771"), "{shown}");
    assert_eq!(shown.matches("\"tls.ja4\":\"chromium\"").count(), 2, "{shown}");
    let owned = context.to_owned().kept(&[true, true, true]);
    assert!(!format!("{owned:?}").contains("8daaf6152771"));

    let wrong = text.replace("t13d1516", "x13d1516");
    let problem = Case::parse(Path::new("c.toml"), &wrong).unwrap_err()[0].to_string();
    assert!(problem.contains("no JA4 fingerprint, such as"), "{problem}");
}
