//! The shipped policy: compiled as a whole, and judged the same by the compiler and the interpreter.

use std::path::Path;

use riskgate::app::{self, build::Builder};
use riskgate::reload::Build;
use riskgate::reload::sources::Sources;
use riskgate::rules::Way;
use riskgate::signals::Vocabulary;

#[test]
fn the_shipped_policy_is_compiled_and_says_the_same_both_ways() {
    is_compiled_and_says_the_same_both_ways("conf/riskgate.toml", 50);
}

#[test]
fn the_examples_of_behaviour_are_compiled_and_say_the_same_both_ways() {
    is_compiled_and_says_the_same_both_ways("examples/policies/behaviour/riskgate.toml", 25);
}

#[test]
fn the_example_of_surges_is_compiled_and_says_the_same_both_ways() {
    is_compiled_and_says_the_same_both_ways("examples/policies/surge/riskgate.toml", 8);
}

fn is_compiled_and_says_the_same_both_ways(config: &str, least: usize) {
    // Tests run in the package's folder, to which the configuration is relative.
    let mut loaded = app::load(Path::new(config), Vocabulary::standard()).unwrap();
    let clock = loaded.clock;
    let sources = Sources::read(&loaded.builder.paths(), None, &|| clock.now().wall, &mut || ()).unwrap();
    let snapshot = loaded.builder.assemble(&sources).unwrap();
    for rule_set in snapshot.policy().rule_sets() {
        assert_eq!(rule_set.interpreted().collect::<Vec<_>>(), [], "{}", rule_set.name());
    }
    let cases = Builder::cases(&sources).unwrap();
    let cases: Vec<_> = cases.iter().flat_map(|(_, cases)| cases).collect();
    assert!(cases.len() > least);
    for case in cases {
        let context = case.request().context(&snapshot, &loaded.setting).unwrap();
        let judge = |way| snapshot.policy().evaluate_by(way, &context);
        assert_eq!(judge(Way::Compiled), judge(Way::Interpreted), "{}", case.name());
    }
}
